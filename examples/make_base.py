"""Create the small base model: build its tokenizer, pretrain it, save it as a Llama.

Run from the root of the repository: `python -m examples.make_base`. One thread is enough; the
duration is in the model card.
"""

import argparse
import json
import math
import time
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from random import Random

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM

from examples.corpus import draw_text
from examples.frame import INPUT, RESPONSE, WITH_INPUT, WITHOUT_INPUT

PAD, BOS, EOS = "<pad>", "<bos>", "<eos>"
PAD_ID, BOS_ID, EOS_ID = 0, 1, 2
MAX_POSITIONS = 1024
VOCAB_LIMIT = 2048
SEED = 1
ROWS, ROW_TOKENS = 4, 512
PEAK_RATE, WARMUP_STEPS, LAST_SHARE = 2e-3, 100, 0.02
PROMPT_WEIGHT = 0.2
"""Loss weight of prompt tokens: prompts are random, so little of their loss can be learned."""


def build_tokenizer(num_texts: int = 20_000) -> Tokenizer:
    """Train a byte-level BPE, which can represent any text and splits digits into pairs.

    Each fixed part of the Alpaca prompt is one added token, so a prompt costs 3 extra tokens, not
    about 45, which halves the duration of a fine-tune.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\d{1,2}"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_LIMIT - 4,
        min_frequency=5,
        special_tokens=[PAD, BOS, EOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    frame = [WITH_INPUT, WITHOUT_INPUT, INPUT, RESPONSE]
    tokenizer.train_from_iterator(_without(frame, num_texts), trainer)
    tokenizer.add_tokens([AddedToken(part, normalized=False, special=False) for part in frame])
    return tokenizer


def _without(frame: list[str], num_texts: int) -> Iterator[str]:
    rng = Random(SEED)
    for _ in range(num_texts):
        prompt, answer = draw_text(rng)
        for part in frame:
            prompt = prompt.replace(part, "\0")
        yield from prompt.split("\0")
        yield answer


def save_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": MAX_POSITIONS,
        "bos_token": BOS,
        "eos_token": EOS,
        "pad_token": PAD,
        "padding_side": "right",
        "clean_up_tokenization_spaces": False,
    }
    text = json.dumps(config, indent=2) + "\n"
    (folder / "tokenizer_config.json").write_text(text, encoding="utf-8")


def build_model(tokenizer: Tokenizer) -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=4,
        num_attention_heads=6,
        num_key_value_heads=6,
        max_position_embeddings=MAX_POSITIONS,
        rope_parameters={"rope_type": "default", "rope_theta": 1000.0},
        tie_word_embeddings=True,
        pad_token_id=PAD_ID,
        bos_token_id=BOS_ID,
        eos_token_id=EOS_ID,
    )
    return LlamaForCausalLM(config)


def batches(tokenizer: Tokenizer) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield ids, positions and loss weights, each (ROWS, ROW_TOKENS), endlessly and never repeated.

    Positions restart at 0 with every text, which is enough to isolate the texts of a row.
    """
    rng = Random(SEED)
    rows: list[list[tuple[int, int, float]]] = [[]]
    while True:
        text = _encode(tokenizer, *draw_text(rng))
        if len(rows[-1]) + len(text) > ROW_TOKENS:
            if len(rows) == ROWS:
                filled = torch.tensor([_fill(row) for row in rows])
                yield filled[..., 0].long(), filled[..., 1].long(), filled[..., 2]
                rows = []
            rows.append([])
        rows[-1] += text


def _encode(tokenizer: Tokenizer, prompt: str, answer: str) -> list[tuple[int, int, float]]:
    """Return (id, position, weight) per token. Plain text begins with BOS; all text ends in EOS."""
    before = tokenizer.encode(prompt).ids or [BOS_ID]
    after = [*tokenizer.encode(answer).ids, EOS_ID]
    answer_weight = 1.0 if prompt else PROMPT_WEIGHT
    weights = [0.0] + [PROMPT_WEIGHT] * (len(before) - 1) + [answer_weight] * len(after)
    return list(zip(before + after, range(len(weights)), weights, strict=True))


def _fill(row: list[tuple[int, int, float]]) -> list[tuple[int, int, float]]:
    return row + [(PAD_ID, n, 0.0) for n in range(ROW_TOKENS - len(row))]


def rate_at(step: int, num_steps: int) -> float:
    """Return the learning rate: linear warm-up, then cosine decay to LAST_SHARE of the peak."""
    if step < WARMUP_STEPS:
        return PEAK_RATE * (step + 1) / WARMUP_STEPS
    done = (step - WARMUP_STEPS) / max(1, num_steps - WARMUP_STEPS)
    return PEAK_RATE * (LAST_SHARE + (1 - LAST_SHARE) * 0.5 * (1 + math.cos(math.pi * done)))


def loss_and_accuracy(
    model: LlamaForCausalLM, ids: Tensor, positions: Tensor, weights: Tensor
) -> tuple[Tensor, float]:
    """Return the weighted mean loss, and the accuracy of the top prediction on answer tokens."""
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(input_ids=ids, position_ids=positions, use_cache=False).logits
    logits, targets, weights = logits[:, :-1].float(), ids[:, 1:], weights[:, 1:]
    losses = functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
    loss = (losses * weights.flatten()).sum() / weights.sum()
    right = (logits.argmax(-1) == targets)[weights == 1.0]
    return loss, right.float().mean().item()


def save_model(model: LlamaForCausalLM, folder: Path) -> None:
    """Save in bfloat16, which takes half the bytes. Training continues in float32."""
    deepcopy(model).bfloat16().save_pretrained(folder)


def pretrain(model: LlamaForCausalLM, tokenizer: Tokenizer, num_steps: int, folder: Path) -> None:
    decayed = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=PEAK_RATE, betas=(0.9, 0.95), fused=True)
    started, recent = time.monotonic(), []
    model.train()
    for step, (ids, positions, weights) in enumerate(batches(tokenizer)):
        for group in optimizer.param_groups:
            group["lr"] = rate_at(step, num_steps)
        loss, accuracy = loss_and_accuracy(model, ids, positions, weights)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        recent.append((loss.item(), accuracy))
        if (step + 1) % 100 == 0 or step + 1 == num_steps:
            mean_loss, mean_accuracy = (
                sum(column) / len(recent) for column in zip(*recent, strict=True)
            )
            seconds = time.monotonic() - started
            print(f"{step + 1} {seconds:.0f}s {mean_loss:.4f} {mean_accuracy:.4f}", flush=True)
            recent.clear()
            save_model(model, folder)
        if step + 1 == num_steps:
            return


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "models/tunesmith-tiny")
    parser.add_argument("--steps", type=int, default=2400)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(args.threads)
    torch.manual_seed(SEED)
    tokenizer = build_tokenizer()
    save_tokenizer(tokenizer, args.out)
    model = build_model(tokenizer)
    print(f"{model.num_parameters():,} parameters, {tokenizer.get_vocab_size()} tokens", flush=True)
    pretrain(model, tokenizer, args.steps, args.out)


if __name__ == "__main__":
    main()
