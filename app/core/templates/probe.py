"""python -m app.core.templates.probe OUT < template.jinja

Test a template on a small conversation: does it render, and is each prompt a prefix of the whole?
`custom` starts it under resource limits.
"""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from jinja2 import TemplateSyntaxError, nodes

from app.core.datasets.tokens import chat
from app.core.datasets.tokens.chat import TemplateFailed

_MARK = re.compile(r"<\|[^|\s<>]{1,40}\|>")
_SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
_SYSTEM = {"role": "system", "content": "Be brief."}
_TURNS = [
    {"role": "user", "content": "How many are five and two?"},
    {"role": "assistant", "content": "Seven they are."},
    {"role": "user", "content": "And nine more {{ 1 }}?"},
    {"role": "assistant", "content": "Sixteen it is."},
]
_LONGEST = 100_000
"""Characters that the rendering of about a hundred may have."""


class Flaw(NamedTuple):
    code: str
    message: str
    hint: str


def flaws_of(template: str) -> tuple[list[Flaw], list[str]]:
    """Return the first flaw, if any, and the marks it writes that are single tokens in models."""
    try:
        if name := next(_inner_names(template), None):
            message = f"It accesses {name!r}, an internal of Python that no template needs."
            return [Flaw("template_unsafe", message, "Use only the messages.")], []
        whole = chat.render(template, _TURNS, _SPECIAL)
        found = _differing(template) or _missing(whole)
    except TemplateSyntaxError as error:
        said = f"Line {error.lineno}: {error.message}"[:300]
        return [Flaw("template_invalid", "It is not valid Jinja.", said)], []
    except MemoryError:
        raise
    except Exception as error:  # untrusted code may raise anything
        hint = f"Rendering failed: {error}"[:300]
        return [Flaw("template_invalid", "It cannot render a conversation.", hint)], []
    return ([found] if found else []), sorted(set(_MARK.findall(whole)))


def _inner_names(template: str) -> Iterator[str]:
    """Yield names of Python internals. To the sandbox they are undefined, silently if printed."""
    tree = chat.parse(template)
    for node in tree.find_all((nodes.Getattr, nodes.Getitem, nodes.Filter)):
        key: nodes.Expr | str | None = None
        if isinstance(node, nodes.Getattr):
            key = node.attr
        elif isinstance(node, nodes.Getitem):
            key = node.arg
        elif isinstance(node, nodes.Filter) and node.name in ("attr", "map") and node.args:
            key = node.args[0]
        name = key.value if isinstance(key, nodes.Const) else key
        if isinstance(name, str) and name.startswith("_"):
            yield name


def _differing(template: str) -> Flaw | None:
    """Return a flaw unless each answer's prompt is a prefix of the text with the answer."""
    for size in range(1, len(_TURNS), 2):
        for before in ([], [_SYSTEM]):
            turns = [*before, *_TURNS[: size + 1]]
            try:
                prompt = chat.render(template, turns[:-1], _SPECIAL, add_generation_prompt=True)
                through = chat.render(template, turns, _SPECIAL)
            except TemplateFailed:
                if before:
                    continue  # some accept no system message
                raise
            if not through.startswith(prompt):
                message = (
                    "A prompt, with `add_generation_prompt`, is not a prefix of its whole text."
                )
                hint = "The prompt must be the text up to where the answer begins."
                return Flaw("template_prompt_differs", message, hint)
            if len(through) > _LONGEST:
                return Flaw("template_too_costly", "It writes far more text than it is given.", "")
    return None


def _missing(whole: str) -> Flaw | None:
    lost = [turn["content"] for turn in _TURNS if turn["content"] not in whole]
    if not lost:
        return None
    return Flaw(
        "template_invalid", f"It leaves out a message: {lost[0]!r}.", "Render all messages."
    )


def main(arguments: list[str]) -> int:
    found, marks = flaws_of(sys.stdin.read())
    made = {"problems": found, "special_tokens": marks}
    Path(arguments[0]).write_text(json.dumps(made), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
