"""Several models, loading and reloading, draining: on fake engines, over HTTP."""

import asyncio
import gc
import threading
import weakref
from pathlib import Path

import pytest
from answers import problem
from fakes import FakeEngine, Gate, face_spec
from serving import eventually, sample_of, serve
from structlog.testing import capture_logs

from service.app import create_app
from service.cache import Claim
from service.errors import SettingsError
from service.fleet import Fleet
from service.provenance import read_claims
from service.settings import Settings
from service.telemetry import Telemetry

ADMIN = {"Authorization": "Bearer secret"}
LOAD = "/v1/admin/models/fake-16/load"


class Folders:
    """Engines by folder; what a folder gives can be changed meanwhile."""

    def __init__(self, tmp_path, *names):
        self.paths = [tmp_path / name for name in names]
        for path in self.paths:
            path.mkdir()
        self.made: list[FakeEngine] = []
        self.digest = {}
        self.before_batch = {}
        self.failure: Exception | None = None

    def __call__(self, folder: Path) -> FakeEngine:
        if self.failure is not None:
            raise self.failure
        digest = self.digest.get(folder.name, "0123456789abcdef" * 4)
        before = self.before_batch.get(folder.name, lambda size: None)
        engine = FakeEngine(face_spec(name=folder.name, digest=digest), tile=1, before_batch=before)
        self.made.append(engine)
        return engine

    def serve(self, **settings):
        checkpoints = ",".join(map(str, self.paths))
        fields = {"checkpoints": checkpoints, "admin_token": "secret"} | settings
        return serve(self, **fields)


async def test_several_models_are_served_side_by_side(tmp_path):
    folders = Folders(tmp_path, "one", "two")
    folders.digest["two"] = "f" * 64
    async with folders.serve() as client:
        listed = (await client.get("/v1/models")).json()["models"]
        assert [(m["name"], m["default"]) for m in listed] == [("one", True), ("two", False)]
        plain = await client.get("/v1/faces/7.png")
        other = await client.get("/v1/faces/7.png?model=two")
        assert plain.headers["X-Model"] == "one@0123456789ab"
        assert other.headers["X-Model"] == "two@ffffffffffff"
        assert plain.headers["ETag"] != other.headers["ETag"]
        assert sample_of(client)("visage_device_memory_bytes", kind="weights") == 2000


async def test_each_model_s_queue_is_told_by_itself(tmp_path):
    folders, gate = Folders(tmp_path, "one", "two"), Gate()
    folders.before_batch["one"] = gate
    async with folders.serve(queue_capacity=1) as client:
        sample = sample_of(client)
        asked = [asyncio.create_task(client.get("/v1/faces/1.png"))]
        await gate.reached()
        asked.append(asyncio.create_task(client.get("/v1/faces/2.png")))
        await eventually(lambda: sample("visage_queue_depth", model="one") == 1)
        assert sample("visage_queue_depth", model="two") == 0
        assert [sample("visage_queue_capacity", model=m) for m in ("one", "two")] == [1, 1]
        gate.open()
        assert [(await task).status_code for task in asked] == [200, 200]


async def test_the_default_model_is_chosen_by_the_settings(tmp_path):
    async with Folders(tmp_path, "one", "two").serve(default_model="two") as client:
        assert (await client.get("/image")).headers["X-Model"].startswith("two@")
        listed = (await client.get("/v1/models")).json()["models"]
        assert [model["name"] for model in listed] == ["two", "one"]


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"checkpoints": "a/same,b/same"}, "VISAGE_CHECKPOINTS"),
        ({"checkpoints": "a/one", "default_model": "two"}, "VISAGE_DEFAULT_MODEL"),
    ],
)
def test_settings_that_contradict_one_another_are_named(settings, named):
    with pytest.raises(SettingsError, match=named):
        Fleet(Settings(**settings), FakeEngine, Telemetry())


