"""The last write about an attempt: a cancel goes before whatever else came of it."""

import pytest
from sqlalchemy import update

from app.core.db.models import Job
from app.core.db.session import transaction
from app.core.jobs import lifecycle
from app.core.jobs.failures import system_failure
from app.core.jobs.lifecycle import Lease
from app.core.jobs.status import Desired, JobStatus
from tests.worker.bench import Bench
from worker.supervisor.conclusion import conclude
from worker.supervisor.outcome import Cancelled, Died, Drained, Failed, Outcome, Succeeded
from worker.supervisor.report_reader import ArtifactData

FAILURE = system_failure("broken", "It broke.")
OUTCOMES = [Succeeded(ArtifactData(files=[])), Failed(FAILURE), Died(FAILURE), Drained()]


@pytest.mark.parametrize("outcome", [*OUTCOMES, Cancelled()])
def test_a_cancel_goes_before_any_other_end(bench: Bench, outcome: Outcome) -> None:
    """It may arrive when the trainer is done and its artifact is in the store."""
    job_id = bench.submit()
    with transaction(bench.sessions) as session:
        job = lifecycle.claim(session, queue="default", worker_id="worker-1", seconds=30)
        assert job is not None
        session.execute(update(Job).values(desired=Desired.CANCEL))
    artifact = {"prefix": f"artifacts/{job_id}/1/", "files": [], "zip": {}}

    with transaction(bench.sessions) as session:
        lease = Lease(job_id, job.epoch)
        went = conclude(session, lease, outcome, bench.settings, artifact=artifact)

    ended = bench.job(job_id)
    assert went == ended.status == JobStatus.CANCELLED
    assert (ended.artifact, ended.failure) == (None, None)
