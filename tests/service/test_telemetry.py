import asyncio
import json
import subprocess
import sys
import threading

import httpx
import pytest
from serving import eventually, sample_of, serve
from structlog.testing import capture_logs

from service.telemetry import Telemetry

PROGRAM = """
import logging, structlog
from service.log_setup import configure_logging
configure_logging(level="info", style={style!r})
log = structlog.get_logger("service")
with structlog.contextvars.bound_contextvars(request_id="abc"):
    log.debug("too quiet")
    log.info("served", ms=3)
    try:
        1 / 0
    except ZeroDivisionError:
        log.exception("failed")
logging.getLogger("some.library").warning("its %s", "warning")
logging.getLogger("some.library").info("its chatter")
"""


def logged(style: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(style=style)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_json_logs_are_one_object_a_line_with_the_request_id():
    served, failed, foreign = (json.loads(line) for line in logged("json"))
    assert served.items() >= {
        "event": "served", "ms": 3, "level": "info", "request_id": "abc",
    }.items()  # fmt: skip
    assert "ZeroDivisionError" in failed["exception"]
    assert (foreign["event"], foreign["level"]) == ("its warning", "warning")


def test_console_logs_are_for_people():
    lines = logged("console")
    assert "served" in lines[0]
    assert "request_id=abc" in lines[0]
    assert any("ZeroDivisionError" in line for line in lines)
    assert "its warning" in lines[-1]


@pytest.mark.parametrize(("setting", "lines"), [(True, 1), (False, 0)])
async def test_the_access_log_is_a_setting(setting, lines):
    async with serve(access_log=setting) as client:
        with capture_logs() as logs:
            answer = await client.get("/v1/faces/7.png")
    requests = [line for line in logs if line["event"] == "request"]
    assert len(requests) == lines
    for line in requests:
        assert (line["route"], line["code"]) == ("/v1/faces/{seed}", 200)
        assert line["request_id"] == answer.headers["X-Request-ID"]


async def test_openmetrics_are_spoken_to_those_who_ask(client: httpx.AsyncClient):
    answer = await client.get("/metrics", headers={"Accept": "application/openmetrics-text"})
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")


def test_two_apps_in_one_process_count_apart():
    one, other = Telemetry(), Telemetry()
    one.requests_cancelled.labels(stage="queued").inc()
    value = other.registry.get_sample_value
    assert value("visage_requests_cancelled_total", {"stage": "queued"}) == 0


@pytest.fixture
def held_encoder(monkeypatch):
    """An encoder that goes on once this is set."""
    gate = threading.Event()

    def held(*_, **__) -> bytes:
        gate.wait(20)
        return b"a picture"

    monkeypatch.setattr("service.pipeline.encode", held)
    yield gate
    gate.set()


async def test_pictures_for_the_encoders_threads_are_its_backlog(held_encoder):
    async with serve(encoder_threads=1) as client:
        value = sample_of(client)
        assert (value("visage_encoder_threads"), value("visage_encoder_backlog")) == (1, 0)
        asked = [asyncio.create_task(client.get(f"/v1/faces/{n}.webp")) for n in range(3)]
        await eventually(lambda: value("visage_encoder_backlog") == 3)
        asked[2].cancel()
        await eventually(lambda: value("visage_encoder_backlog") == 2)
        held_encoder.set()
        answers = await asyncio.gather(*asked[:2])
        assert [answer.content for answer in answers] == [b"a picture"] * 2
        assert value("visage_encoder_backlog") == 0


async def test_series_that_alerts_watch_for_increases_begin_at_zero(client):
    value = client.app.state.telemetry.registry.get_sample_value
    assert value("visage_engine_oom_total", {"model": "fake-16"}) == 0
    for op in ("get", "put", "release", "limit", "check"):
        assert value("visage_redis_errors_total", {"op": op}) == 0
