"""Settings that keep messages mere hints (reliability.md 2.4), and the worker's slot."""

from pathlib import Path

import pytest

from app.core.settings import Settings
from worker.slot import Slot
from worker.supervisor.trainer_process import environment

pytestmark = pytest.mark.slow


@pytest.fixture
def conf(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> dict[str, object]:
    monkeypatch.setenv("TUNESMITH_REDIS_URL", str(settings.redis_url))
    from worker.celery_app import make_app

    return dict(make_app(settings).conf)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("task_acks_late", False),
        ("worker_prefetch_multiplier", 1),
        ("worker_disable_prefetch", True),
        ("task_reject_on_worker_lost", False),
        ("task_retry_on_worker_lost", False),
        ("worker_cancel_long_running_tasks_on_connection_loss", False),
        ("task_ignore_result", True),
        ("result_backend", None),
        ("task_serializer", "json"),
        ("accept_content", ["json"]),
        ("broker_connection_retry_on_startup", True),
        ("broker_connection_max_retries", None),
        ("worker_pool", "prefork"),
        ("worker_max_tasks_per_child", 1),
        ("worker_soft_shutdown_timeout", 0),
        ("task_time_limit", None),
        ("task_soft_time_limit", None),
        (
            "broker_transport_options",
            {
                "visibility_timeout": 300,
                "unacked_restore_interval": 10,
                "unacked_restore_throttle": 1,
                "socket_timeout": 10,
                "socket_connect_timeout": 5,
                "socket_keepalive": True,
                "health_check_interval": 10,
                "global_keyprefix": "ft:",
            },
        ),
    ],
)
def test_each_setting_is_as_the_design_says(
    conf: dict[str, object], name: str, value: object
) -> None:
    assert conf[name] == value


def test_a_slot_has_one_holder_and_remembers_a_drain(tmp_path: Path) -> None:
    slot, same = Slot(tmp_path, "worker@host"), Slot(tmp_path, "worker@host")
    with slot.held() as is_ours, same.held() as is_theirs:
        assert (is_ours, is_theirs) == (True, False)
        with Slot(tmp_path, "another@host").held() as is_another:
            assert is_another
    with same.held() as is_ours:
        assert is_ours

    assert not same.is_draining
    slot.drain()
    assert same.is_draining
    slot.reopen()
    assert not same.is_draining


def test_a_trainers_environment_is_an_allow_list(tmp_path: Path) -> None:
    ours = {
        "PATH": "/bin",
        "CUDA_VISIBLE_DEVICES": "1",
        "OMP_NUM_THREADS": "2",
        "TUNESMITH_DATABASE_URL": "secret",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "HF_TOKEN": "secret",
        "HOME": "/root",
    }
    run_dir = tmp_path / "runs/job_1/1"
    theirs = environment(ours, run_dir, 7, "token")
    assert "secret" not in theirs.values()
    assert theirs["HOME"] == str(run_dir)
    assert theirs["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    # One folder of compiled kernels for all runs of a machine, unless the worker is given one.
    other = environment(ours, tmp_path / "runs/job_2/5", 7, "token")
    assert theirs["TRITON_CACHE_DIR"] == other["TRITON_CACHE_DIR"]
    assert Path(theirs["TRITON_CACHE_DIR"]).is_relative_to(tmp_path / "triton")
    given = environment({**ours, "TRITON_CACHE_DIR": "/t"}, run_dir, 7, "token")
    assert given["TRITON_CACHE_DIR"] == "/t"
    assert theirs["CUDA_VISIBLE_DEVICES"] == "1"
    assert theirs["HF_HUB_OFFLINE"] == "1"
    assert theirs["TQDM_DISABLE"] == "1"  # its log has no progress bars
    assert theirs["TUNESMITH_REPORT_FD"] == "7"
