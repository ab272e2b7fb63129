"""Maps a spec, name by name, to the configurations of TRL, PEFT and bitsandbytes."""

from pathlib import Path
from typing import Any

from app.core.estimates.precision import precision
from app.core.jobs.protocol import Plan
from app.core.jobs.spec import JobSpec
from worker.training.adapter import Targets


def training_values(spec: JobSpec, device: str) -> dict[str, Any]:
    """Every SFTConfig field that affects what is learned, set explicitly: defaults change."""
    training = spec.training
    return {
        "num_train_epochs": float(training.num_train_epochs),
        "max_steps": training.max_steps or -1,
        "per_device_train_batch_size": training.per_device_train_batch_size,
        "gradient_accumulation_steps": training.gradient_accumulation_steps,
        "learning_rate": training.learning_rate,
        "lr_scheduler_type": training.lr_scheduler_type,
        # A value below 1 is a share of all steps; `warmup_ratio` was removed.
        "warmup_steps": training.warmup_ratio,
        "weight_decay": training.weight_decay,
        "max_grad_norm": training.max_grad_norm,
        "optim": training.optim,
        "neftune_noise_alpha": training.neftune_noise_alpha,
        # The new name of `gradient_checkpointing`.
        "activation_checkpointing": training.gradient_checkpointing,
        "activation_checkpointing_kwargs": {"use_reentrant": False},
        "bf16": precision(spec, device) == "bf16",
        "fp16": False,
        "use_cpu": device == "cpu",
        "seed": training.seed,
        "data_seed": training.seed,
        "logging_steps": training.logging_steps,
        "save_total_limit": training.save_total_limit,
    }


def sft_config(plan: Plan, output_dir: Path, device: str) -> Any:
    """The SFTConfig of a run. `RunCallback` schedules saving and evaluation, not these fields."""
    from trl.trainer.sft_config import SFTConfig

    return SFTConfig(
        **training_values(plan.spec, device),
        output_dir=str(output_dir),
        # Rows arrive tokenized, masked, truncated and packed from `data` and `packing`.
        dataset_kwargs={"skip_prepare_dataset": True},
        max_length=None,
        packing=False,
        padding_free=False,
        remove_unused_columns=False,
        loss_type="nll",
        label_smoothing_factor=0.0,
        use_liger_kernel=False,
        torch_compile=False,
        auto_find_batch_size=False,
        average_tokens_across_devices=True,
        train_sampling_strategy="random",
        dataloader_num_workers=0,
        dataloader_pin_memory=device != "cpu",
        dataloader_drop_last=False,
        logging_strategy="steps",
        logging_first_step=True,
        # A NaN must be visible: the filter would replace it with the average of earlier losses.
        logging_nan_inf_filter=False,
        include_num_input_tokens_seen="no",
        eval_strategy="no",
        save_strategy="no",
        save_only_model=False,
        load_best_model_at_end=False,
        restore_callback_states_from_checkpoint=False,
        ignore_data_skip=False,
        report_to="none",
        disable_tqdm=True,
        push_to_hub=False,
        trust_remote_code=False,
    )


def lora_config(plan: Plan, base: Any, targets: Targets) -> Any:
    from peft import LoraConfig
    from transformers.pytorch_utils import Conv1D

    lora = plan.spec.lora
    return LoraConfig(
        r=lora.r,
        lora_alpha=lora.lora_alpha,
        # PEFT refuses dropout together with parameters; `spread_dropout` sets it for the others.
        lora_dropout=0.0 if targets.parameters else lora.lora_dropout,
        target_modules=targets.modules,
        target_parameters=targets.parameters or None,
        fan_in_fan_out=any(isinstance(each, Conv1D) for each in base.modules()),
        use_rslora=lora.use_rslora,
        use_dora=lora.use_dora,
        bias="none",
        task_type="CAUSAL_LM",
        init_lora_weights=True,
        modules_to_save=None,
    )


def quantization_config(plan: Plan, device: str) -> Any:
    bf16 = precision(plan.spec, device) == "bf16"
    return bits_and_bytes(plan.spec.quantization, bf16=bf16)


def bits_and_bytes(quantization: str, *, bf16: bool) -> Any:
    """The BitsAndBytesConfig; None for an unquantized base."""
    if quantization == "none":
        return None
    import torch
    import transformers

    config: Any = transformers.BitsAndBytesConfig
    if quantization == "int8":
        return config(load_in_8bit=True)
    return config(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        # QLoRA (Dettmers et al. 2023): also quantizes the scales, saving 0.4 bit per weight.
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16 if bf16 else torch.float32,
    )
