"""The API, without transformers, produces the same tokens as the trainer, with transformers."""

import json
from typing import Any

import pytest

from app.core.datasets.tokens.chat import TemplateFailed
from app.core.datasets.tokens.encoding import encode
from app.core.datasets.tokens.tokenizer import RowTokenizer
from app.core.jobs.spec import JobSpec
from tests.layouts import alone
from worker.training.data import load_splits, row_tokenizer
from worker.training.packing import padded

TEXTS = [
    "one two  three\n\nfour",
    " leading",
    "trailing \n",
    "caf\u00e9 \U0001f600",
    "<s>x</s>",
    "",
]
MESSAGES = [
    {"role": "system", "content": "Be <brief> & kind."},
    {"role": "user", "content": "Hi\n"},
    {"role": "assistant", "content": "hello"},
    {"role": "user", "content": "And?"},
]
TEMPLATES = [
    "{% for m in messages %}\n  <|{{ m.role }}|>{{ m.content | trim }}{{ eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}{{ '  ' }}<|assistant|>{% endif %}",
    "{{ bos_token }}{% for m in messages %}{% if loop.first %}{% continue %}{% endif %}"
    "{{ m | tojson }}{% endfor %}",
    "{%- set ns = namespace(n=0) -%}{% for m in messages %}{% set ns.n = ns.n + 1 %}"
    "{% if m.role == 'assistant' %}{% generation %}{{ m['content'] }}{{ eos_token }}"
    "{% endgeneration %}{% else %}[{{ ns.n }}]{{ m.content }}{% endif %}{% endfor %}"
    "{% if tools is none %}!{% endif %}",
    "{{ strftime_now('%Y') }}{{ messages[1:] | map(attribute='content') | join('|') }}",
]
ROWS: list[Any] = [
    {"instruction": "Say hi", "output": "hi"},
    {"instruction": "Say it", "input": "caf\u00e9", "output": "so", "system": "Be brief."},
    {"instruction": "Go on", "output": "on", "history": [["Say a", "a"], ["Say b", "b"]]},
]


def byte_level() -> Any:
    from tests.training.bench import make_tokenizer

    return make_tokenizer()


def metaspace_with_bos() -> Any:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE(unk_token="<unk>"))
    core.normalizer = normalizers.NFC()
    core.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<unk>", "<s>", "</s>"]
    trainer = trainers.BpeTrainer(vocab_size=120, special_tokens=special, show_progress=False)
    core.train_from_iterator([*TEXTS, "say hi to one or two"] * 5, trainer)
    core.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


def ends_with_eos() -> Any:
    from tokenizers import processors

    tokenizer = byte_level()
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", tokenizer.eos_token_id)]
    )
    return tokenizer


@pytest.fixture(params=[byte_level, metaspace_with_bos, ends_with_eos], ids=lambda f: f.__name__)
def both(request, tmp_path):
    """(transformers' tokenizer, ours), from one folder."""
    from transformers import AutoTokenizer

    made = request.param()
    made.chat_template = TEMPLATES[0]
    made.save_pretrained(tmp_path)
    return AutoTokenizer.from_pretrained(tmp_path), RowTokenizer.from_folder(tmp_path)


@pytest.mark.parametrize("special", [True, False])
def test_ids_are_those_of_transformers(both, special):
    theirs, ours = both

    assert (
        ours.ids(TEXTS, special=special) == theirs(TEXTS, add_special_tokens=special)["input_ids"]
    )
    assert (ours.eos_id, ours.eos_token) == (theirs.eos_token_id, theirs.eos_token)


@pytest.mark.parametrize("prompt", [True, False])
@pytest.mark.parametrize("template", TEMPLATES)
def test_a_chat_is_rendered_as_transformers_does(both, template, prompt):
    theirs, _ = both
    theirs.chat_template = template

    expected = theirs.apply_chat_template(MESSAGES, tokenize=False, add_generation_prompt=prompt)

    ours = row_tokenizer(theirs)
    assert ours.render(MESSAGES, add_generation_prompt=prompt) == expected


@pytest.mark.parametrize("train_on", ["completion", "all"])
@pytest.mark.parametrize("template", ["alpaca", "chat"])
def test_what_a_preview_shows_is_what_the_trainer_collates(
    bench, both, tmp_path, template, train_on
):
    theirs, ours = both
    plan = bench.plan(ROWS, template=template, train_on=train_on, training={"max_length": 512})

    splits = load_splits(plan, theirs)

    assert not splits.counts.unlike_prompt
    batch = padded(alone(splits.train, 512), 0)
    shown = encode(list(enumerate(ROWS)), template, train_on, ours)
    for at, example in enumerate(shown):
        size = len(example.input_ids)
        assert batch["input_ids"][at, :size].tolist() == example.input_ids
        # No model predicts a row's first token.
        assert batch["labels"][at, 1:size].tolist() == example.labels[1:]
        assert ours.decode(example.input_ids[-1:]) == "</s>"


def test_a_tokenizer_that_reads_otherwise_from_its_files_is_told(bench, tokenizer):
    from worker.training.data import differs_from_folder

    other = metaspace_with_bos()
    spec: JobSpec = bench.plan().spec
    rows = list(enumerate(ROWS))

    assert differs_from_folder(rows, spec, other, bench.base)
    assert not differs_from_folder(rows, spec, tokenizer, bench.base)


def flagged(content: str, **flags: bool) -> dict[str, Any]:
    return {"content": content, "lstrip": False, "rstrip": False, "normalized": False} | flags


@pytest.mark.parametrize(
    "files",
    [
        {"tokenizer_config.json": {"additional_special_tokens": ["<|in|>", "<|out|>"]}},
        {"tokenizer_config.json": {"extra_special_tokens": ["<|in|>", "<|out|>"]}},
        {"tokenizer_config.json": {"extra_special_tokens": {"image_token": "<|in|>"}}},
        {"tokenizer_config.json": {"image_token": "<|in|>"}},
        {"tokenizer_config.json": {"added_tokens_decoder": {"500": flagged("<|in|>")}}},
        {"tokenizer_config.json": {"eos_token": {"__type": "AddedToken", **flagged("<|in|>")}}},
        {"special_tokens_map.json": {"eos_token": flagged("<|in|>", lstrip=True)}},
        {"special_tokens_map.json": {"additional_special_tokens": ["<|out|>", "<|in|>"]}},
        {"added_tokens.json": {"<|in|>": 501, "<|out|>": 500}},
    ],
    ids=lambda files: "-".join(f"{name[:-5]}-{'-'.join(each)}" for name, each in files.items()),
)
def test_tokens_that_only_other_files_name_are_those_of_transformers(tmp_path, files):
    from transformers import AutoTokenizer

    byte_level().save_pretrained(tmp_path)
    for name, content in files.items():
        path = tmp_path / name
        found = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps(found | content))
    texts = [" x <|in|> hello<|out|>", "</s>"]

    theirs, ours = AutoTokenizer.from_pretrained(tmp_path), RowTokenizer.from_folder(tmp_path)

    assert ours.ids(texts, special=True) == theirs(texts)["input_ids"]
    assert ours.special_tokens == theirs.special_tokens_map
    assert ours.eos_id == theirs.eos_token_id


def test_a_row_that_a_template_refuses_is_named(both):
    _, ours = both
    picky = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}x"

    with pytest.raises(TemplateFailed, match=r"^Row 1: .*no system"):
        encode(list(enumerate(ROWS)), "chat", "completion", ours.with_chat_template(picky))
