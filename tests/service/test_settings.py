import pytest
from pydantic import ValidationError

from service.errors import SettingsError
from service.settings import DEFAULT_CHECKPOINT, Settings, load_settings


@pytest.fixture(autouse=True)
def _no_settings_of_the_machine(monkeypatch):
    for name in Settings.model_fields:
        monkeypatch.delenv(f"VISAGE_{name.upper()}", raising=False)


def test_defaults_serve_the_shipped_checkpoint_on_this_machine_only():
    settings = load_settings()
    assert (settings.host, settings.port) == ("127.0.0.1", 8000)
    assert settings.checkpoints == (DEFAULT_CHECKPOINT,)
    assert DEFAULT_CHECKPOINT.parts[-3:] == ("models", "checkpoints", "faces-128")


def test_values_come_from_the_environment_and_flags_go_first(monkeypatch):
    monkeypatch.setenv("VISAGE_PORT", "9000")
    monkeypatch.setenv("VISAGE_QUEUE_CAPACITY", "5")
    settings = load_settings(["--port", "9001"])
    assert (settings.port, settings.queue_capacity) == (9001, 5)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("VISAGE_PORT", "eighty"),
        ("VISAGE_PORT", "65536"),
        ("VISAGE_TILE", "0"),
        ("VISAGE_DEADLINE", "-1"),
        ("VISAGE_DEADLINE", "nan"),
        ("VISAGE_LOG_LEVEL", "loud"),
        ("VISAGE_HOST", ""),
    ],
)
def test_a_value_that_is_no_good_is_one_sentence(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=name) as caught:
        load_settings()
    assert repr(value) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_misspelt_variable_is_refused_with_the_likely_name():
    with pytest.raises(SettingsError, match=r"VISAGE_PROT .* did you mean VISAGE_PORT\?"):
        load_settings(environment={"VISAGE_PROT": "9000"})
    with pytest.raises(SettingsError, match=r"docs/settings\.md lists them"):
        load_settings(environment={"VISAGE_QQQQQQ": "1"})


def test_an_unknown_flag_exits_2(capsys):
    with pytest.raises(SystemExit) as caught:
        load_settings(["--prot", "9000"])
    assert caught.value.code == 2
    assert "--prot" in capsys.readouterr().err


def test_settings_are_frozen():
    with pytest.raises(ValidationError):
        load_settings().port = 1


def test_zero_threads_means_one_per_core():
    assert Settings(threads=0).inference_threads >= 1
    assert Settings(threads=3).inference_threads == 3
