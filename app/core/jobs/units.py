"""Units of the numbers in a job spec, for the contract and the page that are generated from it."""

from collections.abc import Mapping

NONE = "none"
_UNITS: Mapping[str, str] = {
    "r": "dimensions",
    "lora_alpha": NONE,
    "lora_dropout": "probability",
    "num_train_epochs": "epochs",
    "max_steps": "optimizer steps",
    "per_device_train_batch_size": "rows",
    "gradient_accumulation_steps": "forward and backward passes",
    "learning_rate": NONE,
    "warmup_ratio": "share of the optimizer steps",
    "weight_decay": NONE,
    "max_grad_norm": "L2 norm",
    "max_length": "tokens",
    "neftune_noise_alpha": NONE,
    "save_total_limit": "checkpoints",
    "early_stopping_patience": "evaluations",
    "seed": NONE,
    "fraction": "share of the rows",
    "max_skip_share": "share of the rows",
    "max_retries": "attempts",
    "priority": NONE,
    "step": "optimizer steps",
}
_BY_SUFFIX: Mapping[str, str] = {
    "_steps": "optimizer steps",
    "_seconds": "seconds",
    "_tokens": "tokens",
    "_bytes": "bytes",
    "_share": "share",
    "_ratio": "share",
}


def unit_of(name: str) -> str | None:
    """Return the unit of a numeric field by its name; None if it is not known."""
    if name in _UNITS:
        return _UNITS[name]
    return next((unit for end, unit in _BY_SUFFIX.items() if name.endswith(end)), None)
