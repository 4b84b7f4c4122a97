"""The supervisor when things go wrong. Its workers here are no processes, and end when told to."""

import asyncio
import json
import socket
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

from serving import eventually
from structlog.testing import capture_logs

from service import restarts
from service import supervisor as module
from service.child import Child
from service.handover import Place
from service.settings import Settings
from service.shares import Share
from service.supervisor import End, Supervisor


class Worker(Child):
    """No process: `become` is what it reports, `die` how it ends, `told` what it was said."""

    unborn = 0
    """So many more of them the system refuses to start."""

    async def _launch(self):
        self.told = []
        if Worker.unborn:
            Worker.unborn -= 1
            raise BlockingIOError(11, "Resource temporarily unavailable")
        self.become("loading")

    def become(self, state):
        report = {"state": state, "open": 0, "received": self.given}
        self._understand(json.dumps(report).encode())

    def die(self, code=1, refusal=None):
        self.refusal = refusal
        self._over(code)

    def say(self, **message):
        self.told.append(message)

    def kill(self):
        if not self.ended.done():
            self.die(-9)


class Rig:
    def __init__(self, supervisor, running):
        self.supervisor, self.running = supervisor, running

    @property
    def workers(self):
        return self.supervisor._children

    async def ready(self, count):
        """Once so many are there, all of them made ready."""
        await eventually(lambda: len(self.workers) == count)
        for worker in self.workers:
            if worker.state == "loading":
                worker.become("ready")
        return list(self.workers)

    async def end(self):
        async with asyncio.timeout(20):
            return await self.running


@asynccontextmanager
async def supervised(tmp_path, monkeypatch, *, processes=2):
    counter = SimpleNamespace(set=lambda n: None, inc=lambda: None)
    telemetry = SimpleNamespace(processes=counter, processes_died=counter)
    monkeypatch.setattr(module, "SharedTelemetry", lambda *given, **options: telemetry)
    monkeypatch.setattr(module, "Child", Worker)
    monkeypatch.setattr(restarts, "FIRST_DELAY", 0.01)
    monkeypatch.setattr(Worker, "unborn", 0)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        settings = Settings(checkpoints="faces", drain_grace=1)
        supervisor = Supervisor(settings, [], listener, [Share(1)] * processes)
        supervisor._metrics = tmp_path
        rig = Rig(supervisor, asyncio.ensure_future(supervisor._run()))
        await eventually(lambda: len(rig.workers) == processes)
        yield rig
        supervisor._told_to_stop()
        for worker in list(rig.workers):
            worker.kill()
        await rig.end()


def errors(logs):
    return [line["event"] for line in logs if line["log_level"] == "error"]


async def test_a_process_that_cannot_be_started_has_ended(monkeypatch):
    monkeypatch.setattr(Worker, "unborn", 1)
    worker = Worker(Place(1, 1, (), (), "nowhere"), Share(1), [], lambda *_: None)
    await worker.start()
    assert await worker.ended == 1
    assert worker.settled.is_set()
    assert "could not be started" in worker.refusal


def open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_what_was_opened_for_it_is_closed(monkeypatch):
    async def none_left(*given, **options):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(asyncio, "create_subprocess_exec", none_left)
    child = Child(Place(1, 1, (), (), "nowhere"), Share(1), [], lambda *_: None)
    before = open_files()
    await child.start()
    assert await child.ended == 1
    await eventually(lambda: open_files() <= before)
    child.say(do="drain")  # nobody hears it
    child.kill()


async def test_where_no_successor_can_be_started_the_others_go_on_until_one_can(
    tmp_path, monkeypatch
):
    async with supervised(tmp_path, monkeypatch) as rig:
        first, second = await rig.ready(2)
        Worker.unborn = 2
        first.die(-9)
        await eventually(lambda: not Worker.unborn and len(rig.workers) == 2)
        assert second in rig.workers
        assert not rig.running.done()


async def test_a_process_that_says_nothing_any_more_is_replaced(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SILENCE", 0)
    async with supervised(tmp_path, monkeypatch, processes=1) as rig:
        (silent,) = await rig.ready(1)
        with capture_logs() as logs:
            assert await asyncio.wait_for(asyncio.shield(silent.ended), 20) == -9
        assert errors(logs)[0] == "process hangs"
        await eventually(lambda: len(rig.workers) == 1 and rig.workers[0] is not silent)


async def test_a_process_that_never_was_ready_ends_the_server(tmp_path, monkeypatch):
    async with supervised(tmp_path, monkeypatch) as rig:
        rig.workers[0].die(2, "VISAGE_CHECKPOINTS is wrong")
        rig.workers[1].die(0)
        assert await rig.end() == End(2, "VISAGE_CHECKPOINTS is wrong")


async def test_as_does_one_whose_successors_all_fail_while_no_other_is_ready(tmp_path, monkeypatch):
    async with supervised(tmp_path, monkeypatch, processes=1) as rig:
        await rig.ready(1)
        for _ in range(restarts.HOPELESS):
            await eventually(lambda: len(rig.workers) == 1)
            rig.workers[0].die(1)
            await asyncio.sleep(0)
        end = await rig.end()
        assert end.code == 1
        assert "ended with exit code 1" in end.sentence


async def test_a_restart_that_fails_leaves_the_old_processes_and_can_be_tried_again(
    tmp_path, monkeypatch
):
    async with supervised(tmp_path, monkeypatch) as rig:
        old = await rig.ready(2)
        for born in (True, False):
            Worker.unborn = 0 if born else 1  # the system has no room for another process
            with capture_logs() as logs:
                rig.supervisor._told_to_restart()
                await eventually(lambda: len(rig.workers) == 3 or bool(errors(logs)))
                if born:
                    rig.workers[-1].die(2, "the checkpoint is damaged")
                await eventually(lambda: bool(errors(logs)))
            assert "restart given up" in errors(logs)[0]
            assert rig.workers == old
            assert not any(worker.retiring for worker in old)
        rig.supervisor._told_to_restart()
        for worker in old:
            await eventually(lambda: any(w.state == "loading" for w in rig.workers))
            await rig.ready(3)
            await eventually(lambda worker=worker: worker.retiring)
            worker.die(0)
        await eventually(lambda: not rig.supervisor._restarting)
        assert not set(old) & set(rig.workers)


async def test_models_are_not_loaded_while_processes_are_replaced(tmp_path, monkeypatch):
    async with supervised(tmp_path, monkeypatch, processes=1) as rig:
        (asker,) = await rig.ready(1)
        rig.supervisor._told_to_restart()
        await eventually(lambda: len(rig.workers) == 2)
        asker._hear(asker, {"load": "faces", "ask": 7})
        await eventually(lambda: bool(asker.told))
        (answer,) = asker.told
        assert answer["answer"] == 7
        assert "being restarted" in answer["errors"][0]


async def test_a_second_signal_stops_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "AT_ONCE", 0.01)
    async with supervised(tmp_path, monkeypatch, processes=1) as rig:
        (worker,) = await rig.ready(1)
        rig.supervisor._told_to_stop()
        assert worker.told == [{"do": "drain"}]
        rig.supervisor._told_to_stop()
        assert worker.told[-1] == {"do": "stop"}
        assert await asyncio.wait_for(asyncio.shield(worker.ended), 20) == -9
