"""Faults in `worker.supervisor` and in what keeps one worker to one job."""

from tests.mutants.fault import Fault

ARTIFACT = "worker/supervisor/artifact.py"
ATTEMPT = "worker/supervisor/attempt.py"
CONCLUSION = "worker/supervisor/conclusion.py"
LEASE_KEEPER = "worker/supervisor/lease_keeper.py"
ORPHANS = "worker/supervisor/orphans.py"
OUTCOME = "worker/supervisor/outcome.py"
PATIENCE = "worker/supervisor/patience.py"
RELAY = "worker/supervisor/relay.py"
REPORT_READER = "worker/supervisor/report_reader.py"
RESUME = "worker/supervisor/resume.py"
RUN_DIRECTORY = "worker/supervisor/run_directory.py"
TEST_ARTIFACT = "tests/worker/supervisor/test_artifact.py"
TEST_KEEPER = "tests/worker/supervisor/test_lease_keeper.py"
TEST_ORPHANS = "tests/worker/supervisor/test_orphans.py"
TEST_OUTCOME = "tests/worker/supervisor/test_outcome.py"
TEST_RELAY = "tests/worker/supervisor/test_relay.py"
TEST_REPORTS = "tests/worker/supervisor/test_report_reader.py"
TEST_RESUME = "tests/worker/supervisor/test_resume.py"
TEST_RUN_DIRECTORY = "tests/worker/supervisor/test_run_directory.py"
TEST_SUPERVISOR = "tests/worker/supervisor/test_supervisor.py"
TEST_LOST = (
    "tests/faults/test_lost_answers.py::test_events_are_told_once_whichever_answers_are_lost"
)

