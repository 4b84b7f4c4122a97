"""What several processes are made of: shares, the handing over of connections, metrics as one."""

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from service import shares
from service.errors import SettingsError
from service.handover import Place, give, take
from service.metrics_shared import forget
from service.settings import Settings, load_settings
from service.supervisor import Supervisor

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def cores(monkeypatch):
    """A machine of six cores without a CUDA device."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3, 4, 5})
    monkeypatch.setattr(shares, "cuda_devices", lambda _: [])


def parts(**settings) -> list[tuple[int, ...]]:
    return [share.cores for share in shares.shares_of(Settings(**settings))]


@pytest.mark.usefixtures("cores")
def test_each_core_belongs_to_one_process():
    assert parts(processes=2) == [(0, 1, 2), (3, 4, 5)]
    assert parts(processes=4) == [(0,), (1, 2), (3,), (4, 5)]
    assert [share.threads for share in shares.shares_of(Settings(processes=4))] == [1, 2, 1, 2]


@pytest.mark.usefixtures("cores")
def test_more_processes_than_cores_take_turns():
    assert parts(processes=8) == [(0,), (1,), (2,), (3,), (4,), (5,), (0,), (1,)]


@pytest.mark.usefixtures("cores")
def test_threads_that_are_set_are_those_of_each_process():
    assert [s.threads for s in shares.shares_of(Settings(processes=2, threads=5))] == [5, 5]


def test_each_process_sees_one_device_and_devices_go_round(monkeypatch):
    monkeypatch.setattr(shares, "cuda_devices", lambda _: ["0", "GPU-8a"])

    def seen(**settings):
        return [s.environment.get(shares.DEVICES) for s in shares.shares_of(Settings(**settings))]

    assert seen(processes="auto") == ["0", "GPU-8a"]
    assert seen(processes=3, engine="cuda") == ["0", "GPU-8a", "0"]
    assert seen(processes=2, engine="openvino") == [None, None]


@pytest.mark.usefixtures("cores")
def test_auto_is_one_process_without_devices():
    assert len(shares.shares_of(load_settings(["--processes", "auto"]))) == 1


def test_devices_are_those_that_torch_finds_by_their_given_names(monkeypatch):
    monkeypatch.setattr(shares.metadata, "version", lambda _: "2.13.0+cu128")
    monkeypatch.setattr(shares, "_COUNT", "print(2)")
    assert shares.cuda_devices({}) == ["0", "1"]
    assert shares.cuda_devices({shares.DEVICES: "3, GPU-8a,9"}) == ["3", "GPU-8a"]
    monkeypatch.setattr(shares, "_COUNT", "raise SystemExit(1)")
    assert shares.cuda_devices({}) == []


def test_a_system_that_cannot_hand_over_says_so(monkeypatch):
    monkeypatch.delattr(socket, "send_fds")
    with pytest.raises(SettingsError, match="VISAGE_PROCESSES is 2"):
        shares.shares_of(Settings(processes=2, engine="torch"))


@pytest.mark.parametrize("value", ["0", "-1", "many"])
def test_a_number_of_processes_that_is_none_is_refused(monkeypatch, value):
    monkeypatch.setenv("VISAGE_PROCESSES", value)
    with pytest.raises(SettingsError, match=rf"VISAGE_PROCESSES is '{value}'"):
        load_settings()


def test_a_connection_is_handed_over_whole():
    ours, theirs = socket.socketpair()
    client, accepted = socket.socketpair()
    with ours, theirs, client, accepted:
        theirs.setblocking(False)
        client.sendall(b"asked already")
        assert list(take(theirs)) == []
        assert give(ours, accepted)
        accepted.close()
        (taken,) = take(theirs)
        with taken:
            assert taken.recv(100) == b"asked already"
            taken.sendall(b"answer")
        assert client.recv(100) == b"answer"
        ours.close()
        with pytest.raises(EOFError):
            list(take(theirs))


def test_who_is_gone_or_does_not_keep_up_takes_nothing():
    ours, theirs = socket.socketpair()
    with ours, theirs, socket.socket() as connection:
        ours.setblocking(False)
        given = 0
        while give(ours, connection):
            given += 1
        assert given > 10
        theirs.close()
        assert not give(ours, connection)


def test_a_place_is_told_in_one_argument():
    place = Place(3, 2, (4, 5), ("late",), "/dev/shm/x", 7, 9)
    assert Place.read(place.text()) == place


async def test_a_stop_kills_what_hangs_before_kubernetes_kills_all(monkeypatch):
    with socket.socket() as listener:
        supervisor = Supervisor(Settings(), [], listener, [])
    supervisor._stopping = asyncio.Event()
    timers = []
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "call_later", lambda delay, _: timers.append(delay))
    supervisor._told_to_stop()
    monkeypatch.undo()
    base = REPOSITORY / "deploy/kubernetes/base/deployment.yaml"
    pod = yaml.safe_load(base.read_text())["spec"]["template"]["spec"]
    before = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert [before + delay < pod["terminationGracePeriodSeconds"] for delay in timers] == [True]


def test_the_supervisor_imports_neither_torch_nor_the_http_libraries():
    program = (
        "import sys, service.__main__, service.supervisor\n"
        "print([n for n in ('torch', 'fastapi', 'uvicorn', 'numpy') if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


COUNT = """
import os, sys
from pathlib import Path
from service.metrics_shared import SharedTelemetry
folder, name, depth = sys.argv[1:]
telemetry = SharedTelemetry(Path(folder), name, supervisor=os.getpid())
telemetry.watch(ready=lambda: True, weights_bytes=lambda: 10)
telemetry.follow(telemetry.queue_depth.labels("m"), lambda: int(depth))
telemetry.model_load.labels("m").set(int(depth))
telemetry.follow(telemetry.engine_busy.labels("m"), lambda: int(depth))
telemetry.requests_cancelled.labels("queued").inc()
telemetry.queue_wait.observe(0.003)
print(telemetry.exposition("")[0].decode())
"""


def counted(folder: Path, name: str, depth: int):
    """The metrics that a process exposes, which has counted one of each and then is gone."""
    done = subprocess.run(
        [sys.executable, "-c", COUNT, str(folder), name, str(depth)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    families = list(text_string_to_metric_families(done.stdout))
    samples = [sample for family in families for sample in family.samples]
    return lambda metric, **labels: [
        s.value for s in samples if s.name == f"visage_{metric}" and s.labels == labels
    ]


def test_counts_outlive_their_process_and_what_it_had_does_not(tmp_path):
    assert counted(tmp_path, "1", 4)("queue_depth", model="m") == [4]
    both = counted(tmp_path, "2", 3)
    assert both("requests_cancelled_total", stage="queued") == [2]
    assert both("queue_wait_seconds_bucket", le="0.005") == [2]
    assert both("queue_wait_seconds_bucket", le="0.0025") == [0]
    assert both("queue_depth", model="m") == [7]
    assert both("ready") == [2]
    assert both("model_load_seconds", model="m") == [4]
    assert both("engine_busy_seconds", model="m") == [4]
    assert both("device_memory_bytes", kind="weights") == [20]

    forget(tmp_path, "1")
    successor = counted(tmp_path, "1", 1)
    assert successor("requests_cancelled_total", stage="queued") == [3]
    assert successor("queue_depth", model="m") == [4]
    assert len(list(tmp_path.iterdir())) == 2 * 4  # counters, histograms, two kinds of gauges
