"""Rows fetched for a run: one complete copy, even if several workers fetch them."""

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.core.jobs.protocol import FrozenTemplate, Plan
from app.core.storage import Storage
from app.core.templates.registry import TemplateUnknown
from app.core.templates.template import ours
from tests.rows import ROWS
from tests.worker.bench import Bench
from worker.supervisor.run_directory import RunDirectories


class Meeting(Storage):
    """A store whose readers meet in mid-file; with `cut`, files end after 7 bytes."""

    def __init__(self, store: Storage, *, parties: int = 1, cut: bool = False) -> None:
        super().__init__(store._store)
        self._both = threading.Barrier(parties, timeout=10)
        self._is_cut = cut

    def read(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        whole = b"".join(super().read(key, start, end))
        yield whole[:7]
        self._both.wait()
        if not self._is_cut:
            yield whole[7:]


def rows_of(bench: Bench, job_id: str) -> Path:
    cache = bench.settings.data_dir.absolute() / "cache" / "datasets"
    return cache / f"{bench.job(job_id).dataset_id}.jsonl"


def test_two_workers_fetch_the_same_rows_at_once(bench: Bench) -> None:
    job_id = bench.submit()
    store = Meeting(bench.storage, parties=2)
    runs = RunDirectories(bench.settings, bench.sessions, store)
    jobs = [bench.job(job_id), bench.job(job_id)]
    jobs[1].epoch = 2

    threads = [threading.Thread(target=runs.prepare, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    assert all((runs.path(job) / "plan.json").exists() for job in jobs)
    assert rows_of(bench, job_id).read_bytes() == ROWS
    assert list(rows_of(bench, job_id).parent.iterdir()) == [rows_of(bench, job_id)]


def test_rows_that_come_in_cut_are_not_kept(bench: Bench) -> None:
    job_id = bench.submit()
    runs = RunDirectories(bench.settings, bench.sessions, Meeting(bench.storage, cut=True))

    with pytest.raises(OSError, match="only partly downloaded"):
        runs.prepare(bench.job(job_id))

    assert list(rows_of(bench, job_id).parent.iterdir()) == []


def test_a_template_is_frozen_as_it_stands_when_the_run_is_laid_out(
    bench: Bench, tmp_path: Path
) -> None:
    text = "{% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}"
    (tmp_path / "house.jinja").write_text(text)
    settings = bench.settings.model_copy(update={"templates_dir": tmp_path})
    runs = RunDirectories(settings, bench.sessions, bench.storage)
    jobs = {name: bench.job(bench.submit(template=name)) for name in ("house", "chatml", "chat")}

    plans = {
        name: Plan.model_validate_json((runs.prepare(job) / "plan.json").read_bytes())
        for name, job in jobs.items()
    }

    frozen = plans["house"].template
    assert frozen is not None
    assert (frozen.text, frozen.sha256) == (text, hashlib.sha256(text.encode()).hexdigest())
    assert plans["chatml"].template == ours()["chatml"].frozen()
    assert plans["chat"].template == FrozenTemplate(name="chat")
    (tmp_path / "house.jinja").unlink()
    with pytest.raises(TemplateUnknown):
        runs.prepare(jobs["house"])


def test_a_copy_in_the_cache_that_is_cut_is_fetched_again(bench: Bench) -> None:
    job_id = bench.submit()
    runs = RunDirectories(bench.settings, bench.sessions, bench.storage)
    runs.prepare(bench.job(job_id))
    rows_of(bench, job_id).write_bytes(ROWS[:7])

    runs.prepare(bench.job(job_id))

    assert rows_of(bench, job_id).read_bytes() == ROWS
