"""Event streams on a real server: no gaps, no duplicates, an end, and none outlives its reader."""

import json
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import redis
from sqlalchemy import text

from app.core.db.session import transaction
from app.core.events.notifier import Notifier
from tests.api.server import Server, messages
from tests.waiting import wait_until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(api_settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(api_settings, tmp_path_factory.mktemp("server") / "log")
    yield server
    server.stop()


@pytest.fixture
def http(server: Server, settings) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


@pytest.fixture
def job_id(http, world) -> str:
    answer = http.post("/jobs", json={"model": "tiny", "dataset": world.dataset()})
    return str(answer.json()["id"])


def seqs(found) -> list[int]:
    return [int(one.id) for one in found if one.id]


def test_a_stream_replays_follows_and_ends(http, world, job_id):
    with http.stream("GET", f"/jobs/{job_id}/stream") as response:
        stream = messages(response)
        replayed = [next(stream), next(stream)]
        world.append(job_id, 3)
        live = [next(stream) for _ in range(3)]
        http.post(f"/jobs/{job_id}/cancel")
        rest = list(stream)

    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["x-accel-buffering"] == "no"
    assert response.headers["cache-control"] == "no-store"
    assert seqs(replayed + live + rest) == [1, 2, 3, 4, 5, 6]
    assert [one.event for one in live] == ["log"] * 3
    assert (rest[-1].event, rest[-1].id) == ("end", None)
    assert json.loads(rest[-1].data) == {"status": "cancelled"}
    listed = http.get(f"/jobs/{job_id}/events").json()["data"]
    assert [json.loads(one.data) for one in replayed + live + rest[:-1]] == listed


@pytest.mark.parametrize(
    ("query", "headers", "first"),
    [
        ("", {}, 1),
        ("?after=2", {}, 3),
        ("", {"Last-Event-ID": "4"}, 5),
        ("?after=1", {"Last-Event-ID": "4"}, 5),
        ("?after=99", {}, None),
    ],
)
def test_a_stream_starts_after_what_was_seen(http, world, job_id, query, headers, first):
    world.append(job_id, 3)
    http.post(f"/jobs/{job_id}/cancel")

    with http.stream("GET", f"/jobs/{job_id}/stream{query}", headers=headers) as response:
        found = list(messages(response))

    assert seqs(found) == (list(range(first, 7)) if first else [])
    assert found[-1].event == "end"


@pytest.mark.parametrize("value", ["x", "-1", "1.5", str(2**63)])
def test_a_last_event_id_is_a_number(http, job_id, value):
    answer = http.get(f"/jobs/{job_id}/stream", headers={"Last-Event-ID": value})

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "header:last-event-id"


def test_readers_that_come_and_go_miss_nothing_and_see_nothing_twice(http, server, world, job_id):
    """Eight readers drop their connections now and then while 900 events are written."""
    total = 902

    def write() -> None:
        for count in (1, 7, 92, 600, 100, 100):
            world.append(job_id, count)
        http.post(f"/jobs/{job_id}/cancel")

    def read(number: int) -> list[int]:
        seen: list[int] = []
        with server.client() as client:
            while True:
                headers = {"Last-Event-ID": str(seen[-1])} if seen else {}
                with client.stream("GET", f"/jobs/{job_id}/stream", headers=headers) as response:
                    for count, one in enumerate(messages(response)):
                        if one.event == "end":
                            return seen
                        seen.append(int(one.id or 0))
                        if count == 50 + 40 * number:
                            break

    with ThreadPoolExecutor(9) as pool:
        readers = [pool.submit(read, number) for number in range(8)]
        pool.submit(write).result(30)
        for reader in readers:
            assert reader.result(30) == list(range(1, total + 2))


def test_the_bell_is_faster_than_the_poll(http, world, settings, job_id):
    notifier = Notifier(str(settings.redis_url))
    delays = []
    with http.stream("GET", f"/jobs/{job_id}/stream?after=2") as response:
        stream = messages(response)
        for _ in range(10):
            started = time.monotonic()
            world.append(job_id, 1)
            notifier.notify_followers(job_id)
            next(stream)
            delays.append(time.monotonic() - started)

    # Polling alone would take half a second on average.
    assert sorted(delays)[5] < 0.3


def test_without_a_bell_the_poll_is_enough(http, world, job_id):
    with http.stream("GET", f"/jobs/{job_id}/stream?after=2") as response:
        stream = messages(response)
        world.append(job_id, 1)

        assert next(stream).id == "3"


def test_a_stream_of_a_deleted_job_ends(http, world, job_id):
    world.claim()
    with http.stream("GET", f"/jobs/{job_id}/stream?after=3") as response:
        stream = messages(response)
        with transaction(world.sessions) as session:
            session.execute(text("DELETE FROM jobs"))

        assert [(one.event, one.data) for one in stream] == [("end", '{"status": "deleted"}')]


def test_a_stream_holds_no_connection_and_leaves_nothing_behind(http, server, sessions, job_id):
    def connections() -> int:
        with sessions() as session:
            query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            return int(session.execute(text(query)).scalar_one())

    def open_streams() -> float:
        lines = http.get("/metrics").text.splitlines()
        return float(next(line for line in lines if line.startswith("tunesmith_open")).split()[1])

    before = connections()
    raw = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(40)]
    for one in raw:
        one.sendall(f"GET /jobs/{job_id}/stream HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    wait_until(lambda: open_streams() == 40)
    assert connections() - before < 25  # a pool, not one each
    for one in raw:
        one.close()

    wait_until(lambda: open_streams() == 0)


def test_streams_survive_a_database_that_goes_away(http, sessions, world, job_id):
    """Every database connection of the server is terminated; the stream continues."""
    with http.stream("GET", f"/jobs/{job_id}/stream?after=2") as response:
        stream = messages(response)
        with transaction(sessions) as session:
            cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> "
            session.execute(text(cut + "pg_backend_pid() AND datname = current_database()"))
        world.append(job_id, 1)

        assert next(stream).id == "3"


def test_the_bell_is_heard_again_after_a_cut(http, world, settings, job_id):
    with redis.Redis.from_url(str(settings.redis_url)) as client:
        client.client_kill_filter(_type="pubsub")
        wait_until(lambda: client.pubsub_numsub("ft:bell")[0][1] >= 1)
    test_the_bell_is_faster_than_the_poll(http, world, settings, job_id)


def test_a_server_stops_at_once_with_open_streams(api_settings, settings, world, tmp_path: Path):
    server = Server(api_settings, tmp_path / "log")
    with server.client() as client:
        spec = {"model": "tiny", "dataset": world.dataset()}
        job_id = client.post("/jobs", json=spec).json()["id"]
        reading = threading.Event()
        found = []

        def read() -> None:
            with server.client() as reader, reader.stream("GET", f"/jobs/{job_id}/stream") as got:
                for one in messages(got):
                    found.append(one)
                    reading.set()

        thread = threading.Thread(target=read)
        thread.start()
        assert reading.wait(10)
        started = time.monotonic()
        status = server.stop()
        thread.join(10)

    assert time.monotonic() - started < 5
    assert status in (0, -signal.SIGTERM)
    assert "end" not in [one.event for one in found]
    assert "Traceback" not in server.log


def test_log_lines_are_json_with_the_request_id(http, server):
    http.get("/healthz", headers={"x-request-id": "abc.DEF-1"})

    def line() -> dict | None:
        lines = [json.loads(line) for line in server.log.splitlines()]
        return next((one for one in lines if one.get("request_id") == "abc.DEF-1"), None)

    found = wait_until(line)
    assert found["event"] == "request"
    assert (found["status"], found["path"]) == (200, "/healthz")
    assert found["ms"] >= 0
