"""`tunesmith up`: runs the whole stack until it is told to stop."""

import time

from app.cli.output import say
from app.core.settings import Settings
from app.embedded import stack
from app.embedded.files import State
from app.embedded.stopping import StopSignal


def up(settings: Settings, choices: stack.Choices) -> None:
    began = time.monotonic()
    with StopSignal() as signals:
        with stack.run(settings, choices, signals.wait, say) as running:
            _welcome(running, time.monotonic() - began)
            running.watch(signals.wait)
            say("Stopping")
        say("Stopped.")


def banner(state: State, settings: Settings, seconds: float) -> str:
    """Return the text shown once every address in it responds."""
    return f"""
Tunesmith is up ({seconds:.1f} s).

  API           {state.url}
  contract      {state.url}/docs to read, {state.url}/openapi.json for programs
  base models   {settings.models_dir}
  data, logs    {settings.data_dir}

  try first     tunesmith submit SPEC.json --dataset ROWS.jsonl --follow --url {state.url}
  stop          Ctrl-C, or kill {state.pid}
"""


def _welcome(running: stack.Stack, seconds: float) -> None:
    say(banner(running.state, running.settings, seconds))
    if running.settings.host not in ("127.0.0.1", "localhost", "::1"):
        say(
            f"Note: {running.settings.host} can be reached from other machines. Add the host names "
            "that they use to TUNESMITH_ALLOWED_HOSTS."
        )
