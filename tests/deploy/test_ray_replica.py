"""What surrounds the service in a replica, in this process: only the cluster itself is missing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import yaml
from fakes import FakeEngine, Gate
from serving import eventually
from uvicorn import Config
from uvicorn.lifespan.on import LifespanOn

pytest.importorskip("ray.serve", reason="Ray is not installed: pip install '.[ray]'")

from ray.serve.schema import ServeDeploySchema

from deploy.ray.app import Options, application, require_haproxy
from deploy.ray.replica import ReplicaApp
from service.errors import DrainingError, NotReadyError, SettingsError
from service.settings import Settings

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"


def settings(**changes: object) -> Settings:
    fields = {"checkpoints": "fake-16", "port": 0, "reservoir": 0, "drain_grace": 5}
    return Settings(**(fields | changes))


@asynccontextmanager
async def started(app: ReplicaApp) -> AsyncIterator[LifespanOn]:
    """As Ray does it: uvicorn's lifespan around the app, and requests without it."""
    lifespan = LifespanOn(Config(app, lifespan="on", log_config=None))
    await lifespan.startup()
    try:
        yield lifespan
    finally:
        if not lifespan.should_exit:
            await lifespan.shutdown()


async def test_a_replica_answers_from_ray_and_on_a_port_of_its_own():
    app = ReplicaApp(settings(), lambda _: FakeEngine())
    async with started(app), httpx.AsyncClient() as client:
        asked = httpx.Request("GET", "http://ray/v1/faces/7.png", headers={"X-Request-ID": "one"})
        by_ray = await httpx.ASGITransport(app).handle_async_request(asked)
        assert by_ray.status_code == 200
        assert "x-request-id" not in by_ray.headers, "Ray adds it"
        own = f"http://127.0.0.1:{app.port}"
        face = await client.get(f"{own}/v1/faces/7.png")
        assert face.content == await by_ray.aread()
        assert "visage_ready 1.0" in (await client.get(f"{own}/metrics")).text
        app.check_health()
    async with httpx.AsyncClient() as client:
        with pytest.raises(httpx.ConnectError):
            await client.get(f"{own}/healthz")


async def test_it_starts_when_it_is_warm_and_not_before():
    gate = Gate()

    def load(_: Path) -> FakeEngine:
        gate(0)
        return FakeEngine()

    app = ReplicaApp(settings(), load)
    lifespan = LifespanOn(Config(app, lifespan="on", log_config=None))
    starting = asyncio.create_task(lifespan.startup())
    await gate.reached()
    await asyncio.sleep(0.1)
    assert not starting.done()
    with pytest.raises(NotReadyError):
        app.check_health()
    gate.open()
    await starting
    assert not lifespan.should_exit
    app.check_health()
    await lifespan.shutdown()
    with pytest.raises(DrainingError, match="shutting down"):
        app.check_health()


async def test_a_model_that_is_no_good_does_not_start(caplog):
    def load(_: Path) -> FakeEngine:
        raise ValueError("no such checkpoint")

    async with started(ReplicaApp(settings(), load)) as lifespan:
        assert lifespan.should_exit
    assert "no such checkpoint" in caplog.text


async def test_an_engine_that_is_lost_is_no_longer_healthy():
    def refuse(_: int) -> None:
        raise RuntimeError("the device is gone")

    app = ReplicaApp(settings(), lambda _: FakeEngine(before_batch=refuse))

    def healthy() -> bool:
        try:
            app.check_health()
        except NotReadyError:
            return False
        return True

    async with started(app), httpx.AsyncClient(transport=httpx.ASGITransport(app)) as client:
        for seed in range(3):
            assert (await client.get(f"http://ray/v1/faces/{seed}.png")).status_code == 500
        await eventually(lambda: not healthy())


async def test_replicas_of_a_node_take_one_port_after_the_other():
    first = ReplicaApp(settings(), lambda _: FakeEngine())
    async with started(first):
        second = ReplicaApp(settings(port=first.port), lambda _: FakeEngine())
        async with started(second):
            assert first.port < second.port < first.port + 32


def test_without_its_variables_ray_is_refused(monkeypatch):
    monkeypatch.delenv("RAY_SERVE_ENABLE_HA_PROXY", raising=False)
    with pytest.raises(SettingsError, match=r"cluster\.env"):
        require_haproxy()


def test_what_a_deployment_asks_of_ray():
    options = Options(
        settings={"checkpoints": "fake-16", "queue_capacity": 100},
        gpus=1,
        min_replicas=2,
        max_replicas=8,
    )
    deployment = application(options, lambda _: FakeEngine)._bound_deployment
    assert deployment.ray_actor_options == {"num_cpus": 1, "num_gpus": 1}
    assert deployment.max_ongoing_requests > 100
    scaling = deployment._deployment_config.autoscaling_config
    assert (scaling.min_replicas, scaling.max_replicas) == (2, 8)
    with pytest.raises(SettingsError, match="checkpoint_"):
        application(Options(settings={"checkpoint_": "x"}), lambda _: FakeEngine)


def serve_configs() -> dict[str, dict]:
    file = DEPLOY / "ray" / "serve.yaml"
    manifest = DEPLOY / "kubernetes" / "overlays" / "ray" / "rayservice.yaml"
    service = yaml.safe_load(manifest.read_text(encoding="utf-8"))
    return {
        "serve.yaml": yaml.safe_load(file.read_text(encoding="utf-8")),
        "RayService": yaml.safe_load(service["spec"]["serveConfigV2"]),
    }


@pytest.mark.parametrize("name", serve_configs())
def test_serve_configs_are_what_ray_and_the_service_take(name):
    config = ServeDeploySchema.model_validate(serve_configs()[name])
    [app] = config.applications
    assert app.import_path == "deploy.ray.app:build"
    options = Options(**app.args)
    Settings(**options.settings)
    assert options.settings["port"] == 9200
