"""python -m worker.training.compare BASE_DIR ADAPTER_DIR ROWS.json: what an adapter learned.

Loads a downloaded adapter, unmodified, onto a base folder, generates an answer to every row with
and without it, and counts exact matches with the expected answers.
"""

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from app.core.datasets.formats import Row
from app.core.datasets.tokens.templates import is_chat

_SHOWN = 3
_SLACK = 8
"""Tokens an answer may exceed the longest expected one by before it is cut."""


def main(arguments: Sequence[str] | None = None) -> None:
    options = parser().parse_args(arguments)
    from worker.training.__main__ import ENVIRONMENT

    os.environ.update(ENVIRONMENT)
    rows = read_rows(options.rows)[: options.limit]
    result = compare(options.base, options.adapter, rows, options.quantization)
    show(result)
    if options.json:
        options.json.write_text(json.dumps(result, indent=2, ensure_ascii=False), encoding="utf-8")


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m worker.training.compare")
    made.add_argument("base", type=Path, help="folder of the base model")
    made.add_argument("adapter", type=Path, help="folder of a downloaded adapter")
    made.add_argument("rows", type=Path, help="Alpaca rows: a JSON array or JSON lines")
    made.add_argument("--limit", type=int, help="use only the first LIMIT rows")
    made.add_argument("--quantization", choices=["none", "int8", "nf4"], default="none")
    made.add_argument("--json", type=Path, help="also write the result to this file")
    return made


def read_rows(path: Path) -> list[Row]:
    text = path.read_text(encoding="utf-8")
    if text.lstrip().startswith("["):
        rows: list[Row] = json.loads(text)
        return rows
    return [json.loads(line) for line in text.splitlines() if line.strip()]


def compare(
    base_dir: Path, adapter_dir: Path, rows: Sequence[Row], quantization: str = "none"
) -> dict[str, Any]:
    """Return {rows, exact_match_base, exact_match_adapter (shares), examples (all answers)}."""
    from peft import PeftModel
    from transformers import AutoTokenizer

    from worker.training.data import prompt_texts
    from worker.training.samples import generate

    tokenizer = AutoTokenizer.from_pretrained(adapter_dir, local_files_only=True)
    model = PeftModel.from_pretrained(load(base_dir, quantization), adapter_dir).eval()
    name = json.loads((adapter_dir / "prompt_template.json").read_text(encoding="utf-8"))["name"]
    prompts = prompt_texts(rows, name, tokenizer)
    expected = [row.get("output", "").strip() for row in rows]
    longest = max(len(ids) for ids in tokenizer(expected, add_special_tokens=False)["input_ids"])
    options: dict[str, Any] = {"special": not is_chat(name), "max_new_tokens": longest + _SLACK}
    with model.disable_adapter():
        before = generate(model, tokenizer, prompts, **options)
    after = generate(model, tokenizer, prompts, **options)
    examples = [
        {"prompt": row.get("instruction", ""), "expected": answer, "base": base, "adapter": tuned}
        for row, answer, base, tuned in zip(rows, expected, before, after, strict=True)
    ]
    return {
        "rows": len(rows),
        "exact_match_base": share(examples, "base"),
        "exact_match_adapter": share(examples, "adapter"),
        "examples": examples,
    }


def load(base_dir: Path, quantization: str) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    from worker.training.configs import bits_and_bytes
    from worker.training.model import keep_weights_as_loaded

    on_gpu = torch.cuda.is_available()
    model = AutoModelForCausalLM.from_pretrained(
        base_dir,
        dtype=torch.bfloat16 if on_gpu else torch.float32,
        quantization_config=bits_and_bytes(quantization, bf16=on_gpu),
        device_map={"": "cuda" if on_gpu else "cpu"},
        use_safetensors=True,
        local_files_only=True,
        trust_remote_code=False,
    )
    keep_weights_as_loaded(model)
    return model


def share(examples: Sequence[dict[str, str]], side: str) -> float:
    return sum(each[side] == each["expected"] for each in examples) / len(examples)


def show(result: dict[str, Any]) -> None:
    for each in result["examples"][:_SHOWN]:
        for name in ("prompt", "expected", "base", "adapter"):
            print(f"{name:>9}  {' '.join(each[name].split())[:100]}")
        print()
    before, after = result["exact_match_base"], result["exact_match_adapter"]
    print(f"exact match over {result['rows']} rows: {before:.1%} before, {after:.1%} after")


if __name__ == "__main__":
    main()
