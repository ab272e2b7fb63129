"""History of a job: events, attempts, checkpoints, samples, metrics, logs."""

import csv
import io
import math
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.db.models import Checkpoint, Metric
from app.core.db.session import transaction
from app.core.events.log import Entry, EventType
from app.core.jobs import lifecycle
from app.services.metrics import Series, thinned


@pytest.fixture
def job_id(client, world) -> str:
    spec = {"model": "tiny", "dataset": world.dataset()}
    return str(client.post("/jobs", json=spec).json()["id"])


@pytest.fixture
def lease(job_id, world):
    return world.claim()


def measure(world, job_id, values):
    with transaction(world.sessions) as session:
        for step, row in values.items():
            session.add(Metric(job_id=job_id, step=step, values=row))


def test_events_are_in_order_and_in_pages(client, world, job_id):
    world.append(job_id, 5)

    first = client.get(f"/jobs/{job_id}/events?limit=4").json()
    rest = client.get(f"/jobs/{job_id}/events?after=4").json()
    logs = client.get(f"/jobs/{job_id}/events?type=log&type=error").json()["data"]

    assert [one["seq"] for one in first["data"] + rest["data"]] == list(range(1, 8))
    assert (first["has_more"], rest["has_more"]) == (True, False)
    assert [one["message"] for one in logs] == [f"line {n}" for n in range(5)]
    assert set(logs[0]) == {
        *("seq", "job_id", "attempt", "at", "type", "level", "message", "data"),
    }


def test_events_are_chosen_by_known_types_in_either_spelling(client, world, job_id):
    world.append(job_id, 2)

    def types(query):
        return [one["type"] for one in client.get(f"/jobs/{job_id}/events?{query}").json()["data"]]

    unknown = client.get(f"/jobs/{job_id}/events?type=log&type=foo")

    assert types("type=log,status") == types("type=log&type=status") == types("")
    assert types("type=checkpoint,eval") == []
    assert unknown.status_code == 422
    (error,) = unknown.json()["errors"]
    assert (error["pointer"], error["code"]) == ("?type", "not_allowed")
    for known in get_args(EventType):
        assert f"'{known}'" in error["hint"]


def test_attempts_tell_who_tried_and_how_it_ended(client, world, job_id, lease, sessions):
    with transaction(sessions) as session:
        lifecycle.requeue(session, lease, "worker_lost", delay_seconds=0, is_counted=True)
    world.claim()

    attempts = client.get(f"/jobs/{job_id}/attempts").json()["data"]

    assert [(one["attempt"], one["outcome"]) for one in attempts] == [(1, "worker_lost"), (2, None)]
    assert attempts[0]["worker"] == "worker_1"
    assert attempts[0]["ended_at"]
    assert attempts[1]["ended_at"] is None


def test_checkpoints_tell_what_they_hold(client, sessions, job_id):
    with transaction(sessions) as session:
        for step in (20, 10):
            session.add(
                Checkpoint(
                    job_id=job_id,
                    step=step,
                    run_epoch=1,
                    train_epoch=step / 10,
                    num_bytes=step,
                    metrics={"valid_loss": 1.0},
                    best=step == 10,
                    kept=True,
                )
            )

    found = client.get(f"/jobs/{job_id}/checkpoints").json()["data"]

    assert [(one["step"], one["epoch"], one["bytes"]) for one in found] == [
        (20, 2.0, 20),
        (10, 1.0, 10),
    ]
    assert [one["best"] for one in found] == [False, True]


def test_samples_are_told_once_per_prompt(client, world, job_id, lease):
    def sample(adapter):
        data = {"step": 10, "prompt": "Hi", "base": "?", "adapter": adapter}
        return Entry("sample", data=data)

    world.say(lease, sample("first try"), sample("second try"))

    assert client.get(f"/jobs/{job_id}/samples").json()["data"] == [
        {"step": 10, "prompt": "Hi", "base": "?", "adapter": "second try"}
    ]


def test_metrics_come_as_series_by_name(client, world, job_id):
    rows = {1: {"train_loss": 2.0}, 2: {"train_loss": 1.5, "valid_loss": 1.7}, 3: {"x": None}}
    measure(world, job_id, rows)

    whole = client.get(f"/jobs/{job_id}/metrics").json()["series"]
    some = client.get(f"/jobs/{job_id}/metrics?keys=valid_loss,nope").json()["series"]
    part = client.get(f"/jobs/{job_id}/metrics?from_step=2&to_step=2").json()["series"]

    assert whole == {
        "train_loss": {"steps": [1, 2], "values": [2.0, 1.5]},
        "valid_loss": {"steps": [2], "values": [1.7]},
    }
    assert some == {
        "valid_loss": {"steps": [2], "values": [1.7]},
        "nope": {"steps": [], "values": []},
    }
    assert part["train_loss"] == {"steps": [2], "values": [1.5]}


