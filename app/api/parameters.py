"""Parameters that several routes take, with the description that the contract gives them."""

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
        description="Model whose tokenizer counts: a name from GET /models, or a hub id that the "
        "server allows. Its files must be on the server.",
    ),
]
ModelRevision = Annotated[
    str | None,
    Query(
        pattern=r"^[0-9a-f]{40}$",
        description="Commit of the model on the hub; left out for a local folder, and where the "
        "server allows exactly one.",
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
    Query(
        ge=0, le=1 << 40, description="Number of the first row, counted from 0 over the valid rows."
    ),
]
