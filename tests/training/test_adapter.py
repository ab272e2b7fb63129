"""Which layers of which architecture get an adapter, and that such an adapter loads again."""

import io
import json
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.training.bench import Bench
from worker.training import adapter, prepare
from worker.training.configs import lora_config
from worker.training.export import write_adapter
from worker.training.failures import BadTarget
from worker.training.model import load_base
from worker.training.reporter import Reporter

SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
    "bos_token_id": 0,
    "eos_token_id": 0,
}
FEW_EXPERTS: dict[str, Any] = {
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
}
EXPERTS = ["mlp.experts.down_proj", "mlp.experts.gate_up_proj"]


def gpt2(size: int) -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    shape: dict[str, Any] = {
        "n_embd": 32,
        "n_layer": 2,
        "n_head": 4,
        "bos_token_id": 0,
        "eos_token_id": 0,
    }
    return GPT2LMHeadModel(GPT2Config(**shape, vocab_size=size))


def mamba(size: int) -> Any:
    from transformers import MambaConfig, MambaForCausalLM

    shape: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 4}
    marks: dict[str, Any] = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
    return MambaForCausalLM(MambaConfig(**shape, **marks, vocab_size=size))


def mixtral(size: int) -> Any:
    from transformers import MixtralConfig, MixtralForCausalLM

    return MixtralForCausalLM(MixtralConfig(**SMALL, num_local_experts=4, vocab_size=size))


def qwen2_moe(size: int) -> Any:
    from transformers import Qwen2MoeConfig, Qwen2MoeForCausalLM

    config = Qwen2MoeConfig(
        **SMALL, **FEW_EXPERTS, shared_expert_intermediate_size=16, vocab_size=size
    )
    return Qwen2MoeForCausalLM(config)


def qwen3_moe(size: int) -> Any:
    from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

    more: dict[str, Any] = {"head_dim": 8}
    config = Qwen3MoeConfig(**SMALL, **FEW_EXPERTS, **more, vocab_size=size)
    return Qwen3MoeForCausalLM(config)


def gpt_oss(size: int) -> Any:
    from transformers import GptOssConfig, GptOssForCausalLM

    experts: dict[str, Any] = {"num_local_experts": 4, "num_experts_per_tok": 2}
    return GptOssForCausalLM(GptOssConfig(**SMALL, **experts, head_dim=8, vocab_size=size))


def gemma3(size: int) -> Any:
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration

    vision: dict[str, Any] = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    vision |= {"num_attention_heads": 2, "image_size": 28, "patch_size": 14}
    config = Gemma3Config(
        text_config={**SMALL, "head_dim": 8, "vocab_size": size, "sliding_window": 64},
        vision_config=vision,
        mm_tokens_per_image=4,
        image_token_index=1,
        boi_token_index=1,
        eoi_token_index=1,
    )
    return Gemma3ForConditionalGeneration(config)


