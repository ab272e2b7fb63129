"""A supervisor in this process, with the scripted trainer and real servers."""

import sys
import threading
from pathlib import Path
from typing import Any

from sqlalchemy import select

from app.core.db.models import Event, Job
from app.core.db.session import Sessions, transaction
from app.core.events.notifier import Notifier
from app.core.settings import Settings
from app.core.storage import open_storage
from tests.rows import make_dataset, make_job, store_rows
from worker.supervisor.attempt import Workplace
from worker.supervisor.supervisor import Supervisor

FAKE_TRAINER = (sys.executable, str(Path(__file__).parents[1] / "fakes" / "trainer.py"))


def make_model(folder: Path) -> None:
    """Create files that pass as a base model as long as nobody loads it."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "llama"}')
    (folder / "tokenizer.json").write_text("{}")
    (folder / "tokenizer_config.json").write_text("{}")
    header = b'{"w": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}'
    weights = len(header).to_bytes(8, "little") + header + b"x"
    (folder / "model.safetensors").write_bytes(weights)


class Bench:
    def __init__(self, settings: Settings, sessions: Sessions) -> None:
        self.settings = settings
        self.sessions = sessions
        self.workers_sessions = sessions
        """Sessions of the supervisors; a test may route them through a proxy."""
        self.storage = open_storage(settings)
        self.notifier = Notifier(str(settings.redis_url))
        self.draining = threading.Event()
        self._threads: list[threading.Thread] = []

    def close(self) -> None:
        self.draining.set()
        for thread in self._threads:
            thread.join(timeout=20)
        self.notifier.close()

    def submit(self, script: str = "", **spec: Any) -> str:
        with transaction(self.sessions) as session:
            dataset = make_dataset(session)
            job = make_job(session, dataset=dataset, spec={"tags": {"script": script}, **spec})
            store_rows(self.storage, dataset.id)
            return job.id

    def supervisor(self, worker_id: str = "worker-1", **changes: Any) -> Supervisor:
        workplace = Workplace(
            settings=self.settings.model_copy(update=changes),
            sessions=self.workers_sessions,
            storage=self.storage,
            notifier=self.notifier,
            command=FAKE_TRAINER,
            should_drain=self.draining.is_set,
        )
        return Supervisor(workplace, worker_id)

    def work(self, **changes: Any) -> int:
        """Run a supervisor in this thread until the queue is empty."""
        return self.supervisor(**changes).drain()

    def start(self, worker_id: str = "worker-1", **changes: Any) -> threading.Thread:
        """Run a supervisor in a separate thread; the trainer dies with that thread."""
        supervisor = self.supervisor(worker_id, **changes)
        thread = threading.Thread(target=supervisor.drain, daemon=True)
        thread.start()
        self._threads.append(thread)
        return thread

    def job(self, job_id: str) -> Job:
        with transaction(self.sessions) as session:
            return session.get_one(Job, job_id)

    def events(self, job_id: str, *types: str) -> list[Event]:
        query = select(Event).where(Event.job_id == job_id).order_by(Event.seq)
        with transaction(self.sessions) as session:
            return list(session.scalars(query.where(Event.type.in_(types)) if types else query))

    def log(self, job_id: str, epoch: int) -> str:
        return b"".join(self.storage.read(f"logs/{job_id}/{epoch}.log")).decode()
