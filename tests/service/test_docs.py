"""What the service offers is written down: a route, setting, metric or error that is not fails."""

import re
from pathlib import Path

import pytest
from pydantic import SecretStr

import service.errors
from service.errors import SettingsError, VisageError
from service.middleware import EXPOSED_HEADERS
from service.routes import PARTS
from service.settings import Settings
from service.telemetry import Telemetry

DOCS = Path(__file__).resolve().parents[2] / "docs"
API = (DOCS / "api.md").read_text(encoding="utf-8")
SETTINGS = (DOCS / "settings.md").read_text(encoding="utf-8")


def errors(root: type[VisageError] = VisageError) -> list[type[VisageError]]:
    return [root, *(error for child in root.__subclasses__() for error in errors(child))]


HTTP_ERRORS = [error for error in errors() if error is not SettingsError]
METRICS = sorted(
    {
        f"{metric.name}_total" if metric.type == "counter" else metric.name
        for metric in Telemetry().registry.collect()
        if metric.name.startswith("visage_")
    }
)


ROUTES = sorted(
    f"{method} {route.path_format}"
    for part in PARTS
    for route in part.routes
    for method in route.methods
)


def test_the_routes_that_are_documented_are_those_that_there_are():
    documented = re.findall(r"`((?:GET|POST|PUT|PATCH|DELETE) /[^`?]*)", API)
    assert set(documented) == set(ROUTES)


def test_the_errors_that_are_documented_are_those_that_there_are():
    documented = re.findall(r"^\| `([a-z-]+)` \| (\d{3}) \|", API, re.MULTILINE)
    assert sorted(documented) == sorted((e.slug, str(e.status)) for e in HTTP_ERRORS)


@pytest.mark.parametrize("error", errors(), ids=lambda error: error.__name__)
def test_every_error_stands_in_the_tree(error):
    tree = service.errors.__doc__
    assert re.search(rf"\b{error.__name__} +({error.status}|—)  ", tree)


@pytest.mark.parametrize("metric", METRICS)
def test_every_metric_is_documented(metric):
    assert re.search(rf"^\| `{metric}`", API, re.MULTILINE)


def test_no_documented_metric_is_missing_from_the_code():
    assert set(re.findall(r"^\| `(visage_\w+)`", API, re.MULTILINE)) == set(METRICS)


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_every_setting_is_documented_with_its_default(name):
    field = Settings.model_fields[name]
    row = re.search(rf"^\| `VISAGE_{name.upper()}` \| (.+?) \| (.+) \|$", SETTINGS, re.MULTILINE)
    assert row, f"docs/settings.md has no row for VISAGE_{name.upper()}"
    assert row[2] == field.description
    if name != "checkpoints":
        assert row[1] == (f"`{shown}`" if (shown := _shown(field.default)) else "empty")


def _shown(default: object) -> str:
    if isinstance(default, SecretStr):
        default = default.get_secret_value()
    return "" if default in ("", (), None) else str(default).lower()


def test_no_documented_setting_is_missing_from_the_code():
    documented = set(re.findall(r"^\| `VISAGE_(\w+)`", SETTINGS, re.MULTILINE))
    assert documented == {name.upper() for name in Settings.model_fields}


@pytest.mark.parametrize("header", EXPOSED_HEADERS)
def test_every_header_that_pages_may_read_is_documented(header):
    assert f"`{header}`" in API


def test_every_drill_is_in_the_table_of_faults_and_every_one_there_exists():
    named = {
        (DOCS / path).resolve()
        for path in re.findall(r"\]\((\.\./tests/[^)]+)\)", (DOCS / "faults.md").read_text("utf-8"))
    }
    assert [str(path) for path in named if not path.is_file()] == []
    assert {*(DOCS.parent / "tests" / "faults").glob("test_*.py")} <= named
