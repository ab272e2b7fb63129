"""The queue with its waiting reasons, and the list of workers."""

from datetime import datetime, timedelta

from sqlalchemy import update

from app.core.clock import rfc3339, utc_now
from app.core.db.models import Job, Worker
from app.core.db.session import transaction
from app.services.fleet import Fleet
from tests.api.test_jobs import create


def test_the_queue_tells_order_and_reasons(client, world, sessions):
    late = create(client, world)["id"]
    first = create(client, world, priority=5)["id"]
    held = client.post("/jobs", json={"model": "tiny", "dataset": world.dataset("validating")})
    create(client, world)
    until = utc_now() + timedelta(minutes=3)
    with transaction(sessions) as session:
        session.add(
            Worker(id="worker_1", hostname="h", pid=1, device="cpu", queue="default", version="1")
        )
        backing_off = update(Job).where(Job.id == late)
        session.execute(backing_off.values(not_before=until, status_reason="worker_lost"))

    waiting = client.get("/queue").json()["data"]

    assert [one["job"] for one in waiting][:2] == [first, late]
    assert waiting[-1]["job"] == held.json()["id"]
    assert [one["position"] for one in waiting] == [1, 2, 3, None]
    assert waiting[0]["reason"] == "waiting for a worker"
    assert waiting[1]["reason"] == f"backing off until {rfc3339(until)} after worker_lost"
    assert waiting[1]["estimated_start"] == rfc3339(until)
    assert waiting[3]["reason"] == "validating dataset"


def test_the_queue_tells_that_nobody_serves_it(client, world):
    create(client, world)

    assert "no worker is alive" in client.get("/queue").json()["data"][0]["reason"]


def worker(worker_id, **values):
    about = {"hostname": "h", "pid": 1, "device": "cpu", "queue": "default", "version": "1"}
    return Worker(id=worker_id, **about, **values)


def test_workers_are_alive_or_lost(client, sessions):
    with transaction(sessions) as session:
        for number, age in enumerate([0, 60]):
            seen = utc_now() - timedelta(seconds=age)
            session.add(worker(f"worker_{number}", last_seen_at=seen))

    found = client.get("/workers").json()["data"]

    assert [(one["id"], one["status"]) for one in found] == [
        ("worker_0", "alive"),
        ("worker_1", "lost"),
    ]


def occupy(session, job_id, progress=None, started=None):
    """Add a worker that runs a job."""
    session.add(worker("worker_1", job_id=job_id))
    values = {"status": "running", "progress": progress, "started_at": started or utc_now()}
    session.execute(update(Job).where(Job.id == job_id).values(**values))


def running_job(client, world, sessions, **values):
    made = create(client, world)["id"]
    with transaction(sessions) as session:
        occupy(session, made, **values)


def seconds_until(moment):
    return (datetime.fromisoformat(moment) - utc_now()).total_seconds()


def test_a_job_behind_a_busy_worker_says_so_and_when_it_can_start(client, world, sessions):
    running_job(client, world, sessions, progress={"eta_seconds": 90})
    create(client, world)
    create(client, world)

    first, second = client.get("/queue").json()["data"]

    assert first["reason"] == "the worker is busy on queue 'default'"
    assert second["reason"] == "the worker is busy on queue 'default'; 1 job is ahead"
    assert 80 < seconds_until(first["estimated_start"]) <= 90
    assert second["estimated_start"] is None  # no job has ever ended here


def test_the_usual_duration_of_jobs_is_that_of_those_that_ended(client, world, sessions):
    for minutes in (1, 2, 9):
        ended = create(client, world)["id"]
        with transaction(sessions) as session:
            began = utc_now() - timedelta(hours=1)
            done = {"started_at": began, "finished_at": began + timedelta(minutes=minutes)}
            change = update(Job).where(Job.id == ended).values(status="succeeded", **done)
            session.execute(change)
    running_job(client, world, sessions, started=utc_now() - timedelta(seconds=30))
    create(client, world)
    create(client, world)

    starts = [seconds_until(one["estimated_start"]) for one in client.get("/queue").json()["data"]]

    assert 80 < starts[0] <= 90  # 2 minutes, of which 30 seconds are over
    assert 200 < starts[1] <= 210


def test_starts_are_shared_by_the_workers_of_a_queue():
    now = utc_now()
    free = [now + timedelta(minutes=5), now + timedelta(minutes=1)]
    fleet = Fleet(2, free, timedelta(minutes=10))

    starts = [fleet.start_of(position) for position in (1, 2, 3, 4)]

    assert starts == [now + timedelta(minutes=minutes) for minutes in (1, 5, 11, 15)]
    assert fleet.reason(4, "q") == "all 2 workers are busy on queue 'q'; 3 jobs are ahead"
    assert Fleet(2, free[:1], None).start_of(1) is None
    assert Fleet(2, [None, None], None).start_of(1) is None
    assert Fleet(2, free, None).start_of(2) == free[0]
    assert Fleet(2, free, None).start_of(3) is None
