"""Base and adapter side by side, answered by `worker.training.compare` in a process of its own."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from app.core.errors import Failure

NUM_SHOWN = 5
MOST_BEFORE, LEAST_AFTER = 0.10, 0.80
"""Exact match on held-out rows: what the sample job promises."""
_CODE = Path(__file__).parents[2]


class ComparisonFailed(Failure):
    code = "comparison_failed"


@dataclass(frozen=True)
class Comparison:
    before: float
    """Share of held-out rows the base answers exactly."""
    after: float
    answers: list[dict[str, str]]
    """For each row: `input`, `expected`, `base`, `adapter`."""


def compare(base: Path, adapter: Path, held_out: Path) -> Comparison:
    out = adapter.with_suffix(".comparison.json").absolute()
    folders = [str(path.absolute()) for path in (base, adapter, held_out)]
    command = [sys.executable, "-m", "worker.training.compare", *folders, "--json", str(out)]
    done = subprocess.run(command, cwd=_CODE, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ComparisonFailed(f"The comparison failed: {done.stderr.strip()[-1000:]}")
    found = json.loads(out.read_text(encoding="utf-8"))
    rows = json.loads(held_out.read_text(encoding="utf-8"))
    answers = [
        {**answer, "input": row.get("input") or row["instruction"]}
        for row, answer in zip(rows, found["examples"], strict=True)
    ]
    return Comparison(found["exact_match_base"], found["exact_match_adapter"], answers)


def side_by_side(result: Comparison) -> Table:
    table = Table("held-out prompt", "expected", "base", "adapter", show_lines=True, expand=True)
    for answer in result.answers[:NUM_SHOWN]:
        style = "green" if answer["adapter"] == answer["expected"] else "red"
        plain = [_plain(answer[name]) for name in ("input", "expected", "base")]
        table.add_row(*plain, f"[{style}]{_plain(answer['adapter'])}[/]")
    return table


def judge(result: Comparison, console: Console) -> None:
    """Say the exact match before and after; raises when the sample job's promise was not kept."""
    said = (
        f"Exact match on {len(result.answers)} held-out rows: "
        f"{result.before:.1%} before, {result.after:.1%} after"
    )
    console.print(said, style="bold")
    if not (result.before < MOST_BEFORE and result.after >= LEAST_AFTER):
        raise ComparisonFailed(
            f"{said}; the sample job promises under {MOST_BEFORE:.0%} and at least "
            f"{LEAST_AFTER:.0%}."
        )


def _plain(text: str) -> str:
    """Shortened, and nothing in it taken for markup."""
    shown = text if len(text) <= 200 else text[:200] + "..."
    return shown.replace("[", r"\[")
