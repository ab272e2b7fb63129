"""Everything around the routes: request ids, hosts, headers, health, metrics, the contract."""

import json
import re
import subprocess
import sys

import pytest
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from sqlalchemy import text

from app.api.routes import ROUTERS
from app.main import create_app

# method and path of api.md -> response schema; None: a stream, a file or no content
CONTRACT = {
    ("POST", "/datasets"): "DatasetOut",
    ("POST", "/datasets/import"): "DatasetOut",
    ("POST", "/datasets/uploads"): "UploadOut",
    ("GET", "/datasets/uploads/{upload_id}"): "UploadOut",
    ("DELETE", "/datasets/uploads/{upload_id}"): None,
    ("PUT", "/datasets/uploads/{upload_id}/parts/{number}"): "PartOut",
    ("POST", "/datasets/uploads/{upload_id}/complete"): "DatasetOut",
    ("GET", "/datasets"): "ListOf[DatasetOut]",
    ("GET", "/datasets/{dataset_id}"): "DatasetOut",
    ("DELETE", "/datasets/{dataset_id}"): None,
    ("GET", "/datasets/{dataset_id}/report"): "ReportOut",
    ("GET", "/datasets/{dataset_id}/problems"): "ProblemsOut",
    ("GET", "/datasets/{dataset_id}/rows"): "RowsOut",
    ("GET", "/datasets/{dataset_id}/lengths"): "LengthsOut",
    ("GET", "/datasets/{dataset_id}/overlap"): "OverlapOut",
    ("GET", "/datasets/{dataset_id}/preview"): "PreviewOut",
    ("GET", "/datasets/{dataset_id}/content"): None,
    ("POST", "/jobs"): "JobOut",
    ("GET", "/jobs"): "ListOf[JobOut]",
    ("GET", "/jobs/{job_id}"): "JobOut",
    ("PATCH", "/jobs/{job_id}"): "JobOut",
    ("DELETE", "/jobs/{job_id}"): None,
    ("POST", "/jobs/{job_id}/cancel"): "JobOut",
    ("GET", "/jobs/{job_id}/events"): "ListOf[EventOut]",
    ("GET", "/jobs/{job_id}/stream"): None,
    ("GET", "/jobs/{job_id}/logs"): "LogsOut",
    ("GET", "/jobs/{job_id}/metrics"): "MetricsOut",
    ("GET", "/jobs/{job_id}/metrics.csv"): None,
    ("GET", "/jobs/{job_id}/checkpoints"): "ListOf[CheckpointOut]",
    ("GET", "/jobs/{job_id}/samples"): "ListOf[SampleOut]",
    ("GET", "/jobs/{job_id}/attempts"): "ListOf[AttemptOut]",
    ("GET", "/jobs/{job_id}/artifacts"): "ManifestOut",
    ("GET", "/jobs/{job_id}/artifacts/{path}"): None,
    ("GET", "/jobs/{job_id}/adapter"): None,
    ("GET", "/models"): "ListOf[ModelOut]",
    ("GET", "/recipes"): "ListOf[RecipeOut]",
    ("GET", "/templates"): "ListOf[TemplateOut]",
    ("GET", "/queue"): "ListOf[WaitingOut]",
    ("GET", "/workers"): "ListOf[WorkerOut]",
    ("GET", "/healthz"): "Health",
    ("GET", "/readyz"): "Ready",
    ("GET", "/metrics"): None,
}
HEADS = {
    "/datasets/{dataset_id}/content",
    "/jobs/{job_id}/artifacts/{path:path}",
    "/jobs/{job_id}/adapter",
}


