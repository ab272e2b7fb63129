"""Loads the base model and tokenizer from a local folder: no remote code, pickles or network."""

import json
import os
from pathlib import Path
from typing import Any

from app.core.datasets.tokens.templates import is_named
from app.core.estimates.devices import DeviceClass, device_classes
from app.core.estimates.precision import precision
from app.core.jobs.protocol import Plan
from app.core.models import limits
from worker.training.adapter import stacked_experts
from worker.training.configs import quantization_config
from worker.training.failures import BadModel, DeviceMissing, NoRoomForBase, out_of_memory
from worker.training.plan import frozen_template

_ATTENTION = {None, "sdpa", "eager"}
"""Implementations that are installed and that keep packed rows apart."""
_LOCAL = {"local_files_only": True, "trust_remote_code": False}


def choose_device(setting: str) -> str:
    """`cpu` or `cuda`; CUDA_VISIBLE_DEVICES selected the GPU before torch was imported."""
    if setting == "cpu":
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if setting == "auto":
        return "cpu"
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    evidence = f"torch.cuda.is_available() is False; CUDA_VISIBLE_DEVICES is {visible!r}"
    raise DeviceMissing(f'The device "{setting}" is not available.', evidence=evidence)


def device_class(device: str) -> DeviceClass:
    """This device, as the class that estimates are compared with."""
    if device == "cpu":
        return device_classes()[0]
    import torch

    total = torch.cuda.get_device_properties(0).total_memory
    return DeviceClass(torch.cuda.get_device_name(), "cuda", total)


def load_tokenizer(plan: Plan) -> Any:
    """The tokenizer with EOS, a pad token that the base has an embedding for, and the template."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(plan.base.path, **_LOCAL)
    except Exception as error:  # `tokenizers` raises nothing narrower
        raise BadModel("The tokenizer cannot be loaded.", evidence=str(error)[:2000]) from error
    if tokenizer.eos_token_id is None:
        raise BadModel("The tokenizer has no EOS token: the model could never learn to stop.")
    known = limits.vocabulary_size(Path(plan.base.path))
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id >= known:
        # Padding is masked everywhere, so any known token will do; a new one would need a new
        # embedding.
        tokenizer.pad_token = tokenizer.eos_token
    if is_named(plan.spec.template):
        tokenizer.chat_template = frozen_template(plan).text
    return tokenizer


def max_positions(plan: Plan, tokenizer: Any) -> int:
    """Longest sequence that base and tokenizer support; the spec's maximum if neither says less."""
    return limits.max_positions(Path(plan.base.path), tokenizer.model_max_length)


def load_base(plan: Plan, device: str) -> Any:
    """Load the frozen base model in the plan's precision and quantization.

    Raises BadModel, also for a folder that lacks a weight: transformers would invent it.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    bf16 = precision(plan.spec, device) == "bf16"
    quantization = quantization_config(plan, device)
    try:
        config = AutoConfig.from_pretrained(plan.base.path, **_LOCAL)
        if config._attn_implementation not in _ATTENTION:
            config._attn_implementation = None  # transformers chooses, sdpa first
        load: Any = AutoModelForCausalLM.from_pretrained
        model, loaded = load(
            plan.base.path,
            config=config,
            dtype=torch.bfloat16 if bf16 else torch.float32,
            quantization_config=quantization,
            # Placed while it loads; an unquantized base on the CPU needs no placement.
            device_map={"": device} if quantization is not None or device != "cpu" else None,
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # refused below, with names
            **_LOCAL,
        )
    except Exception as error:
        if out_of_memory(error) is not None:
            raise NoRoomForBase(error) from error
        if not isinstance(error, OSError | ValueError):
            raise
        raise BadModel("The base model cannot be loaded.", evidence=str(error)[:2000]) from error
    _refuse_missing(loaded)
    _refuse_mismatched(loaded)
    if quantization is None:
        return model.requires_grad_(False)
    keep_weights_as_loaded(model)
    return _prepared(model, gradient_checkpointing=plan.spec.training.gradient_checkpointing)


def other_attention(folder: Path) -> str | None:
    """The attention implementation that config.json names if it is one that is not used here."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    name = config.get("attn_implementation")
    return str(name) if name is not None and name not in _ATTENTION else None


def _refuse_missing(loaded: dict[str, Any]) -> None:
    missing = sorted(loaded["missing_keys"])
    if not missing:
        return
    unused = sorted(loaded["unexpected_keys"])
    more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
    hint = "Save the model again with `save_pretrained`, or fetch its files again."
    if unused:
        hint = f"The files have {unused[0]!r} instead, which the model does not use. {hint}"
    raise BadModel(
        f"The base model's files lack the weight {missing[0]!r}{more}.",
        evidence=f"missing: {', '.join(missing)}"[:1000]
        + (f"; unused: {', '.join(unused)}"[:1000] if unused else ""),
        hint=hint,
    )


def _refuse_mismatched(loaded: dict[str, Any]) -> None:
    for name, in_file, expected in sorted(loaded["mismatched_keys"])[:1]:
        raise BadModel(
            f"The base model's weight {name!r} has another shape than config.json says.",
            evidence=f"{list(in_file)} in the files, {list(expected)} expected",
            hint="Fetch config.json and the weights again, from the same revision.",
        )


def keep_weights_as_loaded(model: Any) -> None:
    """Keep bitsandbytes from repacking NF4 weights at the first forward in evaluation mode.

    On a CPU with AVX512-BF16 it does so in place and rounds the scales to bf16: every evaluation
    would change the base, and widths that are not a multiple of 64 fail.
    """
    for layer in model.modules():
        if hasattr(layer, "support_avx512bf16_for_cpu"):
            layer.support_avx512bf16_for_cpu = False


def _prepared(model: Any, *, gradient_checkpointing: bool) -> Any:
    import peft

    prepare: Any = peft.prepare_model_for_kbit_training
    # PEFT raises to fp32 whatever is not quantized: right for norms, but experts would double.
    experts = {name: model.get_parameter(name).data for name in stacked_experts(model)}
    prepared = prepare(
        model,
        use_gradient_checkpointing=gradient_checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False},
    )
    for name, weights in experts.items():
        prepared.get_parameter(name).data = weights
    return prepared
