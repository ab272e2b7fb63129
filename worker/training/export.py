"""The artifact: named files, written into a staging folder and published by one rename."""

import csv
import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.core.datasets.layout.long_rows import usual
from app.core.datasets.tokens import templates
from app.core.estimates.precision import precision
from app.core.jobs.protocol import Plan
from app.core.store_keys import MANIFEST
from worker.training.best import Shipped
from worker.training.card import model_card
from worker.training.checkpoints import described, sync, versions, write_durably
from worker.training.configs import training_values
from worker.training.failures import BadModel
from worker.training.plan import frozen_template
from worker.training.template import alpaca_as_chat
from worker.training.trainer import Tally

CHAT_TEMPLATE = "chat_template.jinja"
KINDS = {
    "adapter_config.json": "config",
    "adapter_model.safetensors": "adapter",
    CHAT_TEMPLATE: "template",
    "prompt_template.json": "template",
    "README.md": "card",
    "training_args.json": "training",
    "trainer_state.json": "training",
    "metrics.csv": "metrics",
    MANIFEST: "manifest",
}
"""Files an artifact may hold besides tokenizer files; any other is a bug and is rejected."""
TOKENIZER_FILES = frozenset(
    {
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
        "vocab.json",
        "vocab.txt",
        "merges.txt",
        "tokenizer.model",
        "spiece.model",
        "sentencepiece.bpe.model",
    }
)
_NOT_ARGUMENTS = {"name", "tags", "priority", "sample_prompts"}
"""Fields of a spec that are not about training."""
_STATE = ("global_step", "max_steps", "epoch", "num_train_epochs", "log_history", "total_flos")


def check_tokenizer(tokenizer: Any, run_dir: Path) -> None:
    """Reject a tokenizer that could not be saved at the end, before training starts."""
    with tempfile.TemporaryDirectory(dir=run_dir) as folder:
        try:
            _write_tokenizer(Path(folder), tokenizer)
        except (BadModel, OSError, MemoryError):
            raise
        except Exception as error:  # libraries may raise anything on files they did not write
            problem = "The tokenizer cannot be saved."
            raise BadModel(problem, evidence=f"{type(error).__name__}: {error}"[:2000]) from error


def stage(
    folder: Path,
    plan: Plan,
    model: Any,
    tokenizer: Any,
    state: Any,
    tally: Tally,
    device: str,
    shipped: Shipped,
) -> None:
    """Write every file but the manifest. No folder that a library wrote is copied as a whole."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_adapter(folder, plan, model)
    _write_tokenizer(folder, tokenizer)
    _write_chat_template(folder, plan, tokenizer)
    _write_json(folder / "prompt_template.json", prompt_template(plan))
    _write_json(folder / "training_args.json", training_args(plan, device, shipped))
    fields = {name: getattr(state, name) for name in _STATE}
    _write_json(folder / "trainer_state.json", fields | vars(tally))
    _write_metrics(folder / "metrics.csv", state.log_history)
    speaks = plan.spec.template != "text" and (folder / CHAT_TEMPLATE).is_file()
    card = model_card(plan, state, tally, tokenizer, shipped=shipped, speaks=speaks)
    (folder / "README.md").write_text(card, encoding="utf-8")


def publish(
    staging: Path, target: Path, plan: Plan, environment: Mapping[str, Any], shipped: Shipped
) -> list[dict[str, Any]]:
    """Write the manifest last, sync everything to disk, and rename the folder to its final name."""
    files = [_entry(staging / name) for name in sorted(_names(staging))]
    content = {
        "version": 1,
        "job_id": plan.job_id,
        "attempt": plan.attempt,
        "dataset": plan.rows.model_dump(exclude={"path"}),
        "validation_dataset": plan.validation_rows
        and plan.validation_rows.model_dump(exclude={"path"}),
        "base": plan.base.model_dump(exclude={"path"}),
        "template": _template_entry(plan, staging),
        "spec": plan.spec.model_dump(mode="json"),
        "environment": environment,
        "adapter": vars(shipped),
        "files": files,
    }
    for name in _names(staging):
        sync(staging / name)
    write_durably(staging / MANIFEST, json.dumps(content, indent=2))
    shutil.rmtree(target, ignore_errors=True)
    staging.rename(target)
    sync(target.parent)
    return [*files, _entry(target / MANIFEST)]


def environment(device: str) -> dict[str, Any]:
    import platform

    name = platform.machine()
    if device != "cpu":
        import torch

        name = torch.cuda.get_device_name()
    return {
        "versions": {"python": platform.python_version(), **versions()},
        "device": device,
        "device_name": name,
    }


def prompt_template(plan: Plan) -> dict[str, str]:
    """The template by name and in full, so that an adapter documents its prompt format."""
    name = plan.spec.template
    if name == "alpaca":
        mark = {"instruction": "{instruction}", "input": "{input}"}
        return {
            "name": name,
            "with_input": templates.alpaca_prompt(
                {"instruction": mark["instruction"], "input": mark["input"]}
            ),
            "without_input": templates.alpaca_prompt({"instruction": mark["instruction"]}),
        }
    if templates.is_chat(name):
        return {"name": name, "template": CHAT_TEMPLATE}
    return {"name": name, "template": "{text}"}


def training_args(plan: Plan, device: str, shipped: Shipped) -> dict[str, Any]:
    """Every field of the spec that affects the adapter, as resolved, and the arguments of the
    Trainer; where both have a name, the value that was used.
    """
    spec = plan.spec.model_dump(mode="json", exclude=_NOT_ARGUMENTS)
    resolved = {
        "load_best": plan.spec.ships_best,
        "precision": precision(plan.spec, device),
        "on_long_row": plan.spec.on_long_row or usual(packed=plan.spec.training.packing),
    }
    fields = {**spec.pop("training"), **spec.pop("limits"), **spec, **resolved}
    return {**fields, **training_values(plan.spec, device), "adapter": vars(shipped)}


def write_adapter(folder: Path, plan: Plan, model: Any) -> None:
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    tensors = {
        name: tensor.detach().cpu().contiguous()
        for name, tensor in get_peft_model_state_dict(model, save_embedding_layers=False).items()
    }
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    config = model.peft_config["default"].to_dict()
    config |= {
        "base_model_name_or_path": plan.base.public_id or plan.base.id,
        "revision": plan.base.public_revision,
        "inference_mode": True,
        # These name Python code to import on load: never set here.
        "auto_mapping": None,
        "megatron_config": None,
    }
    _write_json(folder / "adapter_config.json", config)


def _write_tokenizer(folder: Path, tokenizer: Any) -> None:
    tokenizer.save_pretrained(folder)
    _remove_unnamed(folder)
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    for key in (
        "name_or_path",
        "_name_or_path",
        "auto_map",
        "tokenizer_file",
        "is_local",
        "local_files_only",
        "trust_remote_code",
    ):
        config.pop(key, None)
    _write_json(path, config)


def _write_chat_template(folder: Path, plan: Plan, tokenizer: Any) -> None:
    """Replace the base's chat template, whose prompts differ from those used in training."""
    if plan.spec.template != "alpaca":
        return  # the tokenizer has the plan's template or the base's own
    (folder / CHAT_TEMPLATE).unlink(missing_ok=True)
    text = alpaca_as_chat(plan, tokenizer)
    if text is not None:
        (folder / CHAT_TEMPLATE).write_text(text, encoding="utf-8")


