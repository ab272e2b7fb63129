"""Plots the lengths of a dataset's rows as SVG or PNG with matplotlib."""

import io
from typing import Any, Literal

Kind = Literal["svg", "png"]
_INK, _BAR, _LIMIT = "#1f2933", "#4c7bd9", "#c2410c"


def draw_lengths(described: dict[str, Any], title: str, kind: Kind) -> bytes:
    """Draw two histograms, in tokens and in characters. The same numbers give the same bytes."""
    # Imported here because it takes half a second, which an API that draws nothing can save.
    # Figure is used without pyplot, whose list of open figures is shared between threads.
    import matplotlib as mpl
    from matplotlib.figure import Figure

    options: Any = {
        "svg.hashsalt": "tunesmith",
        "svg.fonttype": "none",
        "font.family": "sans-serif",
    }
    with mpl.rc_context(options):
        figure = Figure(figsize=(9, 6), layout="constrained")
        # The title contains text from the caller: a dollar sign must not start a formula.
        figure.suptitle(title, color=_INK, parse_math=False)
        for at, unit in enumerate(("tokens", "characters"), start=1):
            _draw(figure.add_subplot(2, 1, at), described[unit], unit, described)
        made = io.BytesIO()
        dateless = {"Date": None} if kind == "svg" else {"Software": None}
        figure.savefig(made, format=kind, dpi=110, metadata=dateless)
    return made.getvalue()


def _draw(axes: Any, found: dict[str, Any], unit: str, described: dict[str, Any]) -> None:
    edges, counts = found["histogram"]["edges"], found["histogram"]["counts"]
    limit = described["max_length"]
    if counts:
        axes.bar(edges[:-1], counts, width=edges[1] - edges[0], align="edge", color=_BAR)
    axes.axvline(limit, color=_LIMIT, linestyle="--", linewidth=1)
    share = f"{found['share_over']:.2%} of {described['num_rows']:,} rows over {limit:,} {unit}"
    axes.set_title(share, loc="left", fontsize=10, color=_LIMIT if found["over"] else _INK)
    axes.set_xlabel(unit)
    axes.set_ylabel("rows")
    axes.spines[["top", "right"]].set_visible(False)
