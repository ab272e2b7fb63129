"""Metrics as series, downsampled on request."""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from app.core.db.models import Metric
from app.core.db.session import Sessions, transaction
from app.services import jobs
from app.services.caller import Caller

CSV_ROWS = 1000


@dataclass(frozen=True)
class MetricsRequest:
    keys: Sequence[str] = ()
    """Empty: all metrics."""
    from_step: int | None = None
    to_step: int | None = None
    max_points: int | None = None


@dataclass
class Series:
    steps: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)


def series(
    session: Session, caller: Caller, job_id: str, request: MetricsRequest
) -> dict[str, Series]:
    """Return series by metric name, in order of steps."""
    jobs.get(session, caller, job_id)
    found: dict[str, Series] = {key: Series() for key in request.keys}
    for step, values in session.execute(_rows(job_id, request)).yield_per(CSV_ROWS):
        for key, value in values.items():
            if value is None or (request.keys and key not in found):
                continue
            one = found.setdefault(key, Series())
            one.steps.append(step)
            one.values.append(value)
    if request.max_points is None:
        return found
    return {key: thinned(one, request.max_points) for key, one in found.items()}


def thinned(whole: Series, max_points: int) -> Series:
    """Downsample to at most `max_points`: the first, the last, and the minimum and maximum of each
    stretch between, in order. Keeps every spike, which an average or every n-th point would lose.
    """
    if len(whole.steps) <= max_points:
        return whole
    inner = range(1, len(whole.steps) - 1)
    stretches = max((max_points - 2) // 2, 1)
    kept = {0, len(whole.steps) - 1}
    for number in range(stretches):
        first = len(inner) * number // stretches
        last = len(inner) * (number + 1) // stretches
        stretch = inner[first:last]
        kept |= {min(stretch, key=whole.values.__getitem__)}
        kept |= {max(stretch, key=whole.values.__getitem__)}
    order = sorted(kept)
    return Series([whole.steps[at] for at in order], [whole.values[at] for at in order])


def csv_lines(sessions: Sessions, job_id: str) -> Iterator[bytes]:
    """Yield a header and a line per step, in short transactions: slow readers pin no connection."""
    with transaction(sessions) as session:
        name = func.jsonb_object_keys(Metric.values).label("name")
        query = select(name).where(Metric.job_id == job_id).distinct().order_by(name)
        keys = list(session.scalars(query))
    yield _line(["step", *keys])
    after = -1
    while True:
        with transaction(sessions) as session:
            query_rows = _rows(job_id, MetricsRequest(from_step=after + 1)).limit(CSV_ROWS)
            rows = list(session.execute(query_rows))
        yield b"".join(_line([step, *(values.get(key) for key in keys)]) for step, values in rows)
        if len(rows) < CSV_ROWS:
            return
        after = rows[-1].step


def _rows(job_id: str, request: MetricsRequest) -> Select[int, dict[str, float | None]]:
    query = select(Metric.step, Metric.values).where(Metric.job_id == job_id)
    if request.from_step is not None:
        query = query.where(Metric.step >= request.from_step)
    if request.to_step is not None:
        query = query.where(Metric.step <= request.to_step)
    return query.order_by(Metric.step)


def _line(cells: Sequence[object]) -> bytes:
    out = io.StringIO()
    csv.writer(out).writerow(cells)
    return out.getvalue().encode()