async def test_one_model_that_does_not_load_keeps_the_server_from_being_ready(tmp_path):
    folders = Folders(tmp_path, "one", "two")

    def load(folder):
        if folder.name == "two":
            raise ValueError("two is broken")
        return folders(folder)

    settings = {"checkpoints": ",".join(map(str, folders.paths))}
    async with serve(load, until=None, **settings) as client:
        fleet = client.app.state.fleet
        await eventually(lambda: fleet.start_failure is not None)
        assert str(fleet.start_failure) == "two is broken"
        assert (await client.get("/readyz")).status_code == 503


async def test_a_model_that_does_not_warm_up_is_as_good_as_not_loaded(tmp_path):
    """So the process ends, and whoever started it knows why."""

    class Cold(FakeEngine):
        def warm_up(self):
            raise ValueError("it does not fit on the device")

    folders = Folders(tmp_path, "one")
    async with serve(lambda: Cold(), until=None, checkpoints=str(folders.paths[0])) as client:
        fleet = client.app.state.fleet
        await eventually(lambda: fleet.start_failure is not None)
        assert str(fleet.start_failure) == "it does not fit on the device"


async def test_the_same_weights_under_two_names_or_descriptions_are_two_models(tmp_path):
    """Pictures name their model, and the order of values decides what a label means."""
    folders = Folders(tmp_path, "one", "two")
    async with folders.serve() as client:
        urls = ["/v1/faces/7.png", "/v1/faces/7.png?model=two"]
        answers = [await client.get(url) for url in urls]
        assert len({answer.headers["ETag"] for answer in answers}) == 2
        for name, answer in zip(("one", "two"), answers, strict=True):
            claims = read_claims(answer.content)
            assert claims is not None
            assert claims.model == answer.headers["X-Model"] == f"{name}@0123456789ab"
    here, there = face_spec(config_digest="a"), face_spec(config_digest="b")
    assert here.source != there.source


async def test_a_stop_does_not_wait_for_what_is_being_loaded(tmp_path):
    folders, gate = Folders(tmp_path, "fake-16"), Gate()

    def load(folder):
        if folders.made:
            gate(1)
        return folders(folder)

    checkpoints = str(folders.paths[0])
    async with serve(load, checkpoints=checkpoints, admin_token="secret") as client:
        loading = asyncio.create_task(client.post(LOAD, headers=ADMIN))
        await eventually(gate.arrived.is_set)
        client.app.state.fleet.drain()
        problem(await loading, 503, "draining")
        gate.open()


async def test_a_reload_takes_over_while_the_old_model_finishes(tmp_path):
    folders, gate = Folders(tmp_path, "fake-16"), Gate()
    folders.before_batch["fake-16"] = gate
    async with folders.serve() as client:
        running = asyncio.create_task(client.get("/v1/faces/1.png"))
        await gate.reached()
        waiting = asyncio.create_task(client.get("/v1/faces/2.png"))
        await eventually(lambda: sample_of(client)("visage_queue_depth", model="fake-16") == 1)

        folders.before_batch.clear()
        folders.digest["fake-16"] = "f" * 64
        answer = await client.post(LOAD, headers=ADMIN)
        assert answer.status_code == 200, answer.text
        assert answer.json()["model"]["digest"] == "f" * 64
        assert answer.json()["model"]["default"] is True

        models = (await client.get("/v1/models")).json()["models"]
        assert [model["digest"] for model in models] == ["f" * 64]
        gate.open()
        for task in (running, waiting):
            finished = await task
            assert finished.status_code == 200
            assert finished.headers["X-Model"] == "fake-16@0123456789ab"
        after = await client.get("/v1/faces/1.png")
        assert after.headers["X-Model"] == "fake-16@ffffffffffff"
        assert sample_of(client)("visage_ready") == 1


