"""The keys of the artifact store: the only module that builds them.

datasets/<id>/upload            the uploaded bytes
datasets/<id>/files/00000       for an import instead: its files, one by one
datasets/<id>/rows.jsonl        canonical rows
datasets/<id>/problems.jsonl    all its problems, one per line
datasets/<id>/report.json       counts, the first problems, a preview of the rows
datasets/<id>/overlap/...       rows it shares with another dataset
uploads/<id>/<number>/...       parts of an upload until it is complete
measures/<sha256>.npz           token lengths of rows, by tokenizer, template and content
layouts/<sha256>.json           figures of a dry run, by base, spec and content
artifacts/<job>/<epoch>/...     named files, manifest.json last; visible only through the job's row
logs/<job>/<epoch>.log          the trainer log of an attempt
"""

DATASETS, UPLOADS, MEASURES, LAYOUTS = "datasets/", "uploads/", "measures/", "layouts/"
ARTIFACTS, LOGS = "artifacts/", "logs/"

ROWS, PROBLEMS, REPORT = "rows.jsonl", "problems.jsonl", "report.json"
"""Files of a validated dataset, in the store and in the folder the check writes to."""
ADAPTER, MANIFEST = "adapter.zip", "manifest.json"
"""The archive and the manifest under an artifact's prefix."""


def owner(key: str) -> str:
    """Return the id of the dataset, upload or job that a key belongs to."""
    return key.split("/")[1]


def dataset(dataset_id: str, name: str = "") -> str:
    """Return the key of a dataset's file; without a name, the prefix of all its files."""
    return f"{DATASETS}{dataset_id}/{name}"


def rows(dataset_id: str) -> str:
    return dataset(dataset_id, ROWS)


def problems(dataset_id: str) -> str:
    return dataset(dataset_id, PROBLEMS)


def report(dataset_id: str) -> str:
    return dataset(dataset_id, REPORT)


def dataset_upload(dataset_id: str) -> str:
    return dataset(dataset_id, "upload")


def dataset_file(dataset_id: str, number: int) -> str:
    return dataset(dataset_id, f"files/{number:05}")


def overlap(dataset_id: str, other_id: str, version: int) -> str:
    return dataset(dataset_id, f"overlap/{version}-{other_id}.json")


def upload(upload_id: str) -> str:
    """The prefix of an upload's parts."""
    return f"{UPLOADS}{upload_id}/"


def upload_part(upload_id: str, number: int, attempt_id: str) -> str:
    return f"{upload(upload_id)}{number}/{attempt_id}"


def part_number(key: str) -> int:
    return int(key.split("/")[2])


def lengths(digest: str) -> str:
    return f"{MEASURES}{digest}.npz"


def layout(digest: str) -> str:
    return f"{LAYOUTS}{digest}.json"


def artifacts(job_id: str) -> str:
    """The prefix of a job's artifacts, over all its epochs."""
    return f"{ARTIFACTS}{job_id}/"


def artifact(job_id: str, epoch: int) -> str:
    """The prefix of one epoch's artifact."""
    return f"{artifacts(job_id)}{epoch}/"


def artifact_of(key: str) -> str:
    """The prefix of the artifact that a file belongs to."""
    return "/".join(key.split("/")[:3]) + "/"


def logs(job_id: str) -> str:
    """The prefix of a job's logs."""
    return f"{LOGS}{job_id}/"


def log(job_id: str, epoch: int) -> str:
    return f"{logs(job_id)}{epoch}.log"
