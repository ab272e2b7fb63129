"""Turns reports into rows: collects them as they arrive and writes them a few times a second, in
one fenced transaction.

While the database is unavailable, reports stay in a bounded batch and the trainer keeps running.
"""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session

from app.core.db.models import Event, Job
from app.core.db.session import OUTAGE, Sessions, transaction
from app.core.events import log
from app.core.events.log import Entry
from app.core.events.notifier import Notifier
from app.core.jobs import lifecycle
from app.core.jobs.failures import FailureReport
from app.core.jobs.lifecycle import Lease
from app.core.jobs.protocol import Report
from worker.supervisor.report_reader import ArtifactData, CheckpointData
from worker.supervisor.report_rows import mark_best, mark_kept, upsert_checkpoint, upsert_metrics

_log = structlog.get_logger(__name__)

PROGRESS_SECONDS = 1.0
"""Between two progress events; the `progress` column is updated with every batch."""
MAX_METRIC_EVENTS = 5
"""Per batch; the metrics table still gets every step."""
MAX_SPOOLED = 5_000
"""Events, and steps with metrics, kept while the database is unavailable."""
_MANY = 2 * MAX_SPOOLED


@dataclass
class Batch:
    entries: list[Entry] = field(default_factory=list)
    metrics: dict[int, dict[str, float | None]] = field(default_factory=dict)
    checkpoints: list[CheckpointData] = field(default_factory=list)
    columns: dict[str, Any] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        return not (self.entries or self.metrics or self.checkpoints or self.columns)

    def add_metrics(self, step: int, values: Mapping[str, float | None]) -> None:
        if step in self.metrics or len(self.metrics) < MAX_SPOOLED:
            self.metrics.setdefault(step, {}).update(values)

    def follow(self, later: "Batch") -> None:
        """Append a later batch to this one."""
        self.entries += later.entries
        for step, values in later.metrics.items():
            self.add_metrics(step, values)
        self.checkpoints += later.checkpoints
        self.columns |= later.columns

    def latest(self) -> dict[str, float | None]:
        """The value of each metric at its latest step."""
        newest: dict[str, float | None] = {}
        for _, values in sorted(self.metrics.items()):
            newest |= values
        return newest


class Relay:
    def __init__(self, sessions: Sessions, lease: Lease, notifier: Notifier, run_dir: Path) -> None:
        self._sessions = sessions
        self._lease = lease
        self._notifier = notifier
        self._run_dir = run_dir
        self._lock = threading.Lock()
        self._batch = Batch()
        self._progress: Report | None = None
        self._progress_at = 0.0
        self._num_dropped = 0
        self._known_seq = 0
        """Number of the last event whose commit was confirmed."""
        self._is_in_doubt = False
        """True after a commit whose response was lost: part of the batch may already be written."""
        self.last_sign_at = time.monotonic()
        """Time of the last report other than a heartbeat, which a hung trainer may still send."""
        self.phase = ""
        """The last phase that the trainer reported."""
        self.failure: FailureReport | None = None
        self.artifact: ArtifactData | None = None

    def take(self, report: Report) -> None:
        """Add a report to the batch. Called from the reader thread."""
        if report.type == "heartbeat":
            return
        with self._lock:
            self.last_sign_at = time.monotonic()
            self._take(report)

    def note(self, entry: Entry) -> None:
        """Add an event of the supervisor itself."""
        with self._lock:
            self._batch.entries.append(entry)

    def flush(self) -> None:
        """Write the batch; keep it during an outage. Raises LeaseLost."""
        try:
            self._flush(is_last=False)
        except OUTAGE as error:
            _log.warning("reports_spooled", error=type(error).__name__)

    def flush_last(self) -> None:
        """Write everything left. Raises LeaseLost and, during an outage, the database's error."""
        self._flush(is_last=True)

    def _flush(self, *, is_last: bool) -> None:
        with self._lock:
            self._settle_progress(is_last)
            batch, self._batch = self._batch, Batch()
        if batch.is_empty:
            return
        try:
            with transaction(self._sessions) as session:
                seq = self._write(session, batch)
        except OUTAGE:
            with self._lock:
                batch.follow(self._batch)
                self._batch = batch
            self._is_in_doubt = True
            raise
        self._known_seq, self._is_in_doubt = seq, False
        self._notifier.notify_followers(self._lease.job_id)

    def _take(self, report: Report) -> None:
        data = report.data
        match report.type:
            case "progress":
                self._progress = report
                self._batch.columns["progress"] = data
                return
            case "error":
                self.failure = FailureReport.model_validate(data)
            case "artifact":
                # Its event is added when it is published.
                self.artifact = ArtifactData.model_validate(data)
                return
            case "phase":
                self.phase = self._batch.columns["phase"] = data["phase"]
            case "metrics" | "eval":
                self._batch.add_metrics(data["step"], data["values"])
            case "checkpoint":
                self._batch.checkpoints.append(CheckpointData.model_validate(data))
        self._add(_entry(report))

    def _add(self, entry: Entry) -> None:
        entries = self._batch.entries
        if entry.type == "metrics":
            metrics = [at for at, each in enumerate(entries) if each.type == "metrics"]
            if len(metrics) >= MAX_METRIC_EVENTS:
                del entries[metrics[0]]
        if len(entries) < MAX_SPOOLED:
            entries.append(entry)
        else:
            self._num_dropped += 1
            _log.warning("report_dropped", num_dropped=self._num_dropped)

    def _settle_progress(self, is_last: bool) -> None:
        now = time.monotonic()
        if self._progress and (is_last or now - self._progress_at >= PROGRESS_SECONDS):
            self._add(_entry(self._progress))
            self._progress = None
            self._progress_at = now

    def _write(self, session: Session, batch: Batch) -> int:
        """Write a batch; return the number of the job's last event."""
        columns = dict(batch.columns)
        if batch.metrics:
            columns["metrics"] = Job.metrics.op("||", return_type=JSONB())(batch.latest())
        entries = self._unwritten(session, batch.entries)
        lifecycle.record(session, self._lease, *entries, **columns)
        upsert_metrics(session, self._lease, batch.metrics)
        for checkpoint in batch.checkpoints:
            upsert_checkpoint(session, self._lease, checkpoint)
        if batch.checkpoints:
            mark_best(session, self._lease)
            mark_kept(session, self._lease, self._run_dir / "checkpoints")
        last = select(Job.last_seq).where(Job.id == self._lease.job_id)
        return session.execute(last).scalar_one()

    def _unwritten(self, session: Session, entries: list[Entry]) -> list[Entry]:
        """Drop the entries that a commit whose response was lost has already written.

        Only events need this: all other writes are idempotent.
        """
        if not self._is_in_doubt:
            return entries
        lifecycle.record(session, self._lease)
        num_written = 0
        for event in log.read(session, self._lease.job_id, after=self._known_seq, limit=_MANY):
            # Our written events are a prefix of `entries`, with events of others in between.
            is_ours = event.epoch == self._lease.epoch and num_written < len(entries)
            if is_ours and _is_same(event, entries[num_written]):
                num_written += 1
        return entries[num_written:]


def _is_same(event: Event, entry: Entry) -> bool:
    written = (event.type, event.level, event.message, event.data)
    return written == (entry.type, entry.level, entry.message, dict(entry.data))


def _entry(report: Report) -> Entry:
    data = dict(report.data)
    # Paths of this machine are not exposed.
    data.pop("path", None)
    return Entry(report.type, report.message, report.level, data)