def _template_entry(plan: Plan, folder: Path) -> dict[str, str | None]:
    digest = frozen_template(plan).sha256
    if plan.spec.template == "chat":
        digest = described(folder / CHAT_TEMPLATE)["sha256"]
    return {"name": plan.spec.template, "sha256": digest}


def _remove_unnamed(folder: Path) -> None:
    """Remove what a tokenizer saves beyond its named files, such as further chat templates.

    Not needed beside tokenizer.json, which holds a complete tokenizer; rejected without it.
    """
    unnamed = _unnamed(folder)
    if unnamed and not (folder / "tokenizer.json").is_file():
        raise BadModel(
            f"The tokenizer needs files that an artifact cannot contain: {', '.join(unnamed)}.",
            hint="Convert the tokenizer to a fast tokenizer (tokenizer.json).",
        )
    for name in unnamed:
        (folder / name).unlink()
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)


def _write_metrics(path: Path, history: list[dict[str, Any]]) -> None:
    """One line per step: training metrics and, where evaluated, those of held-out rows."""
    names = {"eval_loss": "valid_loss", "eval_mean_token_accuracy": "valid_mean_token_accuracy"}
    columns = [
        "step", "epoch", "train_loss", "learning_rate", "grad_norm", "train_mean_token_accuracy",
        "entropy", "num_tokens", "tokens_per_second", "device_memory_peak_bytes", *names.values(),
    ]  # fmt: skip
    lines: dict[int, dict[str, Any]] = {}
    for each in history:
        renamed = {names.get(key, key): value for key, value in each.items()}
        line = lines.setdefault(each["step"], {})
        line.update({key: renamed[key] for key in columns if key in renamed})
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(lines[step] for step in sorted(lines))


def _write_json(path: Path, content: Any) -> None:
    text = json.dumps(content, indent=2, sort_keys=True, default=_listed)
    path.write_text(text + "\n", encoding="utf-8")


def _listed(value: Any) -> list[Any]:
    """PEFT keeps names in sets, which JSON has none of. Raises TypeError for anything else."""
    if isinstance(value, set | frozenset):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def _names(folder: Path) -> list[str]:
    if unnamed := _unnamed(folder):
        raise RuntimeError(f"files that an artifact cannot contain: {', '.join(unnamed)}")
    return _files(folder)


def _unnamed(folder: Path) -> list[str]:
    return sorted(name for name in _files(folder) if _kind(name) is None)


def _files(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]


def _kind(name: str) -> str | None:
    return "tokenizer" if name in TOKENIZER_FILES else KINDS.get(name)


def _entry(path: Path) -> dict[str, Any]:
    return {"path": path.name, **described(path), "kind": _kind(path.name)}
