"""Count duplicate rows: within the data, and on both sides of a split."""

from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path

from app.core.datasets import overlap
from app.core.datasets.layout.figures import Copies
from app.core.datasets.layout.splits import held_out_places
from app.core.jobs.spec import JobSpec


def count(rows: Path, held_out: Path | None, spec: JobSpec) -> Copies:
    """Count duplicates in canonical files; memory grows by about 50 bytes per row."""
    digests = [blake2b(line, digest_size=12).digest() for line in _lines(rows)]
    found = {"rows": len(digests), "duplicates": len(digests) - len(set(digests))}
    if spec.validation is None:
        return Copies(**found)
    if held_out is not None:
        both = overlap.count(_lines(rows), _lines(held_out))
    else:
        places = held_out_places(len(digests), spec)
        both = overlap.count(_lines(rows, places, inside=False), _lines(rows, places, inside=True))
    return Copies(
        **found,
        held_out_rows=both.num_rows,
        shared=both.exact.rows,
        shared_prompts=both.same_prompt.rows,
    )


def _lines(
    path: Path, places: set[int] | frozenset[int] = frozenset(), *, inside: bool = False
) -> Iterator[bytes]:
    with path.open("rb") as lines:
        for at, line in enumerate(lines):
            if (at in places) is inside:
                yield line
