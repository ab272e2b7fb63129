"""From a claim to an end, with a trainer that does what the script says."""

from app.core.jobs.status import JobStatus
from tests.worker.bench import Bench


def test_a_job_that_trains_well_succeeds_and_publishes_its_artifact(bench: Bench) -> None:
    job_id = bench.submit("steps=3")

    assert bench.work() == 1

    job = bench.job(job_id)
    assert job.status == JobStatus.SUCCEEDED, (job.failure, job.status_reason)
    assert job.trained_tokens == 30
    assert job.artifact is not None
    prefix = job.artifact["prefix"]
    stored = {key.removeprefix(prefix) for key in bench.storage.keys(prefix)}
    assert stored == {
        "adapter_model.safetensors",
        "adapter_config.json",
        "manifest.json",
        "adapter.zip",
    }
    assert job.metrics["train_loss"] == 1 / 3
    assert job.progress is not None
    assert job.progress["step"] == 3
    assert "hello from the trainer" in bench.log(job_id, 1)