@pytest.mark.parametrize("path", ["/v1/faces/7.png", "/v1/morph?from=7&to=8&frames=4"])
async def test_who_waits_with_somebody_who_held_a_replaced_model_is_answered(tmp_path, path):
    """The one who began has left; the picture is the same by the model that took over."""
    folders, looked, found = Folders(tmp_path, "fake-16"), asyncio.Event(), asyncio.Event()

    class Slow:
        async def get_or_claim(self, key):
            looked.set()
            await found.wait()
            return Claim()

        async def put(self, key, content, claim): ...

        async def release(self, key, claim): ...

    async with folders.serve() as client:
        client.state["pipeline"]._cache._shared = Slow()
        first = asyncio.create_task(client.get(path))
        await looked.wait()
        assert (await client.post(LOAD, headers=ADMIN)).status_code == 200
        second = asyncio.create_task(client.get(path))
        await eventually(lambda: len(client.app.state.fleet._retired) == 1)
        cache = client.state["pipeline"]._cache
        await eventually(lambda: [len(f.waiters) for f in cache._flights.values()] == [2])
        first.cancel()
        await asyncio.wait([first])
        await eventually(lambda: client.app.state.fleet._retired[0].batcher.join(0))
        found.set()
        assert (await second).status_code == 200


async def test_the_threads_of_replaced_models_end(tmp_path):
    before = set(threading.enumerate())
    async with Folders(tmp_path, "fake-16").serve() as client:
        for _ in range(5):
            assert (await client.post(LOAD, headers=ADMIN)).status_code == 200

        def engines():
            return [t for t in threading.enumerate() if t.name == "engine" and t not in before]

        await eventually(lambda: len(engines()) == 1)


async def test_a_replaced_model_does_not_stay_in_memory(tmp_path):
    folders = Folders(tmp_path, "fake-16")
    async with folders.serve(reservoir=3) as client:
        assert (await client.get("/image")).status_code == 200
        for generation in range(3):
            engine, folders.made = weakref.ref(folders.made[0]), []
            reservoir = client.app.state.fleet._served["fake-16"].reservoir
            assert (await client.post(LOAD, headers=ADMIN)).status_code == 200
            (retired,) = client.app.state.fleet._retired
            await asyncio.to_thread(retired.batcher.join, 20)
            gc.collect()
            assert engine() is None, generation
            assert len(reservoir) == 0


async def test_a_checkpoint_that_is_no_good_leaves_the_old_one_serving(tmp_path):
    folders = Folders(tmp_path, "fake-16")
    async with folders.serve() as client:
        folders.failure = ValueError("model.safetensors is not what config.json says")
        answer = await client.post(LOAD, headers=ADMIN)
        assert answer.status_code == 422
        body = answer.json()
        assert body["type"] == "urn:visage:problem:checkpoint-rejected"
        assert "is not what config.json says" in body["detail"]
        assert "The old one goes on" in body["detail"]
        assert (await client.get("/image")).status_code == 200
        assert (await client.get("/readyz")).status_code == 200


async def test_what_is_rejected_leaves_the_gauges_to_what_is_served(tmp_path):
    folders, gate = Folders(tmp_path, "fake-16"), Gate()
    folders.before_batch["fake-16"] = lambda size: len(folders.made[0].seen) > 3 and gate(size)
    candidates = []

    class Broken(FakeEngine):
        def warm_up(self):
            candidates.append(weakref.ref(self))
            raise ValueError("it does not fit on the device")

    def load(folder):
        return Broken(face_spec(name=folder.name)) if folders.made else folders(folder)

    checkpoints = ",".join(map(str, folders.paths))
    async with serve(load, checkpoints=checkpoints, reservoir=3, admin_token="secret") as client:
        sample = sample_of(client)
        await eventually(lambda: sample("visage_reservoir_faces", model="fake-16") == 3)
        stuck = asyncio.create_task(client.get("/v1/faces/7.png"))
        await gate.reached()
        start = [f"visage_{what}_seconds" for what in ("model_load", "warmup")]
        took = [sample(name, model="fake-16") for name in start]
        assert min(took) > 0
        with capture_logs():
            assert (await client.post(LOAD, headers=ADMIN)).status_code == 422
        assert sample("visage_reservoir_faces", model="fake-16") == 3
        assert sample("visage_engine_busy_seconds", model="fake-16") > 0
        assert [sample(name, model="fake-16") for name in start] == took
        gc.collect()
        assert [candidate() for candidate in candidates] == [None]
        gate.open()
        assert (await stuck).status_code == 200


