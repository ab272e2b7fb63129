"""Compares base model and adapter by running `worker.training.compare` in a separate process."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from app.core.errors import Failure

NUM_SHOWN = 5
MAX_BEFORE, MIN_AFTER = 0.10, 0.80
"""Exact match on held-out rows that the sample job must stay below and reach."""
_CODE = Path(__file__).parents[2]


class ComparisonFailed(Failure):
    code = "comparison_failed"


@dataclass(frozen=True)
class Comparison:
    before: float
    """Share of held-out rows that the base model answers exactly."""
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
    """Print the exact match before and after. Raises ComparisonFailed if it misses the targets."""
    summary = (
        f"Exact match on {len(result.answers)} held-out rows: "
        f"{result.before:.1%} before, {result.after:.1%} after"
    )
    console.print(summary, style="bold")
    if not (result.before < MAX_BEFORE and result.after >= MIN_AFTER):
        raise ComparisonFailed(
            f"{summary}. Expected: below {MAX_BEFORE:.0%} before and at least {MIN_AFTER:.0%} "
            "after."
        )


def _plain(text: str) -> str:
    """Shorten a text and escape Rich markup."""
    shown = text if len(text) <= 200 else text[:200] + "..."
    return shown.replace("[", r"\[")
