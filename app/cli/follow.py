"""Follows a job on the terminal: its events, its place in the queue, its end."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from rich.console import Console

from app.cli import progress, stream
from app.cli.client import Server
from app.cli.output import say
from app.core.errors import Failure, Problem

QUEUE_SECONDS = 2.0
"""Time between two looks at the place of a waiting job."""
INTERRUPTED = 130


class JobFailed(Failure):
    code = "job_failed"


def follow(server: Server, job_id: str, console: Console) -> Any:
    """Follow a job until it ends, and return its final state."""
    now = progress.Snapshot()
    with progress.view(console) as view, _watching_queue(server, job_id, now, view):
        for event in stream.follow(server, job_id):
            now.update(event)
            view.show(event, now)
    return server.get(f"/jobs/{job_id}")


def follow_to_end(server: Server, job_id: str, console: Console) -> None:
    """Follow a job for a person: Ctrl-C leaves it running, and says how to come back to it."""
    try:
        job = finished(follow(server, job_id, console))
    except KeyboardInterrupt:
        say(
            f"\nStopped following. The job continues.\n"
            f"  come back    tunesmith logs -f {job_id}{server.option}\n"
            f"  stop it      tunesmith cancel {job_id}{server.option}"
        )
        raise SystemExit(INTERRUPTED) from None
    if job["artifacts"]:
        say(f"The adapter is ready: tunesmith download {job_id}{server.option}")


def finished(job: Any) -> Any:
    """Return the job if it succeeded. Otherwise raises JobFailed with the server's reason."""
    if job["status"] == "succeeded":
        return job
    failure = job.get("failure") or {}
    problem = Problem(
        "/failure",
        failure.get("code", job["status"]),
        failure.get("evidence") or failure.get("message", ""),
        failure.get("hint", ""),
    )
    errors = [problem] if failure else []
    reason = failure.get("message") or job.get("status_reason") or ""
    told = f"Job {job['id']} {'was cancelled' if job['status'] == 'cancelled' else job['status']}"
    raise JobFailed(f"{told}: {reason}" if reason else f"{told}.", errors=errors)


@contextmanager
def _watching_queue(
    server: Server, job_id: str, now: progress.Snapshot, view: progress.View
) -> Iterator[None]:
    """Show the place of the job while it waits. The event stream does not report it."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(QUEUE_SECONDS):
            if now.waits:
                with suppress(Failure):  # the stream reports an outage
                    standing = server.get(f"/jobs/{job_id}").get("queue")
                    if standing and now.waits:
                        view.wait(standing)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
