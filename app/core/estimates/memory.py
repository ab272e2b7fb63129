"""Peak memory of a trainer, in parts, from a model's shape and a resolved spec.

From first principles: what worker.training and its libraries allocate, and when.
`python -m bench memory` compares it with the real trainer's peak.
"""

from dataclasses import dataclass, fields

from app.core.estimates import activations
from app.core.estimates.activations import Batch
from app.core.estimates.precision import Device, precision
from app.core.estimates.shape import ModelShape
from app.core.jobs.spec import JobSpec

__all__ = ["Device", "Memory", "estimate"]

_LIBRARIES = 500_000_000
"""Resident memory after importing torch, transformers, trl, peft and datasets for the CPU, in the
versions of constraints.txt, and after a first step; measured by `python -m bench memory`."""
_BITSANDBYTES = 65_000_000
"""Additional memory if bitsandbytes, and with it torch's compiler, is imported."""
_CUDA_CONTEXT = 600_000_000
"""A process's overhead on a GPU: driver context, cuBLAS and kernel code (450 to 600 MB observed on
cards since Ampere). `torch.cuda.max_memory_allocated` does not count it."""
_ROW_TOKEN = 110
"""Bytes per token of the dataset: int object, lists of rows and of sequences, Arrow table. Measured
on 4.3 million tokens: 32 + 24 + 16 + 41."""
_HEAP_SLACK = 0.2
"""Share of the heap lost to fragmentation: 0.1 to 0.3 measured (worker/training/heap.py)."""
_MAPPED_FROM = 32 << 20
"""glibc's DEFAULT_MMAP_THRESHOLD_MAX: a larger block is mapped separately, without fragmentation.
"""
_PROOF_ROWS, _PROOF_TOKENS = 4, 256
"""The same as in worker/training/verify.py."""


@dataclass(frozen=True)
class Memory:
    """Peak memory in bytes, by part. The parts add up to `peak_bytes`."""

    weights: int
    """The frozen base in its precision or quantization."""
    adapter: int
    gradients: int
    optimizer: int
    activations: int
    """Saved for the backward pass, plus the working memory of a layer."""
    logits: int
    """Memory of the loss: the head's output and its gradient, a tile at a time."""
    rows: int
    """The tokenized dataset, in host memory; 0 for a GPU."""
    proof: int
    """How much the final check of the adapter needs beyond training; usually 0."""
    runtime: int
    """Interpreter and libraries, or the CUDA context."""

    @property
    def peak_bytes(self) -> int:
        return sum(getattr(self, each.name) for each in fields(self))


def estimate(
    shape: ModelShape,
    spec: JobSpec,
    widest: int,
    device: Device,
    *,
    sequences: int | None = None,
    num_tokens: int = 0,
) -> Memory:
    """`widest`: tokens of the longest sequence of the largest batch, which has `sequences`: as many
    as it has rows if not given. `num_tokens`: tokens of all rows.
    """
    sequences = sequences or spec.training.per_device_train_batch_size
    batch = Batch(shape, spec, device, sequences, widest)
    adapter = 4 * shape.adapter_parameters(spec.lora)
    weights, optimizer = weight_bytes(shape, spec, device), optimizer_bytes(shape, spec)
    kept, working = activations.kept_bytes(batch), activations.working_bytes(batch)
    logits, block = activations.logits_bytes(batch)
    if spec.training.gradient_checkpointing:
        working += activations.layer_bytes(batch)
    kept, logits = _together(kept, working, logits, block, device)
    training = Memory(
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
    proof = weights + adapter + proof_bytes(shape, widest, device)
    proof += training.rows + training.runtime
    excess = max(0, proof - training.peak_bytes)
    return Memory(**{**vars(training), "proof": excess})


def _together(kept: int, working: int, logits: int, block: int, device: Device) -> tuple[int, int]:
    """Activations and logits at the peak. The loss is freed when a layer's backward pass begins.

    On a GPU each reuses the other's memory. glibc's heap holds on to what layers used in the
    previous step, in pieces too small for the loss's blocks.
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
    """bitsandbytes does not quantize embedding, head and norms, and PEFT casts them to fp32."""
    bf16 = precision(spec, device) == "bf16"
    if spec.quantization == "none":
        return shape.parameters * (2 if bf16 else 4)
    others = 4 * (shape.parameters - shape.in_linear)
    if spec.quantization == "int8":
        linear = shape.in_linear + 4 * sum(each.num_out for each in shape.linear)
    else:
        # QLoRA: 4 bits per weight, an 8-bit scale per 64 weights, a 32-bit one per 256 scales.
        linear = round(shape.in_linear * (4 + 8 / 64 + 32 / (64 * 256)) / 8)
    mapped = 0
    if device == "cpu" and not bf16 and shape.file_bits == 32:
        # Weights that are not quantized stay in the file's pages, which stay mapped as a whole.
        mapped = max(0, shape.file_bytes - others)
    return linear + others + mapped


def optimizer_bytes(shape: ModelShape, spec: JobSpec) -> int:
    adapter = shape.adapter_parameters(spec.lora)
    match spec.training.optim:
        case "adamw_torch" | "adamw_torch_fused":
            return 8 * adapter
        case "adafactor":
            # Row and column means of both matrices; full second moments of DoRA's magnitudes.
            targets, r = shape.targets(spec.lora), spec.lora.r
            dora = sum(each.num_out for each in targets) if spec.lora.use_dora else 0
            return 4 * (sum(each.num_in + each.num_out + 2 * r for each in targets) + dora)
        case "sgd":
            return 0


def proof_bytes(shape: ModelShape, widest: int, device: Device) -> int:
    """Bytes of the final check's logits: a few rows, three times, on the host; on a GPU one row at
    a time.
    """
    one = min(widest, _PROOF_TOKENS) * shape.vocab * 4
    return 2 * one if device == "cuda" else (3 * _PROOF_ROWS + 2) * one
