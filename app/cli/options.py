"""Options several commands share."""

from pathlib import Path
from typing import Annotated

import typer

DataDir = Annotated[
    Path | None, typer.Option(help="Folder of one stack. [env: TUNESMITH_DATA_DIR]")
]
ModelsDir = Annotated[
    Path | None, typer.Option(help="Folder of base models. [env: TUNESMITH_MODELS_DIR]")
]
Host = Annotated[str | None, typer.Option(help="Address to listen on. [env: TUNESMITH_HOST]")]
Port = Annotated[
    int | None, typer.Option(min=0, max=65535, help="0: any free one. [env: TUNESMITH_PORT]")
]
Url = Annotated[
    str | None,
    typer.Option(
        envvar="TUNESMITH_URL",
        help="The server. Default: the stack of the data folder, else http://127.0.0.1:8000.",
        show_envvar=True,
    ),
]
