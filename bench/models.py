"""Base models of 10 to 130 million random weights, each dominated by a different part of memory."""

import json
from pathlib import Path
from typing import Any

from app.core.datasets.tokens.templates import alpaca_prompt

LLAMA = "llama"
SIZES: dict[str, dict[str, Any]] = {
    # hidden, intermediate, layers, heads, kv heads, vocabulary
    "wide": {"kind": "llama", "sizes": (768, 2048, 8, 12, 4, 4000)},
    "vocab": {"kind": "llama", "sizes": (384, 1024, 4, 6, 6, 48000)},
    "deep": {"kind": "llama", "sizes": (256, 704, 24, 4, 4, 1000)},
    "large": {"kind": "llama", "sizes": (1024, 2816, 9, 16, 16, 8000), "dtype": "bfloat16"},
    "gpt2": {"kind": "gpt2", "sizes": (512, 2048, 8, 8, 8, 8000)},
    "qwen": {"kind": "qwen3", "sizes": (640, 1792, 10, 10, 2, 16000), "dtype": "bfloat16"},
}


def make_model(name: str, folder: Path) -> Path:
    """A model folder in Hugging Face layout, created once."""
    path = folder / name
    if (path / "model.safetensors").is_file():
        return path
    import torch
    from transformers import AutoModelForCausalLM as Model
    from transformers import GPT2Config, LlamaConfig, Qwen3Config

    hidden, inner, layers, heads, kv_heads, vocab = SIZES[name]["sizes"]
    tokens: dict[str, Any] = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
    config: Any
    if SIZES[name]["kind"] == "gpt2":
        config = GPT2Config(
            n_embd=hidden, n_inner=inner, n_layer=layers, n_head=heads, vocab_size=vocab,
            n_positions=2048, **tokens,
        )  # fmt: skip
    else:
        make: Any = LlamaConfig if SIZES[name]["kind"] == "llama" else Qwen3Config
        config = make(
            hidden_size=hidden, intermediate_size=inner, num_hidden_layers=layers,
            num_attention_heads=heads, num_key_value_heads=kv_heads, vocab_size=vocab,
            head_dim=hidden // heads, max_position_embeddings=2048, tie_word_embeddings=False,
            **tokens,
        )  # fmt: skip
    torch.manual_seed(0)
    model: Any = Model.from_config(config)
    model.to(getattr(torch, SIZES[name].get("dtype", "float32"))).save_pretrained(path)
    make_tokenizer().save_pretrained(path)
    return path


def make_tokenizer() -> Any:
    """A byte-level tokenizer with 420 tokens: even short rows have many tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<s>", "</s>", "<pad>"],
        show_progress=False,
    )
    core.train_from_iterator([alpaca_prompt({"instruction": "x"})] * 5, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )


def write_rows(path: Path, count: int, letters: int) -> int:
    """Write rows whose outputs have up to `letters` letters, at about one token per letter."""
    sizes = [letters - letters * (number % 7) // 8 for number in range(count)]
    rows = [{"instruction": f"Say {n}", "output": "a b" * (n // 3)} for n in sizes]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return count
