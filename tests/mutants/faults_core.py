"""Faults in `app/core`: the jobs, their events and leases, and the transaction at the edge."""

from tests.mutants.fault import Fault

LIFECYCLE = "app/core/jobs/lifecycle.py"
RETRIES = "app/core/jobs/retries.py"
DISPATCH = "worker/housekeeper/dispatch.py"
SESSION = "app/core/db/session.py"
TEST_LIFECYCLE = "tests/core/test_lifecycle.py"
TEST_SESSION = "tests/core/test_session.py"
TEST_HOUSEKEEPER = "tests/worker/housekeeper/test_housekeeper.py"

CORE = (
    Fault(
        name="held-any-epoch",
        wrong="A worker's write counts whatever its epoch.",
        file=LIFECYCLE,
        before="return (Job.id == lease.job_id, Job.epoch == lease.epoch, Job.status",
        after="return (Job.id == lease.job_id, Job.status",
        tests=(f"{TEST_LIFECYCLE}::test_no_write_of_a_worker_counts_after_it_lost_the_job",),
    ),
    Fault(
        name="held-when-over",
        wrong="A worker's write counts although the job is not running any more.",
        file=LIFECYCLE,
        before="Job.epoch == lease.epoch, Job.status == JobStatus.RUNNING)",
        after="Job.epoch == lease.epoch)",
        tests=(f"{TEST_LIFECYCLE}::test_no_write_of_a_worker_counts_after_it_lost_the_job",),
    ),
    Fault(
        name="leave-older-epoch",
        wrong="A worker with an older epoch may end its successor's run.",
        file=LIFECYCLE,
        before="guard.append(Job.epoch == epoch_is)",
        after="guard.append(Job.epoch >= epoch_is)",
        tests=(f"{TEST_LIFECYCLE}::test_no_write_of_a_worker_counts_after_it_lost_the_job",),
    ),
    Fault(
        name="move-from-anywhere",
        wrong="A move is made from whatever state the job is in.",
        file=LIFECYCLE,
        before="guard = [Job.id == job_id, Job.status == source]",
        after="guard = [Job.id == job_id]",
        tests=(f"{TEST_LIFECYCLE}::test_every_move_is_made_from_its_own_states_and_from_no_other",),
    ),
    Fault(
        name="requeue-same-epoch",
        wrong="A job that goes back to the queue keeps its epoch.",
        file=LIFECYCLE,
        before='        fenced["epoch"] = Job.epoch + 1',
        after='        fenced["epoch"] = Job.epoch',
        tests=(
            f"{TEST_HOUSEKEEPER}"
            "::test_a_lease_that_ran_out_is_taken_and_its_holder_can_do_nothing_more",
        ),
    ),
    Fault(
        name="requeue-always-counted",
        wrong="A drain uses up one of the job's retries.",
        file=LIFECYCLE,
        before="Job.infra_attempts + int(is_counted)",
        after="Job.infra_attempts + 1",
        tests=(
            "tests/worker/supervisor/test_supervisor.py"
            "::test_a_drain_commits_a_checkpoint_and_counts_no_attempt",
        ),
    ),
    Fault(
        name="requeue-keeps-woken",
        wrong="A job that waits again is not announced before the old announcement lapses.",
        file=LIFECYCLE,
        before="        woken_at=None,\n",
        after="",
        tests=(f"{TEST_HOUSEKEEPER}::test_a_job_that_waits_again_is_told_at_once",),
        survived_at_first=True,
    ),
    Fault(
        name="claim-age-first",
        wrong="Jobs are claimed by age, and by priority only among those of one age.",
        file=LIFECYCLE,
        before=".order_by(Job.priority.desc(), Job.id)",
        after=".order_by(Job.id, Job.priority.desc())",
        tests=(f"{TEST_LIFECYCLE}::test_claims_go_by_priority_then_age_and_keep_to_their_queue",),
    ),
    Fault(
        name="claim-before-its-time",
        wrong="A job that backs off is claimed, one whose pause is over is not.",
        file=LIFECYCLE,
        before="(Job.not_before <= NOW)",
        after="(Job.not_before > NOW)",
        tests=(f"{TEST_LIFECYCLE}::test_claims_go_by_priority_then_age_and_keep_to_their_queue",),
    ),
    Fault(
        name="claim-waits",
        wrong="A claim waits for the one before it instead of passing over its job.",
        file=LIFECYCLE,
        before="        .with_for_update(skip_locked=True)\n",
        after="        .with_for_update()\n",
        tests=(f"{TEST_LIFECYCLE}::test_a_claim_passes_over_a_job_that_another_is_taking",),
    ),
    Fault(
        name="cancel-told-twice",
        wrong="Each repeat of a cancel writes its event again.",
        file=LIFECYCLE,
        before="if job.desired != Desired.CANCEL:",
        after="if job.desired:",
        tests=(f"{TEST_LIFECYCLE}::test_cancelling_a_running_job_tells_its_worker_once",),
    ),
    Fault(
        name="events-after-inclusive",
        wrong="Reading on from an event repeats that event.",
        file="app/core/events/log.py",
        before="Event.seq > after)",
        after="Event.seq >= after)",
        tests=("tests/api/test_history.py::test_events_are_in_order_and_in_pages",),
    ),
    Fault(
        name="message-before-commit",
        wrong="What must follow a commit is done before it.",
        file=SESSION,
        before="    session.commit()\n    for action in session.info.pop(_AFTER, []):\n"
        "        action()\n",
        after="    for action in session.info.pop(_AFTER, []):\n        action()\n"
        "    session.commit()\n",
        tests=(f"{TEST_SESSION}::test_what_is_queued_runs_after_the_commit_and_can_read_the_row",),
    ),
    Fault(
        name="message-repeated",
        wrong="A second commit of a session sends the first one's messages again.",
        file=SESSION,
        before="session.info.pop(_AFTER, [])",
        after="session.info.get(_AFTER, [])",
        tests=(f"{TEST_SESSION}::test_what_is_queued_runs_once_however_often_is_committed",),
        survived_at_first=True,
    ),
    Fault(
        name="one-retry-more",
        wrong="A job is tried once more than its limit allows.",
        file=RETRIES,
        before="job.infra_attempts >= limits.max_retries",
        after="job.infra_attempts > limits.max_retries",
        tests=(
            "tests/worker/supervisor/test_supervisor.py"
            "::test_a_job_that_gets_further_each_time_ends_after_its_retries",
        ),
    ),
    Fault(
        name="poison-too-soon",
        wrong="The attempt that just died is counted twice towards poison.",
        file=RETRIES,
        before="Attempt.epoch < lease.epoch)",
        after="Attempt.epoch <= lease.epoch)",
        tests=(
            "tests/worker/supervisor/test_supervisor.py"
            "::test_a_job_that_always_crashes_before_a_checkpoint_is_poison",
        ),
    ),
    Fault(
        name="poison-counts-drains",
        wrong="Drains count as fruitless attempts.",
        file=RETRIES,
        before="        if attempt.outcome not in _NOT_THE_JOBS:\n            fruitless += 1\n",
        after="        if attempt.outcome:\n            fruitless += 1\n",
        tests=(
            "tests/worker/supervisor/test_outcome.py"
            "::test_poison_is_what_dies_again_and_again_without_getting_further",
        ),
    ),
    Fault(
        name="retry-ignores-cancel",
        wrong="A job whose worker died is tried again although its owner cancelled it.",
        file=RETRIES,
        before="    if job.desired == Desired.CANCEL:",
        after="    if job.status == JobStatus.CANCELLED:",
        tests=(
            f"{TEST_HOUSEKEEPER}::test_a_dead_workers_job_that_was_to_be_cancelled_is_cancelled",
        ),
    ),
    Fault(
        name="reclaim-renewed-lease",
        wrong="A lease that was renewed since it was found expired is taken all the same.",
        file=DISPATCH,
        before="        Job.lease_until < NOW,\n    )\n    if session.scalar(still",
        after="    )\n    if session.scalar(still",
        tests=(
            f"{TEST_HOUSEKEEPER}::test_a_lease_that_holds_or_was_renewed_in_time_is_left_alone",
        ),
    ),
    Fault(
        name="no-grace-after-start",
        wrong="Leases that ran out while the database was down are taken as soon as it is up.",
        file=DISPATCH,
        before="        grace.bindparams(lease=lease_seconds),\n",
        after="",
        tests=(f"{TEST_HOUSEKEEPER}::test_nobody_is_taken_for_dead_right_after_an_outage",),
    ),
    Fault(
        name="announced-every-time",
        wrong="A waiting job is announced again at each look.",
        file=DISPATCH,
        before="(Job.woken_at < NOW - timedelta(seconds=wake_seconds))",
        after="(Job.woken_at > NOW - timedelta(seconds=wake_seconds))",
        tests=(
            f"{TEST_HOUSEKEEPER}::test_each_waiting_job_is_rung_for_once_per_interval_and_again_"
            "when_the_bell_was_lost",
        ),
    ),
)
