"""The tokenizer for rows: the `tokenizers` library, special tokens and a chat template."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Self

from tokenizers import Tokenizer

from app.core.datasets.tokens import added_tokens, chat

TOOL_TEMPLATE = "additional_chat_templates/tool_use.jinja"
"""Where transformers saves the chat template named `tool_use`."""


@dataclass(frozen=True)
class RowTokenizer:
    core: Tokenizer
    """Neither pads nor truncates."""
    special_tokens: Mapping[str, str]
    """Special tokens by the names chat templates use: `bos_token`, `eos_token`, ..."""
    chat_template: str | None
    tool_template: str | None = None
    """The chat template named `tool_use`, which transformers takes for rows with tools."""

    @classmethod
    def from_folder(cls, folder: Path) -> Self:
        """Load it from a model's files. Raises OSError or ValueError if they cannot be used."""
        config = added_tokens.read_object(folder / "tokenizer_config.json")
        special, tokens = added_tokens.read(folder, config)
        core = _core((folder / "tokenizer.json").read_text(encoding="utf-8"))
        added_tokens.add(core, tokens)
        return cls(
            _bare(core, split_special=bool(config.get("split_special_tokens", False))),
            special,
            *_chat_templates(folder, config),
        )

    @classmethod
    def from_backend(
        cls,
        backend: Tokenizer,
        special_tokens: Mapping[str, str],
        chat_template: str | Mapping[str, str] | None,
        *,
        split_special: bool = False,
    ) -> Self:
        """Make it from a loaded tokenizer's backend, which is not changed."""
        is_bare = backend.padding is None and backend.truncation is None
        if not is_bare or backend.encode_special_tokens != split_special:
            backend = _bare(Tokenizer.from_str(backend.to_str()), split_special=split_special)
        return cls(
            backend,
            dict(special_tokens),
            default_template(chat_template),
            _tool_template(chat_template),
        )

    def with_chat_template(self, chat_template: str | None) -> Self:
        """Replace the model's own chat template; None changes nothing."""
        if chat_template is None:
            return self
        return replace(self, chat_template=chat_template, tool_template=None)

    @property
    def eos_token(self) -> str:
        return self.special_tokens["eos_token"]

    @property
    def bos_token(self) -> str | None:
        return self.special_tokens.get("bos_token")

    @property
    def bos_id(self) -> int | None:
        return None if self.bos_token is None else self.core.token_to_id(self.bos_token)

    @property
    def eos_id(self) -> int:
        found = self.core.token_to_id(self.eos_token)
        if found is None:
            raise ValueError(f"The EOS token {self.eos_token!r} is not in the vocabulary.")
        return found

    def ids(self, texts: Sequence[str], *, special: bool) -> list[list[int]]:
        """Encode texts. `special`: with the tokens that the tokenizer adds, usually a BOS."""
        found = self.core.encode_batch_fast(list(texts), add_special_tokens=special)
        return [each.ids for each in found]

    def spelled_out(self, tokens: Sequence[str]) -> list[str]:
        """Return those that are not single tokens in this tokenizer, but plain text."""
        return [each for each in tokens if len(self.ids([each], special=False)[0]) != 1]

    def decode(self, ids: Sequence[int]) -> str:
        return self.core.decode(list(ids), skip_special_tokens=False)

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = False,
        marked: bool = False,
    ) -> str:
        """Render messages. Raises chat.TemplateFailed, also if there is no chat template."""
        template = self.tool_template if tools and self.tool_template else self.chat_template
        if not template:
            raise chat.TemplateFailed("This model has no chat template.")
        write = partial(
            chat.render,
            template,
            special_tokens=self.special_tokens,
            tools=tools,
            add_generation_prompt=add_generation_prompt,
            marked=marked,
        )
        try:
            return write(messages)
        except chat.TemplateFailed:
            # Some templates, such as DeepSeek's, expect the arguments of a call as JSON text.
            if not any("tool_calls" in each for each in messages):
                raise
            with suppress(chat.TemplateFailed):
                return write([_with_text(each) for each in messages])
            raise


def _with_text(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a message whose calls have their arguments as JSON text."""
    if "tool_calls" not in message:
        return message
    functions = [call["function"] for call in message["tool_calls"]]
    texts = [json.dumps(each["arguments"], ensure_ascii=False) for each in functions]
    calls = zip(message["tool_calls"], functions, texts, strict=True)
    written = [{**call, "function": {**f, "arguments": text}} for call, f, text in calls]
    return {**message, "tool_calls": written}


def default_template(given: str | Mapping[str, str] | None) -> str | None:
    """Return the chat template or, of several named ones, the one called `default`."""
    return given if given is None or isinstance(given, str) else given.get("default")


def _tool_template(given: str | Mapping[str, str] | None) -> str | None:
    return None if given is None or isinstance(given, str) else given.get("tool_use")


def _core(text: str) -> Tokenizer:
    try:
        return Tokenizer.from_str(text)
    except Exception as error:  # the library raises no narrower one
        raise ValueError(f"tokenizer.json: {error}") from error


def _bare(core: Tokenizer, *, split_special: bool) -> Tokenizer:
    core.no_padding()
    core.no_truncation()
    core.encode_special_tokens = split_special
    return core


def _chat_templates(folder: Path, config: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Return the default chat template, and the one for rows with tools if there are two."""
    file = folder / "chat_template.jinja"
    if file.is_file():
        of_tools = folder / TOOL_TEMPLATE
        found = of_tools.read_text(encoding="utf-8") if of_tools.is_file() else None
        return file.read_text(encoding="utf-8"), found
    given = config.get("chat_template")
    if isinstance(given, list):
        given = {each["name"]: each["template"] for each in given}
    return default_template(given), _tool_template(given)
