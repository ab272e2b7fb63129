"""Tokens that a model's files add to its vocabulary, added as transformers does."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer

_NAMES = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
_FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")
_FURTHER = ("extra_special_tokens", "additional_special_tokens")
"""Keys of a list of tokens; the first may also map names, for chat templates, to tokens."""


def read(folder: Path, config: Mapping[str, Any]) -> tuple[dict[str, str], list[AddedToken]]:
    """Return special tokens by name (`eos_token`, ...), and all tokens that the vocabulary may
    lack, in the order of their ids. `config`: tokenizer_config.json.
    """
    decoder = config.get("added_tokens_decoder")
    if decoder is None:  # files from before 2023
        config = {**config, **read_object(folder / "special_tokens_map.json")}
    given = config.get(_FURTHER[0])
    own = dict(given) if isinstance(given, dict) else {}
    keys = [f"{name}_token" for name in _NAMES]
    keys += [key for key in config if key.endswith("_token") and key not in keys]
    own = {key: config[key] for key in keys if isinstance(config.get(key), str | dict)} | own
    named = {key: token for key, token in own.items() if token}
    lists = [config[key] for key in _FURTHER if isinstance(config.get(key), list)]
    special = [*named.values(), *(lists[0] if lists else [])]
    if decoder is None:
        listed = _without_flags(read_object(folder / "added_tokens.json"), special)
    else:
        listed = [_token(each, **each) for _, each in sorted(decoder.items(), key=_number)]
    added = [*listed, *(_token(each, **_flags(each) | {"special": True}) for each in special)]
    return {key: _content(token) for key, token in named.items()}, added


def add(core: Tokenizer, tokens: list[AddedToken]) -> None:
    """Add the tokens that `core` does not have yet; those it has are not changed."""
    known = {each.content for each in core.get_added_tokens_decoder().values()}
    for token in tokens:
        if token.content not in known:
            known.add(token.content)
            core.add_tokens([token])


def read_object(path: Path) -> dict[str, Any]:
    """Return {} if there is no such file. Raises ValueError if it is not a JSON object."""
    if not path.is_file():
        return {}
    found = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise ValueError(f"{path.name} is not a JSON object.")
    return found


def _without_flags(ids: Mapping[str, int], special: list[Any]) -> list[AddedToken]:
    marked = set(map(_content, special))
    ordered = sorted(ids, key=lambda each: ids[each])
    return [
        AddedToken(each, special=each in marked, normalized=each not in marked) for each in ordered
    ]


def _token(given: Any, **flags: Any) -> AddedToken:
    return AddedToken(_content(given), **{name: flags[name] for name in _FLAGS if name in flags})


def _flags(given: Any) -> dict[str, Any]:
    return given if isinstance(given, dict) else {}


def _content(given: Any) -> str:
    return str(given["content"] if isinstance(given, dict) else given)


def _number(item: tuple[str, Any]) -> int:
    return int(item[0])
