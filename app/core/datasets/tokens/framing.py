"""Token ids of texts with the BOS and EOS that the tokenizer adds, each once."""

from collections.abc import Sequence

from app.core.datasets.tokens.tokenizer import RowTokenizer


def framed(texts: Sequence[str], tokenizer: RowTokenizer) -> list[list[int]]:
    """Encode texts with special tokens. A BOS or EOS that a text brings itself is not added."""
    begins, ends = _added(tokenizer)
    if not (begins or ends):
        return tokenizer.ids(texts, special=True)
    bare = [_closed(_begun(each, begins, tokenizer), ends, tokenizer) for each in texts]
    found = tokenizer.ids(bare, special=True)
    return [_once(ids, begins, ends, tokenizer) for ids in found]


def _added(tokenizer: RowTokenizer) -> tuple[bool, bool]:
    """Return whether the tokenizer adds a BOS, and whether it adds an EOS."""
    (added,) = tokenizer.ids([""], special=True)
    begins = tokenizer.bos_id is not None and added[:1] == [tokenizer.bos_id]
    return begins, added[begins:][-1:] == [tokenizer.eos_id]


def _begun(text: str, begins: bool, tokenizer: RowTokenizer) -> str:
    """Remove white space before a BOS, which would stand between two of them."""
    bare = text.lstrip()
    bos = None if tokenizer.core.encode_special_tokens else tokenizer.bos_token
    return bare if begins and bos and bare.startswith(bos) else text


def _closed(text: str, ends: bool, tokenizer: RowTokenizer) -> str:
    """Remove white space after an EOS, for the same reason."""
    bare = text.rstrip()
    eos = None if tokenizer.core.encode_special_tokens else tokenizer.eos_token
    return bare if ends and eos and bare.endswith(eos) else text


def _once(ids: list[int], begins: bool, ends: bool, tokenizer: RowTokenizer) -> list[int]:
    bos, eos = tokenizer.bos_id, tokenizer.eos_id
    if begins and ids[:2] == [bos, bos]:
        ids = ids[1:]
    return ids[:-1] if ends and ids[-2:] == [eos, eos] else ids
