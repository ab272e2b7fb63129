"""The command as users run it: fast to start, with readable errors."""

import json
import resource
import socket
import subprocess
import sys

import pytest

from app import __version__

JOB_ID = "job_" + "0" * 31 + "1"
COMMANDS = (
    *("up", "demo", "doctor", "submit", "jobs", "queue", "logs", "cancel", "checkpoints"),
    *("samples", "download", "delete", "upload", "import", "datasets", "models"),
)
JOB = {
    "id": JOB_ID,
    "name": "first",
    "model": "tickets",
    "status": "running",
    "phase": "training",
    "created_at": "2026-11-23T19:00:00.000Z",
    "progress": {"step": 3, "max_steps": 9},
    "metrics": {"train_loss": 0.5},
}


def children_seconds() -> float:
    """CPU time of ended child processes; the clock would count what other tests take, too."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_help_comes_in_well_under_a_second(tunesmith):
    tunesmith("--help")  # a first run writes the bytecode
    seconds = []
    for _ in range(5):
        began = children_seconds()
        done = tunesmith("--help")
        seconds.append(children_seconds() - began)

    assert done.returncode == 0
    assert min(seconds) < 0.7
    for command in COMMANDS:
        assert f" {command} " in done.stdout


@pytest.mark.parametrize("module", ["app.cli", "app.cli.demo", "app.cli.up", "app.cli.doctor"])
def test_no_command_loads_a_training_library(module):
    code = (
        f"import sys, {module};"
        "heavy = {'torch', 'transformers', 'trl', 'peft', 'datasets'} & set(sys.modules);"
        "assert not heavy, heavy"
    )

    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_command_itself_loads_neither_http_nor_database():
    code = (
        "import sys, app.cli;"
        "heavy = {'httpx', 'sqlalchemy', 'celery', 'pydantic', 'fastapi'} & set(sys.modules);"
        "assert not heavy, heavy"
    )

    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_version_and_the_completion_of_a_shell_are_printed(tunesmith):
    version, completion = tunesmith("--version"), tunesmith("--show-completion", "bash")

    assert version.stdout == f"tunesmith {__version__}\n"
    assert "_TUNESMITH_COMPLETE=complete_bash" in completion.stdout


def test_no_server_is_told_in_one_sentence_with_what_to_do(tunesmith):
    done = tunesmith("jobs", "--url", "http://127.0.0.1:9")

    assert done.returncode == 1
    assert done.stderr.startswith("error: No answer from http://127.0.0.1:9")
    assert "tunesmith up" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_problem_is_shown_with_every_pointer_and_hint(tunesmith, site, tmp_path):
    (tmp_path / "spec.json").write_text('{"model": "m", "dataset": "d"}')
    errors = [
        {
            "pointer": "/training/learning_rat",
            "code": "unknown_field",
            "message": "Unknown field.",
            "hint": "did you mean `learning_rate`?",
        }
    ]
    problem = {"title": "Invalid request", "detail": "1 thing is wrong.", "errors": errors}
    site.answer("/jobs", problem, status=422)

    done = tunesmith("submit", "spec.json", "--url", site.url)

    assert done.returncode == 1
    assert done.stderr == (
        "error: 1 thing is wrong.\n"
        "  training.learning_rat: Unknown field.\n"
        "    hint: did you mean `learning_rate`?\n"
    )


def test_an_answer_that_is_no_problem_document_is_shown_too(tunesmith, site):
    site.answers[f"/jobs/{JOB_ID}"] = (502, "text/html", b"<h1>Bad gateway</h1>")

    done = tunesmith("jobs", JOB_ID, TUNESMITH_URL=site.url)

    assert done.stderr == (
        f"error: {site.url} answered with an error that does not come from Tunesmith (502 Bad "
        "Gateway): a proxy before it, or another program on that port. Check --url or "
        "TUNESMITH_URL.\n"
    )


def test_a_failed_job_is_shown_with_its_reason(tunesmith, site):
    failure = {"class": "user", "code": "out_of_memory", "message": "Too big.", "hint": "r=8"}
    site.answer(f"/jobs/{JOB_ID}", {**JOB, "status": "failed", "failure": failure})

    done = tunesmith("jobs", JOB_ID, "--url", site.url)

    assert "out_of_memory" in done.stdout
    assert "r=8" in done.stdout


def test_a_job_that_fails_while_followed_gives_exit_status_1(tunesmith, site, tmp_path):
    (tmp_path / "spec.json").write_text('{"model": "m", "dataset": "d"}')
    failure = {"code": "diverged", "message": "The loss is nan.", "hint": "Lower learning_rate."}
    site.answer("/jobs", JOB)
    site.answer(f"/jobs/{JOB_ID}", {**JOB, "status": "failed", "failure": failure})
    progress = {"type": "progress", "data": {"step": 4, "max_steps": 9, "eta_seconds": 65}}
    site.streams = [
        f"id: 1\nevent: progress\ndata: {json.dumps(progress)}\n\nevent: end\n\n".encode()
    ]

    done = tunesmith("submit", "spec.json", "--follow", "--url", site.url)

    assert done.returncode == 1
    assert "step 4/9  ETA 1:05" in done.stdout
    assert f"error: Job {JOB_ID} failed: The loss is nan." in done.stderr
    assert "hint: Lower learning_rate." in done.stderr


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["submit", "absent.json"], "Cannot read absent.json"),
        (["submit", "spec.json", "--set", "nothing"], "--set nothing: write NAME=VALUE."),
        (["submit", "broken.json"], "broken.json is not JSON"),
        (["submit", "list.json"], "list.json is not a JSON object"),
        (["submit", "spec.json", "--set", "name.x=1"], "--set name.x=1: `name` is not an object"),
        (["submit", "spec.json", "--dataset", "nope.json"], "nope.json does not exist"),
        (["submit", "spec.json", "--dataset", "deep/ds_x"], "deep/ds_x does not exist"),
        (["submit", "spec.json", "--dataset", "tickets"], "tickets does not exist"),
        (["submit", "spec.json", "--dataset", "folder"], "folder is not a file"),
        (["download", "job_1", "-o", "absent/a.zip"], "The folder absent does not exist"),
        (["up", "--models-dir", "absent"], "absent does not exist"),
    ],
)
def test_what_is_wrong_on_the_command_line_is_said_plainly(tunesmith, tmp_path, words, complaint):
    (tmp_path / "spec.json").write_text('{"name": "a"}')
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "list.json").write_text("[1]")
    (tmp_path / "folder").mkdir()

    done = tunesmith(*words)

    assert done.returncode == 1
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr


def test_a_setting_that_cannot_be_is_named(tunesmith):
    done = tunesmith("up", TUNESMITH_LEASE_SECONDS="soon")

    assert done.returncode == 1
    assert "TUNESMITH_LEASE_SECONDS" in done.stderr


def test_a_taken_port_names_who_has_it(tunesmith, tmp_path):
    (tmp_path / "models").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        done = tunesmith("up", "--port", port, "--models-dir", "models", "--no-worker")

    assert done.returncode == 1
    assert f"Port {port} on 127.0.0.1 is in use by pid" in done.stderr
    assert "--port N" in done.stderr


def test_doctor_fails_when_something_would_not_work(tunesmith, tmp_path):
    done = tunesmith("doctor", "--models-dir", "absent")

    assert done.returncode == 1
    assert "bad   models folder" in done.stdout
    assert "ok    postgres" in done.stdout
    assert "ok    valkey" in done.stdout


def test_doctor_passes_where_all_is_well(tunesmith, tmp_path):
    (tmp_path / "models").mkdir()

    done = tunesmith("doctor", "--models-dir", "models", TUNESMITH_PORT="0")

    assert done.returncode == 0, done.stdout


def test_doctor_tells_in_words_how_a_stack_is(tunesmith, site, tmp_path):
    (tmp_path / "models").mkdir()
    checks = {"database": "ok", "broker": "failing"}
    site.answer("/readyz", {"status": "degraded", "checks": checks})
    site.answer("/workers", {"data": []})

    done = tunesmith("doctor", "--models-dir", "models", "--url", site.url)

    assert f"{site.url} answers: degraded (database ok, broker failing)" in done.stdout
    assert "none is alive" in done.stdout
