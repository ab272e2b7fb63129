"""Base models: folders in MODELS_DIR and the hub ids a server allows, checked before any use."""

from app.core.models.catalogue import (
    ModelRefused,
    UnknownModel,
    fetch_model,
    find_model,
    list_models,
)
from app.core.models.folder import ModelInfo
from app.core.models.hub import ModelNotServed, ModelUnavailable

__all__ = [
    "ModelInfo",
    "ModelNotServed",
    "ModelRefused",
    "ModelUnavailable",
    "UnknownModel",
    "fetch_model",
    "find_model",
    "list_models",
]
