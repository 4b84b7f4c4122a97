"""The document at /openapi.json against a real server, by schemathesis with every check it has."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from running_server import RunningServer, server_factory
from tiny_checkpoints import write_tiny
from watching import Telemetry

pytestmark = pytest.mark.e2e

EXAMPLES = os.environ.get("OPENAPI_EXAMPLES", "10")
"""Requests per operation in each phase that invents them; more find more, and take longer."""
HOOKS = Path(__file__).resolve().parents[1] / "schemathesis_hooks.py"
# Nothing is kept from one run to the next: all runs of one version are the same.
CONFIG = """
hooks = "{hooks}"
[cache]
enabled = false
[auth.openapi.HTTPBearer]
bearer = "operator"
[auth.openapi.ApiKey]
api_key = "visitor"
[generation]
deterministic = true
database = "none"
max-examples = {examples}
[warnings]
fail-on = true
[checks.negative_data_rejection]
expected-statuses = [400, 401, 404, 405, 406, 413, 414, 415, 422]
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """With keys and a token, so that all routes can be had; limits that never collide: as many
    pictures as may be of the largest size are still one answer."""
    folder = tmp_path_factory.mktemp("openapi")
    with server_factory(folder, write_tiny(folder / "tiny-16")) as start:
        yield start(
            tile=2,
            admin_token="operator",
            api_keys="visitor",
            api_key_required=True,
            max_items=16,
            max_frames=16,
        ).wait_ready()


@pytest.fixture(scope="module")
def run(server: RunningServer, tmp_path_factory) -> subprocess.CompletedProcess[str]:
    """All phases: examples, coverage, fuzzing and sequences of requests."""
    folder = tmp_path_factory.mktemp("schemathesis")
    (folder / "config.toml").write_text(CONFIG.format(hooks=HOOKS, examples=EXAMPLES))
    command = [Path(sys.executable).with_name("st"), "--config-file", "config.toml", "run"]
    command += ["--no-color", "--checks", "all", f"{server.url}/openapi.json"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def test_the_service_does_what_the_document_says(run):
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.usefixtures("run")
async def test_every_route_was_reached_and_none_failed(server):
    telemetry = await Telemetry.of(server.url)
    for path, operations in server.client.get("/openapi.json").json()["paths"].items():
        for method in map(str.upper, operations):
            served = [
                telemetry("http_requests_total", route=path, method=method, code=code)
                for code in ("200", "302")
            ]
            assert any(served), (method, path)
    failures = {c: telemetry("http_requests_total", code=str(c)) for c in range(500, 600)}
    assert not any(n for code, n in failures.items() if code not in (503, 504)), failures
    assert not [line for line in server.events() if line["level"] in ("error", "critical")]
