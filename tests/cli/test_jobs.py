"""`tunesmith jobs`, `queue`, `logs`, `cancel`, `checkpoints`, `samples` and `delete`."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from app.cli import client, data, ids, jobs, progress
from app.cli.table import cut, pairs, table
from app.core.errors import Failure

NOW = datetime.now(UTC)


def whole(number, kind="job"):
    return f"{kind}_{number:032x}"


def job(number, status, **fields):
    base = {"id": whole(number), "name": f"name {number}", "model": "m", "status": status}
    made = (NOW - timedelta(minutes=number, seconds=5)).isoformat()
    return {**base, "phase": None, "queue": None, "progress": None, "created_at": made, **fields}


def standing(position, reason="the worker is busy", start=None):
    return {"position": position, "reason": reason, "estimated_start": start}


@pytest.fixture
def server(site):
    with client.connect(site.url) as server:
        yield server


def answer_list(site, query, *found, more=False):
    site.answer(f"/jobs?{query}", {"data": list(found), "has_more": more})


def every_state(site, limit=20):
    answer_list(
        site,
        f"status=running&limit={limit}",
        job(1, "running", phase="training", progress={"step": 3, "max_steps": 9}),
    )
    answer_list(
        site,
        f"status=queued&status=validating&limit={limit}",
        job(3, "queued", queue=standing(2)),
        job(2, "queued", queue=standing(1)),
        job(4, "validating", queue=standing(None)),
    )
    query = f"status=succeeded&status=failed&status=cancelled&limit={limit}"
    answer_list(site, query, job(0, "failed"), more=True)


def test_running_and_waiting_jobs_come_first(site, server, capsys):
    every_state(site)

    jobs.show_all(server, [], 20, as_json=False)

    lines = [line.split("  ") for line in capsys.readouterr().out.splitlines()]
    assert [line[0] for line in lines[1:6]] == [whole(n) for n in (1, 2, 3, 4, 0)]
    assert [line[1].strip() for line in lines[1:6]] == [
        *("training", "queued #1", "queued #2", "validating", "failed"),
    ]
    assert lines[1][-1] == "name 1"
    assert "3/9" in "  ".join(lines[1])
    assert "see more with --limit" in lines[6][0]


def test_one_state_alone_is_asked_for(site, server, capsys):
    answer_list(site, "status=running&limit=5")

    jobs.show_all(server, ["running"], 5, as_json=False)

    assert capsys.readouterr().out == "No jobs with status running.\n"


def test_json_is_what_the_server_says(site, server, capsys):
    every_state(site, limit=2)

    jobs.show_all(server, [], 2, as_json=True)

    page = json.loads(capsys.readouterr().out)
    assert [each["id"] for each in page["data"]] == [whole(1), whole(2)]
    assert page["has_more"]


def test_ids_are_whole_at_80_columns_and_the_name_is_cut():
    row = (whole(1), "evaluating", "1200/120000", "59 min", "a name that is much too long for this")

    lines = table(("id", "status", "step", "age", "name"), [row], width=80).splitlines()

    assert max(map(len, lines)) <= 80
    assert whole(1) in lines[1]
    assert lines[1].endswith("...")
    assert row[-1] in table(("id", "status", "step", "age", "name"), [row])
    assert cut("a\n b", None) == "a b"


def test_values_are_wrapped_between_words_and_ids_are_not():
    shown = pairs([("id", whole(1)), ("hint", "lower the rate or the batch size")], width=30)

    assert whole(1) in shown
    assert shown.splitlines()[1:] == ["hint  lower the rate or the", "      batch size"]


@pytest.mark.parametrize("given", ["job_", "job_0", whole(0x7F)[:-1]])
def test_an_unambiguous_beginning_of_an_id_is_enough(site, server, given):
    answer_list(site, f"q={given}&limit=100", job(0x7F, "running"))

    assert ids.job_id(server, given) == whole(0x7F)


def test_a_whole_id_is_not_looked_up(server):
    assert ids.job_id(server, whole(5)) == whole(5)


def test_an_ambiguous_beginning_lists_what_it_may_mean(site, server):
    answer_list(site, "q=job_0&limit=100", job(1, "running"), job(2, "failed"))

    with pytest.raises(ids.AmbiguousId, match="2 jobs have an id") as caught:
        ids.job_id(server, "job_0")

    assert [problem.pointer for problem in caught.value.errors] == [whole(1), whole(2)]


@pytest.mark.parametrize(
    ("resolve", "given", "advice"),
    [(ids.job_id, "name", "tunesmith jobs"), (ids.dataset_id, "ds_f", "tunesmith datasets")],
)
def test_a_beginning_that_no_id_has_is_refused(site, server, resolve, given, advice):
    # The server also finds names.
    answer_list(site, "q=name&limit=100", job(1, "running"))
    site.answer("/datasets", {"data": [{"id": whole(1, "ds")}], "has_more": False})

    with pytest.raises(ids.UnknownId, match=advice):
        resolve(server, given)


def test_datasets_are_searched_page_by_page(site, server):
    first, last = {"id": whole(1, "ds")}, {"id": whole(0xF << 124, "ds"), "status": "ready"}
    site.answer("/datasets?limit=100", {"data": [first], "has_more": True})
    site.answer(f"/datasets?limit=100&after={first['id']}", {"data": [last], "has_more": False})

    assert ids.dataset_id(server, "ds_f") == last["id"]


def test_a_waiting_job_says_where_it_stands_and_why(site, server, capsys):
    start = (datetime.now(UTC) + timedelta(seconds=185)).isoformat()
    waiting = job(2, "queued", queue=standing(1, "all 2 workers are busy", start))
    site.answer(f"/jobs/{whole(2)}", waiting)

    jobs.show_one(server, whole(2), as_json=False)

    said = "position 1, starts in about 3 min: all 2 workers are busy"
    assert said in capsys.readouterr().out


def test_the_queue_shows_workers_and_reasons(site, server, capsys):
    worker = {"hostname": "host", "status": "alive", "device": "cuda:0", "queue": "default"}
    waiting = {"job": whole(2), "priority": 0, **standing(1, "the worker is busy")}
    site.answer("/workers", {"data": [{**worker, "job": whole(1)}, {**worker, "job": None}]})
    site.answer("/queue", {"data": [waiting]})

    jobs.show_queue(server, as_json=False)

    lines = capsys.readouterr().out.splitlines()
    assert lines[1].endswith(whole(1))
    assert lines[2].endswith("idle")
    assert lines[-1] == f"1  {whole(2)}  0         the worker is busy"


def test_a_server_without_workers_is_said_plainly(site, server, capsys):
    site.answer("/workers", {"data": []})
    site.answer("/queue", {"data": []})

    jobs.show_queue(server, as_json=False)

    assert "No worker is alive" in capsys.readouterr().out


def test_cancel_says_whether_a_job_has_ended(site, server, capsys):
    site.answer(f"/jobs/{whole(1)}/cancel", job(1, "cancelled"))
    site.answer(f"/jobs/{whole(2)}/cancel", job(2, "running"))

    jobs.cancel(server, [whole(1), whole(2)], as_json=False)

    first, second = capsys.readouterr().out.splitlines()
    assert first.endswith("cancelled")
    assert "stopping" in second


def test_delete_takes_jobs_and_datasets(site, server, capsys):
    data.delete(server, [whole(1), whole(2, "ds")])

    assert site.deleted == [f"/jobs/{whole(1)}", f"/datasets/{whole(2, 'ds')}"]
    assert capsys.readouterr().out.count("deleted") == 2


def test_checkpoints_show_the_figures_of_the_api(site, server, capsys):
    made = {"bytes": 3 << 20, "created_at": NOW.isoformat(), "best": True, "kept": False}
    point = {"step": 33, "epoch": 1.0, "metrics": {"valid_loss": 0.09747742995237693}, **made}
    site.answer(f"/jobs/{whole(1)}/checkpoints", {"data": [point]})

    jobs.show_checkpoints(server, whole(1), as_json=False)

    assert capsys.readouterr().out.splitlines()[1].split()[:5] == [
        *("33", "1.00", "0.0974774", "3.0", "MiB"),
    ]


def test_samples_show_both_answers(site, server, capsys):
    sample = {"prompt": "2 + 2?\nSay it.", "base": "five", "adapter": "four", "step": 9}
    site.answer(f"/jobs/{whole(1)}/samples", {"data": [sample]})

    jobs.show_samples(server, whole(1), as_json=False)

    said = capsys.readouterr().out
    assert said == "prompt   2 + 2? Say it.\nbase     five\nadapter  four\n\n"


def test_logs_can_be_cut_to_their_last_lines(site, server, capsys):
    site.answers[f"/jobs/{whole(1)}/logs?format=text&tail=1"] = (200, "text/plain", b"the end\n")

    jobs.show_log(server, whole(1), tail=1, as_json=False)

    assert capsys.readouterr().out == "the end\n"


@pytest.mark.parametrize(
    ("detail", "code", "said"),
    [
        ("No job.", "job_not_found", "No job. `tunesmith jobs` lists them."),
        ("GET /models lists them.", "x", "`tunesmith models` lists them."),
        ("See GET /datasets/ds_1/report.", "x", "See `tunesmith datasets ds_1`."),
        ("The mapping is invalid; see `errors`.", "x", "The mapping is invalid:"),
        ("GET /recipes lists them.", "x", "{url}/recipes lists them."),
    ],
)
def test_errors_name_commands_and_not_requests(site, server, detail, code, said):
    site.answer("/queue", {"title": "Not Found", "detail": detail, "code": code}, status=404)

    with pytest.raises(Failure) as caught:
        server.get("/queue")

    assert caught.value.detail == said.format(url=site.url)


def test_a_place_in_the_queue_without_an_estimate_is_its_reason():
    assert progress.place(standing(None, "validating dataset")) == "validating dataset"
    assert progress.place(standing(3)) == "position 3: the worker is busy"
    past = (NOW - timedelta(seconds=9)).isoformat()
    assert progress.place(standing(1, "busy", past)) == "position 1, starts soon: busy"


def test_a_job_shows_how_long_each_phase_took(site, server, capsys):
    def turn(seq, second, kind, **fields):
        at = (NOW + timedelta(seconds=second)).isoformat()
        return {"seq": seq, "at": at, "type": kind, "attempt": fields.pop("attempt", 2)} | {
            "data": fields
        }

    events = [
        turn(1, 0, "status", status="running", attempt=1),
        turn(3, 100, "status", status="running"),
        turn(4, 101, "phase", phase="starting"),
        turn(5, 108.5, "phase", phase="preparing"),
        turn(6, 110, "phase", phase="training"),
        turn(7, 120, "phase", phase="evaluating"),
        turn(8, 121, "phase", phase="training"),
        turn(9, 126, "phase", phase="finalizing"),
        turn(10, 130, "status", status="succeeded"),
    ]
    running = job(1, "succeeded", started_at=NOW.isoformat(), attempt=2)
    site.answer(f"/jobs/{whole(1)}", running)
    site.answer(f"/jobs/{whole(1)}/events", {"data": events, "has_more": False})

    jobs.show_one(server, whole(1), as_json=False)

    told = "starting 8.5, preparing 1.5, training 15.0, evaluating 1.0, finalizing 4.0"
    assert told in capsys.readouterr().out
