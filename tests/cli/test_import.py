"""`tunesmith import`: its output, and its errors when the import fails."""

SOURCE = {
    "repo": "tatsu-lab/alpaca",
    "revision": "a" * 40,
    "license": "cc-by-nc-4.0",
    "license_note": "cc-by-nc-4.0 excludes commercial use.",
}
DATASET = {"id": "ds_1", "status": "validating", "source": SOURCE}


def test_an_import_prints_its_id_and_its_licence(tunesmith, site):
    site.answer("/datasets/import", DATASET, status=201)

    done = tunesmith("import", "tatsu-lab/alpaca", "--url", site.url)

    assert done.returncode == 0, done.stderr
    first, *rest = done.stdout.splitlines()
    assert first == "ds_1"
    assert rest == [f"tatsu-lab/alpaca at {'a' * 40}, license cc-by-nc-4.0", SOURCE["license_note"]]


def test_an_import_that_is_followed_ends_with_its_rows(tunesmith, site):
    site.answer("/datasets/import", DATASET, status=201)
    site.answer("/datasets/ds_1", {**DATASET, "status": "ready", "num_rows": 52002})

    done = tunesmith("import", "tatsu-lab/alpaca", "--follow", "--url", site.url)

    assert done.stdout.splitlines()[-1] == "ready: 52,002 rows"


def test_an_import_that_did_not_come_says_why(tunesmith, site):
    problem = {"code": "hub_unavailable", "message": "It answered 503.", "hint": "Upload the file."}
    site.answer("/datasets/import", DATASET, status=201)
    site.answer("/datasets/ds_1", {**DATASET, "status": "invalid"})
    site.answer("/datasets/ds_1/report", {"problems": [{**problem, "row": None, "line": None}]})

    done = tunesmith("import", "tatsu-lab/alpaca", "--follow", "--url", site.url)

    assert done.returncode == 1
    assert "It answered 503." in done.stderr
    assert "hint: Upload the file." in done.stderr
