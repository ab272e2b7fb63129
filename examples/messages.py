"""Invented messages to a shop's support desk, with the facts in each.

The base model and the dataset use the same messages, so one rule separates them: one order number
in seven is reserved for the held-out rows.
"""

from dataclasses import dataclass
from random import Random


def words(text: str) -> list[str]:
    return text.split()


NAMES = words(
    "Anna Omar Lucia Chen Ivan Fatima Noah Priya Jonas Aiko Maria Kofi Elena Hugo Sara Mateo "
    "Ingrid Ravi Clara Samuel Leila Oscar Nina Pablo Ruth Tomas Vera Yusuf Greta Daniel"
)
ITEMS = words(
    "kettle lamp toaster blender radio printer camera heater fan clock drill mixer speaker "
    "keyboard monitor router scale vacuum pan grill tent bike helmet backpack jacket chair desk "
    "shelf sofa mirror rug mattress guitar watch phone tablet"
)

ORDER_LETTERS = "BDGHKMRT"

FRESH_PER_TEAM = 2
"""Wordings per team, the last ones, that the base model has seen but the fine-tune never sees."""

PROBLEMS: dict[str, tuple[str, ...]] = {
    "billing": (
        "I was charged twice.",
        "The invoice shows the wrong amount.",
        "My discount was not applied.",
        "I still have no receipt.",
        "The payment was refused.",
        "The tax on the bill is wrong.",
        "I paid more than the price on the page.",
        "Money was taken before I agreed.",
    ),
    "shipping": (
        "It has not arrived.",
        "The parcel went to the wrong address.",
        "The tracking page shows nothing.",
        "The delivery is late.",
        "The driver did not ring the bell.",
        "The box is lost in the mail.",
        "It was left with a neighbour I do not know.",
        "Nobody came to my door on the promised day.",
    ),
    "returns": (
        "I want to send it back.",
        "It is the wrong colour.",
        "It is too small.",
        "I changed my mind.",
        "Please swap it for another one.",
        "You sent me the wrong model.",
        "I do not like it and want my money back.",
        "It does not fit in my room.",
    ),
    "repairs": (
        "It does not turn on.",
        "It makes a loud noise.",
        "It stopped working.",
        "There is a crack in it.",
        "The button is stuck.",
        "One part is broken.",
        "It smells of smoke.",
        "It gets far too hot.",
    ),
    "accounts": (
        "I cannot log in.",
        "I forgot my password.",
        "My email address has changed.",
        "Please delete my profile.",
        "I cannot see my old orders on the site.",
        "The site does not know my name.",
        "The code for signing in never comes.",
        "Somebody else uses my login.",
    ),
}

CUES: dict[str, tuple[str, ...]] = {
    "high": (
        "Please hurry.",
        "This is urgent.",
        "I need it today.",
        "I cannot wait any longer.",
        "Answer me right now.",
        "I have to know before tonight.",
    ),
    "normal": (
        "Please let me know.",
        "What can you do?",
        "I hope you can help.",
        "Can you look into it?",
        "I would like an answer this week.",
        "Tell me what to do next.",
    ),
    "low": (
        "There is no hurry.",
        "It can wait.",
        "Take your time.",
        "Any day is fine.",
        "It is not important.",
        "Next month is soon enough.",
    ),
}
"""Sentences that state the urgency; the fine-tune never sees the last of each, as above."""

ITEM_LINES = (
    "It is about my {item}.",
    "I have a {item} from you.",
    "I write about the {item}.",
    "Last week I bought a {item}.",
    "My {item} is the reason I write.",
)
ORDER_LINES = (
    "My order is #{order}.",
    "The order number is #{order}.",
    "Order #{order}.",
    "You will find it under #{order}.",
)
BOTH_LINES = (
    "It is about the {item} from order #{order}.",
    "I ordered a {item}, number #{order}.",
    "My {item} has the order number #{order}.",
    "In order #{order} there was a {item}.",
)
OPENINGS = ("Hi, {name} here.", "Hello, my name is {name}.", "Good morning, this is {name}.")
CLOSINGS = ("Thanks, {name}.", "Best wishes, {name}.", "Yours, {name}.")


@dataclass(frozen=True)
class Message:
    """One message: the text a customer wrote, and the facts in it."""

    name: str
    item: str
    order: str
    team: str
    problem: str
    priority: str
    cue: str
    text: str


def draw(rng: Random, *, held_out: bool = False, fresh: bool | None = None) -> Message:
    """Draw one message.

    `fresh` selects the wordings of problem and cue: None allows any, False only those that the
    fine-tune may see, True only problems that the fine-tune never sees.
    """
    name, item = rng.choice(NAMES), rng.choice(ITEMS)
    order = _order_number(rng, held_out)
    team, priority = rng.choice(list(PROBLEMS)), rng.choice(list(CUES))
    problems, cues = PROBLEMS[team], CUES[priority]
    if fresh is True:
        problems = problems[-FRESH_PER_TEAM:]
    if fresh is False:
        problems, cues = problems[:-FRESH_PER_TEAM], cues[:-1]
    problem, cue = rng.choice(problems), rng.choice(cues)
    text = _text(rng, problem, cue).format(name=name, item=item, order=order)
    return Message(name, item, order, team, problem, priority, cue, text)


def _order_number(rng: Random, held_out: bool) -> str:
    """Return two letters and two digits, each half a single token: tiny models learn early to find
    a word in a text, but to copy a number digit by digit much later, if at all.
    """
    while True:
        first, second, number = rng.randrange(8), rng.randrange(8), rng.randint(10, 99)
        if ((8 * first + second + number) % 7 == 0) == held_out:
            return f"{ORDER_LETTERS[first]}{ORDER_LETTERS[second]}{number}"


def _text(rng: Random, problem: str, cue: str) -> str:
    """Return the text with placeholders for {name}, {item} and {order}."""
    if rng.random() < 0.5:
        about = rng.choice(BOTH_LINES)
    else:
        about = f"{rng.choice(ITEM_LINES)} {rng.choice(ORDER_LINES)}"
    middle = [about, problem]
    rng.shuffle(middle)
    if problem.startswith("It "):
        middle = [about, problem]  # "It" needs an antecedent
    middle.insert(2 if rng.random() < 0.7 else 0, cue)
    if rng.random() < 0.5:
        return " ".join([rng.choice(OPENINGS), *middle])
    return " ".join([*middle, rng.choice(CLOSINGS)])
