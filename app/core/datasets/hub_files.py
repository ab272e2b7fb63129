"""Choose the files of a split in a hub repository, by the card's YAML or by their names.

Names and patterns are untrusted: a pattern is only matched against the list of files, and neither
ever becomes a path on this machine.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cache
from itertools import groupby
from pathlib import PurePosixPath
from typing import Any

from app.core.errors import Invalid, Problem

Splits = Mapping[str, Sequence[str]]
Files = tuple[str | None, list[str]]
"""The config, None if the repository has none, and the names of the files."""

_READABLE = re.compile(r"\.(json|jsonl|ndjson|csv)(\.gz)?$|\.parquet$", re.IGNORECASE)
_SHARD = re.compile(r"data/([A-Za-z0-9]\w*)-\d{5}-of-\d{5}[^/]*", re.ASCII)
_WORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}
_NOT_DATA = {"config.json", "dataset_info.json", "dataset_infos.json", "dataset_dict.json"}
_MAX_PATTERN = 500


class HubRefused(Invalid):
    """The hub answered, but this cannot be imported from it; `errors` gives the reason."""

    code = "hub_import_refused"

    def __init__(self, field: str, code: str, message: str, hint: str = "") -> None:
        problem = Problem(f"/source/{field}", code, message, hint)
        super().__init__(f"{message} {hint}".strip(), errors=[problem])


def choose(card: Mapping[str, Any], names: Sequence[str], config: str | None, split: str) -> Files:
    """Return the config, if the repository has any, and the files of a split. Raises HubRefused."""
    chosen = _choose_config(card, config)
    base = _base(chosen.get("data_dir"))
    patterns = chosen.get("data_files")
    splits = _declared(patterns, names, base) if patterns else _by_name(names, base)
    if not splits:
        raise _nothing_there(names)
    if not splits.get(split):
        found = ", ".join(f"`{_shown(each)}`" for each in splits if splits[each]) or "none"
        message = f"The repository has no split `{split}`."
        raise HubRefused("split", "hub_split_unknown", message, f"Splits found: {found}.")
    name = chosen.get("config_name")
    return (name if isinstance(name, str) else None), _checked(splits[split])


def _choose_config(card: Mapping[str, Any], config: str | None) -> Mapping[str, Any]:
    configs = [each for each in _as_list(card.get("configs")) if isinstance(each, dict)]
    by_name = {str(each.get("config_name", "default")): each for each in configs}
    if config is not None and (by_name or config != "default"):
        if config not in by_name:
            raise _no_config(f"The repository has no config `{config}`.", by_name)
        return by_name[config]
    marked = [each for each in by_name.values() if each.get("default") is True]
    usual = marked or [by_name[name] for name in ("default",) if name in by_name]
    if usual or len(by_name) == 1:
        return [*usual, *by_name.values()][0]
    if by_name:
        raise _no_config("The repository has several configs; name one.", by_name)
    return {}


def _declared(data_files: Any, names: Sequence[str], base: str) -> Splits:
    """Read the card's `data_files`: a path, a list of paths, {split: paths}, [{split, path}]."""
    found: dict[str, list[str]] = {}
    for split, pattern in _pairs(data_files):
        known = found.setdefault(split, [])
        known += [name for name in names if _matches(base + pattern, name) and name not in known]
    return found


def _pairs(data_files: Any) -> Iterable[tuple[str, str]]:
    if isinstance(data_files, dict):
        entries = [{"split": key, "path": value} for key, value in data_files.items()]
    else:
        listed = _as_list(data_files)
        entries = [each if isinstance(each, dict) else {"path": each} for each in listed]
    for entry in entries:
        for pattern in _as_list(entry.get("path")):
            if isinstance(pattern, str) and len(pattern) <= _MAX_PATTERN:
                yield str(entry.get("split", "train")), pattern.removeprefix("./")