def test_long_series_are_thinned_on_the_server(client, world, job_id):
    rows = {step: {"train_loss": 1 / step} for step in range(1, 1500)}
    rows[777] = {"train_loss": 50.0}
    measure(world, job_id, rows)

    found = client.get(f"/jobs/{job_id}/metrics?max_points=20").json()["series"]["train_loss"]

    assert len(found["steps"]) <= 20
    assert (found["steps"][0], found["steps"][-1]) == (1, 1499)
    assert 50.0 in found["values"]


@given(
    st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=300),
    st.integers(min_value=4, max_value=50),
)
def test_thinning_keeps_ends_extremes_and_order(values, max_points):
    whole = Series(list(range(len(values))), values)

    kept = thinned(whole, max_points)

    assert len(kept.steps) <= max_points
    assert kept.steps == sorted(set(kept.steps))
    assert (kept.steps[0], kept.steps[-1]) == (0, len(values) - 1)
    assert (min(kept.values), max(kept.values)) == (min(values), max(values))
    assert all(values[step] == value for step, value in zip(kept.steps, kept.values, strict=True))


def test_metrics_as_csv_have_a_line_per_step(client, world, job_id):
    rows: dict[int, dict[str, float | None]] = {
        step: {"train_loss": step / 8} for step in range(1, 2101)
    }
    rows[5] = {"valid_loss": 0.5, "train_loss": None}
    measure(world, job_id, rows)

    answer = client.get(f"/jobs/{job_id}/metrics.csv")

    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert f"{job_id}-metrics.csv" in answer.headers["content-disposition"]
    table = list(csv.reader(io.StringIO(answer.text)))
    assert table[0] == ["step", "train_loss", "valid_loss"]
    assert table[5] == ["5", "", "0.5"]
    assert len(table) == 2101
    assert math.isclose(
        sum(float(line[1] or 0) for line in table[1:]), sum(range(2101)) / 8 - 5 / 8
    )


def test_metrics_of_a_job_without_any_are_empty(client, job_id):
    assert client.get(f"/jobs/{job_id}/metrics").json()["series"] == {}
    assert client.get(f"/jobs/{job_id}/metrics.csv").text == "step\r\n"


@pytest.fixture
def two_logs(world, settings, job_id, lease):
    """Logs of two attempts: the first is in the storage, the second is still being written."""
    with transaction(world.sessions) as session:
        lifecycle.requeue(session, lease, "worker_lost", delay_seconds=0, is_counted=True)
    second = world.claim()
    world.storage.write(f"logs/{job_id}/{lease.epoch}.log", [b"one\ntwo\nthree"])
    live = settings.runs_dir / job_id / str(second.epoch)
    live.mkdir(parents=True)
    (live / "trainer.log").write_bytes(b"four\nf\xffive\n")


def test_logs_are_told_attempt_by_attempt(client, job_id, two_logs):
    answer = client.get(f"/jobs/{job_id}/logs")

    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.content == (
        b"==> attempt 1 <==\none\ntwo\nthree\n==> attempt 2 <==\nfour\nf\xffive\n"
    )


@pytest.mark.parametrize(
    ("tail", "expected"),
    [
        (1, [(2, ["f\ufffdive"])]),
        (2, [(2, ["four", "f\ufffdive"])]),
        (3, [(1, ["three"]), (2, ["four", "f\ufffdive"])]),
        (99, [(1, ["one", "two", "three"]), (2, ["four", "f\ufffdive"])]),
    ],
)
def test_the_tail_of_logs_reaches_back_over_attempts(client, job_id, two_logs, tail, expected):
    told = client.get(f"/jobs/{job_id}/logs?tail={tail}&format=json").json()["data"]
    text = client.get(f"/jobs/{job_id}/logs?tail={tail}").text

    assert [(part["attempt"], part["lines"]) for part in told] == expected
    assert text == "".join(
        f"==> attempt {attempt} <==\n" + "".join(f"{line}\n" for line in lines)
        for attempt, lines in expected
    )


def test_the_tail_of_a_long_log_is_read_from_its_end(client, world, job_id, lease):
    lines = [f"line {n} {'x' * 90}" for n in range(30_000)]
    world.storage.write(f"logs/{job_id}/{lease.epoch}.log", ["\n".join(lines).encode()])

    told = client.get(f"/jobs/{job_id}/logs?tail=2000&format=json").json()["data"]

    assert told[0]["lines"] == lines[-2000:]


def test_a_log_without_a_line_end_is_cut_not_read_whole(client, world, job_id, lease):
    world.storage.write(f"logs/{job_id}/{lease.epoch}.log", [b"x" * (20 << 20), b"\nlast\n"])

    told = client.get(f"/jobs/{job_id}/logs?tail=5&format=json").json()["data"]

    assert told[0]["lines"] == ["last"]


def test_a_job_nobody_ran_has_no_logs(client, job_id):
    assert client.get(f"/jobs/{job_id}/logs").text == ""
    assert client.get(f"/jobs/{job_id}/logs?format=json").json() == {"data": []}
    assert client.get(f"/jobs/{job_id}/logs?format=xml").status_code == 422
    assert client.get(f"/jobs/{job_id}/logs?tail=0").status_code == 422
