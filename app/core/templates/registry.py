"""The templates that a job can name: built-in ones, and custom ones in TEMPLATES_DIR."""

import json
from difflib import get_close_matches
from pathlib import Path

from app.core.errors import Invalid, Problem
from app.core.templates import custom
from app.core.templates.template import Template, ours


class TemplateUnknown(Invalid):
    code = "template_unknown"


class TemplateRefused(Invalid):
    code = "template_refused"


def list_templates(folder: Path | None) -> list[Template]:
    """Return built-in, then custom templates; those that cannot be used have `problems`."""
    return [*ours().values(), *custom.load_all(folder)]


def find(folder: Path | None, name: str, pointer: str = "/template") -> Template:
    """Return a template by name. Raises TemplateUnknown, or TemplateRefused if it has problems."""
    if name in ours():
        return ours()[name]
    known = [*ours(), *custom.names(folder)]
    if name not in known:
        message = f"There is no template {name!r}."
        near = get_close_matches(name.lower()[:100], known, 1)
        guess = f'Did you mean "{near[0]}"? ' if near else ""
        hint = f"{guess}Allowed: {', '.join(map(json.dumps, known))}."
        raise TemplateUnknown(
            f"{message} {hint}", errors=[Problem(pointer, TemplateUnknown.code, message, hint)]
        )
    found = custom.load(folder, name)
    if found.problems:
        message = f"The template {name!r} cannot be used: {found.problems[0].message}"
        errors = [Problem(pointer, each.code, each.message, each.hint) for each in found.problems]
        raise TemplateRefused(message, errors=errors)
    return found
