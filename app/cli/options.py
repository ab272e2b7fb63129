"""Options shared by several commands."""

from pathlib import Path
from typing import Annotated

import typer

DataDir = Annotated[
    Path | None, typer.Option(help="Data folder of the stack (env var: TUNESMITH_DATA_DIR).")
]
ModelsDir = Annotated[
    Path | None, typer.Option(help="Folder of base models (env var: TUNESMITH_MODELS_DIR).")
]
Host = Annotated[str | None, typer.Option(help="Address to listen on (env var: TUNESMITH_HOST).")]
Port = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=65535,
        help="Port to listen on; 0 picks a free one (env var: TUNESMITH_PORT).",
    ),
]
Url = Annotated[
    str | None,
    typer.Option(
        envvar="TUNESMITH_URL",
        help="URL of the server. Default: the stack that runs on the data folder, else "
        "http://127.0.0.1:8000.",
        show_envvar=True,
    ),
]
Json = Annotated[
    bool, typer.Option("--json", help="Print the server's answer as JSON, for programs.")
]
