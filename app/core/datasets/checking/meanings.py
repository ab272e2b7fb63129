"""Columns that change what a row means: it is refused where training would be wrong, else counted.

Flaws whose code is in `notes.COUNTED` carry the name of the column as their message.
"""

import re
from collections.abc import Iterator
from typing import Any

from app.core.datasets.checking.rows import Flaw, texts_of
from app.core.datasets.columns import dump_columns, resend
from app.core.datasets.formats import Row

LABELS = ("label", "kto_tag")
"""Whether the answer is a good one, in data for KTO."""
PREFERENCES = ("chosen", "rejected")
MEDIA = ("image", "images", "audio", "audios", "video", "videos")
_PLACEHOLDER = re.compile(r"<\|?(?:image|audio|video)(?:_pad|_token|_soft_token|_?\d+)?\|?>")
_PROMPTS = ("instruction", "prompt", "question", "query", "input")
_NO = (False, "false", "False", "FALSE")


def unwanted(value: dict[str, Any], row: Row | None, mapped: frozenset[str]) -> list[Flaw]:
    """Return the flaws of columns that are not read. `mapped`: those that the caller named."""
    return [
        *_labels(value, mapped),
        *_preferences(value, mapped),
        *(_media(value, row, mapped) if row else ()),
        *(_tools(value) if row and "instruction" not in row and "messages" not in row else ()),
    ]


def preference_flaw(value: dict[str, Any]) -> Flaw | None:
    """Return a flaw if the row has a better and a worse answer."""
    if any(value.get(name) is None for name in PREFERENCES):
        return None
    message = (
        "The row is preference data: `chosen` and `rejected` are a better and a worse answer. DPO "
        "takes it, for example TRL's DPOTrainer; here a row has one answer."
    )
    hint = f"To train on the chosen answers alone, {_way(value)}"
    return Flaw("", "preference_data", message, hint)


def _way(value: dict[str, Any]) -> str:
    chosen = value["chosen"]
    before = next((name for name in ("prompt", *_CHATS) if isinstance(value.get(name), list)), None)
    if before is not None:
        items = ".chosen" if isinstance(chosen, list) else "[.chosen]"
        return f"put them behind the prompt: {resend(f'{{messages: (.{before} + {items})}}')}"
    if isinstance(chosen, list):
        return f"send this field with the file: columns={dump_columns({'messages': 'chosen'})}"
    prompt = next((name for name in _PROMPTS if isinstance(value.get(name), str)), None)
    columns = {"instruction": prompt, "output": "chosen"} if prompt else {"text": "chosen"}
    return f"send this field with the file: columns={dump_columns(columns)}"


_CHATS = ("messages", "conversations")


def _labels(value: dict[str, Any], mapped: frozenset[str]) -> Iterator[Flaw]:
    for name in LABELS:
        label = value.get(name)
        if name in mapped or isinstance(label, list | dict):
            continue
        is_zero = type(label) is int and label == 0
        if (label in _NO and not is_zero) or (is_zero and name == "kto_tag"):
            message = f"`{name}` is false: the answer is an example of what not to say."
            yield Flaw(name, "answer_unwanted", message)
            yield Flaw(name, "label_false", name)
        elif is_zero:
            yield Flaw(name, "label_ignored", name)


def _preferences(value: dict[str, Any], mapped: frozenset[str]) -> Iterator[Flaw]:
    if mapped.isdisjoint(PREFERENCES):
        for name in PREFERENCES:
            if value.get(name):
                yield Flaw(name, "preference_ignored", name)


def _media(value: dict[str, Any], row: Row, mapped: frozenset[str]) -> Iterator[Flaw]:
    """Yield what is wrong with images and the like. Of Parquet files they are not even decoded."""
    names = [name for name in MEDIA if name in value and name not in mapped]
    if not names:
        return
    found = next(filter(None, map(_PLACEHOLDER.search, texts_of(row))), None)
    if found:
        message = f"The text has {found[0]} in the place of what `{names[0]}` holds."
        yield Flaw(names[0], "media_unsupported", message)
    for name in names:
        if not found and value[name]:
            yield Flaw(name, "media_ignored", name)


def _tools(value: dict[str, Any]) -> Iterator[Flaw]:
    if value.get("tools") and value["tools"] != "[]":
        yield Flaw("tools", "tools_ignored", "tools")
