"""Each invariant detects a fault planted for it: otherwise, finding none would prove little."""

import pytest
from sqlalchemy import text

from app.core.db.session import transaction
from tests.faults import invariants
from tests.worker.bench import Bench

PLANTED = {
    "I1": "UPDATE events SET data = '{}' WHERE data->>'status' = 'succeeded'",
    "I2": "INSERT INTO events (job_id, seq, epoch, attempt, type, level, message, data) "
    "SELECT id, last_seq + 1, 1, 1, 'progress', 'info', '', '{}' FROM jobs; "
    "UPDATE jobs SET last_seq = last_seq + 1",
    "I3": "DELETE FROM events WHERE seq = 3",
    "I4": "UPDATE events SET data = '{\"status\": \"running\"}', type = 'status' WHERE seq = 3",
    "I5": "UPDATE events SET epoch = 7 WHERE seq = 3",
    "I6": "UPDATE jobs SET artifact = jsonb_set(artifact, '{files,0,sha256}', '\"0\"')",
    "I9": "UPDATE jobs SET attempt = 2",
    "I12": "UPDATE jobs SET artifact = NULL",
    "I13": "DELETE FROM jobs",
}


@pytest.fixture
def done(bench: Bench) -> str:
    job_id = bench.submit("steps=1")
    bench.work()
    invariants.check(bench.settings, bench.sessions, [job_id])
    return job_id


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_bug_in_the_rows_is_found(bench: Bench, done: str, name: str) -> None:
    with transaction(bench.sessions) as session:
        session.execute(text(PLANTED[name]))

    found = [each.split()[0] for each in _violations(bench, done)]
    assert name in found


def test_a_file_that_changed_or_belongs_to_nobody_is_found(bench: Bench, done: str) -> None:
    prefix = f"artifacts/{done}/1/"
    bench.storage.write(prefix + "adapter_config.json", [b"other"])
    bench.storage.write("artifacts/job_gone/1/manifest.json", [b"{}"])

    found = {each.split()[0] for each in _violations(bench, done)}
    assert found == {"I6", "I7"}


def test_a_lease_nobody_took_away_is_found(bench: Bench) -> None:
    from app.core.jobs import lifecycle

    job_id = bench.submit()
    with transaction(bench.sessions) as session:
        lifecycle.claim(session, queue="default", worker_id="dead", seconds=-60)

    assert [each.split()[0] for each in _violations(bench, job_id)] == ["I8"]


def _violations(bench: Bench, job_id: str) -> list[str]:
    return list(invariants.violations(bench.settings, bench.sessions, [job_id]))
