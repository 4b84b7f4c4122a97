"""What the files under deploy/ ask Prometheus, and which series the service and the rules give."""

import json
import re
import shutil
from collections.abc import Iterator

import yaml
from prometheus_client.metrics import MetricWrapperBase
from running_server import REPOSITORY

from service.telemetry import Telemetry

PROMETHEUS = REPOSITORY / "deploy" / "prometheus"
RULES = sorted((PROMETHEUS / "rules").glob("*.yml"))
RULE_TESTS = sorted((PROMETHEUS / "tests").glob("*.yml"))
DASHBOARD = REPOSITORY / "deploy" / "grafana" / "dashboards" / "visage.json"
OF_PROMETHEUS = {"up", "ALERTS"}
"""Series that a server does not give."""
OF_SCRAPES = {"job", "instance"}
"""Labels that Prometheus adds to each series."""
_SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}
_RATE_INTERVAL = "5m"


def tool(name: str) -> str:
    """Where a program of Prometheus's is; fails, with the remedy, where there is none."""
    found = shutil.which(name)
    assert found, f"{name} is missing: make test unpacks it (make promtool), or install prometheus"
    return found


def rules() -> list[dict]:
    """Every recording rule and alert."""
    groups = [yaml.safe_load(file.read_text(encoding="utf-8"))["groups"] for file in RULES]
    return [rule for file in groups for group in file for rule in group["rules"]]


def alerts() -> dict[str, dict]:
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def declared() -> dict[str, set[str]]:
    """The labels of every series that a server gives, by the series' name."""
    telemetry = Telemetry()
    labels = {
        metric.describe()[0].name: set(metric._labelnames)
        for metric in vars(telemetry).values()
        if isinstance(metric, MetricWrapperBase)
    }
    series: dict[str, set[str]] = {}
    for family in telemetry.registry.collect():
        for suffix in _SUFFIXES.get(family.type, ("",)):
            own = {"le"} if suffix == "_bucket" else set()
            series[family.name + suffix] = labels.get(family.name, set()) | own
    return series


def dashboard() -> dict:
    return json.loads(DASHBOARD.read_text(encoding="utf-8"))


def panels() -> Iterator[dict]:
    """Every panel that shows something, those of rows included."""
    for panel in dashboard()["panels"]:
        yield from panel.get("panels", [])
        if panel["type"] not in ("row", "text"):
            yield panel


def query(expr: str) -> str:
    """A panel's query as Prometheus takes it: Grafana's variables filled in."""
    return expr.replace("$__rate_interval", _RATE_INTERVAL).replace("$instance", ".*")


def names_in(expr: str) -> set[str]:
    """The series a PromQL expression asks for: ours begin with visage, or are Prometheus's own."""
    return set(re.findall(r"\bvisage[\w:]*|\bprocess_\w+|\bup\b|\bALERTS\b", _bare(expr)))


def labels_in(expr: str) -> set[str]:
    """The labels it selects or groups by."""
    bare = _bare(expr)
    selected = re.findall(r'(\w+) *[=!]~?""', bare)
    grouped = re.findall(r"\b(?:by|on|ignoring|without) *\(([^)]*)\)", bare)
    return set(selected) | {name.strip() for names in grouped for name in names.split(",")}


def _bare(expr: str) -> str:
    return re.sub(r'"[^"]*"', '""', expr)