def saved(bench: Bench, tokenizer: Any, folder: Any, make: Any) -> Bench:
    torch.manual_seed(0)
    make(len(tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    bench.base = folder
    return bench


def names_of(model: Any) -> set[str]:
    return {name for name, each in model.named_parameters() if each.requires_grad}


@pytest.mark.parametrize("make", [gpt2, mixtral, qwen2_moe, gpt_oss, gemma3])
def test_a_base_of_another_build_trains_with_defaults_and_its_adapter_reloads(
    bench, tokenizer, tmp_path, make
):
    """The run itself proves that the adapter reloads: `verify.prove`."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    saved(bench, tokenizer, tmp_path / "base", make)

    outcome = bench.run(bench.plan(training={"max_steps": 2}))

    assert outcome.status == 0, outcome.of("error")
    artifact = outcome.run_dir / "artifact"
    config = json.loads((artifact / "adapter_config.json").read_text())
    names = list(load_file(artifact / "adapter_model.safetensors"))
    assert not any(".gate.lora" in name or "router" in name or "_gate." in name for name in names)
    assert not any("vision" in name or "multi_modal" in name for name in names)
    has_experts = make not in (gpt2, gemma3)
    assert config["target_parameters"] == (EXPERTS if has_experts else None)
    assert any("experts" in name for name in names) is has_experts
    assert ("experts_no_dropout" in outcome.warnings) is has_experts
    base = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    PeftModel.from_pretrained(base, artifact)


@pytest.mark.parametrize(
    ("make", "modules", "ends"),
    [
        (gpt2, ["c_attn"], {"attn.c_attn"}),
        (gemma3, ["q_proj"], {"self_attn.q_proj"}),
        (qwen3_moe, ["q_proj", "down_proj"], {"self_attn.q_proj", "mlp.experts"}),
    ],
)
def test_names_select_layers_that_text_passes(bench, make, modules, ends):
    from peft import get_peft_model

    base, plan = make(64), bench.plan(lora={"target_modules": modules})
    targets = adapter.choose(plan.spec.lora, base)
    model = get_peft_model(base, lora_config(plan, base, targets))

    trained = {name.partition(".lora_")[0] for name in names_of(model)}
    assert {".".join(name.split(".")[-2:]) for name in trained} == ends
    assert not any("vision" in name for name in trained)


def test_experts_have_no_dropout_and_other_layers_the_one_asked_for(bench):
    from peft import get_peft_model
    from peft.tuners.lora.layer import LoraLayer, ParamWrapper

    base, plan = mixtral(64), bench.plan(lora={"lora_dropout": 0.25})
    model = get_peft_model(base, lora_config(plan, base, adapter.choose(plan.spec.lora, base)))
    adapter.spread_dropout(model, 0.25)

    layers = [each for each in model.modules() if isinstance(each, LoraLayer)]
    assert {getattr(each.lora_dropout["default"], "p", 0.0) for each in layers} == {0.0, 0.25}
    for each in layers:
        assert isinstance(each, ParamWrapper) is not hasattr(each.lora_dropout["default"], "p")


@pytest.mark.parametrize("make", [mixtral, qwen2_moe, gpt_oss])
def test_experts_that_dora_cannot_train_are_named_with_their_share(bench, make):
    base, stream = make(64), io.BytesIO()

    targets = prepare.choose_targets(bench.plan(lora={"use_dora": True}), base, Reporter(stream))

    assert targets.parameters == []
    (warning,) = map(json.loads, stream.getvalue().splitlines())
    assert warning["data"]["code"] == "experts_frozen"
    experts = sum(each.numel() for name, each in base.named_parameters() if each.dim() == 3)
    share = experts / sum(each.numel() for each in base.parameters())
    assert f"{', '.join(EXPERTS)}), {share:.0%} of the weights" in warning["message"]


@pytest.mark.parametrize("modules", ["all-linear", ["out_proj"], ["dt_proj", "in_proj"]])
def test_mamba_is_refused_by_the_trainer_too(bench, modules):
    plan = bench.plan(lora={"target_modules": modules})

    with pytest.raises(BadTarget) as caught:
        adapter.choose(plan.spec.lora, mamba(64))

    assert "incompatible with Mamba-based models" in caught.value.report.message


def test_mamba_trains_with_the_layers_of_the_patch(bench, tokenizer, tmp_path):
    saved(bench, tokenizer, tmp_path / "base", mamba)

    outcome = bench.run(
        bench.plan(lora={"target_modules": ["in_proj", "x_proj"]}, training={"max_steps": 1})
    )

    assert outcome.status == 0, outcome.of("error")
    assert "packing_unsafe" in outcome.warnings


def test_what_peft_refuses_is_told_with_its_own_sentence():
    with pytest.raises(BadTarget) as caught, prepare.refusals_of_peft():
        raise ValueError("Target modules {'x'} not found in the base model.")

    assert "not found in the base model" in caught.value.report.evidence
    assert caught.value.report.class_ == "user"


def test_names_are_written_as_lists_and_nothing_else_by_its_text(bench, tmp_path):
    from peft import get_peft_model

    base, plan = mixtral(64), bench.plan()
    model = get_peft_model(base, lora_config(plan, base, adapter.choose(plan.spec.lora, base)))
    model.peft_config["default"].target_parameters = set(EXPERTS)
    write_adapter(tmp_path, plan, model)

    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["target_parameters"] == EXPERTS
    model.peft_config["default"].r = object()
    with pytest.raises(TypeError, match="object cannot be written as JSON"):
        write_adapter(tmp_path, plan, model)


@pytest.mark.parametrize("quantization", ["nf4", "int8"])
def test_experts_that_bitsandbytes_leaves_alone_keep_their_precision(
    bench, tokenizer, tmp_path, quantization
):
    saved(bench, tokenizer, tmp_path / "base", mixtral)
    plan = bench.plan(quantization=quantization, training={"precision": "bf16"})
    stream = io.BytesIO()

    base = load_base(plan, "cpu")
    prepare.choose_targets(plan, base, Reporter(stream))

    experts = adapter.stacked_experts(base)
    assert len(experts) == 4
    assert {base.get_parameter(name).dtype for name in experts} == {torch.bfloat16}
    codes = [json.loads(line)["data"]["code"] for line in stream.getvalue().splitlines()]
    assert codes == ["experts_no_dropout", "experts_not_quantized"]
