import dataclasses
from pathlib import Path

import pytest

from training.errors import ConfigError
from training.overrides import override, settings
from training.presets import faces_64, smoke_16

DOCS = Path(__file__).parents[2] / "docs" / "training.md"


@pytest.mark.parametrize(
    ("assignment", "expected"),
    [
        ("loss.r1_gamma=1", 1.0),
        ("schedule.total_kimg=1e3", 1000.0),
        ("network.fmap_base=2_048", 2048),
        ("mirror=no", False),
        ("mirror=True", True),
        ("precision = fp32", "fp32"),
        ("augment.kinds=colour, cutout", ("colour", "cutout")),
        ("schedule.batch_size_by_resolution=8:64,16:32", {8: 64, 16: 32}),
        ("schedule.batch_size_by_resolution=", {}),
        ("schedule.learning_rate_by_resolution=1024:0.0015", {1024: 0.0015}),
    ],
)
def test_a_value_is_read_by_its_settings_type(assignment: str, expected: object) -> None:
    value: object = override(smoke_16(), [assignment])
    for part in assignment.split("=")[0].strip().split("."):
        value = getattr(value, part)
    assert value == expected
    assert type(value) is type(expected)


def test_nothing_else_changes_and_the_last_one_wins() -> None:
    config = override(faces_64(), ["seed=3", "seed=4"])
    assert config == dataclasses.replace(faces_64(), seed=4)


def test_settings_that_belong_together_are_checked_together() -> None:
    config = override(smoke_16(), ["loss.kind=wgan_gp", "loss.r1_gamma=0"])
    assert config.loss.kind == "wgan_gp"
    with pytest.raises(ConfigError, match=r"set loss\.r1_gamma to 0"):
        override(smoke_16(), ["loss.kind=wgan_gp"])


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("loss.r1_gama=1", "did you mean loss.r1_gamma"),
        ("r1_gamma=1", "did you mean loss.r1_gamma"),
        ("learning_rate=1", "did you mean .*schedule.learning_rate"),
        ("network.resolutoin=64", "did you mean network.resolution"),
        ("zzz=1", "choose one of network.resolution, "),
        ("preset=faces_64", "there is no setting 'preset'"),
        ("loss=1", "there is no setting 'loss'"),
        ("seed", "write it as name=value"),
        ("seed=many", "seed cannot be 'many': write a whole number"),
        ("network.fmap_base=1.5", "write a whole number"),
        ("loss.r1_gamma=high", "write a number"),
        ("mirror=maybe", "write true or false"),
        ("schedule.batch_size_by_resolution=8", "write pairs as 8:64,16:32"),
        ("loss.kind=cosine", "choose one of non_saturating"),
    ],
)
def test_what_cannot_be_set_is_named_with_the_nearest_that_can(assignment: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        override(smoke_16(), [assignment])


@pytest.mark.parametrize("name", settings())
def test_every_setting_is_documented(name: str) -> None:
    assert f"`{name}`" in DOCS.read_text(encoding="utf-8")
