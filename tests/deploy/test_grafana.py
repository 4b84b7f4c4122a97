"""The dashboard asks only for what servers give, in PromQL that Prometheus reads."""

import itertools
import subprocess

import pytest
import yaml
from monitoring import (
    OF_PROMETHEUS,
    OF_SCRAPES,
    alerts,
    dashboard,
    declared,
    labels_in,
    names_in,
    panels,
    query,
    rules,
    tool,
)
from running_server import REPOSITORY

PROVISIONING = REPOSITORY / "deploy" / "grafana" / "provisioning"
PANELS = list(panels())
TARGETS = [(panel, target) for panel in PANELS for target in panel["targets"]]
RECORDED = {rule["record"] for rule in rules() if "record" in rule}
EACH_TARGET = pytest.mark.parametrize(
    "expr", [target["expr"] for _, target in TARGETS], ids=[panel["title"] for panel, _ in TARGETS]
)


def provisioned(kind: str, file: str) -> dict:
    document = yaml.safe_load((PROVISIONING / kind / file).read_text(encoding="utf-8"))
    assert document["apiVersion"] == 1
    return document


@EACH_TARGET
def test_a_panel_asks_only_for_what_there_is(expr):
    series = declared()
    names = names_in(expr)
    assert names
    assert names <= series.keys() | RECORDED | OF_PROMETHEUS
    labels = set().union(*(series.get(name, set()) for name in names))
    assert labels_in(expr) <= labels | OF_SCRAPES | {"alertname", "alertstate"}


def test_prometheus_reads_every_query(tmp_path):
    asked = [target["expr"] for _, target in TARGETS]
    asked += [annotation["expr"] for annotation in dashboard()["annotations"]["list"]]
    recordings = [{"record": f"panel:{n}", "expr": query(e)} for n, e in enumerate(asked)]
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": recordings}]}))
    done = subprocess.run(
        [tool("promtool"), "check", "rules", file], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_metric_of_ours_is_shown():
    shown = set().union(*(names_in(target["expr"]) for _, target in TARGETS))
    shown |= set().union(*(names_in(rule["expr"]) for rule in rules()))
    parts = ("_bucket", "_sum", "_count")
    families = {next((n.removesuffix(p) for p in parts if n.endswith(p)), n) for n in shown}
    ours = {name for name in declared() if name.startswith("visage_")}
    ours = {next((n.removesuffix(p) for p in parts if n.endswith(p)), n) for n in ours}
    assert ours - families == {"visage_build_info"}


def test_panels_have_their_own_ids_and_places():
    everything = dashboard()["panels"]
    assert len({panel["id"] for panel in everything}) == len(everything)
    for panel in everything:
        place = panel["gridPos"]
        assert 0 <= place["x"] < place["x"] + place["w"] <= 24
    for one, other in itertools.combinations([panel["gridPos"] for panel in everything], 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or above, (one, other)


def test_panels_are_of_kinds_that_come_with_grafana_and_say_what_they_show():
    assert {panel["type"] for panel in PANELS} == {"stat", "timeseries"}
    assert len({panel["title"] for panel in PANELS}) == len(PANELS)
    for panel, target in TARGETS:
        assert target["legendFormat"], panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"]
    for panel in PANELS:
        references = [target["refId"] for target in panel["targets"]]
        assert len(set(references)) == len(references)


def test_it_asks_the_source_that_is_provisioned():
    (source,) = provisioned("datasources", "prometheus.yml")["datasources"]
    wanted = {"type": source["type"], "uid": source["uid"]}
    asking = [*PANELS, *(target for _, target in TARGETS)]
    asking += dashboard()["templating"]["list"] + dashboard()["annotations"]["list"]
    assert all(one["datasource"] == wanted for one in asking)
    assert source["url"] == "$PROMETHEUS_URL"


def test_grafana_finds_it_and_its_variables_in_the_composition():
    compose = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text(encoding="utf-8"))
    grafana = compose["services"]["grafana"]
    mounts = dict(volume.split(":")[:2] for volume in grafana["volumes"])
    targets = {target: REPOSITORY / source for source, target in mounts.items()}
    (provider,) = provisioned("dashboards", "visage.yml")["providers"]
    assert provider["options"]["path"] == "$VISAGE_DASHBOARDS"
    environment = grafana["environment"]
    assert (targets[environment["VISAGE_DASHBOARDS"]] / "visage.json").is_file()
    assert targets["/etc/grafana/provisioning"] == PROVISIONING
    home = environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == f"{environment['VISAGE_DASHBOARDS']}/visage.json"
    assert environment["PROMETHEUS_URL"] == "http://prometheus:9090"


def test_its_links_and_alerts_are_those_of_the_rules():
    (link,) = dashboard()["links"]
    assert all(
        alert["annotations"]["runbook_url"].startswith(link["url"]) for alert in alerts().values()
    )
    assert all(name.startswith("Visage") for name in alerts())
