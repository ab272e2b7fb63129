"""What `tunesmith doctor` finds about folders: who must read or write them, and who can."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from app.cli.finding import Finding
from app.core.errors import Failure
from app.core.models import list_models
from app.core.settings import Settings
from app.core.templates.registry import list_templates
from app.embedded import files
from app.embedded.account import can_enter, servers_account
from app.embedded.stack import check_models

MIN_FREE_BYTES = 2 << 30


def findings(settings: Settings) -> Iterator[Finding]:
    data_dir = settings.data_dir.absolute()
    yield _data_folder(settings, data_dir)
    yield _disk(data_dir)
    if store := local_store(settings):
        yield _writable("storage", store)
    yield from _models(settings)
    yield from _templates(settings)


def local_store(settings: Settings) -> Path | None:
    url = urlsplit(settings.store_url)
    return Path(unquote(url.path)) if url.scheme == "file" else None


def unreadable(folder: Path) -> Path | None:
    """Return the first file or folder inside that this user cannot read."""
    if not os.access(folder, os.R_OK | os.X_OK):
        return folder
    for path in sorted(folder.rglob("*")):
        if not os.access(path, os.R_OK | (os.X_OK if path.is_dir() else 0)):
            return path
    return None


def _data_folder(settings: Settings, folder: Path) -> Finding:
    try:
        files.make_data_dir(folder)
    except Failure as failure:
        return Finding("bad", "data folder", f"{failure.detail} {_ownership(folder)}".strip())
    found = _writable("data folder", folder)
    account = None if settings.database_url else servers_account()
    if found.verdict == "ok" and account and not can_enter(account, folder):
        text = f"{folder}; Postgres stores its files elsewhere: `{account.name}` cannot enter it"
        return Finding("note", "data folder", text)
    return found


def _writable(subject: str, folder: Path) -> Finding:
    existing = _existing(folder)
    if not os.access(existing, os.R_OK | os.W_OK | os.X_OK):
        text = f"{folder} cannot be written by user {os.geteuid()}. {_ownership(existing)}"
        return Finding("bad", subject, text)
    try:
        (existing / ".doctor").touch()
        (existing / ".doctor").unlink()
    except OSError as error:
        return Finding("bad", subject, f"{folder} cannot be written: {error.strerror}")
    return Finding("ok", subject, str(folder))


def _ownership(folder: Path) -> str:
    existing = _existing(folder)
    owner = existing.stat().st_uid
    if owner == os.geteuid():
        return f"It belongs to that user: `chmod u+rwX {existing}`."
    return f"It belongs to user {owner}: `chown -R {os.geteuid()} {existing}` as root."


def _disk(folder: Path) -> Finding:
    free = shutil.disk_usage(_existing(folder)).free
    enough = free >= MIN_FREE_BYTES
    text = f"{free / 2**30:.1f} GiB free" + ("" if enough else "; at least 2 GiB are required")
    return Finding("ok" if enough else "bad", "disk", text)


def _models(settings: Settings) -> Iterator[Finding]:
    folder = settings.models_dir.absolute()
    try:
        check_models(folder)
    except Failure as failure:
        yield Finding("bad", "models folder", failure.detail)
        return
    yield Finding("ok", "models folder", str(folder))
    for model in list_models(settings):
        closed = unreadable(model.path) if model.path else None
        for problem in model.problems:
            text = " ".join([model.id, "cannot be used:", problem.message, problem.hint]).strip()
            yield Finding("bad", "model", text)
        if closed:
            yield _closed("model", f"{model.id}: {closed}", folder)
        elif not model.problems:
            yield Finding("ok", "model", f"{model.id} ({model.architecture})")


def _templates(settings: Settings) -> Iterator[Finding]:
    folder = settings.templates_dir
    if folder is None:
        return
    if not folder.is_dir():
        yield Finding("bad", "templates", f"{folder} is not a folder")
    elif closed := unreadable(folder):
        yield _closed("templates", str(closed), folder)
    else:
        custom = [each for each in list_templates(folder) if each.is_custom]
        yield Finding("ok", "templates", f"{folder}, with {len(custom)} of your own")
        for each in custom:
            for problem in each.problems:
                yield Finding("bad", "template", f"{each.name}: {problem.message} {problem.hint}")


def _closed(subject: str, what: str, folder: Path) -> Finding:
    advice = f"`chmod -R a+rX {folder}` on the machine that has the folder"
    return Finding("bad", subject, f"{what} cannot be read by user {os.geteuid()}: {advice}")


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if path.exists())
