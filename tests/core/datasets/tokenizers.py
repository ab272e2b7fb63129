"""Small tokenizers of several kinds, made without transformers."""

from collections.abc import Sequence
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from app.core.datasets.tokens.tokenizer import RowTokenizer

SPECIAL = ["<unk>", "<s>", "</s>"]
WORDS = (
    "the prompt says hi and the answer says seven or eight: <|a|><|b|>\n\n<|user|>\n four\n\n ok"
)
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def gpt2(marks: Sequence[str] = ()) -> RowTokenizer:
    """Byte-level BPE with the regular expression of GPT-2, which joins punctuation."""
    return _byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False), marks)


def prefixing(marks: Sequence[str] = ()) -> RowTokenizer:
    """Byte-level BPE that puts a space before each text."""
    return _byte_level(pre_tokenizers.ByteLevel(add_prefix_space=True), marks)


def split_first(marks: Sequence[str] = ()) -> RowTokenizer:
    """Like Llama 3: the regular expression splits, byte-level encoding follows."""
    split = pre_tokenizers.Split(Regex(GPT2), "isolated")
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return _byte_level(pre_tokenizers.Sequence([split, level]), marks)


def metaspace(marks: Sequence[str] = (), *, scheme: str = "always") -> RowTokenizer:
    """Like SentencePiece: a space belongs to the word after it, and a text begins with one."""
    core = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    core.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    given = [*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=500, special_tokens=given, show_progress=False)
    core.train_from_iterator([WORDS] * 5, trainer)
    bare = core.to_str()
    made = Tokenizer.from_str(bare)
    return _with_marks(made, marks)


def metaspace_first(marks: Sequence[str] = ()) -> RowTokenizer:
    """Like SentencePiece in newer models: no space after a mark."""
    return metaspace(marks, scheme="first")


def _byte_level(splitter: Any, marks: Sequence[str]) -> RowTokenizer:
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = splitter
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=SPECIAL,
        show_progress=False,
    )
    core.train_from_iterator([WORDS] * 5, trainer)
    return _with_marks(core, marks)


def _with_marks(core: Tokenizer, marks: Sequence[str]) -> RowTokenizer:
    core.add_special_tokens([AddedToken(each, normalized=False) for each in marks])
    return RowTokenizer(core, {"bos_token": "<s>", "eos_token": "</s>"}, None)
