"""What can be trained, and with which defaults."""

from fastapi import APIRouter

from app.api.deps import SettingsDep
from app.api.schemas.base import ListOf
from app.api.schemas.service import ModelOut, RecipeOut
from app.services import catalogue

router = APIRouter(tags=["catalogue"])


@router.get("/models")
def list_models(settings: SettingsDep) -> ListOf[ModelOut]:
    """Base models of this server; those it refuses say why."""
    return ListOf[ModelOut].model_validate({"data": catalogue.models(settings)})


@router.get("/recipes")
def list_recipes() -> ListOf[RecipeOut]:
    """Named bundles of defaults."""
    return ListOf[RecipeOut].model_validate({"data": catalogue.bundles()})
