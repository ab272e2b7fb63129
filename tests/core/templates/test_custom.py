"""Custom templates: tested in a child, refused with a code, never rendered in this process."""

import os
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from app.core.errors import Invalid
from app.core.templates import custom, registry
from app.core.templates.template import ours

pytestmark = pytest.mark.slow

GOOD = (ours()["zephyr"].text or "").replace("'<|", "'<|my_")
HOSTILE = {
    "a class": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "a printed class": "{{ messages.__class__ }}",
    "globals of a helper": "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "globals of a loop": "{% for m in messages %}{{ loop.__init__.__globals__ }}{% endfor %}",
    "an attribute by filter": "{{ messages | attr('__class__') }}",
    "attributes by map": "{{ messages | map(attribute='__class__') | list }}",
    "an item": "{{ ''['__class__'] }}",
    "a name put together": "{{ ''['__cl' ~ 'ass__']['__mro__'] }}",
    "a format": "{{ '{0.__class__.__mro__}'.format(messages) }}",
    "a helper of ours": "{{ raise_exception.__globals__ }}",
    "itself": "{{ self.__init__ }}{{ self._TemplateReference__context }}",
    "a file": "{% include '/etc/passwd' %}",
    "another template": "{% import 'x' as x %}{% extends 'y' %}",
    "a long loop": "{% for i in range(10**9) %}x{% endfor %}",
    "loops in loops": "{% for i in range(99999) %}{% for j in range(99999) %}"
    "{% endfor %}{% endfor %}",
    "a long text": "{{ 'a' * 10**12 }}",
    "long texts": "{{ ('a' * 10**8) * 10 }}{{ 'b' * 10**9 }}",
    "a text that grows": "{% set n = namespace(t='aa') %}{% for i in range(99) %}"
    "{% set n.t = n.t + n.t %}{% endfor %}{{ n.t }}",
    "a large number": "{{ (9 ** 9 ** 9) ** 9999999 }}",
    "wide letters": "{{ 'x'.center(10**10) }}",
    "blocks too deep": "{% if 1 %}" * 500 + "{% endif %}" * 500,
    "brackets too deep": "{{ " + "(" * 5000 + ")" * 5000 + " }}",
    "itself again": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "no Jinja": "{% for %}",
    "an unknown filter": "{{ messages | nonsense }}",
    "a refusal": "{{ raise_exception('no') }}",
    "nothing": "",
    "a prompt that is no beginning": "{{ messages | length }}{% for m in messages %}{{ m.content }}"
    "{% endfor %}",
    "answers left out": "{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}",
}
CODES = {"template_unsafe", "template_invalid", "template_too_costly", "template_prompt_differs"}


def write(folder: Path, **texts: str) -> Path:
    for name, text in texts.items():
        (folder / f"{name}.jinja").write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_bad_template_is_refused_with_a_code_in_seconds(text, tmp_path):
    write(tmp_path, bad=text)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)

    with pytest.raises(registry.TemplateRefused) as caught:
        registry.find(tmp_path, "bad")

    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    [problem] = caught.value.errors
    assert problem.pointer == "/template"
    assert problem.code in CODES
    assert problem.message
    assert "\n" not in problem.message
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 6


def test_a_good_one_stands_among_ours(tmp_path):
    folder = write(tmp_path, house="{#- How we talk. -#}\n" + GOOD)

    found = registry.list_templates(folder)[-1]

    assert (found.name, found.is_custom, found.problems) == ("house", True, ())
    assert found.description == "How we talk."
    assert found.special_tokens == ("<|my_assistant|>", "<|my_user|>")
    assert registry.find(folder, "house") == found
    assert [each.name for each in registry.list_templates(None)] == list(ours())


def test_one_that_takes_no_system_text_is_good(tmp_path):
    refusing = "{% if messages[0].role == 'system' %}{{ raise_exception('no') }}{% endif %}" + GOOD

    assert registry.find(write(tmp_path, strict=refusing), "strict").problems == ()


@pytest.mark.parametrize(
    ("name", "text", "code"),
    [
        ("chatml", GOOD, "template_name_invalid"),
        ("My Own", GOOD, "template_name_invalid"),
        ("large", GOOD + "{#" + "x" * custom.MAX_BYTES + "#}", "template_too_large"),
    ],
)
def test_a_file_that_cannot_serve_says_why(name, text, code, tmp_path):
    found = registry.list_templates(write(tmp_path, **{name: text}))[-1]

    assert [each.code for each in found.problems] == [code]


def test_what_is_no_file_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.jinja")
    (tmp_path / "folder.jinja").mkdir()

    assert [each for each in registry.list_templates(tmp_path) if each.is_custom] == []
    with pytest.raises(registry.TemplateUnknown):
        registry.find(tmp_path, "pipe")


def test_ours_cannot_be_replaced(tmp_path):
    assert registry.find(write(tmp_path, alpaca="{{ 1 }}"), "alpaca") == ours()["alpaca"]


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("alpacca", '"alpaca"'),
        ("ChatML", '"chatml"'),
        ("llama3", '"llama-3"'),
        ("../house", '"house"'),
        ("zzz", ""),
    ],
)
def test_an_unknown_name_is_told_the_nearest(name, near, tmp_path):
    with pytest.raises(registry.TemplateUnknown) as caught:
        registry.find(write(tmp_path, house=GOOD), name)

    [problem] = caught.value.errors
    assert problem.hint.startswith(f"Did you mean {near}?" if near else "Allowed: ")
    assert '"house"' in problem.hint


def test_the_same_text_is_tried_once(tmp_path):
    folder = write(tmp_path, one=GOOD, other=GOOD + "{# twice #}")
    registry.list_templates(folder)
    used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime

    registry.list_templates(folder)

    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime == used


def test_the_process_that_asks_does_not_even_load_jinja(tmp_path):
    write(tmp_path, house=GOOD)
    code = (
        "import sys, pathlib; from app.core.templates import registry\n"
        "print(registry.list_templates(pathlib.Path(sys.argv[1]))[-1].problems)\n"
        "assert 'jinja2' not in sys.modules"
    )

    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True)

    assert (done.returncode, done.stdout) == (0, "()\n"), done.stderr


def test_other_threads_go_on_while_one_hangs(tmp_path):
    write(tmp_path, slow=HOSTILE["loops in loops"] + "{# again #}")
    caught: list[Invalid] = []

    def ask() -> None:
        try:
            registry.find(tmp_path, "slow")
        except Invalid as refusal:
            caught.append(refusal)

    thread = threading.Thread(target=ask)
    thread.start()
    turns = 0
    deadline = time.monotonic() + 60
    while thread.is_alive() and time.monotonic() < deadline:
        turns += 1
        thread.join(0.01)

    assert turns > 10
    assert [each.code for each in caught] == ["template_refused"]
