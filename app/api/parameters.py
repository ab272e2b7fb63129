"""Parameters shared by several routes, with their descriptions in the contract."""

from typing import Annotated

from fastapi import Path, Query

JobId = Annotated[str, Path(description="Id of the job.")]
DatasetId = Annotated[str, Path(description="Id of the dataset.")]
UploadId = Annotated[str, Path(description="Id of the upload.")]
ModelName = Annotated[
    str,
    Query(
        min_length=1,
        max_length=200,
        description="Base model whose tokenizer is used: a name from GET /models, or an allowed "
        "hub id. Its files must be on the server.",
    ),
]
ModelRevision = Annotated[
    str | None,
    Query(
        pattern=r"^[0-9a-f]{40}$",
        description="Commit of the model on the hub. Omit it for a local folder, or if the server "
        "allows exactly one commit.",
    ),
]
TemplateName = Annotated[
    str,
    Query(
        min_length=1,
        max_length=200,
        description="Template that renders the rows: a name from GET /templates.",
    ),
]
RowOffset = Annotated[
    int,
    Query(ge=0, le=1 << 40, description="Number of the first row; valid rows are numbered from 0."),
]
