"""Base models, recipes and templates that a job can use."""

from fastapi import APIRouter

from app.api.deps import SettingsDep
from app.api.schemas.base import ListOf
from app.api.schemas.catalogue import ModelOut, RecipeOut, TemplateOut
from app.services import catalogue

router = APIRouter(tags=["catalogue"])


@router.get("/models")
def list_models(settings: SettingsDep) -> ListOf[ModelOut]:
    """List the base models of this server with their limits and defaults, and for those that cannot
    be trained, the reasons.
    """
    return ListOf[ModelOut].model_validate({"data": catalogue.models(settings)})


@router.get("/recipes")
def list_recipes() -> ListOf[RecipeOut]:
    """List the recipes: named bundles of defaults for a job spec."""
    return ListOf[RecipeOut].model_validate({"data": catalogue.bundles()})


@router.get("/templates")
def list_templates(settings: SettingsDep) -> ListOf[TemplateOut]:
    """List the prompt templates, which render rows as text, with the problems of unusable ones."""
    return ListOf[TemplateOut].model_validate({"data": catalogue.templates(settings)})
