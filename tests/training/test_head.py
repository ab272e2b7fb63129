"""Losses are those of the model's own logits, also where TRL's fused head would give others."""

import io
import json
from typing import Any

import pytest
import torch

from tests.layouts import alone
from tests.training.bench import Bench
from worker.training import head, prepare, verify
from worker.training.data import load_splits
from worker.training.failures import AdapterMismatch
from worker.training.reporter import Reporter
from worker.training.trainer import Tally

SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "initializer_range": 0.2,
    "pad_token_id": 0,
}


def modernbert(size: int) -> Any:
    from transformers import ModernBertDecoderConfig, ModernBertDecoderForCausalLM

    marks: dict[str, Any] = dict.fromkeys(
        ("eos_token_id", "bos_token_id", "cls_token_id", "sep_token_id"), 0
    )
    more: dict[str, Any] = {"tie_word_embeddings": False, "global_attn_every_n_layers": 1}
    config = ModernBertDecoderConfig(**SMALL, **more, **marks, vocab_size=size)
    return ModernBertDecoderForCausalLM(config)


def recurrent_gemma(size: int) -> Any:
    from transformers import RecurrentGemmaConfig, RecurrentGemmaForCausalLM

    more: dict[str, Any] = {
        "num_key_value_heads": 1,
        "lru_width": 32,
        "logits_soft_cap": 2.0,
        "head_dim": 8,
    }
    return RecurrentGemmaForCausalLM(RecurrentGemmaConfig(**SMALL, **more, vocab_size=size))


def gemma2(size: int) -> Any:
    from transformers import Gemma2Config, Gemma2ForCausalLM

    more: dict[str, Any] = {"num_key_value_heads": 2, "head_dim": 8, "final_logit_softcapping": 2.0}
    return Gemma2ForCausalLM(Gemma2Config(**SMALL, **more, vocab_size=size))


def granite(size: int) -> Any:
    from transformers import GraniteConfig, GraniteForCausalLM

    more: dict[str, Any] = {"num_key_value_heads": 2, "logits_scaling": 4.0}
    return GraniteForCausalLM(GraniteConfig(**SMALL, **more, vocab_size=size))


def biased(size: int) -> Any:
    """A model that adds something of its own to the logits."""
    model = gemma2(size)
    model.config.final_logit_softcapping = None
    plain = type(model).forward

    class Shifted(type(model)):  # type: ignore[misc]
        def forward(self, *args: Any, **kwargs: Any) -> Any:
            outputs = plain(self, *args, **kwargs)
            outputs.logits = outputs.logits + torch.arange(outputs.logits.shape[-1]) / 50
            return outputs

    model.__class__ = Shifted
    return model


def built(bench: Bench, tokenizer: Any, folder: Any, make: Any) -> tuple[Any, Any]:
    plan = bench.plan(
        lora={"lora_dropout": 0.0}, training={"packing": False, "gradient_checkpointing": False}
    )
    splits = load_splits(plan, tokenizer)
    torch.manual_seed(0)
    base = make(len(tokenizer))
    laid = prepare.Laid(alone(splits.train, 96), [], None)
    trainer = prepare.build_trainer(plan, folder, "cpu", base, tokenizer, laid, Tally())
    return trainer, splits.train


@pytest.mark.parametrize(
    ("make", "is_fused"),
    [
        (modernbert, False),
        (recurrent_gemma, False),
        (biased, False),
        (gemma2, True),
        (granite, True),
    ],
)
def test_the_loss_is_that_of_the_models_own_logits(bench, tokenizer, tmp_path, make, is_fused):
    trainer, examples = built(bench, tokenizer, tmp_path, make)
    stream = io.BytesIO()

    head.choose(trainer, examples, "fp32", Reporter(stream))

    codes = [json.loads(line)["data"]["code"] for line in stream.getvalue().splitlines()]
    assert codes == ([] if is_fused else ["head_not_fused"])
    sequence = alone(examples[1:2], 96)[0]
    trainer.model.eval()
    loss = trainer.compute_loss(trainer.model, trainer.data_collator([vars(sequence)]))
    ids, labels = torch.tensor([sequence.input_ids]), torch.tensor(sequence.labels[1:])
    logits = trainer.model(input_ids=ids, use_cache=False).logits[0, :-1]
    want = torch.nn.functional.cross_entropy(logits, labels)
    assert loss.item() == pytest.approx(want.item(), rel=1e-4)
    loss.backward()
    assert any(each.grad is not None and each.grad.abs().max() > 0 for each in trainer._trained())
    if not is_fused:
        expected = verify.reference(trainer.model, examples)
        reported = verify.reported(trainer, examples)
        verify.prove_reported(expected, examples, reported, 1e-4)
        with pytest.raises(AdapterMismatch, match="not those of the model's own logits"):
            verify.prove_reported(expected, examples, [each + 0.5 for each in reported], 1e-4)


def test_a_whole_run_reports_losses_of_plain_logits(bench, tokenizer, tmp_path):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    folder = tmp_path / "base"
    torch.manual_seed(0)
    modernbert(len(tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    bench.base = folder
    plan = bench.plan(validation={"fraction": 0.3}, training={"packing": False})

    outcome = bench.run(plan)

    assert (outcome.status, outcome.warnings) == (0, ["memory_unknown", "head_not_fused"])
    base = AutoModelForCausalLM.from_pretrained(folder)
    model = PeftModel.from_pretrained(base, outcome.run_dir / "artifact").eval()
    total = tokens = 0.0
    for each in load_splits(plan, tokenizer).held_out:
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([each.input_ids])).logits[0, :-1]
        labels = torch.tensor(each.labels[1:])
        total += torch.nn.functional.cross_entropy(logits, labels, reduction="sum").item()
        tokens += each.num_trained
    reported = outcome.of("eval")[-1]["values"]["valid_loss"]
    assert reported == pytest.approx(total / tokens, rel=1e-4)


def test_a_batch_without_labels_has_a_loss_of_zero(bench, tokenizer, tmp_path):
    trainer, examples = built(bench, tokenizer, tmp_path, gemma2)
    head.use_plain_logits(trainer.model.get_base_model())
    ids = torch.tensor([examples[0].input_ids])

    outputs = trainer.model(input_ids=ids, labels=torch.full_like(ids, -100), fused_lm_head=True)

    assert outputs.log_probs.sum().item() == 0.0
    assert outputs.loss.item() == 0.0
