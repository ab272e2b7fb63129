"""Faults in `worker.training`."""

from tests.mutants.fault import Fault

TEST_CHECKPOINTS = "tests/training/test_checkpoints.py"

TRAINER = (
    Fault(
        name="trainer-ignores-late-cancel",
        wrong="Once its last step is done a trainer no longer hears a cancel.",
        file="worker/training/stop.py",
        before="if reason is None or (self.is_finishing and reason is not StopReason.CANCEL):",
        after="if reason is None or self.is_finishing:",
        tests=(
            "tests/training/test_stop.py"
            "::test_a_signal_is_obeyed_before_training_and_not_once_it_is_over",
        ),
    ),
    Fault(
        name="step-cut-by-signal",
        wrong="A SIGTERM ends a step in the middle, where no checkpoint can be made.",
        file="worker/training/stop.py",
        before="if not self.in_step or self.reason() is StopReason.CANCEL:",
        after="if self.in_step or self.reason() is StopReason.CANCEL:",
        tests=(
            "tests/training/test_stop.py"
            "::test_a_signal_is_obeyed_before_training_and_not_once_it_is_over",
        ),
    ),
    Fault(
        name="checkpoint-of-another-spec",
        wrong="A run goes on from a checkpoint that was made for another spec.",
        file="worker/training/checkpoints.py",
        before='if content.get("fingerprint") != fingerprint:',
        after='if not content.get("fingerprint"):',
        tests=(f"{TEST_CHECKPOINTS}::test_one_made_for_something_else_is_rejected",),
    ),
    Fault(
        name="oldest-checkpoint-taken",
        wrong="A run goes on from the earliest checkpoint.",
        file="worker/training/checkpoints.py",
        before="key=lambda each: each[0], reverse=True):",
        after="key=lambda each: each[0]):",
        tests=(
            f"{TEST_CHECKPOINTS}::test_the_newest_committed_checkpoint_of_all_folders_is_found",
        ),
    ),
    Fault(
        name="diverged-one-late",
        wrong="A loss that is no number ends a run one log later than promised.",
        file="worker/training/losses.py",
        before="if self._nonfinite >= NONFINITE_STEPS:",
        after="if self._nonfinite > NONFINITE_STEPS:",
        tests=("tests/training/test_failures.py::test_a_loss_that_stays_no_number_ends_the_run",),
    ),
)
