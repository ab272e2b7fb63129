"""Faults in `worker.housekeeper`."""

from tests.mutants.fault import Fault

GARBAGE = "worker/housekeeper/garbage.py"
LOOP = "worker/housekeeper/housekeeper.py"
LEADER = "worker/housekeeper/leader.py"
TEST_GARBAGE = "tests/worker/housekeeper/test_garbage.py"
TEST_HOUSEKEEPER = "tests/worker/housekeeper/test_housekeeper.py"

HOUSEKEEPER = (
    Fault(
        name="leader-never-steps-down",
        wrong="A leader that steps down gives its connection back with the lock still on it.",
        file=LEADER,
        before="            connection.invalidate()\n",
        after="",
        tests=(f"{TEST_HOUSEKEEPER}::test_one_of_two_housekeepers_leads_until_it_is_gone",),
        survived_at_first=True,
    ),
    Fault(
        name="reclaim-at-once",
        wrong="Leases are taken before the leader has watched for a full one.",
        file=LOOP,
        before="if since is None or time.monotonic() - since < self.settings.lease_seconds:",
        after="if since is None:",
        tests=(
            f"{TEST_HOUSEKEEPER}::test_no_lease_is_taken_before_it_was_watched_for_its_whole_length",
        ),
        survived_at_first=True,
    ),
    Fault(
        name="watch-survives-outage",
        wrong="After an outage the leader counts its watch from before it.",
        file=LOOP,
        before="            housekeeper.leads_since = None\n            _report",
        after="            _report",
        tests=(f"{TEST_HOUSEKEEPER}::test_a_watch_begins_anew_when_the_database_was_lost",),
        survived_at_first=True,
    ),
    Fault(
        name="too-many-wakes",
        wrong="Workers are woken again although earlier messages still wait.",
        file=LOOP,
        before="for _ in range(number - pending))",
        after="for _ in range(number))",
        tests=(
            f"{TEST_HOUSEKEEPER}::test_each_waiting_job_is_rung_for_once_per_interval_and_again_"
            "when_the_bell_was_lost",
        ),
    ),
    Fault(
        name="young-run-deleted",
        wrong="A run directory is deleted before its job may be in the database.",
        file=GARBAGE,
        before="old = [path for path in found if _age(path) > self.keep_seconds]",
        after="old = found",
        tests=(f"{TEST_GARBAGE}::test_a_young_run_directory_of_no_job_stays_and_an_old_one_goes",),
        survived_at_first=True,
    ),
    Fault(
        name="half-published-deleted",
        wrong="An artifact is deleted while it is being published.",
        file=GARBAGE,
        before="return owner.prefix != prefix and not is_being_made",
        after="return owner.prefix != prefix",
        tests=(f"{TEST_GARBAGE}::test_an_artifact_stays_while_it_is_being_published",),
        survived_at_first=True,
    ),
    Fault(
        name="older-epoch-kept",
        wrong="What an earlier attempt stored of an artifact stays while the job runs.",
        file=GARBAGE,
        before='owner.status is JobStatus.RUNNING and prefix.endswith(f"/{owner.epoch}/")',
        after="owner.status is JobStatus.RUNNING",
        tests=(f"{TEST_GARBAGE}::test_an_artifact_stays_while_it_is_being_published",),
        survived_at_first=True,
    ),
    Fault(
        name="just-finished-deleted",
        wrong="The run directory of a job is deleted as soon as it is over.",
        file=GARBAGE,
        before="if not owner.is_long_over:",
        after="if not owner.status.is_final:",
        tests=(f"{TEST_GARBAGE}::test_the_run_of_a_job_that_just_ended_stays",),
        survived_at_first=True,
    ),
    Fault(
        name="failed-checkpoints-deleted",
        wrong="Checkpoints of a failed job, from which a person may go on, are deleted.",
        file=GARBAGE,
        before="owner.status is not JobStatus.FAILED or not has_checkpoint",
        after="owner.status is not JobStatus.FAILED or has_checkpoint",
        tests=(
            f"{TEST_HOUSEKEEPER}"
            "::test_files_of_jobs_that_are_gone_or_over_are_deleted_and_others_kept",
        ),
    ),
    Fault(
        name="open-upload-deleted",
        wrong="Parts of an upload that is still coming in are deleted.",
        file=GARBAGE,
        before="late = PartialUpload.created_at < NOW - PartialUpload.KEPT_FOR",
        after="late = PartialUpload.created_at > NOW - PartialUpload.KEPT_FOR",
        tests=(f"{TEST_HOUSEKEEPER}::test_parts_of_uploads_that_are_over_are_deleted",),
    ),
)
