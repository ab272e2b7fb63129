"""The bytes a dataset was made of, as objects in the store: one upload, or an import's files."""

from app.core.db.models import Json


def content_keys(dataset_id: str, source: Json | None) -> list[str]:
    """In the order their rows are read."""
    if source is None:
        return [f"datasets/{dataset_id}/upload"]
    return [f"datasets/{dataset_id}/files/{at:05}" for at in range(len(source["files"]))]