def _matches(pattern: str, name: str) -> bool:
    """Match a name; `**` matches any folders, other wildcards stay within one path component."""
    patterns, parts = pattern.split("/"), name.split("/")

    @cache
    def match(p: int, n: int) -> bool:
        if p == len(patterns):
            return n == len(parts)
        if patterns[p] == "**":
            return match(p + 1, n) or (n < len(parts) and match(p, n + 1))
        return n < len(parts) and fnmatchcase(parts[n], patterns[p]) and match(p + 1, n + 1)

    return match(0, 0)


def _by_name(names: Sequence[str], base: str) -> Splits:
    """Find splits by shards in `data/`, else by folders or file names; else all is `train`."""
    inside = {name[len(base) :]: name for name in names if name.startswith(base)}
    data = [name for name in inside if _is_data(name)]
    shards = [(found[1], name) for name in data if (found := _SHARD.fullmatch(name))]
    in_folder = [(split, name) for name in data for split in _splits_in(_folder(name))]
    in_file = [(split, name) for name in data for split in _splits_in(PurePosixPath(name).name)]
    pairs = shards or in_folder or in_file or [("train", name) for name in data]
    grouped = groupby(sorted(pairs), key=lambda pair: pair[0])
    return {split: [inside[name] for _, name in found] for split, found in grouped}


def _is_data(name: str) -> bool:
    path = PurePosixPath(name)
    is_hidden = any(part.startswith((".", "__")) for part in path.parts)
    return bool(_READABLE.search(name)) and not is_hidden and path.name not in _NOT_DATA


def _folder(name: str) -> str:
    return str(PurePosixPath(name).parent)


def _splits_in(text: str) -> Iterable[str]:
    words = set(re.split(r"[^a-z]+", text.lower()))
    return [split for split, known in _WORDS.items() if words & set(known)]


def _checked(names: Sequence[str]) -> list[str]:
    for name in names:
        if not _is_plain(name):
            message = f"The repository has a file with an unsafe name: `{_shown(name)}`."
            raise HubRefused("repo", "hub_name_unsafe", message)
        if not _READABLE.search(name):
            message = f"`{_shown(name)}` is not in a format that can be imported."
            hint = "JSON, JSON Lines, CSV and Parquet can be imported."
            raise HubRefused("split", "hub_format_unsupported", message, hint)
    if len({kind(name) for name in names}) > 1:
        message = "The files of this split are in different formats."
        raise HubRefused("split", "hub_formats_mixed", message, "Upload the file you want.")
    return list(names)


def kind(name: str) -> str:
    """Return the format of a file by its name: `json`, `jsonl.gz`, `parquet`, ..."""
    found = _READABLE.search(name)
    return found[0].lower().lstrip(".") if found else ""


def _is_plain(name: str) -> bool:
    is_text = name.isprintable() and "\\" not in name and len(name) <= 500
    return is_text and not {"", ".", ".."} & set(name.split("/"))


def _base(data_dir: Any) -> str:
    text = data_dir.strip("/").removeprefix("./") if isinstance(data_dir, str) else ""
    return f"{text}/" if text not in ("", ".") else ""


def _nothing_there(names: Sequence[str]) -> HubRefused:
    if any(name.endswith(".py") and "/" not in name for name in names):
        message = "The repository is a loading script; this server runs no code from the hub."
        hint = "The hub has a Parquet copy of many datasets: try `revision` refs/convert/parquet."
        return HubRefused("repo", "hub_needs_script", message, hint)
    message = "The repository has no JSON, JSON Lines, CSV or Parquet file."
    return HubRefused(
        "repo", "hub_no_data_files", message, "Choose another repository, or upload a file."
    )


def _no_config(message: str, known: Iterable[str]) -> HubRefused:
    found = ", ".join(f"`{_shown(name)}`" for name in known) or "none"
    return HubRefused("config", "hub_config_unknown", message, f"Configs found: {found}.")


def _shown(text: str) -> str:
    return ascii(text[:100])[1:-1]


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
