"""What is set as a secret is never shown: in no log, answer, error or word of the settings."""

import io
import json

import pytest
import structlog
from serving import serve

from service.errors import SettingsError
from service.log_setup import configure_logging
from service.redis_link import RedisLink
from service.settings import Settings, load_settings
from service.telemetry import Telemetry

TOKEN, KEY = "the-admin-token", "the-api-key"
PASSWORD = "the-redis-password"  # pragma: allowlist secret
SETTINGS = {
    "admin_token": TOKEN,
    "api_keys": f"{KEY},another",
    "redis_url": f"redis://user:{PASSWORD}@127.0.0.1:1/0",
}
ASKED = ["/", "/v1/models", "/metrics", "/openapi.json", "/readyz", "/image", "/v1/faces/7.png"]


def shows_a_secret(text: str) -> bool:
    return any(secret in text for secret in (TOKEN, KEY, PASSWORD))


def test_settings_say_nothing():
    settings = Settings(**SETTINGS)
    assert not shows_a_secret(f"{settings!r} {settings} {settings.model_dump()}")
    assert not shows_a_secret(settings.model_dump_json())


@pytest.mark.parametrize("name", ["VISAGE_ADMIN_TOKN", "VISAGE_API_KEY"])
def test_a_misspelt_secret_is_not_quoted(name):
    with pytest.raises(SettingsError) as caught:
        load_settings(environment={name: TOKEN})
    assert not shows_a_secret(str(caught.value))


def test_an_unusable_redis_address_is_not_quoted():
    with pytest.raises(SettingsError) as caught:
        RedisLink(f"redis://user:{PASSWORD}@host:x/0", timeout=1, telemetry=Telemetry())
    assert not shows_a_secret(str(caught.value))


@pytest.fixture
def logged():
    """Everything that is logged, as a server would write it."""
    written = io.StringIO()
    before = structlog.get_config()
    configure_logging(level="debug", style="console", stream=written)
    structlog.configure(cache_logger_on_first_use=False)  # or loggers would stay like this
    yield written
    structlog.configure(**before)


async def test_neither_answers_nor_logs_show_a_secret(logged, monkeypatch):
    def fail(*_, **__):
        raise ZeroDivisionError("unforeseen")

    sent = {"X-API-Key": KEY, "Authorization": f"Bearer {TOKEN}"}
    async with serve(access_log=True, **SETTINGS) as client:
        answers = [await client.get(path, headers=sent) for path in ASKED]
        answers.append(await client.get("/image", headers={"X-API-Key": KEY + "x"}))
        wrong = {"Authorization": f"Bearer {TOKEN}x"}
        answers.append(await client.post("/v1/admin/models/fake-16/load", headers=wrong))
        monkeypatch.setattr("service.routes.faces.complete", fail)
        answers.append(await client.get("/image", headers=sent))
    assert [answer.status_code for answer in answers[-3:]] == [401, 401, 500]
    for answer in answers:
        assert not shows_a_secret(answer.text + json.dumps(dict(answer.headers)))
    assert "unforeseen" in logged.getvalue()
    assert not shows_a_secret(logged.getvalue())


async def test_nobody_writes_lines_of_his_own_into_the_log(logged):
    async with serve(access_log=True) as client:
        await client.get(
            "/v1/faces/a%0A2026-01-01%20forged%1B%5B31m", headers={"X-Request-ID": "a"}
        )
        await client.get("/nothing%0D%0Aforged")
    lines = logged.getvalue().splitlines()
    assert any("forged" in line for line in lines)
    assert not any(line.startswith(("2026-01-01 forged", "forged")) for line in lines)
    assert "\x1b[31m" not in logged.getvalue()
