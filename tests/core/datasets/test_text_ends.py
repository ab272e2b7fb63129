"""A text that brings its own BOS or EOS has one of each, whatever its tokenizer adds."""

from typing import Any

import pytest
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, processors

from app.core.datasets.tokens.encoding import encode
from app.core.datasets.tokens.tokenizer import RowTokenizer
from tests.core.datasets import tokenizers

WORDS = ["<s>", "</s>", "<unk>", "<n>", "hi", "hello", "[INST]", "[/INST]", "\n"]
BOS, EOS, HI, HELLO = 0, 1, 4, 5


def tokenizer(adds: str, *, bos: str = "<s>", strips: bool = False) -> Any:
    core = Tokenizer(models.WordLevel({word: at for at, word in enumerate(WORDS)}, "<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    core.add_special_tokens([AddedToken(each, lstrip=strips) for each in ("<s>", "</s>")])
    special = [("<s>", BOS), ("</s>", EOS)]
    core.post_processor = processors.TemplateProcessing(single=adds, special_tokens=special)
    return RowTokenizer(core, {"bos_token": bos, "eos_token": "</s>"}, None)


def ids_of(text: str, made: Any) -> list[int]:
    (example,) = encode([(0, {"text": text})], "text", "all", made)
    assert example.labels == example.input_ids
    return example.input_ids


ONE_EACH = [BOS, HI, HELLO, EOS]


@pytest.mark.parametrize("strips", [True, False])
@pytest.mark.parametrize("adds", ["<s> $A", "<s> $A </s>"])
@pytest.mark.parametrize(
    "text",
    [
        *("hi hello", "<s>hi hello", "<s> hi hello </s>", "hi hello</s>", "hi hello </s>\n"),
        *(" <s>hi hello", "\n\n<s> hi hello</s> \n"),
    ],
)
def test_a_text_has_one_bos_and_one_eos(text, adds, strips):
    assert ids_of(text, tokenizer(adds, strips=strips)) == ONE_EACH


def test_the_text_of_the_issue_begins_with_one_bos():
    ids = ids_of("<s>[INST] hi [/INST] hello </s>", tokenizer("<s> $A"))

    assert ids == [BOS, 6, HI, 7, HELLO, EOS]


def test_a_bos_that_the_tokenizer_does_not_add_stays_as_it_is():
    assert ids_of("<s><s> hi", tokenizer("$A")) == [BOS, BOS, HI, EOS]
    assert ids_of("hi", tokenizer("$A")) == [HI, EOS]


def test_a_bos_and_an_eos_inside_a_text_are_its_own():
    ids = ids_of("<s>hi</s><s>hello</s>", tokenizer("<s> $A </s>"))

    assert ids == [BOS, HI, EOS, BOS, HELLO, EOS]


def test_where_bos_and_eos_are_one_token_a_text_begins_with_one():
    made = tokenizer("</s> $A", bos="</s>")

    assert ids_of("</s>hi", made) == ids_of("hi", made) == [EOS, HI, EOS]


@pytest.mark.parametrize("train_on", ["completion", "all"])
def test_an_answer_that_brings_its_eos_has_one(train_on):
    row: Any = {"instruction": "hi", "output": "hello </s>"}

    (example,) = encode([(0, row)], "alpaca", train_on, tokenizer("<s> $A </s>"))

    assert example.input_ids[-2:] == [HELLO, EOS]
    assert example.input_ids.count(EOS) == example.input_ids.count(BOS) == 1


@pytest.mark.parametrize("text", ["hi", "hi</s>", "hi</s>\n", "<s>hi</s> \n", "\n<s>hi\n</s>\n\n"])
def test_white_space_behind_its_own_eos_makes_no_second_one(text):
    """With a tokenizer that has tokens for white space."""
    made = tokenizers.gpt2()
    special = [("<s>", 1), ("</s>", 2)]
    made.core.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=special
    )

    ids = ids_of(text, made)

    assert (ids.count(1), ids.count(2)) == (1, 1)
    assert (ids[0], ids[-1]) == (1, 2)
