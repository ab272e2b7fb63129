"""What can be trained, and with which defaults."""

from fastapi import APIRouter

from app.api.deps import SettingsDep
from app.api.schemas.base import ListOf
from app.api.schemas.service import ModelOut, RecipeOut, TemplateOut
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


@router.get("/templates")
def list_templates(settings: SettingsDep) -> ListOf[TemplateOut]:
    """Ways to make a text of a row; those of this server's own that it refuses say why."""
    return ListOf[TemplateOut].model_validate({"data": catalogue.templates(settings)})
