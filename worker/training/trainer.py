"""TRL's SFTTrainer with the few changes that this service relies on."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerState
from trl.trainer.sft_trainer import SFTTrainer

from app.core.estimates.schedule import warmup_steps
from app.core.jobs.spec import TrainingSpec
from worker.training.failures import BaseNotFinite
from worker.training.losses import patience_is_lost
from worker.training.packing import micro_batches

_COUNTS = ("num_tokens", "num_trained")
_PER_TOKEN = ("entropy", "mean_token_accuracy")
"""Metrics of which TRL keeps one mean per micro-batch."""


@dataclass
class Tally:
    """Counts over all attempts of a job, saved in checkpoints."""

    tokens_seen: int = 0
    """Tokens seen, without padding."""
    trained_tokens: int = 0
    """Tokens with a label."""
    seconds: float = 0.0
    """Training time; an attempt adds to that of the checkpoint it resumes from."""


class LoraTrainer(SFTTrainer):
    # The libraries declare these as unions of all they accept; here they are always set.
    model: Any
    data_collator: Any
    eval_dataset: Any

    def __init__(self, tally: Tally, training_spec: TrainingSpec, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.tally = tally
        self.training_spec = training_spec
        self._step_loss = 0.0
        self._weights: list[int] = []
        """Labels per micro-batch since the last log."""
        # TRL rounds the adapter of a quantized base to bf16, where a step of 2e-4 on a weight near
        # 1e-2 is mostly lost. Nothing has been trained yet, so fp32 is still possible.
        for parameter in self._trained():
            parameter.data = parameter.data.float()

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        counts = {key: sum(inputs.pop(key)) for key in _COUNTS}
        parent: Any = super()
        loss = parent.compute_loss(model, inputs, return_outputs, num_items_in_batch)
        self.tally.tokens_seen += counts["num_tokens"]
        self.tally.trained_tokens += counts["num_trained"]
        self._weights.append(counts["num_trained"])
        self._step_loss += float(loss.detach())  # no extra wait: TRL's metrics read the GPU, too
        if self.state.global_step == 0:
            refuse_not_finite(self._step_loss)
        return loss

    def training_step(
        self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None
    ) -> Any:
        """Add up the gradients of micro-batches that fit into memory: losses are sums, divided by
        the labels of the whole step.
        """
        parent: Any = super()
        size = self.args.per_device_train_batch_size
        parts = micro_batches(inputs, size)
        return sum(parent.training_step(model, part, num_items_in_batch) for part in parts)

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """Create the scheduler with a warm-up that leaves a step, see `schedule.warmup_steps`."""
        self.args.warmup_steps = warmup_steps(num_training_steps, self.training_spec)
        return super().create_scheduler(num_training_steps, optimizer)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Weight TRL's means of micro-batches by their tokens."""
        if self.model.training and sum(self._weights):
            metrics = self._metrics["train"]
            for name in _PER_TOKEN:
                pairs = zip(metrics[name], self._weights, strict=True)
                metrics[name] = [sum(v * w for v, w in pairs) / sum(self._weights)]
            self._weights.clear()
        super().log(logs, start_time)

    def take_step_loss(self) -> float:
        """The loss of the step that has just ended; called once per step."""
        loss, self._step_loss = self._step_loss, 0.0
        return loss

    def _optimizer_state(self) -> list[Any]:
        """As much memory as the optimizer takes from the second step on."""
        trained = list(self._trained())
        if self.args.optim in ("adamw_torch", "adamw_torch_fused"):
            return [torch.zeros_like(each) for each in trained for _ in range(2)]
        if self.args.optim == "adafactor":  # a row and a column of sums
            return [each.new_zeros(size) for each in trained for size in each.shape]
        return []

    def has_finite_weights(self) -> bool:
        return all(bool(each.isfinite().all()) for each in self._trained())

    def _trained(self) -> Iterator[Any]:
        return (each for each in self.model.parameters() if each.requires_grad)

    def train_from(
        self, checkpoint: Path | None, patience: int | None = None, *, is_over: bool = False
    ) -> None:
        """Train from scratch or resume from a checkpoint, which may be that of the last step.

        `patience`: evaluations without a better loss after which training is over.
        `is_over`: load the checkpoint and train no further.
        """
        saved = checkpoint and TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))
        if saved and (
            is_over
            or saved.global_step >= saved.max_steps
            or patience_is_lost(saved.log_history, patience)
        ):
            # Only the artifact is missing. The Trainer would start another epoch.
            self._load_from_checkpoint(str(checkpoint))
            self.state = saved
            return
        self.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        # The Trainer's final summary uses `train_loss` for a different value.
        history = self.state.log_history
        self.state.log_history = [each for each in history if "train_runtime" not in each]

    def try_step(self, batch: dict[str, Any]) -> None:
        """Run forward and backward outside training: nothing is counted or logged.

        Raises BaseNotFinite.
        """
        self.model.train()
        batch = next(micro_batches(batch, self.args.per_device_train_batch_size))
        inputs = self._prepare_inputs({k: v for k, v in batch.items() if k not in _COUNTS})
        state = self._optimizer_state()
        with self.accelerator.autocast():  # the Trainer wraps the model only when training starts
            outputs = self.model(**inputs, use_cache=False, fused_lm_head=True)
            loss = -outputs.log_probs.sum() / outputs.label_mask.sum().clamp(min=1)
        refuse_not_finite(float(loss.detach()))
        self.accelerator.backward(loss)
        if not all(
            bool(each.grad.isfinite().all()) for each in self._trained() if each.grad is not None
        ):
            refuse_not_finite(math.nan, "The base model's gradients")
        del state

    def logits(self, ids: list[int]) -> Any:
        """Plain logits of one row, computed as in training but without dropout: [tokens, vocab]."""
        self.model.eval()
        inputs = torch.tensor([ids], device=self.args.device)
        with torch.no_grad(), self.accelerator.autocast():
            return self.model(input_ids=inputs, use_cache=False).logits[0].float()

    def log_probs(self, ids: list[int]) -> Any:
        """Log-probabilities of a row's tokens but the first, the way losses are computed."""
        self.model.eval()
        inputs = torch.tensor([ids], device=self.args.device)
        with torch.no_grad(), self.accelerator.autocast():
            outputs = self.model(
                input_ids=inputs, labels=inputs, use_cache=False, fused_lm_head=True
            )
        return outputs.log_probs[0].float()

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Return loss and accuracy as means over all held-out tokens.

        The Trainer's own values are means of batch means, which change with the batch size, and its
        data loader draws from the random state that a resumed run must find unchanged.
        """
        self.model.eval()
        loss = correct = tokens = 0.0
        with torch.no_grad(), self.compute_loss_context_manager():
            for batch in self._held_out_batches():
                outputs = self.model(**batch, use_cache=False, fused_lm_head=True)
                loss -= outputs.log_probs.float().sum().item()
                correct += outputs.is_top1.sum().item()
                tokens += outputs.label_mask.sum().item()
                self.control = self.callback_handler.on_prediction_step(
                    self.args, self.state, self.control
                )
        metrics = {"eval_loss": loss / tokens, "eval_mean_token_accuracy": correct / tokens}
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        self.model.train()
        return metrics

    def _held_out_batches(self) -> Iterator[dict[str, Any]]:
        # Longest first: little padding, and a batch that does not fit fails at once.
        rows = sorted(self.eval_dataset, key=lambda each: -len(each["input_ids"]))
        size = self.args.per_device_train_batch_size
        for start in range(0, len(rows), size):
            for part in micro_batches(self.data_collator(rows[start : start + size]), size):
                yield self._prepare_inputs({k: v for k, v in part.items() if k not in _COUNTS})

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Write none: TRL's card names local paths and would be part of every checkpoint."""

    def bare_model(self) -> Any:
        """The trained model as users will load it, without the autocast wrapper of training."""
        return self.accelerator.unwrap_model(self.model, keep_fp32_wrapper=False).eval()


def refuse_not_finite(value: float, what: str = "The base model's loss") -> None:
    """Raise BaseNotFinite for a value from before the first update."""
    if not math.isfinite(value):
        message = f"{what} is NaN or infinite before anything was trained."
        raise BaseNotFinite(message, evidence=f"{what}: {value} before the first update")
