"""Pretraining texts of the base model: short, with the words and skills, but not the new task.

Each text is a prompt and an answer in the Alpaca format, or plain text (with an empty prompt). From
support messages the base model learns to answer one question at a time and to write prose. It never
sees an order, a team or a priority in JSON, or the instruction of the sample dataset.
"""

import json
from collections.abc import Callable
from random import Random

from examples.frame import prompt
from examples.messages import CUES, ITEMS, NAMES, PROBLEMS, Message, draw, words

COLOURS = words("red blue green black white yellow grey brown silver purple")
ROOMS = words("kitchen garden office hall cellar attic garage bedroom library workshop")
CITIES = words("Oslo Lima Cairo Delhi Paris Quito Seoul Dakar Turin Perth Lagos Porto")
JOBS = words("baker nurse pilot painter teacher farmer driver lawyer tailor singer")
KEYS = words("team priority order customer ticket problem answer item name city job colour room")
LEVELS = {"high": "as soon as we can", "normal": "this week", "low": "when there is time"}
KINDS = {
    "colour": COLOURS,
    "room": ROOMS,
    "city": CITIES,
    "job": JOBS,
    "name": NAMES,
    "item": ITEMS,
}
WORDS = [*NAMES, *ITEMS, *COLOURS, *ROOMS, *JOBS, *PROBLEMS, *CUES, *KEYS]

Text = tuple[str, str]
"""A prompt and its answer. The prompt is empty for plain text."""


def draw_text(rng: Random) -> Text:
    kinds: list[Callable[[Random], Text]] = [
        about_message,
        record_as_data,
        look_up,
        repeat,
        quote,
        kind_of,
        plain,
    ]
    return rng.choices(kinds, weights=[14, 5, 1, 2, 2, 1, 1])[0](rng)


def _ask(rng: Random, instruction: str, input_text: str) -> str:
    """Return the prompt in one of three layouts: with input, or joined by a newline or a space."""
    layout = rng.random()
    if layout < 0.6:
        return prompt(instruction, input_text)
    return prompt(instruction + ("\n" if layout < 0.9 else " ") + input_text, "")


def about_message(rng: Random) -> Text:
    message = draw(rng)
    instruction, answer = rng.choice(_questions(message))
    return _ask(rng, instruction, message.text), answer


def _questions(m: Message) -> list[Text]:
    when = LEVELS[m.priority]
    return [
        ("What is the order number?", f"The order number is #{m.order}."),
        ("Give the order number only.", m.order),
        ("Give the order number only.", m.order),
        ("Which item is this message about?", f"It is about the {m.item}."),
        ("Name the item in one word.", m.item),
        ("Name the item in one word.", m.item),
        ("Who wrote this message?", f"{m.name} wrote it."),
        ("Which team looks after this?", f"This is a matter for {m.team}."),
        ("Name the team in one word.", m.team),
        ("Name the team in one word.", m.team),
        ("How soon should we answer?", f"The priority is {m.priority}: answer {when}."),
        ("Name the priority in one word.", m.priority),
        ("Name the priority in one word.", m.priority),
        ("What went wrong?", m.problem),
        ("Which words say how soon?", m.cue),
        (
            "Sum up this message.",
            f"{m.name} writes to {m.team} about a {m.item}, order #{m.order}.",
        ),
        (
            "Write a reply to this message.",
            f"Dear {m.name}, thank you for your message about the {m.item}. "
            f"The {m.team} team will look at order #{m.order} {when}.",
        ),
        (
            "Write a note for the team.",
            f"For {m.team}: a {m.priority} priority message about order #{m.order}, the {m.item}.",
        ),
    ]


def record_as_data(rng: Random) -> Text:
    """Facts from a sentence in a format that the instruction specifies: JSON or pairs."""
    facts, sentence = _person(rng) if rng.random() < 0.4 else _thing(rng)
    keys = rng.sample(list(facts), rng.randint(1, len(facts)))
    named = ", ".join(keys)
    chosen = {key: facts[key] for key in keys}
    if rng.random() < 0.75:
        return _ask(rng, f"Write {named} as JSON.", sentence), json.dumps(chosen)
    pairs = "; ".join(f"{key}={value}" for key, value in chosen.items())
    return _ask(rng, f"Write {named} as pairs.", sentence), pairs


def _person(rng: Random) -> tuple[dict[str, str], str]:
    facts = {"name": rng.choice(NAMES), "city": rng.choice(CITIES), "job": rng.choice(JOBS)}
    sentences = (
        "{name} lives in {city} and works as a {job}.",
        "In {city} there is a {job} with the name {name}.",
        "Ask {name}, the {job} from {city}.",
    )
    return facts, rng.choice(sentences).format(**facts)


def _thing(rng: Random) -> tuple[dict[str, str], str]:
    facts = {
        "item": rng.choice(ITEMS),
        "colour": rng.choice(COLOURS),
        "room": rng.choice(ROOMS),
        "number": draw(rng).order,
    }
    sentences = (
        "The {colour} {item} in the {room} has the number #{number}.",
        "Number #{number} is a {colour} {item}. It stands in the {room}.",
        "In the {room} you see a {item}. It is {colour}. Its number is #{number}.",
    )
    return facts, rng.choice(sentences).format(**facts)


def look_up(rng: Random) -> Text:
    keys, values = rng.sample(ROOMS + JOBS, 5), rng.sample(ITEMS + COLOURS, 5)
    lines = "\n".join(f"{key}: {value}" for key, value in zip(keys, values, strict=True))
    n = rng.randrange(5)
    if rng.random() < 0.5:
        return _ask(rng, f"What stands beside {keys[n]}?", lines), values[n]
    return _ask(rng, f"What stands beside {values[n]}?", lines), keys[n]


def repeat(rng: Random) -> Text:
    if rng.random() < 0.5:
        numbers = " ".join(f"#{draw(rng).order}" for _ in range(rng.randint(1, 4)))
        return _ask(rng, "Repeat the numbers.", numbers), numbers
    chosen = " ".join(rng.sample(WORDS, rng.randint(2, 8)))
    return _ask(rng, "Repeat the words.", chosen), chosen


def quote(rng: Random) -> Text:
    words = rng.sample(WORDS, rng.randint(2, 6))
    return _ask(rng, "Put the words in quotes.", ", ".join(words)), json.dumps(words)


def kind_of(rng: Random) -> Text:
    kind = rng.choice(list(KINDS))
    word = rng.choice(KINDS[kind])
    return _ask(rng, "What kind of word is this?", word), kind


def plain(rng: Random) -> Text:
    """Prose about a support desk: which team handles what, and when."""
    lines = []
    for _ in range(rng.randint(1, 3)):
        m = draw(rng)
        lines.append(
            rng.choice(
                (
                    f'When a customer writes "{m.problem}", it is a matter for {m.team}.',
                    f'"{m.cue}" means that the priority is {m.priority}.',
                    f"The {m.team} team gave {m.name} an answer about the {m.item}.",
                    f"A ticket with {m.priority} priority gets an answer {LEVELS[m.priority]}.",
                    f"Open the box: there is a {m.item} in it.",
                )
            )
        )
    return "", " ".join(lines)
