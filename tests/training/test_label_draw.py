"""Labels by seed: the same here as the service draws them."""

from pathlib import Path

import numpy as np
import pytest
from tiny_models import AGE, ATTRIBUTES, GENDER, JOINT_PRIOR

import models
from models import Checkpoint, load_checkpoint
from service import labels as served
from service.latents import latent
from service.params import Seed
from training.errors import ConfigError
from training.label_draw import draw_labels, label_vectors
from training.state import fixed_latents


@pytest.fixture(scope="module")
def shipped() -> Checkpoint:
    return load_checkpoint(Path(models.__file__).parent / "checkpoints" / "faces-64")


def service_space(attributes, joint_prior) -> served.AttributeSpace:
    same = [served.Attribute(a.name, a.values, a.prior) for a in attributes]
    return served.AttributeSpace(same, joint_prior)


@pytest.mark.parametrize(
    ("attributes", "joint_prior"),
    [
        ("shipped", "shipped"),
        ("shipped", None),
        (ATTRIBUTES, JOINT_PRIOR),
        ((GENDER,), None),
        ((), None),
    ],
)
@pytest.mark.parametrize("given", [{}, {"gender": "male"}, {"gender": "male", "age": "10-19"}])
def test_labels_are_those_of_the_service(shipped, attributes, joint_prior, given) -> None:
    attributes = shipped.attributes if attributes == "shipped" else attributes
    joint_prior = shipped.joint_prior if isinstance(joint_prior, str) else joint_prior
    given = {name: value for name, value in given.items() if name in {a.name for a in attributes}}
    space = service_space(attributes, joint_prior)
    for seed in range(64):
        complete = space.complete(given, str(seed))
        drawn = draw_labels(seed, attributes, joint_prior, given)
        assert [a.values[i] for a, i in zip(attributes, drawn, strict=True)] == [*complete.values()]
        assert np.array_equal(label_vectors([drawn], attributes)[0], space.encode(complete))


def test_latents_are_those_of_the_service() -> None:
    ours = fixed_latents(range(64), 128).numpy()
    assert np.array_equal(ours, [latent(Seed.parse(str(seed)), 128) for seed in range(64)])


def test_a_combination_never_seen_is_never_drawn_unless_given() -> None:
    drawn = {draw_labels(seed, ATTRIBUTES, JOINT_PRIOR) for seed in range(300)}
    assert drawn == {(0, 0), (0, 2), (1, 0), (1, 1), (1, 2)}
    assert draw_labels(0, ATTRIBUTES, JOINT_PRIOR, {"gender": "male", "age": "10-19"}) == (0, 1)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"hair": "red"}, "no attribute 'hair': this model has gender, age"),
        ({"age": "30-39"}, r"age cannot be '30-39': choose one of 0-9, 10-19, 20\+"),
    ],
)
def test_unknown_labels_are_named(given, message) -> None:
    with pytest.raises(ConfigError, match=message):
        draw_labels(0, (GENDER, AGE), None, given)