async def test_a_new_model_comes_from_beside_the_default_one(tmp_path):
    folders = Folders(tmp_path, "fake-16", "late")
    folders.paths.pop()
    async with folders.serve() as client:
        answer = await client.post("/v1/admin/models/late/load", headers=ADMIN)
        assert answer.status_code == 200, answer.text
        assert (await client.get("/image?model=late")).headers["X-Model"].startswith("late@")
        assert len((await client.get("/v1/models")).json()["models"]) == 2


@pytest.mark.parametrize("name", ["nowhere", "..", ".hidden", "a%2Fb", "%2e%2e"])
async def test_other_folders_cannot_be_named(tmp_path, name):
    async with Folders(tmp_path, "fake-16").serve() as client:
        answer = await client.post(f"/v1/admin/models/{name}/load", headers=ADMIN)
        assert answer.status_code == 404, answer.text


async def test_admin_routes_are_off_without_a_token_and_closed_to_others(tmp_path):
    async with Folders(tmp_path, "fake-16").serve(admin_token="") as client:
        off = await client.post(LOAD, headers=ADMIN)
        assert (off.status_code, off.json()["type"]) == (403, "urn:visage:problem:admin-disabled")
    (tmp_path / "more").mkdir()
    async with Folders(tmp_path / "more", "fake-16").serve() as client:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic c2VjcmV0"}):
            closed = await client.post(LOAD, headers=headers)
            assert closed.status_code == 401
            assert closed.headers["WWW-Authenticate"].startswith("Bearer")


async def test_a_drain_waits_for_who_holds_a_model_and_refuses_the_rest(tmp_path):
    folders, gate = Folders(tmp_path, "one", "two"), Gate()
    folders.before_batch["one"] = gate
    async with folders.serve() as client:
        fleet = client.app.state.fleet
        running = asyncio.create_task(client.get("/image"))
        await gate.reached()
        fleet.drain()
        assert (await client.get("/image?model=two")).status_code == 503
        refused = await client.post(LOAD.replace("fake-16", "one"), headers=ADMIN)
        assert refused.json()["type"] == "urn:visage:problem:draining"
        assert not fleet.join(0)
        gate.open()
        assert (await running).status_code == 200
        await eventually(lambda: fleet.join(0))


async def test_the_reservoir_is_filled_while_nobody_asks(tmp_path):
    folders = Folders(tmp_path, "fake-16")
    async with folders.serve(reservoir=3) as client:
        sample = sample_of(client)
        await eventually(lambda: sample("visage_reservoir_faces", model="fake-16") == 3)
        answers = [await client.get("/image") for _ in range(3)]
        assert answers[0].headers["X-Cache"] == "hit"
        assert len({answer.content for answer in answers}) == 3
        seed, labels = answers[0].headers["X-Seed"], answers[0].headers["X-Labels"]
        again = await client.get(f"/v1/faces/{seed}.png?{labels}")
        assert again.content == answers[0].content
        await eventually(lambda: sample("visage_reservoir_faces", model="fake-16") == 3)


def test_a_folder_whose_name_fits_in_no_header_is_refused(tmp_path):
    with pytest.raises(SettingsError, match=r"'gesichter-für-alle'.*rename it"):
        create_app(Settings(checkpoints=str(tmp_path / "gesichter-für-alle")), FakeEngine)
