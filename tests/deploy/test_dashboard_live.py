"""A real Prometheus scrapes a real server under a little load: no panel stays empty."""

import importlib.util
from itertools import count

import httpx
import pytest
from monitoring import panels, query
from PIL import Image
from running_prometheus import prometheus
from running_server import REPOSITORY, server_factory
from running_valkey import RunningValkey
from tiny_checkpoints import write_judged

pytestmark = pytest.mark.e2e


def drawer():
    """deploy/grafana/draw.py, which is no part of a package."""
    file = REPOSITORY / "deploy" / "grafana" / "draw.py"
    spec = importlib.util.spec_from_file_location("draw", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def use(client: httpx.Client, seeds: count) -> None:
    """Faces of every kind, so that every stage has something to count."""
    seed = next(seeds)
    face = f"/v1/faces/{seed}"
    for target in ("/image", "/v1/faces/1.png", f"{face}.png", f"{face}.webp", f"{face}?best_of=2"):
        assert client.get(target).status_code == 200


def test_no_panel_stays_empty_and_a_server_that_goes_is_missed(tmp_path):
    valkey = RunningValkey()
    try:
        with (
            server_factory(tmp_path, write_judged(tmp_path / "judged-16")) as start,
            prometheus(
                tmp_path / "prometheus",
                (server := start(redis_url=valkey.url, max_best_of=2).wait_ready()).url,
            ) as watching,
        ):
            seeds = count()
            use(server.client, seeds)
            while len(watching.ask("visage:slow_faces:ratio_rate5m < 2")) == 0 or not watching.ask(
                "visage:inference_seconds:p99_5m > 0"
            ):
                use(server.client, seeds)
            empty = [
                panel["title"]
                for panel in panels()
                if not any(watching.ask(query(target["expr"])) for target in panel["targets"])
            ]
            assert empty == []
            # A busy machine may be slow for a moment, which wakes nobody unless it goes on.
            assert watching.ask('ALERTS{alertname!~"VisageQueueWaitLong|VisageLatency.*"}') == []
            assert watching.ask('ALERTS{alertstate="firing"}') == []
            drawer().main([watching.url, str(tmp_path / "dashboard.webp"), "--minutes", "1"])
            server.stop()
            (missed,) = watching.wait_for('ALERTS{alertname="VisageNobodyReady"}')
            assert missed["metric"]["severity"] == "page"
            assert watching.wait_for('ALERTS{alertname="VisageUnreachable"}')
    finally:
        valkey.kill()
    with Image.open(tmp_path / "dashboard.webp") as drawn:
        assert len(drawn.convert("L").getcolors(256) or ()) > 100
