"""Peak memory of a trainer, in parts, from a model's shape and a resolved spec.

From first principles: what is allocated when, as worker.training and its libraries do it.
`python -m bench memory` puts the real trainer's peak beside it.
"""

from dataclasses import dataclass, fields

from app.core.estimates import activations
from app.core.estimates.activations import Batch
from app.core.estimates.precision import Device, precision
from app.core.estimates.shape import ModelShape
from app.core.jobs.spec import JobSpec

__all__ = ["Device", "Memory", "estimate"]

_LIBRARIES = 500_000_000
"""Resident after importing torch, transformers, trl, peft and datasets for the CPU, in the versions
of constraints.txt, and after their first step: measured, `python -m bench memory` shows it."""
_BITSANDBYTES = 65_000_000
"""More of it where bitsandbytes and with it torch's compiler are imported."""
_CUDA_CONTEXT = 600_000_000
"""Of a process on a GPU: the driver's context, cuBLAS' and kernels' code (450 to 600 MB seen on
cards since Ampere). `torch.cuda.max_memory_allocated` does not count it."""
_ROW_TOKEN = 110
"""Bytes a token takes: its number object, lists of rows and of sequences, the Arrow table. Measured
on 4.3 million tokens: 32 + 24 + 16 + 41."""
_HEAP_SLACK = 0.2
"""Share of the heap lost between tensors: 0.1 to 0.3 measured (worker/training/heap.py)."""
_MAPPED_FROM = 32 << 20
"""glibc's DEFAULT_MMAP_THRESHOLD_MAX: a larger block is mapped by itself and loses nothing."""
_PROOF_ROWS, _PROOF_TOKENS = 4, 256
"""As in worker/training/verify.py."""


@dataclass(frozen=True)
class Memory:
    """Bytes. The parts add up to `peak_bytes`."""

    weights: int
    """The frozen base in its precision or quantization."""
    adapter: int
    gradients: int
    optimizer: int
    activations: int
    """Kept for the backward pass, and what a layer takes while it is computed."""
    logits: int
    """Of the loss: the head's output and its gradient, a tile at a time."""
    rows: int
    """The tokenized dataset; on the host, 0 for a GPU."""
    proof: int
    """By how much the proof at the end exceeds training; mostly 0."""
    runtime: int
    """Interpreter and libraries, or the context of a GPU."""

    @property
    def peak_bytes(self) -> int:
        return sum(getattr(self, each.name) for each in fields(self))


def estimate(
    shape: ModelShape, spec: JobSpec, widest: int, device: Device, *, num_tokens: int = 0
) -> Memory:
    """`widest`: tokens of the longest sequence; `num_tokens`: of all rows together."""
    batch = Batch(shape, spec, device, spec.training.per_device_train_batch_size, widest)
    adapter = 4 * shape.adapter_parameters(spec.lora)
    weights, optimizer = weight_bytes(shape, spec, device), optimizer_bytes(shape, spec)
    kept, working = activations.kept_bytes(batch), activations.working_bytes(batch)
    logits, block = activations.logits_bytes(batch)
    if spec.training.gradient_checkpointing:
        working += activations.layer_bytes(batch)
    kept, logits = _together(kept, working, logits, block, device)
    told = Memory(
        weights=weights,
        adapter=adapter,
        gradients=adapter,
        optimizer=optimizer,
        activations=kept,
        logits=logits,
        rows=_ROW_TOKEN * num_tokens if device == "cpu" else 0,
        proof=0,
        runtime=runtime_bytes(spec, device),
    )
    proof = weights + adapter + proof_bytes(shape, widest, device) + told.rows + told.runtime
    excess = max(0, proof - told.peak_bytes)
    return Memory(**{**vars(told), "proof": excess})


def _together(kept: int, working: int, logits: int, block: int, device: Device) -> tuple[int, int]:
    """Activations and logits at the peak. The loss is over when a layer's backward pass begins.

    On a GPU the one takes the other's room. glibc's heap keeps what layers took in the step before,
    in pieces that the loss's larger blocks do not fit into.
    """
    if device == "cuda":
        return (kept, logits) if logits >= working else (kept + working, 0)
    slack = 1 + _HEAP_SLACK
    return round((kept + working) * slack), round(logits * (slack if block < _MAPPED_FROM else 1))


def runtime_bytes(spec: JobSpec, device: Device) -> int:
    if device == "cuda":
        return _CUDA_CONTEXT
    return _LIBRARIES + (_BITSANDBYTES if spec.quantization != "none" else 0)


def weight_bytes(shape: ModelShape, spec: JobSpec, device: Device) -> int:
    """bitsandbytes leaves embedding, head and norms alone, and PEFT makes them fp32."""
    bf16 = precision(spec, device) == "bf16"
    if spec.quantization == "none":
        return shape.parameters * (2 if bf16 else 4)
    others = 4 * (shape.parameters - shape.in_linear)
    if spec.quantization == "int8":
        linear = shape.in_linear + 4 * sum(each.num_out for each in shape.linear)
    else:
        # QLoRA: 4 bits, per 64 weights a scale of 8 bits, per 256 of those one of 32 bits.
        linear = round(shape.in_linear * (4 + 8 / 64 + 32 / (64 * 256)) / 8)
    mapped = 0
    if device == "cpu" and not bf16 and shape.file_bits == 32:
        # What is not quantized lies in the file's own pages, and those stay mapped as a whole.
        mapped = max(0, shape.file_bytes - others)
    return linear + others + mapped


def optimizer_bytes(shape: ModelShape, spec: JobSpec) -> int:
    adapter = shape.adapter_parameters(spec.lora)
    match spec.training.optim:
        case "adamw_torch" | "adamw_torch_fused":
            return 8 * adapter
        case "adafactor":
            # Row and column means of both matrices; whole squares of DoRA's magnitudes.
            targets, r = shape.targets(spec.lora), spec.lora.r
            dora = sum(each.num_out for each in targets) if spec.lora.use_dora else 0
            return 4 * (sum(each.num_in + each.num_out + 2 * r for each in targets) + dora)
        case "sgd":
            return 0


def proof_bytes(shape: ModelShape, widest: int, device: Device) -> int:
    """Logits of a few rows, three times on the host; on a GPU those of one row at a time."""
    one = min(widest, _PROOF_TOKENS) * shape.vocab * 4
    return 2 * one if device == "cuda" else (3 * _PROOF_ROWS + 2) * one
