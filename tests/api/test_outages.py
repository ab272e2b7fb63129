"""Postgres or Redis down or hanging: bounded waits, clear errors, and recovery afterwards."""

import socket
import time
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from app.core.settings import Settings
from app.main import create_app

pytestmark = pytest.mark.slow


@pytest.fixture(params=["refuses", "hangs"])
def broken_port(request) -> Iterator[int]:
    """A port where nothing listens, and one that accepts connections and never responds."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if request.param == "hangs":
            server.listen(100)
        yield server.getsockname()[1]


def client_of(settings: Settings, **changes: str) -> TestClient:
    app = create_app(settings.model_copy(update=changes))
    return TestClient(app, raise_server_exceptions=False)


def test_without_a_database_every_answer_is_503_and_soon(settings, broken_port):
    url = f"postgresql+psycopg://u:hunter2@127.0.0.1:{broken_port}/x"
    with client_of(settings, database_url=url) as client:
        for method, path in [
            ("GET", "/jobs/job_1/stream"),
            ("GET", "/readyz"),
        ]:
            started = time.monotonic()
            answer = client.request(method, path)

            assert time.monotonic() - started < 5
            assert answer.status_code == 503
            assert answer.headers["content-type"] == "application/problem+json"
            code = "not_ready" if path == "/readyz" else "database_unavailable"
            assert answer.json()["code"] == code
            assert answer.headers["retry-after"]
            assert "hunter2" not in answer.text
            assert "psycopg" not in answer.text
        assert client.get("/healthz").status_code == 200
        assert "tunesmith_database_up 0.0" in client.get("/metrics").text


def test_an_upload_without_a_database_is_503(settings):
    url = "postgresql+psycopg://u:p@127.0.0.1:1/x"
    with client_of(settings, database_url=url) as client:
        answer = client.post("/datasets", files={"file": ("a", b"[]")})

    assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")


def test_connections_that_were_cut_are_replaced(client, sessions):
    assert client.get("/jobs").status_code == 200
    with sessions() as session:
        cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> "
        session.execute(text(cut + "pg_backend_pid() AND datname = current_database()"))
        session.commit()

    assert client.get("/jobs").status_code == 200


def test_without_a_broker_jobs_are_accepted_at_once(settings, world, broken_port):
    with client_of(settings, redis_url=f"redis://127.0.0.1:{broken_port}/0") as client:
        spec = {"model": "tiny", "dataset": world.dataset()}
        client.get("/jobs")
        started = time.monotonic()
        answers = [client.post("/jobs", json=spec) for _ in range(20)]
        cancelled = client.post(f"/jobs/{answers[0].json()['id']}/cancel")

        assert time.monotonic() - started < 5
        assert {answer.status_code for answer in answers} == {201}
        assert cancelled.json()["status"] == "cancelled"
        ready = client.get("/readyz")
        assert ready.status_code == 200
        assert ready.json()["status"] == "degraded"
        assert ready.json()["checks"]["broker"] == "failing"
        with client.stream("GET", f"/jobs/{cancelled.json()['id']}/stream") as response:
            assert "event: end" in response.read().decode()


def test_a_schema_that_lags_behind_is_not_ready(client, sessions):
    with sessions() as session:
        newest = session.scalar(text("SELECT version_num FROM alembic_version"))
        session.execute(text("UPDATE alembic_version SET version_num = 'older'"))
        session.commit()
    try:
        answer = client.get("/readyz")
    finally:
        with sessions() as session:
            session.execute(text("UPDATE alembic_version SET version_num = :it"), {"it": newest})
            session.commit()

    assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")
    assert answer.json()["checks"]["migrations"] == "failing"
    assert answer.json()["checks"]["database"] == "ok"