@pytest.mark.slow
def test_a_fresh_process_loads_no_training_library():
    code = (
        "import sys, app.main\n"
        "heavy = {'torch', 'transformers', 'trl', 'peft', 'datasets', 'accelerate', 'numpy'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_the_contract_names_every_route_and_its_answer(client):
    schema = client.get("/openapi.json").json()

    found = {}
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            success = next(code for code in operation["responses"] if code.startswith("2"))
            content = operation["responses"][success].get("content", {})
            ref = content.get("application/json", {}).get("schema", {}).get("$ref", "")
            found[method.upper(), path] = ref.rsplit("/", 1)[-1] or None
    expected = {
        route: re.sub(r"\[(\w+)\]", r"_\1_", name) if name else None
        for route, name in CONTRACT.items()
    }
    assert found == expected


def test_every_operation_has_a_name_and_a_problem_answer(client):
    schema = client.get("/openapi.json").json()
    operations = [one for path in schema["paths"].values() for one in path.values()]

    names = [operation["operationId"] for operation in operations]
    assert len(set(names)) == len(names)
    for operation in operations:
        problem = operation["responses"]["default"]["content"]["application/problem+json"]
        assert problem["schema"]["$ref"] == "#/components/schemas/Problem"
        assert "422" not in operation["responses"]
    refs = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(schema)))
    assert refs <= set(schema["components"]["schemas"])


def test_no_route_is_missing_from_the_contract():
    routes = [route for router in ROUTERS for route in router.routes]
    hidden = [one for one in routes if isinstance(one, APIRoute) and not one.include_in_schema]

    pages = {("/", "GET"), ("/docs", "GET")}  # for people
    assert {(route.path, *(route.methods or ())) for route in hidden} == pages | {
        (path, "HEAD") for path in HEADS
    }


def test_spec_bounds_are_in_the_contract(client):
    schemas = client.get("/openapi.json").json()["components"]["schemas"]

    assert schemas["LoraSpec"]["properties"]["r"]["maximum"] == 512
    assert schemas["JobSpec"]["additionalProperties"] is False


@pytest.mark.parametrize("path", ["/nope", "/jobs/", "/jobs/x/nope", "/docs/", "/redoc"])
def test_an_unknown_route_is_a_problem(client, path):
    answer = client.get(path)

    assert (answer.status_code, answer.json()["code"]) == (404, "route_not_found")
    assert answer.headers["content-type"] == "application/problem+json"
    assert set(answer.json()) >= {"type", "title", "status", "detail", "instance", "code", "errors"}
    assert answer.json()["instance"] == path


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/jobs/job_1", "DELETE, GET, PATCH"),
        ("DELETE", "/jobs", "GET, POST"),
        ("POST", "/healthz", "GET"),
        ("POST", "/jobs/job_1/adapter", "GET, HEAD"),
        ("GET", "/jobs/job_1/cancel", "POST"),
        ("OPTIONS", "/datasets", "GET, POST"),
    ],
)
def test_a_method_that_is_not_there_is_told_the_others(client, method, path, allowed):
    answer = client.request(method, path)

    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert answer.headers["allow"] == allowed


@pytest.mark.parametrize("given", ["abc", "A-1_2.x", "x" * 128])
def test_a_sane_request_id_is_kept(client, given):
    assert client.get("/healthz", headers={"x-request-id": given}).headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "x" * 129, "a b", "a\tb", "é".encode()])
def test_another_request_id_is_replaced(client, given):
    answer = client.get("/healthz", headers={"x-request-id": given})

    assert re.fullmatch(r"req_[0-9a-f]{32}", answer.headers["x-request-id"])


