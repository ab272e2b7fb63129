"""Inspection of a model folder: what it contains, and every reason to refuse it.

`trust_remote_code=False` is not a security boundary (CVE-2026-4372, CVE-2026-5241): a folder with
code, pickles or keys that make a library load either is refused before any library sees it.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.core.errors import Problem
from app.core.models import declaration
from app.core.models.declaration import BadDeclaration, Declaration
from app.core.models.weights import BadWeights, read_sizes

_CODE = frozenset({".py", ".pyc", ".pyo", ".pyd", ".pyx", ".so", ".dll", ".dylib", ".ipynb"})
_PICKLE = frozenset(
    {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".dill", ".npy", ".npz"}
)
_PICKLE_MAGIC = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK\x03\x04")
_KNOWN_PRIVATE = frozenset(
    {
        "_name_or_path",
        "_commit_hash",
        "_from_model_config",
        "_attn_implementation_autoset",
        "_sliding_window_pattern",
        "_remove_final_layer_norm",
        "_pad_token_id",
        "_out_features",
        "_out_indices",
    }
)
"""Keys transformers itself writes; harmless as long as they hold a scalar or a list of scalars."""
_FLOATS = tuple({"__float__": name} for name in ("Infinity", "-Infinity", "NaN"))
"""How transformers writes floats that JSON cannot represent."""
_IMPLEMENTATIONS = ("attn_implementation", "experts_implementation")
_INDEX = "model.safetensors.index.json"
_WEIGHTS = "model.safetensors"
_MAX_JSON_BYTES = 32 << 20
_MAX_FILES = 2_000
_LENGTH_KEYS = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length")
_CAUSAL = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")


@dataclass(frozen=True)
class ModelInfo:
    id: str
    path: Path | None
    """None until it has been fetched."""
    revision: str | None
    """A commit of the hub; None for a local folder."""
    num_parameters: int | None = None
    max_length: int | None = None
    """Number of positions the model supports."""
    vocab_size: int | None = None
    architecture: str | None = None
    model_type: str | None = None
    """`model_type` of config.json; None until it has been fetched."""
    has_chat_template: bool | None = None
    """Whether rows can be rendered with `template` "chat"; None until it has been fetched."""
    hub_id: str | None = None
    """Repository of the hub that a local folder declares to be a copy of."""
    hub_revision: str | None = None
    """Commit of that repository, if it is declared."""
    problems: tuple[Problem, ...] = ()
    """Why it is refused; empty means it may be trained."""


def inspect(name: str, path: Path, revision: str | None = None) -> ModelInfo:
    """Read a folder in Hugging Face layout; never raises because of its contents."""
    inspection = _Inspection(path.resolve())
    inspection.run()
    config = inspection.config
    text_config = config.get("text_config")
    # Multimodal models keep the language model's numbers one level down.
    numbers = text_config if isinstance(text_config, dict) else config
    return ModelInfo(
        id=name,
        path=path,
        revision=revision,
        num_parameters=inspection.num_parameters,
        max_length=_first_int(numbers, _LENGTH_KEYS),
        vocab_size=_first_int(numbers, ("vocab_size",)),
        architecture=_architecture(config),
        model_type=kind if isinstance(kind := config.get("model_type"), str) else None,
        has_chat_template=inspection.has_chat_template,
        hub_id=inspection.declared.hub_id if inspection.declared else None,
        hub_revision=inspection.declared.hub_revision if inspection.declared else None,
        problems=tuple(inspection.problems),
    )


def problem(code: str, message: str, hint: str = "") -> Problem:
    return Problem("/model", code, message, hint)


class _Inspection:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.problems: list[Problem] = []
        self.config: dict[str, Any] = {}
        self.num_parameters: int | None = None
        self.has_chat_template: bool | None = None
        self.declared: Declaration | None = None

    def run(self) -> None:
        try:
            self._check_files()
            if any(found.code == "model_link" for found in self.problems):
                return  # reading on would follow the link
            self._check_configs()
            self._check_declaration()
            self._check_tokenizer()
            self._check_weights()
        except OSError as error:
            reason = error.strerror or type(error).__name__
            self._refuse("model_unreadable", f"The folder cannot be read: {reason}.")

    def _refuse(self, code: str, message: str, hint: str = "") -> None:
        self.problems.append(problem(code, message, hint))

    def _check_files(self) -> None:
        boundary = _boundary(self.path)
        for count, file in enumerate(_walk(self.path)):
            shown = _show(file.relative_to(self.path))
            if count >= _MAX_FILES:
                self._refuse("model_unreadable", f"The folder has over {_MAX_FILES:,} files.")
                return
            if not file.resolve().is_relative_to(boundary):
                self._refuse("model_link", f"{shown} is a link that leaves the folder.")
            elif not file.is_file():
                self._refuse("model_link", f"{shown} is not a plain file.")
            elif file.suffix.lower() in _CODE:
                hint = "Remote code never runs here: use a model that transformers has built in."
                self._refuse("model_has_code", f"{shown} is code.", hint)
            elif file.suffix.lower() in _PICKLE or _is_pickle(file):
                hint = "A pickle can run code: convert the weights to safetensors and remove it."
                self._refuse("model_has_pickle", f"{shown} may be a pickle.", hint)

    def _check_configs(self) -> None:
        self.has_chat_template = (self.path / "chat_template.jinja").is_file()
        for file in sorted(self.path.glob("*config.json")):
            config = self._read_json(file)
            if config is None:
                continue
            if file.name == "tokenizer_config.json" and config.get("chat_template"):
                self.has_chat_template = True
            if file.name == "config.json":
                self.config = config
            for reason in sorted(set(_dangers(config))):
                hint = "Remove the key, if you trust the rest of the folder."
                self._refuse("model_config_unsafe", f"{_show(file.name)} {reason}.", hint)
        if not (self.path / "config.json").is_file():
            self._refuse("model_incomplete", "config.json is missing.")
        elif self.config:
            self._check_kind()

    def _check_kind(self) -> None:
        if not isinstance(self.config.get("model_type"), str):
            self._refuse("model_unsupported", "config.json names no `model_type`.")
        if "quantization_config" in self.config:
            hint = "Use the model it was made from, and set the job's `quantization`."
            self._refuse("model_quantized", "The weights are already quantized.", hint)
        name = _architecture(self.config)
        if self.config.get("is_encoder_decoder") is True or (name and not name.endswith(_CAUSAL)):
            message = f"{name or 'An encoder-decoder'} is not a causal language model."
            self._refuse("model_unsupported", message)

    def _check_declaration(self) -> None:
        try:
            self.declared = declaration.read(self.path)
        except BadDeclaration as error:
            hint = 'Write {"hub_id": "owner/name", "hub_revision": "<commit>"}, or remove the file.'
            self._refuse("model_config_bad", f"{declaration.FILE} {error}.", hint)

    def _check_tokenizer(self) -> None:
        if not (self.path / "tokenizer.json").is_file():
            hint = "Save the fast tokenizer: `AutoTokenizer.from_pretrained(...).save_pretrained`."
            self._refuse("model_incomplete", "tokenizer.json is missing.", hint)

    def _check_weights(self) -> None:
        sizes: dict[str, dict[str, int]] = {}
        for file in sorted(self.path.glob("*.safetensors")):
            try:
                sizes[file.name] = read_sizes(file)
            except BadWeights as error:
                self._refuse("model_weights_bad", f"{_show(file.name)} {error}.")
        if _WEIGHTS in sizes:
            self.num_parameters = sum(sizes[_WEIGHTS].values())
        elif (self.path / _INDEX).is_file():
            self._check_index(sizes)
        elif not (self.path / _WEIGHTS).is_file():
            self._refuse("model_incomplete", f"{_WEIGHTS} is missing: only safetensors are read.")

    def _check_index(self, sizes: dict[str, dict[str, int]]) -> None:
        index = self._read_json(self.path / _INDEX) or {}
        weight_map = index.get("weight_map")
        if not isinstance(weight_map, dict) or not weight_map:
            self._refuse("model_weights_bad", f"{_INDEX} has no `weight_map`.")
            return
        files = {file if isinstance(file, str) else "?" for file in weight_map.values()}
        for file in sorted(files):
            if file != Path(file).name or not file.endswith(".safetensors"):
                message = f"{_INDEX} names {_show(file)}, which is not a file in this folder."
                self._refuse("model_weights_bad", message)
            elif not (self.path / file).is_file():
                self._refuse("model_incomplete", f"{_show(file)} is missing.")
        lost = [n for n, file in weight_map.items() if n not in sizes.get(str(file), {})]
        if lost and files <= sizes.keys():
            message = f"{_INDEX} lists tensors that are missing, {_show(lost[0])} among them."
            self._refuse("model_weights_bad", message)
        self.num_parameters = sum(sum(sizes[file].values()) for file in files & sizes.keys())

    def _read_json(self, file: Path) -> dict[str, Any] | None:
        shown = _show(file.name)
        if file.stat().st_size > _MAX_JSON_BYTES:
            self._refuse("model_config_bad", f"{shown} is larger than 32 MB.")
            return None
        try:
            found = json.loads(file.read_bytes())
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            self._refuse("model_config_bad", f"{shown} is not a JSON object.")
            return None
        return found


def _boundary(path: Path) -> Path:
    """Return the folder that links must not leave: this one, or the model's in the hub cache."""
    is_snapshot = path.parent.name == "snapshots" and path.parents[1].name.startswith("models--")
    return path.parents[1] if is_snapshot else path


