"""`tunesmith up`: the whole stack until asked to stop."""

import time

from app.cli.output import say
from app.core.settings import Settings
from app.embedded import stack
from app.embedded.stopping import StopSignal


def up(settings: Settings, choices: stack.Choices) -> None:
    began = time.monotonic()
    with StopSignal() as signals:
        with stack.run(settings, choices, signals.wait, say) as running:
            _welcome(running, time.monotonic() - began)
            running.watch(signals.wait)
            say("Stopping")
        say("Stopped.")


def _welcome(running: stack.Stack, seconds: float) -> None:
    url, folder = running.state.url, running.settings.data_dir
    say(f"""
Tunesmith is up ({seconds:.1f} s).

  API and dashboard   {url}
  API reference       {url}/docs
  Base models         {running.settings.models_dir}
  Data and logs       {folder}
  Stop                Ctrl-C, or kill {running.state.pid}
""")
    if running.settings.host not in ("127.0.0.1", "localhost", "::1"):
        say(
            f"Note: {running.settings.host} can be reached from other machines. Put the names they "
            "use into TUNESMITH_ALLOWED_HOSTS."
        )
