"""A scripted trainer that follows the protocol of app/core/jobs/protocol.py, for tests of timing.

Its script is the job's tag `script`: words such as `steps=5 pause=0.05 save=2 3:kill`. A word
`N:action` runs when step N is reached; `N:action@K` only up to attempt K. Standard library only,
so that it starts fast.
"""

import ctypes
import hashlib
import json
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

RUN_DIR = Path(sys.argv[-1])
FILE = os.fdopen(int(os.environ["TUNESMITH_REPORT_FD"]), "wb", buffering=0)
LOCK = threading.Lock()


def report(kind: str, message: str = "", level: str = "info", **data: Any) -> None:
    line = json.dumps({"type": kind, "message": message, "level": level, "data": data})
    raw(line.encode() + b"\n")


def raw(line: bytes) -> None:
    with LOCK:
        FILE.write(line)


def beat() -> None:
    while True:
        time.sleep(0.2)
        report("heartbeat")


def digest(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def save(step: int, steps: int) -> None:
    folder = RUN_DIR / "checkpoints" / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    (folder / "state.json").write_text(json.dumps({"step": step}))
    partial = folder / "COMMIT.json.partial"
    partial.write_text(json.dumps({"step": step}))
    partial.replace(folder / "COMMIT.json")
    report("checkpoint", step=step, epoch=step / steps, bytes=20, metrics={}, best=False,
           path=str(folder))  # fmt: skip


def committed(folders: list[str]) -> int:
    found = [
        int(commit.parent.name.split("-")[1])
        for folder in folders
        for commit in Path(folder).glob("checkpoint-*/COMMIT.json")
    ]
    return max(found, default=0)


def stop_if_asked(step: int, steps: int) -> None:
    path = RUN_DIR / "stop"
    if not path.exists():
        return
    reason = path.read_text()
    if reason == "cancel":
        sys.exit(41)
    save(step, steps)
    if reason == "drain":
        sys.exit(40)
    sys.exit(42)


def fail(status: int, code: str, class_: str, evidence: str = "") -> None:
    failure = {"class": class_, "code": code, "message": "it failed", "hint": "do better"}
    failure["evidence"] = evidence
    raw(json.dumps({"type": "error", "message": "it failed", "data": failure}).encode() + b"\n")
    sys.exit(status)


def finish(steps: int, stopped_by: str | None = None) -> None:
    report("phase", phase="finalizing")
    folder = RUN_DIR / "artifact"
    folder.mkdir()
    weights = struct.pack("<4f", 1, 2, 3, float(steps))
    header = json.dumps({"lora": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}).encode()
    packed = struct.pack("<Q", len(header)) + header + weights
    (folder / "adapter_model.safetensors").write_bytes(packed)
    (folder / "adapter_config.json").write_text("{}")
    files = [
        {"path": path.name, **digest(path), "kind": "adapter"} for path in sorted(folder.iterdir())
    ]
    (folder / "manifest.json").write_text(json.dumps({"files": files}))
    about: dict[str, Any] = {"step": steps, "chosen": "last", "stopped_by": stopped_by}
    environment = {"device": "fake"}
    report("artifact", trained_tokens=steps * 10, files=files, environment=environment, **about)


def do(action: str, step: int, steps: int) -> None:
    name, _, argument = action.partition("=")
    match name:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "segv":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "exit":
            sys.exit(int(argument))
        case "fail":
            status, code, class_ = argument.split(",")
            fail(int(status), code, class_)
        case "crash":
            text = f"{argument}: in run {RUN_DIR.name} at 0x{id(RUN_DIR):x}\n\ntraceback"
            fail(1, "internal_error", "system", text)
        case "hang":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            while True:
                time.sleep(60)
        case "quiet":
            # Silent until it is asked to stop; then it saves, and gets on until `go`.
            while not (RUN_DIR / "stop").exists():
                time.sleep(0.02)
            save(step, steps)
            while not (RUN_DIR.parent / "go").exists():
                report("progress", step=step, max_steps=steps)
                time.sleep(0.02)
            sys.exit(40)
        case "deaf":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        case "child":
            # A child that ignores SIGTERM too, as a data loader might.
            code = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)"
            subprocess.Popen([sys.executable, "-c", code])
        case "wait":
            while not (RUN_DIR.parent / "go").exists():
                stop_if_asked(step, steps)
                report("progress", step=step, max_steps=steps)
                time.sleep(0.05)
        case "garbage":
            raw(b'not json\n{"type": 7}\n' + b"\xff\xfe\x00\n" + b"[" * 5000 + b"\n")
            raw(b'{"type": "metrics", "data": {"step": -1, "values": {}}}\n')
            raw(b'{"type": "warning", "message": "nul \\u0000 here", "data": {"x": NaN}}\n')
            raw(b'{"type": "warning", "message": "nul \\u0000 here", "data": {"x": 1e999}}\n')
            raw(b"x" * 1_000_000 + b"\n")
        case "shout":
            os.write(1, os.urandom(1 << 16) + b"\n")
            for _ in range(int(argument)):
                os.write(1, b"A" * (1 << 20))
            print("\nhttps://user:hunter2secret@example.org hf_" + "q" * 24)
        case "flood":
            for extra in range(int(argument)):
                report("metrics", step=step * 100_000 + extra, values={"train_loss": 1.0})
                report("progress", step=step, max_steps=steps)
        case "secrets":
            print(sorted(os.environ))
        case "tamper":
            with (RUN_DIR / "artifact" / "adapter_config.json").open("a") as file:
                file.write(" ")
        case "flip":
            weights = RUN_DIR / "artifact" / "adapter_model.safetensors"
            content = bytearray(weights.read_bytes())
            content[-1] ^= 1
            weights.write_bytes(content)
        case _:
            raise ValueError(action)


def main() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    # Like the real one: a signal alone changes nothing, the stop file gives the reason.
    signal.signal(signal.SIGTERM, lambda *_: None)
    plan = json.loads((RUN_DIR / "plan.json").read_text())
    words = plan["spec"]["tags"].get("script", "").split()
    options = {"steps": 3.0, "pause": 0.01, "save": 1.0}
    actions: dict[int, list[str]] = {}
    for word in words:
        at, colon, action = word.partition(":")
        if colon:
            action, _, attempt = action.partition("@")
            if not attempt or int(attempt) >= plan["attempt"]:
                actions.setdefault(int(at), []).append(action)
        else:
            name, _, value = word.partition("=")
            options[name] = float(value)
    steps = int(options["steps"])
    threading.Thread(target=beat, daemon=True).start()
    report("phase", phase="preparing")
    print("hello from the trainer", flush=True)
    last = committed([*plan["resume_from"], str(RUN_DIR / "checkpoints")])
    if plan["publish_only"]:
        for action in actions.get(0, []):
            do(action, last, steps)
        finish(last, stopped_by="deadline")
        return
    first = last + 1
    report("phase", phase="training")
    for step in range(first, steps + 1):
        for action in actions.get(step, []):
            do(action, step, steps)
        time.sleep(options["pause"])
        report("metrics", step=step, values={"train_loss": 1 / step, "learning_rate": 1e-4})
        report("progress", step=step, max_steps=steps, epoch=step / steps, fraction=step / steps)
        if options["save"] and step % int(options["save"]) == 0:
            save(step, steps)
        stop_if_asked(step, steps)
    finish(steps)
    for action in actions.get(steps + 1, []):
        do(action, steps, steps)


main()
