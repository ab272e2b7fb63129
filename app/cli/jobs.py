"""`tunesmith jobs`, `queue`, `logs`, `cancel`, `checkpoints` and `samples`."""

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any

from app.cli import ids, progress
from app.cli.client import Server
from app.cli.follow import follow_to_end
from app.cli.output import print_json, say, terminal_or_lines
from app.cli.table import age, cut, pairs, size, table, terminal_width

_WAITING = ("queued", "validating")
_FIELDS = (
    *("id", "name", "model", "model_revision", "dataset", "recipe", "status", "phase"),
    *("status_reason", "attempt", "created_at", "started_at", "finished_at", "trained_tokens"),
)


def show_all(server: Server, statuses: Sequence[str], limit: int, *, as_json: bool) -> None:
    """List the running jobs, then the waiting ones in the order of the queue, then the others."""
    page = _page(server, statuses, limit)
    if as_json:
        print_json(page)
        return
    wanted = f" with status {' or '.join(statuses)}" if statuses else ""
    rows = [
        (job["id"], _state(job), _steps(job), age(job["created_at"]), _name(job))
        for job in page["data"]
    ]
    if not rows:
        say(f"No jobs{wanted}." if wanted else "No jobs yet: `tunesmith submit SPEC.json`.")
        return
    say(table(("id", "status", "step", "age", "name"), rows, terminal_width()))
    if page["has_more"]:
        say(f"The first {limit} are shown; see more with --limit.")


def show_one(server: Server, given: str, *, as_json: bool) -> None:
    """Print the fields of a job, one per line, without empty ones."""
    job = server.get(f"/jobs/{ids.job_id(server, given)}")
    if as_json:
        print_json(job)
        return
    fields = [(name, str(job[name])) for name in _FIELDS if job.get(name) is not None]
    if job.get("queue"):
        fields.append(("queue", progress.place(job["queue"])))
    fields.append(("step", _steps(job)))
    if job.get("started_at"):
        fields.append(("seconds", _phases(server, job)))
    for name, value in (job.get("metrics") or {}).items():
        fields.append((name, f"{value:.6g}" if isinstance(value, float) else str(value)))
    for part in ("failure", "artifacts"):
        for name, value in (job.get(part) or {}).items():
            label = f"failure.{name}" if part == "failure" else name
            fields.append((label, "" if value is None else str(value)))
    say(pairs([(name, value) for name, value in fields if value], terminal_width()))


def show_queue(server: Server, *, as_json: bool) -> None:
    waiting, workers = server.get("/queue"), server.get("/workers")
    if as_json:
        print_json({"queue": waiting, "workers": workers})
        return
    heads = ("worker", "status", "device", "queue", "job")
    alive = [each for each in workers["data"] if each["status"] == "alive" or each["job"]]
    rows = [
        (each["hostname"], each["status"], each["device"], each["queue"], each["job"] or "idle")
        for each in alive
    ]
    say(table(heads, rows) if rows else "No worker is alive: jobs wait until one starts.")
    say("")
    lines = [
        (str(each["position"] or "-"), each["job"], str(each["priority"]), _why(each))
        for each in waiting["data"]
    ]
    if lines:
        say(table(("#", "job", "priority", "why it waits"), lines))
    else:
        say("No job waits.")


def show_log(server: Server, given: str, *, tail: int | None, as_json: bool) -> None:
    path = f"/jobs/{ids.job_id(server, given)}/logs"
    limit = {"tail": tail} if tail else {}
    if as_json:
        print_json(server.get(path, format="json", **limit))
    else:
        print(server.text(path, format="text", **limit), end="")


def follow_log(server: Server, given: str) -> None:
    follow_to_end(server, ids.job_id(server, given), terminal_or_lines())


def cancel(server: Server, given: Sequence[str], *, as_json: bool) -> None:
    for each in given:
        job = server.post(f"/jobs/{ids.job_id(server, each)}/cancel", None)
        if as_json:
            print_json(job)
        else:
            ended = job["status"] == "cancelled"
            say(f"{job['id']}  {'cancelled' if ended else 'stopping; it ends within seconds'}")


