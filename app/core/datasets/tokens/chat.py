"""Render chat templates as transformers does, in a sandbox, without importing transformers."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from jinja2 import Template, TemplateError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

_RAISED = (
    ArithmeticError, AttributeError, LookupError, RecursionError, SyntaxError, TypeError,
    ValueError,
)  # fmt: skip
"""What the code of a template can raise; Python raises SyntaxError for blocks nested too deeply."""


OPEN, CLOSE = "\ufdd0", "\ufdd1"
"""Characters that no text should contain: in a marked rendering, around what is generated."""
_MARKS = {"generation_open": OPEN, "generation_close": CLOSE}


class TemplateFailed(ValueError):
    """A chat template is invalid, or refuses these messages; the message gives the reason."""


class RowRefused(TemplateFailed):
    """A chat template refuses a row of several."""

    part = ""
    """What the template leaves out if that is why: see `templates.CALLS`."""

    def __init__(self, row: int, reason: str) -> None:
        super().__init__(f"Row {row}: {reason}")
        self.row = row
        self.reason = reason


class Generation(Extension):
    """`{% generation %}` marks what the assistant wrote: with OPEN and CLOSE where that is asked
    for, else its body is simply rendered."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        first, last = (nodes.Output([nodes.Name(name, "load")]) for name in _MARKS)
        return nodes.Scope([first, *body, last]).set_lineno(line)


def render(
    template: str,
    messages: Sequence[Mapping[str, Any]],
    special_tokens: Mapping[str, str],
    *,
    tools: Sequence[Mapping[str, Any]] | None = None,
    add_generation_prompt: bool = False,
    marked: bool = False,
) -> str:
    """Render the messages as one text. `special_tokens`: by name in the template, `eos_token`, ...

    `marked`: with OPEN and CLOSE around what the template marks as generated. Raises
    TemplateFailed.
    """
    try:
        return _compiled(template).render(
            {
                **special_tokens,
                **(_MARKS if marked else {}),
                "messages": [dict(each) for each in messages],
                "tools": list(tools) if tools else None,
                "documents": None,
                "add_generation_prompt": add_generation_prompt,
            }
        )
    except (TemplateError, *_RAISED) as error:
        raise TemplateFailed(f"{type(error).__name__}: {error}") from error


def parse(template: str) -> nodes.Template:
    """Return the syntax tree of a template. Raises jinja2.TemplateSyntaxError."""
    return _environment().parse(template)


@lru_cache(maxsize=8)
def _compiled(template: str) -> Template:
    return _environment().from_string(template)


def _environment() -> ImmutableSandboxedEnvironment:
    made = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    made.filters["tojson"] = _tojson
    made.globals["raise_exception"] = _raise_exception
    made.globals["strftime_now"] = _strftime_now
    return made


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    # Jinja's own filter escapes HTML characters, which models were not trained on.
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


def _raise_exception(message: str) -> None:
    raise TemplateError(message)


def _strftime_now(pattern: str) -> str:
    return datetime.now().strftime(pattern)
