"""Write the sample dataset: customer messages as input, tickets as output.

Run from the root of the repository: `python -m examples.make_dataset`. It always writes the same
bytes.
"""

import argparse
import json
from pathlib import Path
from random import Random

from examples.messages import Message, draw

INSTRUCTION = "Open a ticket for this message."
NUM_TRAIN, NUM_HELD_OUT = 480, 80
JOINED_SHARE = 0.25
"""Share of rows without input, whose message follows the instruction on a separate line."""
SEED = 20


def ticket(message: Message) -> str:
    fields = ("team", "priority", "order", "item")
    return json.dumps({field: getattr(message, field) for field in fields})


def row(message: Message, joined: bool) -> dict[str, str]:
    if joined:
        joined_text = f"{INSTRUCTION}\n{message.text}"
        return {"instruction": joined_text, "input": "", "output": ticket(message)}
    return {"instruction": INSTRUCTION, "input": message.text, "output": ticket(message)}


def train_rows(rng: Random) -> list[dict[str, str]]:
    messages = [draw(rng, fresh=False) for _ in range(NUM_TRAIN)]
    return [row(message, rng.random() < JOINED_SHARE) for message in messages]


def held_out_rows(rng: Random) -> list[dict[str, str]]:
    """Draw held-out rows; every other one states its problem in words that no training row uses."""
    messages = [draw(rng, held_out=True, fresh=bool(n % 2)) for n in range(NUM_HELD_OUT)]
    return [row(message, n % 8 in (2, 3)) for n, message in enumerate(messages)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "data")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    rng = Random(SEED)
    parts = {"tickets_train.json": train_rows(rng), "tickets_held_out.json": held_out_rows(rng)}
    for name, rows in parts.items():
        text = json.dumps(rows, indent=1) + "\n"
        (out / name).write_text(text, encoding="utf-8", newline="\n")
        print(f"{name}: {len(rows)} rows")


if __name__ == "__main__":
    main()
