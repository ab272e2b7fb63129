"""Following a job: every event once and in order, despite broken connections."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.cli import client, stream
from app.cli.progress import Snapshot, duration, line
from app.cli.stream import Message


def wire(seq, kind="progress", **data):
    body = json.dumps({"seq": seq, "type": kind, "data": data})
    return f"id: {seq}\nevent: {kind}\ndata: {body}\n\n".encode()


def test_a_broken_stream_is_resumed_after_the_last_event_seen(site):
    site.streams = [
        b": hello\n\n" + wire(1) + wire(2),
        b": nothing new\n\n",
        wire(3) + b"id: 4\nevent: half\nda",
        wire(4) + b"event: end\ndata: {}\n\n",
    ]
    with client.connect(site.url) as server:
        seen = [event["seq"] for event in stream.follow(server, "job_1")]

    assert seen == [1, 2, 3, 4]
    assert site.resumed_at == [None, "2", "2", "3"]


def test_an_unknown_job_ends_the_following_at_once(site):
    with client.connect(site.url) as server:
        site.answer("/jobs/nobody", {"title": "Not found"}, status=404)
        with pytest.raises(client.Refused), server.stream("/jobs/nobody", {}):
            pass


@given(cuts=st.sets(st.integers(1, 200)), newline=st.sampled_from(["\n", "\r\n"]))
def test_messages_are_the_same_however_the_bytes_are_cut(cuts, newline):
    text = "id: 7\nevent: log\ndata: {\ndata: \u2028caf\u00e9}\n\n"
    text += ": note\n\ndata:x\n\nid: 9\n\nevent: end\n\n"
    whole = text.replace("\n", newline).encode()
    edges = sorted({0, len(whole), *(cut for cut in cuts if cut < len(whole))})
    pieces = [whole[start:end] for start, end in pairwise(edges)]

    assert list(stream.parse(pieces)) == [
        Message("7", "log", "{\n\u2028caf\u00e9}"),
        Message("", "message", "x"),
        Message("", "end", ""),
    ]


def test_a_snapshot_learns_from_events_and_keeps_what_they_leave_out():
    now = Snapshot()
    now.update({"type": "status", "data": {"status": "running"}})
    now.update({"type": "phase", "data": {"phase": "training"}})
    now.update(
        {"type": "progress", "data": {"step": 5, "max_steps": 20, "tokens_per_second": 1234.5}}
    )
    now.update({"type": "metrics", "data": {"step": 5, "values": {"train_loss": 1.25}}})
    now.update({"type": "progress", "data": {"step": 6, "eta_seconds": 61.4}})
    now.update({"type": "something_new", "data": None})

    assert (now.status, now.phase) == ("running", "training")
    assert str(now) == "step 6/20  loss 1.2500  1,234 tokens/s  ETA 1:01"


def test_a_line_says_when_what_and_how_much():
    event = {
        "at": "2026-11-23T19:00:01.123Z",
        "type": "eval",
        "data": {"values": {"valid_loss": 0.5}},
    }

    assert line(event) == "19:00:01  eval        valid_loss 0.5"
    assert line({"type": "error", "message": "No."}) == "  error       No."
    assert duration(3599.6) == "60:00"
