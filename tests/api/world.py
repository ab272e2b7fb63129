"""Creates what other processes would: a validated dataset, a running job, a finished one."""

import hashlib
import json
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from app.core import archive
from app.core.db.models import Dataset, Event, Job, Project
from app.core.db.session import Sessions, transaction
from app.core.events import log
from app.core.events.log import Entry
from app.core.ids import new_id
from app.core.jobs import lifecycle
from app.core.jobs.lifecycle import Lease
from app.core.jobs.status import JobStatus
from app.core.settings import DEFAULT_PROJECT, Settings
from app.core.storage import open_storage
from tests.core.models import standins

ROWS = [{"instruction": f"Say {n}", "output": str(n)} for n in range(25)]


class World:
    def __init__(self, settings: Settings, sessions: Sessions) -> None:
        self.settings = settings
        self.sessions = sessions
        self.storage = open_storage(settings)

    def dataset(self, status: str = "ready", project: str = DEFAULT_PROJECT, **values: Any) -> str:
        """Create a dataset in the state that the validator leaves it in."""
        dataset_id = new_id("ds")
        content = b"\n".join(json.dumps(row).encode() for row in ROWS)
        self.storage.write(f"datasets/{dataset_id}/upload", [content])
        is_judged = status != "validating"
        if is_judged:
            self.storage.write(f"datasets/{dataset_id}/rows.jsonl", [content + b"\n"])
            report = json.dumps(self._report(status)).encode()
            self.storage.write(f"datasets/{dataset_id}/report.json", [report])
        row: dict[str, Any] = {
            "name": "rows.jsonl",
            "format": "jsonl",
            "num_bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
            "num_rows": len(ROWS) if is_judged else None,
            "num_valid_rows": len(ROWS) if is_judged else None,
            **values,
        }
        with transaction(self.sessions) as session:
            session.add(
                Dataset(id=dataset_id, project_id=project, owner_id="x", status=status, **row)
            )
        return dataset_id

    def project(self) -> str:
        project_id = new_id("proj")
        with transaction(self.sessions) as session:
            session.add(Project(id=project_id, name="another"))
        return project_id

    def claim(self) -> Lease:
        """Claim the next job, as a worker does."""
        with transaction(self.sessions) as session:
            job = lifecycle.claim(session, queue="default", worker_id="worker_1", seconds=60)
            assert job is not None
            return Lease(job.id, job.epoch)

    def say(self, lease: Lease, *entries: Entry, **values: Any) -> None:
        with transaction(self.sessions) as session:
            lifecycle.record(session, lease, *entries, **values)

    def append(self, job_id: str, count: int) -> None:
        with transaction(self.sessions) as session:
            log.append(session, job_id, *(Entry("log", f"line {n}") for n in range(count)))

    def finish(self, lease: Lease, to: JobStatus = JobStatus.SUCCEEDED, **values: Any) -> None:
        with transaction(self.sessions) as session:
            lifecycle.finish(session, lease, to, **values)

    def succeed(self, lease: Lease, **about: Any) -> dict[str, bytes]:
        """Publish a small adapter and finish; returns its files."""
        content = {
            "adapter_config.json": b'{"r": 16}',
            "adapter_model.safetensors": bytes(range(256)) * 1000,
            "README.md": b"# hello",
        }
        prefix = f"artifacts/{lease.job_id}/{lease.epoch}/"
        files: list[archive.File] = []
        for path, data in content.items():
            self.storage.write(prefix + path, [data])
            digest = hashlib.sha256(data).hexdigest()
            files.append({"path": path, "bytes": len(data), "sha256": digest, "kind": "adapter"})
        made = b"".join(archive.zip_chunks(files, lambda path: iter([content[path]])))
        self.storage.write(prefix + "adapter.zip", [made])
        known = {"bytes": len(made), "sha256": hashlib.sha256(made).hexdigest()}
        self.finish(lease, artifact={"prefix": prefix, "files": files, "zip": known, **about})
        return {**content, "adapter.zip": made}

    def count(self) -> tuple[int, int, int]:
        """Count jobs, events and datasets, which a rejected request must not change."""
        with transaction(self.sessions) as session:
            counts = [
                session.scalars(select(func.count()).select_from(table)).one()
                for table in (Job, Event, Dataset)
            ]
        return counts[0], counts[1], counts[2]

    @staticmethod
    def _report(status: str) -> dict[str, Any]:
        problem = {
            "row": 3,
            "line": 4,
            "pointer": "/3/output",
            "code": "missing_output",
            "severity": "error",
            "message": "no output",
            "hint": "add one",
            "snippet": "{}",
        }
        problems = [problem] if status == "invalid" else []
        return {
            "status": status,
            "format": "jsonl",
            "detected": "alpaca",
            "num_rows": len(ROWS),
            "num_valid_rows": len(ROWS) - len(problems),
            "problems": problems,
            "problem_counts": {"missing_output": 1} if problems else {},
            "problems_truncated": False,
            "duplicates": {"exact": 0, "examples": []},
            "lengths": {},
            "features": {},
            "templates": ["alpaca", "chat"],
            "first_rows": [],
        }


def write_model(folder: Path, name: str, max_length: int, *, is_chat: bool = False) -> None:
    config = {**standins.CONFIG, "max_position_embeddings": max_length}
    files = {**standins.model_files(), "config.json": json.dumps(config).encode()}
    if is_chat:
        files["chat_template.jinja"] = b"{{ messages }}"
    standins.write_model(folder / name, files)
