"""Chat templates of the tests, and rows rendered by them."""

import json
from pathlib import Path
from typing import Any

from app.core.datasets.layout import program
from app.core.datasets.layout.figures import FiguresRequest
from app.core.datasets.tokens.encoding import IGNORED, encode
from app.core.datasets.tokens.tokenizer import RowTokenizer
from app.core.jobs.spec import JobSpec

HEAD = "{% for t in tools or [] %}{{ t | tojson }}\n{% endfor %}"
TEXT = "<{{ m.role }}>{{ m.content }}"
CALLS = "{% for c in m.tool_calls or [] %}<call>{{ c.function | tojson }}</call>{% endfor %}"
END = "{{ eos_token }}\n"
ASKED = "{% if add_generation_prompt %}<assistant>{% endif %}"


def speech(body: str, head: str = HEAD) -> str:
    return f"{head}{{% for m in messages %}}{body}{END}{{% endfor %}}{ASKED}"


def spans(row: Any, template: str, tokenizer: RowTokenizer, train_on: str = "completion"):
    """The trained texts of a row, and the text of all its tokens."""
    speaks = tokenizer.with_chat_template(template)
    (example,) = encode([(0, row)], "chat", train_on, speaks)
    found: list[list[int]] = [[]]
    for label in example.labels:
        found = [*found, []] if label == IGNORED and found[-1] else found
        found[-1] += [] if label == IGNORED else [label]
    texts = [speaks.decode(each) for each in found if each]
    return texts, speaks.decode(example.input_ids), example


def laid(base: Path, tmp_path: Path, rows: list[Any], template: str, chat: str | None):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    training = {"max_length": 512}
    train_on = "all" if template == "text" else "completion"
    given = {"model": "tiny", "dataset": "ds", "template": template, "train_on": train_on}
    spec = JobSpec.model_validate({**given, "training": training})
    return program.answer(FiguresRequest(spec=spec, chat_template=chat), base, path, None), spec
