"""The rules ask only for what servers give, and each alert is shown to fire and to keep quiet."""

import re
import subprocess

import pytest
import yaml
from monitoring import (
    OF_PROMETHEUS,
    OF_SCRAPES,
    PROMETHEUS,
    RULE_TESTS,
    alerts,
    declared,
    labels_in,
    names_in,
    rules,
    tool,
)
from prometheus_client.utils import floatToGoString
from running_server import REPOSITORY

from service.routes import PARTS
from service.telemetry import SECONDS

RULES = rules()
RECORDED = {rule["record"] for rule in RULES if "record" in rule}
ALERTS = alerts()
CONFIGS = sorted(PROMETHEUS.glob("*.yml"))
RUNBOOK = "https://github.com/visage-faces/visage/blob/main/docs/runbook.md#"


def promtool(*arguments: object) -> None:
    done = subprocess.run(
        [tool("promtool"), *map(str, arguments)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
def test_prometheus_takes_the_configuration_and_its_rules(config):
    promtool("check", "config", "--lint-fatal", config)


@pytest.mark.parametrize("file", RULE_TESTS, ids=lambda file: file.name)
def test_the_rules_do_what_their_tests_say(file):
    promtool("test", "rules", file)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.get("record") or rule["alert"])
def test_a_rule_asks_only_for_what_there_is(rule):
    series = declared()
    names = names_in(rule["expr"])
    assert names, rule["expr"]
    assert names <= series.keys() | RECORDED | OF_PROMETHEUS
    labels = set().union(*(series.get(name, set()) for name in names))
    assert labels_in(rule["expr"]) <= labels | OF_SCRAPES


def test_each_recording_is_used():
    used = set().union(*(names_in(rule["expr"]) for rule in ALERTS.values()))
    assert used >= RECORDED


def test_bounds_of_buckets_are_bounds_there_are():
    bounds = {bound for rule in RULES for bound in re.findall(r'le="([^"]*)"', rule["expr"])}
    assert bounds
    assert bounds <= {floatToGoString(bound) for bound in SECONDS}


def test_the_objectives_are_about_the_routes_of_pictures():
    routes = {route.path_format for part in PARTS for route in part.routes}
    pictures = {route for route in routes if route.startswith(("/image", "/v1/faces", "/v1/morph"))}
    faces = pictures - {"/v1/faces", "/v1/morph"}
    for rule in RULES:
        for pattern in re.findall(r'route=~"([^"]*)"', rule["expr"]):
            meant = faces if "slow_faces" in rule["record"] else pictures
            assert {route for route in routes if re.fullmatch(pattern, route)} == meant


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_is_shown_to_fire_and_to_keep_quiet(name):
    cases = [
        bool(case["exp_alerts"])
        for file in RULE_TESTS
        for test in yaml.safe_load(file.read_text(encoding="utf-8"))["tests"]
        for case in test["alert_rule_test"]
        if case["alertname"] == name
    ]
    assert set(cases) == {True, False}


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_how_bad_it_is_and_where_to_read_on(name):
    alert = ALERTS[name]
    assert alert["labels"]["severity"] in ("page", "ticket")
    assert alert["annotations"]["summary"]
    assert alert["annotations"]["description"]
    assert alert["annotations"]["runbook_url"] == RUNBOOK + name.lower()


def test_the_runbook_has_a_part_for_each_alert_and_no_other():
    runbook = (REPOSITORY / "docs" / "runbook.md").read_text(encoding="utf-8")
    parts = dict(re.findall(r"^## (Visage\w+)\n(.*?)(?=^## |\Z)", runbook, re.M | re.S))
    assert parts.keys() == ALERTS.keys()
    for part in parts.values():
        for heading in ("What it means", "What to look at", "What to do"):
            assert f"**{heading}.**" in part


def test_the_runbook_names_only_series_there_are():
    runbook = (REPOSITORY / "docs" / "runbook.md").read_text(encoding="utf-8")
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in declared()}
    assert set(re.findall(r"\bvisage[_:][\w:]+", runbook)) <= families | RECORDED
