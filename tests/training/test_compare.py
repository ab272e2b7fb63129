import json
import time

import pytest

from app.core.datasets.formats import Row
from worker.training import compare

ROWS = [
    {"instruction": ask * 3, "output": answer}
    for ask, answer in {"a": "red", "b": "blue", "c": "dark green", "d": "off"}.items()
]


@pytest.fixture(scope="module")
def learned(shared_bench):
    """An adapter that has memorized four answers."""
    plan = shared_bench.plan(
        ROWS,
        lora={"r": 32, "lora_alpha": 64, "lora_dropout": 0.0},
        training={
            "learning_rate": 1e-2,
            "num_train_epochs": 100,
            "packing": False,
            "per_device_train_batch_size": 4,
            "logging_steps": 10,
            "save_strategy": "no",
            "gradient_checkpointing": False,
        },
    )
    outcome = shared_bench.run(plan)
    assert outcome.status == 0
    return outcome


def test_it_counts_exact_answers_before_and_after(learned, tiny_base, tmp_path, capsys):
    rows, out = tmp_path / "rows.json", tmp_path / "out.json"
    rows.write_text(json.dumps(ROWS))

    adapter = learned.run_dir / "artifact"
    compare.main([str(tiny_base), str(adapter), str(rows), "--json", str(out)])

    result = json.loads(out.read_text())
    assert result["rows"] == 4
    assert result["exact_match_base"] == 0
    assert result["exact_match_adapter"] == 1
    assert result["examples"][2] == {
        "prompt": "ccc",
        "expected": "dark green",
        "base": result["examples"][2]["base"],
        "adapter": "dark green",
    }
    assert "0.0% before, 100.0% after" in capsys.readouterr().out


def test_json_lines_and_a_limit_are_taken_too(learned, tiny_base, tmp_path):
    rows, out = tmp_path / "rows.jsonl", tmp_path / "out.json"
    rows.write_text("\n".join(map(json.dumps, ROWS)))

    adapter = learned.run_dir / "artifact"
    compare.main([str(tiny_base), str(adapter), str(rows), "--limit", "2", "--json", str(out)])

    assert json.loads(out.read_text())["rows"] == 2


def test_a_batch_is_answered_as_each_row_alone_and_faster(learned, tiny_base):
    from peft import PeftModel
    from transformers import AutoTokenizer

    from worker.training.data import prompt_texts
    from worker.training.samples import generate

    adapter = learned.run_dir / "artifact"
    tokenizer = AutoTokenizer.from_pretrained(adapter)
    model = PeftModel.from_pretrained(compare.load(tiny_base, "none"), adapter).eval()
    rows: list[Row] = [
        {"instruction": f"Say {n}" + " please" * (n % 3), "output": ""} for n in range(24)
    ]
    texts = prompt_texts(rows, "alpaca", tokenizer)

    generate(model, tokenizer, texts[:2], max_new_tokens=1)  # what only the first calls cost
    generate(model, tokenizer, texts[:1], max_new_tokens=1)
    # CPU time: other test processes share the cores.
    started = time.process_time()
    together = generate(model, tokenizer, texts, max_new_tokens=12)
    middle = time.process_time()
    apart = [generate(model, tokenizer, [text], max_new_tokens=12)[0] for text in texts]
    ended = time.process_time()

    assert together == apart
    assert (ended - middle) > 2 * (middle - started)