@pytest.mark.parametrize("path", ["/healthz", "/nope", "/jobs/job_x", "/openapi.json"])
def test_every_answer_has_an_id_and_security_headers(client, path):
    headers = client.get(path).headers

    assert headers["x-request-id"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "server" not in headers


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "", "127.0.0.1.nip.io"])
def test_another_host_is_refused(client, host):
    answer = client.get("/healthz", headers={"Host": host})

    assert (answer.status_code, answer.json()["code"]) == (400, "host_not_allowed")
    assert answer.headers["x-request-id"]


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1:1", "[::1]:80"])
def test_our_own_hosts_are_answered(client, host):
    assert client.get("/healthz", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("path", ["/jobs/a%00b", "/jobs?q=%00", "/datasets/%00"])
def test_a_nul_in_a_url_is_refused(client, path):
    answer = client.get(path)

    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_url")


def test_a_crash_tells_its_request_id_and_nothing_else(api_settings, settings, sessions, capsys):
    """A database with a missing table: an internal error, not an outage."""
    with TestClient(create_app(api_settings), raise_server_exceptions=False) as client:
        with sessions() as session:
            session.execute(text("ALTER TABLE workers RENAME TO workers_away"))
            session.commit()
        try:
            answer = client.get("/workers")
        finally:
            with sessions() as session:
                session.execute(text("ALTER TABLE workers_away RENAME TO workers"))
                session.commit()

    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-request-id"] == answer.json()["request_id"]
    assert "workers_away" not in answer.text
    assert "SELECT" not in answer.text
    logged = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    crash = next(one for one in logged if one["event"] == "request_failed")
    assert crash["request_id"] == answer.json()["request_id"]
    assert "UndefinedTable" in crash["exception"]


def test_models_tell_limits_and_defaults(client):
    models = client.get("/models").json()["data"]

    tiny = next(model for model in models if model["id"] == "tiny")
    assert tiny["is_trainable"]
    assert tiny["has_chat_template"] is False
    assert tiny["limits"]["/lora/r"] == {"minimum": 1, "maximum": 512}
    assert tiny["limits"]["/training/max_length"]["maximum"] == 256
    assert "bf16" in tiny["limits"]["/training/precision"]["enum"]
    assert tiny["defaults"]["training"]["max_length"] == 256


def test_recipes_are_spelled_out(client):
    found = {recipe["name"]: recipe for recipe in client.get("/recipes").json()["data"]}

    assert set(found) == {"default", "xgen-7b-alpaca"}
    assert found["default"]["spec"]["training"]["learning_rate"] == 2e-4
    assert found["xgen-7b-alpaca"]["spec"]["quantization"] == "int8"


def test_it_is_ready(client):
    answer = client.get("/readyz")

    assert answer.status_code == 200
    assert answer.json() == {
        "status": "ok",
        "checks": {"database": "ok", "migrations": "ok", "broker": "ok"},
    }


def test_prometheus_gets_numbers_by_route_template(client, world):
    world.dataset("invalid")
    job = client.post("/jobs", json={"model": "tiny", "dataset": world.dataset()}).json()
    client.get(f"/jobs/{job['id']}")
    client.get("/some/unknown/path")
    client.request("BREW", "/jobs")

    answer = client.get("/metrics")

    assert answer.headers["content-type"].startswith("text/plain")
    lines = dict(
        line.rsplit(" ", 1) for line in answer.text.splitlines() if not line.startswith("#")
    )
    requests = "tunesmith_http_requests_total"
    assert float(lines[f'{requests}{{method="GET",route="/jobs/{{job_id}}",status="200"}}']) >= 1
    assert float(lines[f'{requests}{{method="GET",route="(none)",status="404"}}']) >= 1
    assert float(lines[f'{requests}{{method="OTHER",route="/jobs",status="405"}}']) >= 1
    assert lines['tunesmith_jobs{status="queued"}'] == "1.0"
    assert lines['tunesmith_jobs{status="failed"}'] == "0.0"
    assert lines['tunesmith_datasets{status="invalid"}'] == "1.0"
    assert lines['tunesmith_queue_length{queue="default"}'] == "1.0"
    assert float(lines["tunesmith_oldest_wait_seconds"]) > 0
    assert lines["tunesmith_workers_alive"] == "0.0"
    assert lines["tunesmith_database_up"] == "1.0"
    assert job["id"] not in answer.text
    assert "unknown" not in answer.text
