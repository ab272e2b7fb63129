"""Settings of a process: TUNESMITH_*, read once and passed down; nothing else reads them."""

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

DEFAULT_PROJECT = "proj_default"


class Settings(BaseSettings):
    """Every field is TUNESMITH_<NAME> in the environment."""

    model_config = SettingsConfigDict(env_prefix="TUNESMITH_", extra="ignore", frozen=True)

    database_url: str | None = None
    """SQLAlchemy URL of Postgres (`postgresql+psycopg://...`); None means the embedded one."""
    redis_url: str | None = None
    """`redis://` URL of a server that speaks the Redis protocol; None means the embedded Valkey."""
    data_dir: Path = Path(".tunesmith")
    """Run directories, local store, embedded servers: shared by the processes of one stack."""
    models_dir: Path = Path("examples/models")
    """Base models: one folder each, Hugging Face layout, named by folder."""
    templates_dir: Path | None = None
    """Prompt templates of your own: `<name>.jinja`, each a chat template over messages."""
    storage_url: str | None = None
    """`file:///...` or `s3://bucket/prefix`; None means `<data_dir>/store`."""
    s3_endpoint: str | None = None
    s3_region: str = "us-east-1"
    s3_access_key_id: SecretStr | None = None
    s3_secret_access_key: SecretStr | None = None

    allowed_models: frozenset[str] = frozenset()
    """Hub ids that may be trained, each `owner/name` or `owner/name@<commit>`; JSON list."""
    hub_endpoint: str | None = None
    """Another hub to ask than the public one."""
    hub_token: SecretStr | None = None

    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    allowed_hosts: tuple[str, ...] = ("127.0.0.1", "localhost", "[::1]", "testserver")
    """Host headers the API answers; keeps a web page from reaching it by rebinding a name."""

    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    """What a worker trains on: `auto`, `cpu`, `cuda:N`."""
    queue: str = "default"
    """The queue that a worker listens to and claims jobs from."""

    lease_seconds: float = Field(60, gt=0)
    """How long a claim holds without renewal."""
    renew_seconds: float = Field(15, gt=0)
    reclaim_seconds: float = Field(10, gt=0)
    """Between two looks for leases that ran out."""
    wake_seconds: float = Field(15, gt=0)
    """Seconds a queued job may stay unclaimed before workers are woken for it again."""
    stop_grace_seconds: float = Field(30, gt=0)
    """From SIGTERM to SIGKILL of a trainer's process group."""
    stall_seconds: float = Field(1800, gt=0)
    """A trainer that reports nothing for this long is stopped and tried again."""
    retry_base_seconds: float = Field(10, ge=0)
    """Backoff before the first retry; doubled each time, at most 10 minutes."""
    outage_seconds: float = Field(900, gt=0)
    """A trainer whose lease could not be renewed for this long is stopped."""
    trainer_command: tuple[str, ...] | None = None
    """What starts a trainer, the run directory appended; JSON list. None: `worker.training`."""

    max_body_bytes: int = Field(1 << 20, gt=0)
    """Of a request that is not an upload."""
    max_upload_bytes: int = Field(5 << 30, gt=0)
    max_row_chars: int = Field(1_000_000, gt=0)
    """Of one dataset row, keys included."""
    max_log_bytes: int = Field(64 << 20, gt=0)
    """Of one attempt's trainer output; what comes after is counted, not kept."""
    log_format: Literal["auto", "json", "console"] = "auto"
    """`auto` is JSON unless standard error is a terminal."""

    @model_validator(mode="after")
    def _renewal_fits_the_lease(self) -> "Settings":
        if self.renew_seconds * 2 > self.lease_seconds:
            raise ValueError("renew_seconds must be at most half of lease_seconds")
        return self

    @property
    def store_url(self) -> str:
        return self.storage_url or (self.data_dir.absolute() / "store").as_uri()

    @property
    def runs_dir(self) -> Path:
        return self.data_dir.absolute() / "runs"
