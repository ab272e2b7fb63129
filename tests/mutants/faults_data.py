"""Faults in the rest of `app/core`: datasets, storage, archive, specs, secrets."""

from tests.mutants.fault import Fault

STORAGE = "app/core/storage.py"
ARCHIVE = "app/core/archive.py"
REDACT = "app/core/redact.py"
CLAIMS = "worker/housekeeper/dataset_claims.py"
TEST_ARCHIVE = "tests/core/test_archive.py"
TEST_INTAKE = "tests/worker/housekeeper/test_intake.py"

DATA = (
    Fault(
        name="dataset-claimed-twice",
        wrong="A dataset that one process is checking is taken by another.",
        file=CLAIMS,
        before="Dataset.lease_until < NOW)",
        after="Dataset.lease_until > NOW)",
        tests=(f"{TEST_INTAKE}::test_an_upload_is_taken_by_one_until_its_claim_runs_out",),
    ),
    Fault(
        name="verdict-on-deleted",
        wrong="The verdict is written on a dataset that was deleted meanwhile.",
        file=CLAIMS,
        before="(Dataset.id == dataset_id, Dataset.status == DatasetStatus.VALIDATING)",
        after="(Dataset.id == dataset_id,)",
        tests=(
            f"{TEST_INTAKE}::test_a_dataset_deleted_while_it_is_judged_leaves_nothing_in_the_store",
        ),
    ),
    Fault(
        name="held-out-not-awaited",
        wrong="A job is let go while its validation dataset is still being checked.",
        file="worker/housekeeper/settling.py",
        before='named = (Job.dataset_id, Job.spec["validation"]["dataset"].astext)',
        after="named = (Job.dataset_id,)",
        tests=(f"{TEST_INTAKE}::test_a_job_waits_for_both_of_its_datasets",),
    ),
    Fault(
        name="skip-limit-excluded",
        wrong="A job whose skipped rows are exactly at its limit is refused.",
        file="app/core/datasets/skipping.py",
        before="if self.share <= max_share:",
        after="if self.share < max_share:",
        tests=("tests/api/test_skipping.py::test_the_limit_itself_is_allowed",),
    ),
    Fault(
        name="two-validation-sources",
        wrong="A spec may name both a fraction and a validation dataset.",
        file="app/core/jobs/spec.py",
        before="if (self.fraction is None) == (self.dataset is None):",
        after="if self.fraction is None and self.dataset is None:",
        tests=("tests/api/test_spec_errors.py::test_each_wrong_value_is_pointed_at",),
    ),
    Fault(
        name="recipe-wins",
        wrong="A recipe's values win over those the caller wrote.",
        file="app/core/jobs/recipes.py",
        before="merged(recipe.values, spec.model_dump(exclude_unset=True))",
        after="merged(spec.model_dump(exclude_unset=True), recipe.values)",
        tests=("tests/api/test_jobs.py::test_a_recipe_lies_under_what_is_written",),
    ),
    Fault(
        name="nul-row-kept",
        wrong="A row with a NUL character is kept as a good one.",
        file="app/core/datasets/checking/check.py",
        before="line = None if bad else line",
        after="line = line if bad else None",
        tests=(
            "tests/core/datasets/test_malformed_files.py"
            "::test_a_broken_file_is_told_what_and_where",
            "tests/core/datasets/test_shapes.py"
            "::test_a_character_that_is_no_text_is_told_where_the_upload_has_it",
        ),
    ),
    Fault(
        name="blank-answer-accepted",
        wrong="An answer of nothing but spaces is a good row.",
        file="app/core/datasets/checking/rows.py",
        before="if not text or text.isspace():",
        after="if not text:",
        tests=(
            "tests/core/datasets/test_malformed_files.py"
            "::test_a_broken_file_is_told_what_and_where",
        ),
    ),
    Fault(
        name="hub-file-unhashed",
        wrong="A file of the hub is taken by its length; its hash is not compared.",
        file="app/core/datasets/hub.py",
        before="if digest.hexdigest() != expected:",
        after="if not digest.hexdigest():",
        tests=(
            "tests/core/datasets/test_hub_import.py::test_a_file_that_is_not_as_announced_is_told",
        ),
    ),
    Fault(
        name="import-fetched-again",
        wrong="A second try at an import fetches the files it has already.",
        file="worker/housekeeper/hub_imports.py",
        before="return self.storage.size(key) == file.bytes",
        after="return self.storage.size(key) > file.bytes",
        tests=("tests/api/test_imports.py::test_files_already_stored_are_not_fetched_again",),
    ),
    Fault(
        name="range-read-short",
        wrong="A part that is read in several pieces lacks its last bytes.",
        file=STORAGE,
        before="step = min(start + CHUNK_BYTES, last)",
        after="step = min(start + CHUNK_BYTES, last - 1) if last > CHUNK_BYTES else last",
        tests=("tests/core/test_storage.py::test_what_is_written_is_read_whole_or_in_part",),
    ),
    Fault(
        name="new-counts-deleted",
        wrong="Counts that are new are deleted, old ones kept.",
        file=STORAGE,
        before='if item["last_modified"] < limit)',
        after='if item["last_modified"] > limit)',
        tests=(
            "tests/worker/housekeeper/test_housekeeper.py::test_what_was_counted_of_rows_goes_when_it_is_old",
        ),
    ),
    Fault(
        name="unfinished-dropped-young",
        wrong="A file that is being written to the store is swept away.",
        file=STORAGE,
        before="_UNFINISHED.fullmatch(path.name) and _age(path) > older_than_seconds",
        after="_UNFINISHED.fullmatch(path.name)",
        tests=(
            "tests/worker/housekeeper/test_housekeeper.py"
            "::test_what_a_killed_upload_left_in_the_store_goes_after_a_day",
        ),
    ),
    Fault(
        name="crc-of-last-chunk",
        wrong="A zip entry's checksum is that of the file's last chunk.",
        file=ARCHIVE,
        before="crc = zlib.crc32(chunk, crc)",
        after="crc = zlib.crc32(chunk)",
        tests=(f"{TEST_ARCHIVE}::test_a_file_read_in_many_chunks_is_as_good_as_in_one",),
        survived_at_first=True,
    ),
    Fault(
        name="longer-file-archived",
        wrong="A file that has grown past its manifest is archived.",
        file=ARCHIVE,
        before='if length != file["bytes"]:',
        after='if length < file["bytes"]:',
        tests=(f"{TEST_ARCHIVE}::test_a_file_longer_than_its_manifest_is_refused",),
        survived_at_first=True,
    ),
    Fault(
        name="zip64-one-late",
        wrong="An archive of 65,535 files, a number that means zip64, is written without it.",
        file=ARCHIVE,
        before="len(files) >= 0xFFFF",
        after="len(files) > 0xFFFF",
        tests=(f"{TEST_ARCHIVE}::test_zip64_begins_where_the_plain_form_ends",),
        survived_at_first=True,
    ),
    Fault(
        name="aws-key-shown",
        wrong="The id of a temporary AWS key is not redacted.",
        file=REDACT,
        before="(?:AKIA|ASIA)",
        after="(?:AKIA)",
        tests=("tests/worker/supervisor/test_report_reader.py::test_key_ids_of_aws_are_taken_out",),
        survived_at_first=True,
    ),
    Fault(
        name="bearer-shown",
        wrong="A bearer token is redacted only where the scheme is in small letters.",
        file=REDACT,
        before='(re.compile(r"(?i)\\b(bearer',
        after='(re.compile(r"\\b(bearer',
        tests=(
            "tests/worker/supervisor/test_report_reader.py::test_what_looks_like_a_secret_is_taken_out",
        ),
    ),
)
