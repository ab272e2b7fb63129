"""Base and adapter side by side, answered by `worker.training.compare` in a process of its own."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from app.core.errors import Failure

NUM_SHOWN = 5
MOST_BEFORE, LEAST_AFTER = 0.10, 0.80
"""Exact match on held-out rows: what the sample job promises."""
_CODE = Path(__file__).parents[2]


class ComparisonFailed(Failure):
    code = "comparison_failed"


def compare(base: Path, adapter: Path, held_out: Path) -> dict[str, Any]:
    """`{exact_match: {base, adapter}, rows: [{instruction, input, output, base, adapter}]}`."""
    out = adapter.with_suffix(".comparison.json").absolute()
    folders = [str(path.absolute()) for path in (base, adapter, held_out)]
    command = [sys.executable, "-m", "worker.training.compare", *folders, "--json", str(out)]
    done = subprocess.run(command, cwd=_CODE, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ComparisonFailed(f"The comparison failed: {done.stderr.strip()[-1000:]}")
    found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    return found


def side_by_side(result: dict[str, Any]) -> Table:
    table = Table("prompt", "expected", "base", "adapter", show_lines=True, expand=True)
    for row in result["rows"][:NUM_SHOWN]:
        texts = (row.get("input") or row["instruction"], row["output"], row["base"])
        style = "green" if row["adapter"] == row["output"] else "red"
        cells = [_plain(text) for text in texts]
        table.add_row(*cells, f"[{style}]{_plain(row['adapter'])}[/]")
    return table


def judge(result: dict[str, Any], console: Console) -> None:
    """Say the exact match before and after; raises when the sample job's promise was not kept."""
    before, after = result["exact_match"]["base"], result["exact_match"]["adapter"]
    num_rows = len(result["rows"])
    said = f"Exact match on {num_rows} held-out rows: {before:.1%} before, {after:.1%} after"
    console.print(said, style="bold")
    if not (before < MOST_BEFORE and after >= LEAST_AFTER):
        raise ComparisonFailed(
            f"{said}; the sample job promises under {MOST_BEFORE:.0%} and at least "
            f"{LEAST_AFTER:.0%}. Its log: `tunesmith logs JOB`."
        )


def _plain(text: str) -> str:
    """Shortened, and nothing in it taken for markup."""
    shown = text if len(text) <= 200 else text[:200] + "..."
    return shown.replace("[", r"\[")
