"""Settings of a process: TUNESMITH_*, read once and passed down; nothing else reads them."""

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

DEFAULT_PROJECT = "proj_default"


class Settings(BaseSettings):
    """Every field is TUNESMITH_<NAME> in the environment; an empty one counts as not set."""

    model_config = SettingsConfigDict(
        env_prefix="TUNESMITH_", env_ignore_empty=True, extra="ignore", frozen=True
    )

    database_url: str | None = None
    """SQLAlchemy URL of Postgres, `postgresql+psycopg://...`. Not set: an embedded one."""
    redis_url: str | None = None
    """`redis://` URL of a server that speaks the Redis protocol. Not set: an embedded Valkey."""
    data_dir: Path = Path(".tunesmith")
    """Folder for run directories, the local store and the embedded servers; shared by the processes
    of one stack."""
    models_dir: Path = Path("examples/models")
    """Folder of the base models: one subfolder each, in Hugging Face layout, whose name is the
    model's."""
    templates_dir: Path | None = None
    """Folder of prompt templates of your own: `<name>.jinja`, each a chat template over
    `messages`. Not set: none."""
    storage_url: str | None = None
    """Store for datasets, adapters and logs: `file:///...` or `s3://bucket/prefix`. Not set:
    `<data_dir>/store`."""
    s3_endpoint: str | None = None
    """URL of an S3-compatible service for `s3://` stores. Not set: that of AWS."""
    s3_region: str = "us-east-1"
    """Region of the S3 bucket."""
    s3_access_key_id: SecretStr | None = None
    """Access key id for the S3 bucket. Not set: the credentials that the machine itself has."""
    s3_secret_access_key: SecretStr | None = None
    """Secret access key that belongs to the access key id."""

    allowed_models: frozenset[str] = frozenset()
    """Models of the Hugging Face Hub that may be trained, each `owner/name` or
    `owner/name@<commit>`."""
    hub_endpoint: str | None = None
    """URL of the hub to ask for models and datasets. Not set: the public Hugging Face Hub."""
    hub_token: SecretStr | None = None
    """Access token for gated repositories of the hub. Not set: the hub is asked anonymously."""

    host: str = "127.0.0.1"
    """Address that the API of the embedded stack listens on."""
    port: int = Field(8000, ge=0, le=65535)
    """Port that the API of the embedded stack listens on; 0 takes a free one."""
    allowed_hosts: tuple[str, ...] = ("127.0.0.1", "localhost", "[::1]", "testserver")
    """Values of the `Host` header that the API answers; others get 400. Keeps a web page from
    reaching the API through DNS rebinding."""

    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    """Device that a worker trains on: `cpu`, `cuda`, `cuda:N`, or `auto` for the GPU if there is
    one."""
    queue: str = "default"
    """Queue that jobs created through this API enter, and that a worker takes jobs from."""

    lease_seconds: float = Field(60, gt=0)
    """Seconds after which a job or dataset is taken from a process that has not renewed its
    lease."""
    renew_seconds: float = Field(15, gt=0)
    """Seconds between two renewals of a lease, at most half of `lease_seconds`. A worker not seen
    for three of them is shown as lost."""
    reclaim_seconds: float = Field(10, gt=0)
    """Seconds between two searches of the housekeeper for leases that have expired."""
    wake_seconds: float = Field(15, gt=0)
    """Seconds that a queued job may wait before workers are woken for it again."""
    stop_grace_seconds: float = Field(30, gt=0)
    """Seconds that a trainer has to stop, after SIGTERM, before it is killed."""
    stall_seconds: float = Field(1800, gt=0)
    """Seconds without any report from a trainer after which it is stopped and the job tried
    again."""
    retry_base_seconds: float = Field(10, ge=0)
    """Seconds of delay before the first retry of a job; doubled for each further one, up to 10
    minutes."""
    outage_seconds: float = Field(900, gt=0)
    """Seconds of a database outage after which a worker stops its trainer."""
    trainer_command: tuple[str, ...] | None = None
    """Command that starts a trainer; the run directory is added as its last argument. Not set:
    `python -m worker.training`."""

    max_body_bytes: int = Field(1 << 20, gt=0)
    """Largest body in bytes of a request that is not an upload."""
    max_upload_bytes: int = Field(5 << 30, gt=0)
    """Largest dataset in bytes, uploaded or imported, all its files together; also what a packed
    file may become."""
    max_row_chars: int = Field(1_000_000, gt=0)
    """Longest row of a dataset in characters, column names included; a longer one is invalid."""
    max_log_bytes: int = Field(64 << 20, gt=0)
    """Largest log in bytes of one attempt's trainer; output beyond it is counted and not kept."""
    log_format: Literal["auto", "json", "console"] = "auto"
    """Format of the processes' own logs: `json`, `console`, or `auto`, which is JSON unless
    standard error is a terminal."""

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
