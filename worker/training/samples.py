"""Greedy answers of base and adapter to the same prompts, in batches."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from app.core.datasets.formats import Row
from app.core.datasets.tokens.templates import is_chat
from app.core.jobs.spec import JobSpec
from worker.training.data import prompt_ids, prompt_texts
from worker.training.reporter import Reporter

_NEW_TOKENS = 128
_BATCH = 32


def report_samples(
    model: Any, tokenizer: Any, spec: JobSpec, *, step: int, reports: Reporter
) -> None:
    """Report what a PEFT model answers to the sample prompts, with and without its adapter."""
    prompts, template = spec.sample_prompts, spec.template
    if not prompts:
        return
    rows = [Row(instruction=prompt, text=prompt) for prompt in prompts]
    texts = prompt_texts(rows, template, tokenizer)
    special = not is_chat(template)
    adapter = generate(model, tokenizer, texts, special=special)
    reports.still_working()
    with model.disable_adapter():
        base = generate(model, tokenizer, texts, special=special)
    for prompt, before, after in zip(prompts, base, adapter, strict=True):
        reports.send("sample", step=step, prompt=prompt, base=before, adapter=after)


def generate(
    model: Any,
    tokenizer: Any,
    texts: Sequence[str],
    *,
    special: bool = True,
    max_new_tokens: int = _NEW_TOKENS,
    batch_size: int = _BATCH,
) -> list[str]:
    """Greedy answer to each text. `special`: the tokenizer adds its BOS, as in training."""
    import torch

    config = greedy(model, tokenizer)
    prompts = prompt_ids(texts, tokenizer, special=special)
    # Similar lengths together: little padding, and a batch ends when its last answer does.
    order = sorted(range(len(prompts)), key=lambda at: len(prompts[at]))
    answers = [""] * len(prompts)
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        ids, mask = _left_padded([prompts[at] for at in chosen], tokenizer.pad_token_id)
        with torch.inference_mode(), replaced_defaults(model, config):
            output = model.generate(
                input_ids=ids.to(model.device),
                attention_mask=mask.to(model.device),
                generation_config=config,
                max_new_tokens=max_new_tokens,
            )
        new = output[:, ids.shape[1] :]
        for at, text in zip(
            chosen, tokenizer.batch_decode(new, skip_special_tokens=True), strict=True
        ):
            answers[at] = text.strip()
    return answers


def greedy(model: Any, tokenizer: Any) -> Any:
    """A GenerationConfig that takes the likeliest token and stops at any EOS of base or tokenizer.

    Nothing else is taken from generation_config.json, such as a repetition penalty.
    """
    import transformers

    text_config = model.config.get_text_config()
    named = (model.generation_config.eos_token_id, getattr(text_config, "eos_token_id", None))
    ids = {tokenizer.eos_token_id}
    for each in named:
        ids |= set(each) if isinstance(each, list | tuple) else {each} - {None}
    make: Any = transformers.GenerationConfig
    return make(
        do_sample=False,
        num_beams=1,
        repetition_penalty=1.0,
        use_cache=True,
        eos_token_id=sorted(ids),
        pad_token_id=tokenizer.pad_token_id,
    )


@contextmanager
def replaced_defaults(model: Any, config: Any) -> Iterator[None]:
    """Have `generate` fill its gaps from `config`, not from the model's generation_config.json."""
    bare = model.get_base_model() if hasattr(model, "get_base_model") else model
    kept = bare.generation_config
    bare.generation_config = model.generation_config = config
    try:
        yield
    finally:
        bare.generation_config = model.generation_config = kept


def _left_padded(prompts: list[list[int]], pad_id: int) -> tuple[Any, Any]:
    import torch

    width = max(len(ids) for ids in prompts)
    ids = [[pad_id] * (width - len(each)) + each for each in prompts]
    mask = [[0] * (width - len(each)) + [1] * len(each) for each in prompts]
    return torch.tensor(ids), torch.tensor(mask)