def _walk(path: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(path):
        links = [name for name in folders if (Path(folder) / name).is_symlink()]
        for name in sorted(files + links):
            yield Path(folder) / name


def _is_pickle(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(4).startswith(_PICKLE_MAGIC)


def _dangers(value: Any) -> Iterator[str]:
    """Describe the keys, at any depth, that make a library run or fetch something."""
    if isinstance(value, list):
        for item in value:
            yield from _dangers(item)
    if not isinstance(value, dict) or value in _FLOATS:
        return
    for key, item in value.items():
        if key == "auto_map":
            yield "has `auto_map`, which loads code"
        elif key.startswith("_") and not (key in _KNOWN_PRIVATE and _is_plain(item)):
            yield f"has the private key {_show(key)}"
        elif key in _IMPLEMENTATIONS and "/" in str(item):
            yield f"has `{key}`, which fetches a kernel"
        elif key == "trust_remote_code" and item:
            yield "has `trust_remote_code`"
        else:
            yield from _dangers(item)


def _is_plain(item: Any) -> bool:
    if isinstance(item, list):
        return all(each is None or isinstance(each, str | bool | int) for each in item)
    return item is None or isinstance(item, str | bool | int)


def _architecture(config: dict[str, Any]) -> str | None:
    names = config.get("architectures")
    return names[0] if isinstance(names, list) and names and isinstance(names[0], str) else None


def _first_int(config: dict[str, Any], keys: tuple[str, ...]) -> int | None:
    return next((config[key] for key in keys if type(config.get(key)) is int), None)


def _show(name: object) -> str:
    """Make an untrusted name short and ASCII."""
    return ascii(str(name)[:120])[1:-1]