SUPERVISOR = (
    Fault(
        name="artifact-unhashed",
        wrong="A file of the artifact is taken by its length; its hash is not compared.",
        file=ARTIFACT,
        before='if (seen["bytes"], seen["sha256"]) != (file.bytes, file.sha256):',
        after='if seen["bytes"] != file.bytes:',
        tests=(
            f"{TEST_SUPERVISOR}"
            "::test_an_artifact_of_which_one_byte_changed_ends_the_attempt_and_is_not_stored",
            f"{TEST_ARTIFACT}::test_a_file_that_is_not_as_reported_is_no_artifact",
        ),
        survived_at_first=True,
    ),
    Fault(
        name="manifest-not-compared",
        wrong="A manifest with other hashes than the report is published.",
        file=ARTIFACT,
        before="if manifest != {name: (file.bytes, file.sha256) for name, file in listed.items()}:",
        after="if manifest.keys() != listed.keys():",
        tests=(f"{TEST_ARTIFACT}::test_a_manifest_that_says_something_else_is_no_manifest",),
        survived_at_first=True,
    ),
    Fault(
        name="symlink-published",
        wrong="A symbolic link in the artifact is followed.",
        file=ARTIFACT,
        before="        path.is_symlink()\n        or not path.is_file()",
        after="        not path.is_file()",
        tests=(f"{TEST_ARTIFACT}::test_a_link_is_no_file_of_an_artifact",),
        survived_at_first=True,
    ),
    Fault(
        name="stray-file-ignored",
        wrong="An artifact with a file that was not reported is published.",
        file=ARTIFACT,
        before="if not listed or found != {*listed, MANIFEST}:",
        after="if not listed or not found >= {*listed, MANIFEST}:",
        tests=(f"{TEST_ARTIFACT}::test_a_file_that_is_not_as_reported_is_no_artifact",),
        survived_at_first=True,
    ),
    Fault(
        name="cancel-while-publishing-lost",
        wrong="A cancel that arrives between the end of training and the last write is lost.",
        file=CONCLUSION,
        before="if isinstance(outcome, Cancelled) or desired is Desired.CANCEL:",
        after="if isinstance(outcome, Cancelled):",
        tests=(
            "tests/worker/supervisor/test_conclusion.py::test_a_cancel_goes_before_any_other_end",
        ),
        survived_at_first=True,
    ),
    Fault(
        name="drain-before-artifact",
        wrong="A drain throws away an artifact that is there.",
        file=OUTCOME,
        before="    if status == ExitCode.OK and artifact is not None:\n"
        "        return Succeeded(artifact)\n"
        "    if stop is Stop.DRAIN:\n        return Drained()\n",
        after="    if stop is Stop.DRAIN:\n        return Drained()\n"
        "    if status == ExitCode.OK and artifact is not None:\n"
        "        return Succeeded(artifact)\n",
        tests=(
            f"{TEST_OUTCOME}::test_an_artifact_counts_with_status_0_unless_the_job_was_cancelled",
        ),
    ),
    Fault(
        name="first-reason-forgotten",
        wrong="Why a trainer was stopped is forgotten when the reason passes before it ends.",
        file=ATTEMPT,
        before="stop = stop or self._why_stop()",
        after="stop = self._why_stop()",
        tests=(f"{TEST_SUPERVISOR}::test_a_trainer_that_stalled_and_then_saved_has_stalled",),
        survived_at_first=True,
    ),
    Fault(
        name="deadline-while-finalizing",
        wrong="A job that was trained in time is stopped while it saves.",
        file=ATTEMPT,
        before='if self._is_publishing or self._relay.phase == "finalizing":',
        after="if self._is_publishing:",
        tests=(
            f"{TEST_SUPERVISOR}::test_a_job_that_runs_out_of_time_after_its_last_step_succeeds",
        ),
    ),
    Fault(
        name="earlier-attempts-free",
        wrong="Time that earlier attempts took does not count towards the job's limit.",
        file=ATTEMPT,
        before="return started + float(seconds) - self._patiently(read)",
        after="return started + float(seconds)",
        tests=(f"{TEST_SUPERVISOR}::test_time_of_earlier_attempts_counts_towards_the_limit",),
        survived_at_first=True,
    ),
    Fault(
        name="outage-not-waited-out",
        wrong="The first error of an outage is raised at once.",
        file=PATIENCE,
        before="if time.monotonic() >= until:",
        after="if time.monotonic() < until:",
        tests=(
            "tests/faults/test_outages.py"
            "::test_a_database_away_while_an_attempt_is_prepared_costs_no_epoch",
        ),
    ),
    Fault(
        name="heartbeat-is-progress",
        wrong="A heartbeat counts as getting on, so that a trainer that hangs is never stopped.",
        file=RELAY,
        before='        if report.type == "heartbeat":\n            return\n',
        after='        if report.type == "heartbeat":\n'
        "            self.last_sign_at = time.monotonic()\n            return\n",
        tests=(f"{TEST_RELAY}::test_a_heartbeat_is_no_sign_of_getting_on",),
        survived_at_first=True,
    ),
    Fault(
        name="doubt-not-noted",
        wrong="After a lost answer the batch is written again, whether or not it was.",
        file=RELAY,
        before="            self._is_in_doubt = True\n",
        after="",
        tests=(TEST_LOST,),
    ),
    Fault(
        name="compared-from-the-start",
        wrong="After a lost answer an event is taken for an equal one of long ago.",
        file=RELAY,
        before="after=self._known_seq, limit=_MANY",
        after="after=0, limit=_MANY",
        tests=(f"{TEST_RELAY}::test_equal_events_are_each_written_after_a_lost_answer",),
        survived_at_first=True,
    ),
    Fault(
        name="spool-reversed",
        wrong="What came during an outage is written before what was waiting.",
        file=RELAY,
        before="                batch.follow(self._batch)\n                self._batch = batch\n",
        after="                self._batch.follow(batch)\n",
        tests=(f"{TEST_RELAY}::test_what_comes_during_an_outage_is_told_after_what_was_waiting",),
        survived_at_first=True,
    ),
    Fault(
        name="newest-metrics-dropped",
        wrong="Of too many metrics in a batch the newest event is dropped.",
        file=RELAY,
        before="del entries[metrics[0]]",
        after="del entries[metrics[-1]]",
        tests=(f"{TEST_RELAY}::test_of_a_flood_of_metrics_the_newest_are_told",),
        survived_at_first=True,
    ),
    Fault(
        name="nul-stored",
        wrong="A NUL character in a report reaches the database.",
        file=REPORT_READER,
        before='redact(value.replace("\\0", "").encode',
        after="redact(value.encode",
        tests=(f"{TEST_REPORTS}::test_what_is_accepted_can_be_stored_by_postgres",),
    ),
    Fault(
        name="surrogate-stored",
        wrong="Half a surrogate pair in a report reaches the database.",
        file=REPORT_READER,
        before='.replace("\\0", "").encode("utf-8", "replace").decode())',
        after='.replace("\\0", ""))',
        tests=(f"{TEST_REPORTS}::test_half_a_character_does_not_reach_the_database",),
        survived_at_first=True,
    ),
    Fault(
        name="dirty-keys",
        wrong="The names in a report's data are not cleaned as its values are.",
        file=REPORT_READER,
        before="{_clean(key): _clean(each) for",
        after="{key: _clean(each) for",
        tests=(f"{TEST_REPORTS}::test_what_is_accepted_can_be_stored_by_postgres",),
    ),
    Fault(
        name="long-line-cut-and-taken",
        wrong="A report that is too long is cut and taken for a good one.",
        file=REPORT_READER,
        before="part[: MAX_REPORT_BYTES + 1 - len(self._line)]",
        after="part[: MAX_REPORT_BYTES - len(self._line)]",
        tests=(f"{TEST_REPORTS}::test_a_report_with_a_long_tail_of_spaces_is_refused",),
        survived_at_first=True,
    ),
    Fault(
        name="lease-believed-too-long",
        wrong="The keeper counts a renewal from its answer and not from its start.",
        file=LEASE_KEEPER,
        before="        self._renewed_at = at\n",
        after="        self._renewed_at = time.monotonic()\n",
        tests=(f"{TEST_KEEPER}::test_a_renewal_counts_from_before_it_was_asked_for",),
        survived_at_first=True,
    ),
    Fault(
        name="lost-lease-unseen",
        wrong="Between two renewals a keeper does not notice that the job was taken.",
        file=LEASE_KEEPER,
        before="        if desired is None:\n            raise LeaseLost(self._lease.job_id)\n",
        after="        if desired is None:\n            return Desired.RUN\n",
        tests=(f"{TEST_KEEPER}::test_a_job_that_was_taken_is_noticed_before_the_next_renewal",),
        survived_at_first=True,
    ),
    Fault(
        name="resume-oldest-first",
        wrong="The folders a run may go on from are named oldest first.",
        file=RESUME,
        before="if path.name.isdigit()), reverse=True\n",
        after="if path.name.isdigit())\n",
        tests=(f"{TEST_RESUME}::test_folders_of_earlier_epochs_are_named_newest_first",),
        survived_at_first=True,
    ),
    Fault(
        name="resume-uncommitted",
        wrong="A folder without a committed checkpoint is named to go on from.",
        file=RESUME,
        before='if any(folder.glob(f"checkpoint-*/{COMMIT}"))]',
        after='if any(folder.glob("checkpoint-*"))]',
        tests=(f"{TEST_RESUME}::test_folders_of_earlier_epochs_are_named_newest_first",),
        survived_at_first=True,
    ),
    Fault(
        name="cut-rows-from-cache",
        wrong="Rows in the cache are used whatever their length.",
        file=RUN_DIRECTORY,
        before="if path.is_file() and path.stat().st_size == self.storage.size(key):",
        after="if path.is_file():",
        tests=(f"{TEST_RUN_DIRECTORY}::test_a_copy_in_the_cache_that_is_cut_is_fetched_again",),
        survived_at_first=True,
    ),
    Fault(
        name="cut-rows-kept",
        wrong="Rows that came in cut are put into the cache.",
        file=RUN_DIRECTORY,
        before="if partial.stat().st_size != self.storage.size(key):",
        after="if partial.stat().st_size > self.storage.size(key):",
        tests=(f"{TEST_RUN_DIRECTORY}::test_rows_that_come_in_cut_are_not_kept",),
    ),
    Fault(
        name="orphan-of-reused-pid",
        wrong="A process that got a dead supervisor's number protects what that one left.",
        file=ORPHANS,
        before='return ticks is not None and ticks == note["supervisor_ticks"]',
        after="return ticks is not None",
        tests=(
            "tests/faults/test_processes.py"
            "::test_the_janitor_kills_what_a_dead_supervisor_left_running",
        ),
    ),
    Fault(
        name="orphans-of-other-hosts",
        wrong="Runs of another machine on the same disk are taken for orphans.",
        file=ORPHANS,
        before='note is None or note["host"] != socket.gethostname() or _is_supervised(note)',
        after="note is None or _is_supervised(note)",
        tests=(f"{TEST_ORPHANS}::test_a_run_of_another_machine_is_left_alone",),
        survived_at_first=True,
    ),
    Fault(
        name="slot-shared",
        wrong="Two workers hold one slot.",
        file="worker/slot.py",
        before="fcntl.LOCK_EX | fcntl.LOCK_NB",
        after="fcntl.LOCK_SH | fcntl.LOCK_NB",
        tests=(
            "tests/worker/test_celery_app.py::test_a_slot_has_one_holder_and_remembers_a_drain",
        ),
    ),
)
