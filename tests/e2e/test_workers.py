"""Two worker processes behind one address: killed, stopped, restarted and reloaded under load."""

import asyncio
import os
import shutil
import signal
import time
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
from running_server import RunningServer, server_factory
from tiny_checkpoints import write_tiny
from traffic import Tally, closed_loop, connected, new_faces
from watching import Telemetry

pytestmark = pytest.mark.e2e

ADMIN = {"Authorization": "Bearer secret"}
LOAD = "/v1/admin/models/tiny/load"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("tiny") / "tiny")


@pytest.fixture(scope="module")
def start(tmp_path_factory, tiny):
    fixed = {"processes": 2, "engine": "torch", "tile": 1, "reservoir": 0, "admin_token": "secret"}
    with server_factory(tmp_path_factory.mktemp("workers"), tiny) as start:
        yield lambda **settings: start(**(fixed | settings))


@pytest.fixture(scope="module")
def server(start):
    """Both ready; each test leaves it so."""
    return both_ready(start().wait_ready())


def children(server: RunningServer) -> list[int]:
    pid = server.process.pid
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def metric(server: RunningServer, name: str, **labels: str) -> float:
    return Telemetry(server.client.get("/metrics").text)(name, **labels)


def eventually(condition) -> None:
    give_up = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < give_up, "it never came to be"
        time.sleep(0.05)


def both_ready(server: RunningServer) -> RunningServer:
    eventually(lambda: metric(server, "ready") == 2)
    return server


def alone(server: RunningServer) -> None:
    """Once the test's own connection is the only one, and both processes have said so."""
    eventually(lambda: metric(server, "connections") == 1)
    time.sleep(0.3)


async def answered(tally: Tally, number: int) -> None:
    """Once so many of a load that goes on have their answer."""
    async with asyncio.timeout(60):
        while len(tally.served) < number:  # noqa: ASYNC110 - nobody sets an event for each number
            await asyncio.sleep(0.01)


async def settled(asked: list[asyncio.Future]) -> set[asyncio.Future]:
    """Those that are done, once there are some and no more in a while."""
    done: set[asyncio.Future] = set()
    async with asyncio.timeout(60):
        while True:
            before = len(done)
            done, _ = await asyncio.wait(asked, timeout=0.5)
            if len(done) == before > 0:
                return done


def events(server: RunningServer, event: str) -> list[dict]:
    return [line for line in server.events() if line["event"] == event]


@contextmanager
def one_held(server: RunningServer):
    """Only one of the two processes can answer meanwhile: the other one's pid is given."""
    asleep = children(server)[0]
    os.kill(asleep, signal.SIGSTOP)
    try:
        yield asleep
    finally:
        os.kill(asleep, signal.SIGCONT)


async def answers_of_both(server: RunningServer, target: str) -> list[bytes]:
    """Asked over several connections, of which each process has some."""
    alone(server)
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connected(server.url)) for _ in range(6)]
        return [(await client.ask(target)).body for client in clients]


async def test_both_answer_the_same_bytes(server):
    def counted() -> tuple[float, float]:
        timed = "http_request_duration_seconds_count"
        made = metric(server, "cache_requests_total", result="miss")
        return made, metric(server, timed, route="/v1/faces/{seed}")

    before = counted()
    bodies = await answers_of_both(server, "/v1/faces/7.png")
    assert len(set(bodies)) == 1
    assert bodies[0].startswith(b"\x89PNG")
    # Each has made it itself, once.
    made, answered = (now - then for now, then in zip(counted(), before, strict=True))
    assert (made, answered) == (2, len(bodies))


async def test_metrics_are_those_of_both(server):
    before = await Telemetry.of(server.url)
    tally = await closed_loop(server.url, new_faces("sum"), clients=8, requests=200)
    assert tally.statuses == {200: 200}
    after = await Telemetry.of(server.url)

    def grown(name, **labels):
        return after(name, **labels) - before(name, **labels)

    assert grown("http_requests_total", route="/v1/faces/{seed}", code="200") == 200
    assert grown("http_request_duration_seconds_count", route="/v1/faces/{seed}") == 200
    assert grown("images_generated_total", model="tiny") == 200
    assert grown("batch_size_sum", model="tiny") == 200
    assert after("ready") == after("processes") == 2
    assert after("build_info") == 1
    assert after("queue_capacity") == 2 * 256


async def test_connections_are_shared_out_evenly(server):
    """Sixteen clients that come at once and stay: eight for each, the one of the tests beside."""
    alone(server)
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connected(server.url)) for _ in range(16)]
        await asyncio.gather(*(client.ask("/healthz") for client in clients))
        with one_held(server):
            asked = [asyncio.ensure_future(client.ask("/healthz")) for client in clients]
            done = await settled(asked)
        assert 7 <= len(done) <= 9
        assert {answer.status for answer in await asyncio.gather(*asked)} == {200}


