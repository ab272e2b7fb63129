"""Following a job: what a terminal shows, waiting, and leaving with Ctrl-C."""

import io
import json

import pytest
from rich.console import Console

from app.cli import client, follow, progress, stream
from app.cli.progress import LiveView, PlainView, Snapshot, status_line

ID = "job_" + "a" * 32
TRAINING = Snapshot("running", "training", 26, 99, 0.2594, 1893.0, 35.0)


def event(seq, kind, **data):
    body = json.dumps({"seq": seq, "type": kind, "message": "", "data": data})
    return f"id: {seq}\nevent: {kind}\ndata: {body}\n\n".encode()


@pytest.fixture
def terminal():
    return Console(file=io.StringIO(), force_terminal=True)


@pytest.fixture
def server(site):
    with client.connect(site.url) as server:
        yield server


@pytest.mark.parametrize("columns", [20, 45, 80, 200])
def test_the_status_fits_one_line_of_any_terminal(monkeypatch, terminal, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    view = LiveView(terminal)

    view.show({"type": "progress"}, TRAINING)

    *_, drawn = terminal.file.getvalue().removesuffix("\x1b[J\r").split("\x1b[?25l")
    assert len(drawn) < columns
    assert drawn.startswith("training")


def test_the_cursor_rests_where_the_status_begins_and_erases_behind_it(terminal):
    view = LiveView(terminal)

    view.show({"type": "checkpoint", "message": "Checkpoint at step 33."}, TRAINING)
    view.close()

    written = terminal.file.getvalue()
    assert written.count("\x1b[J\r") == 2  # the status line, and its removal
    assert "Checkpoint at step 33.\x1b[J\n" in written  # the event replaces the status line
    assert written.endswith("\x1b[?25h")
    assert "\x1b[A" not in written  # moving up would miss by the lines that a resize wraps


def test_the_bar_gives_way_to_the_figures():
    assert "[===" in status_line(TRAINING, 100)
    assert "[" not in status_line(TRAINING, 60)
    assert "step 26/99" in status_line(TRAINING, 60)


def test_a_waiting_job_is_shown_with_its_place(monkeypatch, site, server):
    monkeypatch.setattr(follow, "QUEUE_SECONDS", 0.01)
    standing = {"position": 2, "reason": "the worker is busy", "estimated_start": None}
    site.answer(f"/jobs/{ID}", {"id": ID, "status": "succeeded", "queue": standing})
    seen = []

    class Until(PlainView):
        def wait(self, standing):
            seen.append(progress.place(standing))

    with follow._watching_queue(server, ID, Snapshot(), Until(Console())):
        while not seen:
            pass

    assert seen[0] == "position 2: the worker is busy"


def test_plain_lines_tell_a_place_once():
    written = io.StringIO()
    view = PlainView(Console(file=written, width=140))
    for position in (2, 2, 1):
        view.wait({"position": position, "reason": "busy", "estimated_start": None})

    assert written.getvalue().splitlines() == [
        "  queued: position 2: busy",
        "  queued: position 1: busy",
    ]


def test_leaving_says_that_the_job_goes_on_and_how_to_come_back(monkeypatch, site, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(stream, "follow", interrupted)
    monkeypatch.delenv("TUNESMITH_URL", raising=False)
    with client.connect(site.url) as server, pytest.raises(SystemExit) as caught:
        follow.follow_to_end(server, ID, Console(file=io.StringIO()))

    said = capsys.readouterr().out
    assert caught.value.code == 130
    assert "The job continues." in said
    assert f"tunesmith logs -f {ID} --url {site.url}" in said
    assert f"tunesmith cancel {ID} --url {site.url}" in said


def test_a_succeeded_job_names_the_next_command(site, server, capsys):
    site.answer(f"/jobs/{ID}", {"id": ID, "status": "succeeded", "artifacts": {"adapter_bytes": 1}})
    site.streams = [event(1, "status", status="succeeded") + b"event: end\ndata: {}\n\n"]

    follow.follow_to_end(server, ID, Console(file=io.StringIO()))

    assert f"tunesmith download {ID}" in capsys.readouterr().out


def test_a_cancelled_job_is_not_a_success():
    with pytest.raises(follow.JobFailed, match=f"Job {ID} was cancelled"):
        follow.finished({"id": ID, "status": "cancelled"})