def show_checkpoints(server: Server, given: str, *, as_json: bool) -> None:
    job = ids.job_id(server, given)
    page = server.get(f"/jobs/{job}/checkpoints")
    if as_json:
        print_json(page)
        return
    rows = [
        (
            str(each["step"]),
            f"{each['epoch']:.2f}",
            _figure(each["metrics"].get("valid_loss")),
            size(each["bytes"]),
            age(each["created_at"]),
            ", ".join(word for word in ("best", "kept") if each[word]),
        )
        for each in page["data"]
    ]
    heads = ("step", "epoch", "valid_loss", "size", "age", "")
    say(table(heads, rows) if rows else f"{job} has no checkpoints.")


def show_samples(server: Server, given: str, *, as_json: bool) -> None:
    job = ids.job_id(server, given)
    page = server.get(f"/jobs/{job}/samples")
    if as_json:
        print_json(page)
    elif not page["data"]:
        say(f"{job} has no samples. They are answers to the spec's `sample_prompts`.")
    for each in () if as_json else page["data"]:
        say(pairs(_sample(each), terminal_width()) + "\n")


def _page(server: Server, statuses: Sequence[str], limit: int) -> Any:
    wanted = set(statuses)
    running = _some(server, wanted, ("running",), limit)
    waiting = _some(server, wanted, _WAITING, limit)
    waiting["data"].sort(key=lambda job: (job["queue"] or {}).get("position") or 1 << 62)
    rest = _some(server, wanted, ("succeeded", "failed", "cancelled"), limit)
    found = running["data"] + waiting["data"] + rest["data"]
    more = len(found) > limit or any(page["has_more"] for page in (running, waiting, rest))
    return {"data": found[:limit], "has_more": more}


def _some(server: Server, wanted: set[str], group: Sequence[str], limit: int) -> Any:
    statuses = [status for status in group if not wanted or status in wanted]
    if not statuses:
        return {"data": [], "has_more": False}
    return server.get("/jobs", status=statuses, limit=min(limit, 100))


def _state(job: dict[str, Any]) -> str:
    if job["status"] == "running":
        return str(job.get("phase") or "running")
    position = (job.get("queue") or {}).get("position")
    return f"{job['status']} #{position}" if position else str(job["status"])


def _phases(server: Server, job: dict[str, Any]) -> str:
    """Return how long the phases of the last attempt took, each over all of its turns."""
    path, turns = f"/jobs/{job['id']}/events", []
    after, more = 0, True
    while more:
        page = server.get(path, type="phase,status", limit=1000, after=after)
        turns += [each for each in page["data"] if each["attempt"] == job["attempt"]]
        after, more = page["data"][-1]["seq"] if page["data"] else 0, page["has_more"]
    spent: dict[str, float] = {}
    for turn, following in pairwise(turns):
        name = "starting" if turn["type"] == "status" else turn["data"]["phase"]
        if turn["data"].get("status") in (None, "running"):
            seconds = datetime.fromisoformat(following["at"]) - datetime.fromisoformat(turn["at"])
            spent[name] = spent.get(name, 0) + seconds.total_seconds()
    return ", ".join(f"{name} {seconds:.1f}" for name, seconds in spent.items())


def _name(job: dict[str, Any]) -> str:
    return str(job.get("name") or job["model"])


def _steps(job: dict[str, Any]) -> str:
    at = job.get("progress") or {}
    return f"{at['step']}/{at['max_steps']}" if at.get("max_steps") else ""


def _why(waiting: dict[str, Any]) -> str:
    return progress.place({**waiting, "position": None})


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _sample(sample: dict[str, Any]) -> list[tuple[str, str]]:
    return [(name, cut(sample[name] or "", None)) for name in ("prompt", "base", "adapter")]