async def test_a_reload_reaches_both(server, tiny, tmp_path):
    old = server.client.get("/v1/models/tiny").json()["digest"]
    kept = shutil.copytree(tiny, tmp_path / "kept")
    try:
        import torch

        from models import load_checkpoint, save_checkpoint

        checkpoint = load_checkpoint(tiny)
        generator = checkpoint.build()
        with torch.no_grad():
            next(generator.parameters()).mul_(0.5)
        shutil.rmtree(tiny)
        save_checkpoint(
            tiny,
            generator=generator,
            attributes=checkpoint.attributes,
            joint_prior=checkpoint.joint_prior,
            provenance={"licence": "CC0-1.0"},
            readme="# other weights",
            samples_png=(kept / "samples.png").read_bytes(),
        )
        answer = server.client.post(LOAD, headers=ADMIN)
        assert answer.status_code == 200, answer.text
        assert answer.json()["processes"] == 2
        new = answer.json()["model"]["digest"]
        assert new != old
        bodies = await answers_of_both(server, "/v1/models/tiny")
        assert all(new.encode() in body for body in bodies)
    finally:
        shutil.rmtree(tiny)
        shutil.copytree(kept, tiny)
        assert server.client.post(LOAD, headers=ADMIN).json()["model"]["digest"] == old


async def test_one_is_killed_under_load_and_only_what_it_had_is_lost(server):
    clients, counted, tally = 8, "http_requests_total", Tally()
    before = metric(server, counted, route="/v1/faces/{seed}")
    deaths = metric(server, "processes_died_total")
    load = asyncio.ensure_future(
        closed_loop(server.url, new_faces("kill"), clients=clients, requests=600, tally=tally)
    )
    await answered(tally, 200)
    served = len(tally.served)
    os.kill(children(server)[0], signal.SIGKILL)
    await load
    # A client has one request at a time, and about half of them were with the dead one.
    assert 0 < len(tally.lost) < clients
    assert set(tally.statuses) == {200}
    assert served + clients < len(tally.served) == 600 - len(tally.lost)
    both_ready(server)
    assert metric(server, "processes_died_total") == deaths + 1
    # What the dead one had counted is still there. An answer is counted once it has left: a client
    # of the dead one may have one that was not counted, or have lost one that was.
    counts = metric(server, counted, route="/v1/faces/{seed}") - before
    assert len(tally.served) - clients < counts <= len(tally.served) + len(tally.lost)
    assert metric(server, "requests_in_flight") == 1


async def test_a_rolling_restart_loses_nothing(server):
    old, deaths, tally = set(children(server)), metric(server, "processes_died_total"), Tally()
    load = asyncio.ensure_future(
        closed_loop(server.url, new_faces("roll"), clients=8, tally=tally, seconds=100)
    )
    server.client.close()  # an idle connection keeps an old process for five seconds
    server.process.send_signal(signal.SIGHUP)
    while not events(server, "restarted"):
        await asyncio.sleep(0.1)
        assert not load.done()
    load.cancel()
    await asyncio.wait([load])
    server.client = httpx.Client(base_url=server.url, timeout=120)
    assert tally.lost == []
    assert set(tally.statuses) == {200}
    assert len(children(server)) == 2
    assert not old & set(children(server))
    assert metric(server, "processes_died_total") == deaths


async def test_sigterm_under_load_loses_nothing_and_exits_0(start):
    server, tally = both_ready(start().wait_ready()), Tally()
    load = asyncio.ensure_future(
        closed_loop(server.url, new_faces("stop"), clients=8, tally=tally, seconds=100)
    )
    await answered(tally, 20)
    server.process.send_signal(signal.SIGTERM)
    code, stderr = await asyncio.to_thread(server.wait)
    load.cancel()
    await asyncio.wait([load])
    assert (code, stderr) == (0, "")
    assert set(tally.statuses) <= {200, 503}
    assert all(a.says_when_to_retry for a in tally.answers if a.status == 503)
    # Once the address is closed nobody gets in: a connect is refused, or reset where it was not yet
    # through when the address closed. None who could ask is left without an answer.
    assert [lost for lost in tally.lost if "Connect call failed" not in lost] == []
    assert events(server, "stopped")


def test_a_checkpoint_that_is_no_good_is_one_sentence_and_exit_2(start, tiny, tmp_path):
    folder = shutil.copytree(tiny, tmp_path / "damaged")
    (folder / "config.json").unlink()
    code, stderr = start(checkpoints=folder).wait()
    assert code == 2, stderr
    assert stderr.startswith("visage: ")
    assert "config.json" in stderr
    assert stderr.count("\n") == 1


def test_without_their_supervisor_the_workers_end(start):
    server = start().wait_ready()
    orphans = children(server)
    server.process.kill()
    eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in orphans))
