"""Model folders with headers only: sparse files of the right length, without weights."""

import json
from math import prod
from pathlib import Path
from typing import Any

LLAMA_7B = {
    "model_type": "llama", "hidden_size": 4096, "intermediate_size": 11008,
    "num_hidden_layers": 32, "num_attention_heads": 32, "vocab_size": 32000,
    "tie_word_embeddings": False,
}  # fmt: skip
GPT2 = {"model_type": "gpt2", "n_embd": 768, "n_layer": 12, "n_head": 12, "vocab_size": 50257}


def llama_tensors(config: dict[str, Any], *, head: bool = True) -> dict[str, tuple[int, ...]]:
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    dim = config.get("head_dim", hidden // config["num_attention_heads"])
    queries = dim * config["num_attention_heads"]
    keys = dim * config.get("num_key_value_heads", config["num_attention_heads"])
    tensors: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (config["vocab_size"], hidden),
        "model.norm.weight": (hidden,),
    }
    if head:
        tensors["lm_head.weight"] = (config["vocab_size"], hidden)
    for number in range(config["num_hidden_layers"]):
        stem = f"model.layers.{number}"
        tensors |= {
            f"{stem}.self_attn.q_proj.weight": (queries, hidden),
            f"{stem}.self_attn.k_proj.weight": (keys, hidden),
            f"{stem}.self_attn.v_proj.weight": (keys, hidden),
            f"{stem}.self_attn.o_proj.weight": (hidden, queries),
            f"{stem}.mlp.gate_proj.weight": (inner, hidden),
            f"{stem}.mlp.up_proj.weight": (inner, hidden),
            f"{stem}.mlp.down_proj.weight": (hidden, inner),
            f"{stem}.input_layernorm.weight": (hidden,),
            f"{stem}.post_attention_layernorm.weight": (hidden,),
        }
    return tensors


def gpt2_tensors(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    wide = config["n_embd"]
    tensors: dict[str, tuple[int, ...]] = {
        "wte.weight": (config["vocab_size"], wide),
        "wpe.weight": (1024, wide),
    }
    for number in range(config["n_layer"]):
        stem = f"h.{number}"
        tensors |= {
            f"{stem}.attn.bias": (1, 1, 1024, 1024),
            f"{stem}.attn.c_attn.weight": (wide, 3 * wide),
            f"{stem}.attn.c_attn.bias": (3 * wide,),
            f"{stem}.attn.c_proj.weight": (wide, wide),
            f"{stem}.mlp.c_fc.weight": (wide, 4 * wide),
            f"{stem}.mlp.c_proj.weight": (4 * wide, wide),
            f"{stem}.ln_1.weight": (wide,),
        }
    return tensors


def write(folder: Path, config: dict[str, Any], tensors: dict[str, tuple[int, ...]]) -> Path:
    """Write tensors as bf16; their data is a hole in the file."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    header, end = {}, 0
    for name, shape in tensors.items():
        begin, end = end, end + 2 * prod(shape)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [begin, end]}
    raw = json.dumps(header).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(raw).to_bytes(8, "little") + raw)
        file.truncate(8 + len(raw) + end)
    return folder
