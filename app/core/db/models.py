"""The tables. Postgres only; every constraint is named, so that migrations can refer to it."""

from datetime import datetime, timedelta
from typing import Any, ClassVar

from sqlalchemy import BigInteger, DateTime, ForeignKey, Index, MetaData, Text, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

Json = dict[str, Any]
NOW = func.clock_timestamp()


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy's own declaration
        str: Text,
        int: BigInteger,
        datetime: DateTime(timezone=True),
        Json: JSONB(none_as_null=True),
        list[Json]: JSONB(none_as_null=True),
    }


class Project(Base):
    __tablename__ = "projects"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)


class Dataset(Base):
    __tablename__ = "datasets"
    __table_args__ = (
        Index("ix_datasets_project_id_id", "project_id", "id"),
        Index("ix_datasets_validating", "id", postgresql_where=text("status = 'validating'")),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    owner_id: Mapped[str]
    name: Mapped[str]
    status: Mapped[str]
    """`validating`, `ready` or `invalid`."""
    format: Mapped[str]
    """As requested until the report exists, then as detected."""
    num_bytes: Mapped[int]
    sha256: Mapped[str | None]
    """SHA-256 of all its bytes, file after file; None until an import's files are fetched."""
    num_rows: Mapped[int | None]
    num_valid_rows: Mapped[int | None]
    features: Mapped[Json | None]
    columns: Mapped[Json | None]
    """The caller's mapping from our column names to the upload's."""
    row_format: Mapped[str | None]
    """What a row is: `alpaca`, `prompt_completion`, `messages`, `sharegpt` or `text`."""
    source: Mapped[Json | None]
    """For an import: {type, repo, split, revision, license, files}."""
    progress: Mapped[Json | None]
    """During validation: {fraction, rows}."""
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    validated_at: Mapped[datetime | None]
    lease_until: Mapped[datetime | None]
    """Set while a housekeeper is validating it."""
    deleted_at: Mapped[datetime | None]
    """Set when its data is deleted; the row stays, hidden, for the jobs that refer to it."""


class PartialUpload(Base):
    """A dataset uploaded in parts; its bytes are `uploads/<id>/<number>` until it is complete."""

    KEPT_FOR: ClassVar = timedelta(hours=24)

    __tablename__ = "uploads"
    __table_args__ = (Index("ix_uploads_project_id_id", "project_id", "id"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    owner_id: Mapped[str]
    name: Mapped[str]
    format: Mapped[str]
    columns: Mapped[Json | None]
    num_bytes: Mapped[int]
    """As declared by the caller, like the hash."""
    sha256: Mapped[str]
    dataset_id: Mapped[str | None]
    """Set once the parts have been assembled."""
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)

    @property
    def expires_at(self) -> datetime:
        return self.created_at + self.KEPT_FOR


class Job(Base):
    __tablename__ = "jobs"
    __table_args__ = (
        Index("ix_jobs_project_id_id", "project_id", "id"),
        Index("ix_jobs_dataset_id", "dataset_id"),
        Index(
            "ix_jobs_claim",
            "queue",
            text("priority DESC"),
            "id",
            postgresql_where=text("status = 'queued'"),
        ),
        Index("ix_jobs_lease", "lease_until", postgresql_where=text("status = 'running'")),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    owner_id: Mapped[str]
    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id"))
    model: Mapped[str]
    name: Mapped[str | None]
    tags: Mapped[Json] = mapped_column(server_default=text("'{}'"))
    notes: Mapped[str | None]
    priority: Mapped[int] = mapped_column(server_default=text("0"))
    spec_version: Mapped[int]
    spec: Mapped[Json]
    """The resolved spec: every field filled in."""

    queue: Mapped[str]
    status: Mapped[str]
    phase: Mapped[str | None]
    desired: Mapped[str] = mapped_column(server_default=text("'run'"))
    status_reason: Mapped[str | None]
    attempt: Mapped[int] = mapped_column(server_default=text("0"))
    """Number of times it was claimed."""
    infra_attempts: Mapped[int] = mapped_column(server_default=text("0"))
    """Number of attempts that ended in a system failure."""
    epoch: Mapped[int] = mapped_column(server_default=text("0"))
    """Fencing token: raised by every claim and every requeue; a write with an older one is
    rejected.
    """
    lease_until: Mapped[datetime | None]
    worker_id: Mapped[str | None]
    not_before: Mapped[datetime | None]
    woken_at: Mapped[datetime | None] = mapped_column("rung_at")
    last_seq: Mapped[int] = mapped_column(server_default=text("0"))

    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    queued_at: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]

    progress: Mapped[Json | None]
    metrics: Mapped[Json] = mapped_column(server_default=text("'{}'"))
    """The latest value of each metric."""
    trained_tokens: Mapped[int | None]
    failure: Mapped[Json | None]
    artifact: Mapped[Json | None]
    """{prefix, files: [{path, bytes, sha256, kind}]}; set together with `succeeded`, never before.
    """
    environment: Mapped[Json | None]


class Event(Base):
    __tablename__ = "events"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    """1, 2, 3, ... per job without gaps, in commit order."""
    epoch: Mapped[int]
    attempt: Mapped[int]
    at: Mapped[datetime] = mapped_column(server_default=NOW)
    type: Mapped[str]
    level: Mapped[str]
    message: Mapped[str]
    data: Mapped[Json]


class Attempt(Base):
    __tablename__ = "attempts"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    epoch: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    attempt: Mapped[int]
    worker_id: Mapped[str]
    started_at: Mapped[datetime] = mapped_column(server_default=NOW)
    ended_at: Mapped[datetime | None]
    outcome: Mapped[str | None]
    resumed_from_step: Mapped[int | None]


class Checkpoint(Base):
    __tablename__ = "checkpoints"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    run_epoch: Mapped[int]
    """The fencing epoch whose run directory holds it."""
    train_epoch: Mapped[float]
    num_bytes: Mapped[int]
    metrics: Mapped[Json]
    best: Mapped[bool]
    kept: Mapped[bool]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)


class Metric(Base):
    """One row per step, so that a step repeated after a resume replaces the earlier one."""

    __tablename__ = "metrics"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    values: Mapped[Json]


class Worker(Base):
    __tablename__ = "workers"

    id: Mapped[str] = mapped_column(primary_key=True)
    hostname: Mapped[str]
    pid: Mapped[int]
    device: Mapped[str]
    queue: Mapped[str]
    version: Mapped[str]
    started_at: Mapped[datetime] = mapped_column(server_default=NOW)
    last_seen_at: Mapped[datetime] = mapped_column(server_default=NOW)
    job_id: Mapped[str | None]


class IdempotencyKey(Base):
    """The first answer to a creating POST, stored in the creating transaction."""

    __tablename__ = "idempotency_keys"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    route: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    body_sha256: Mapped[str]
    resource_id: Mapped[str]
    answer: Mapped[Json]
    """The answer as sent; a repeated request gets the same one, even if the resource has changed.
    """
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
