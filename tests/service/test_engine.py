"""The torch engine: the real generator with random weights, small."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from models import (
    Attribute,
    CheckpointError,
    Generator,
    GeneratorConfig,
    save_checkpoint,
    to_pixels,
)
from service.engine import TorchEngine
from service.latents import latent
from service.params import Seed

CONFIG = GeneratorConfig(16, latent_dim=8, label_dim=5, fmap_base=128, fmap_max=32)
ATTRIBUTES = (
    Attribute("gender", ("male", "female"), (0.5, 0.5)),
    Attribute("age", ("0-9", "10-19", "20+"), (0.2, 0.3, 0.5)),
)


def write(folder, config=CONFIG, attributes=ATTRIBUTES):
    torch.manual_seed(0)
    samples = io.BytesIO()
    Image.new("RGB", (16, 16)).save(samples, "PNG")
    return save_checkpoint(
        folder,
        generator=Generator(config),
        attributes=attributes,
        joint_prior=None,
        provenance={"licence": "CC0-1.0", "metrics": {"swd": 5.0}},
        readme="# random weights",
        samples_png=samples.getvalue(),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints") / "random-16"
    write(folder)
    return folder


@pytest.fixture
def engine(folder):
    engine = TorchEngine.load(folder, tile=4, threads=1)
    engine.warm_up()
    return engine


def inputs(engine, count):
    space = engine.spec.space
    seeds = [Seed.parse(str(n)) for n in range(count)]
    z_BZ = np.stack([latent(seed, engine.spec.latent_dim) for seed in seeds])
    y_BL = np.stack([space.encode(space.complete({}, seed.text)) for seed in seeds])
    return z_BZ, y_BL


def test_it_declares_what_the_checkpoint_is(engine):
    spec = engine.spec
    assert (spec.name, spec.resolution, spec.latent_dim) == ("random-16", 16, 8)
    assert spec.space.names == ("gender", "age")
    assert (spec.licence, spec.metrics) == ("CC0-1.0", {"swd": 5.0})
    assert spec.identity == f"random-16@{spec.digest[:12]}"


@pytest.mark.parametrize("count", [1, 3, 4, 5, 9])
def test_any_number_of_pictures_comes_back_in_order(engine, count):
    z_BZ, y_BL = inputs(engine, count)
    image_BHWC = engine.generate(z_BZ, y_BL)
    assert image_BHWC.shape == (count, 16, 16, 3)
    assert image_BHWC.dtype == np.uint8
    assert len({image.tobytes() for image in image_BHWC}) == count


def test_it_computes_what_the_generator_computes(engine, folder):
    z_BZ, y_BL = inputs(engine, 4)
    generator = write(folder.with_name("again-16")).build()
    with torch.inference_mode():
        image_BCHW = generator(torch.from_numpy(z_BZ), torch.from_numpy(y_BL))
    expected = to_pixels(image_BCHW).numpy().astype(int)
    assert np.abs(engine.generate(z_BZ, y_BL) - expected).max() <= 1


def test_a_picture_does_not_depend_on_its_company(engine):
    z_BZ, y_BL = inputs(engine, 12)
    together = engine.generate(z_BZ, y_BL)
    alone = np.concatenate([engine.generate(z_BZ[n : n + 1], y_BL[n : n + 1]) for n in range(12)])
    order = np.random.RandomState(0).permutation(12)
    shuffled = engine.generate(z_BZ[order], y_BL[order])
    assert np.array_equal(together, alone)
    assert np.array_equal(together[order], shuffled)


def test_pictures_handed_out_are_not_overwritten_by_the_next(engine):
    z_BZ, y_BL = inputs(engine, 8)
    first = engine.generate(z_BZ[:4], y_BL[:4])
    kept = first.copy()
    engine.generate(z_BZ[4:], y_BL[4:])
    assert np.array_equal(first, kept)


def test_a_reloaded_engine_gives_the_same_bytes(engine, folder):
    z_BZ, y_BL = inputs(engine, 6)
    again = TorchEngine.load(folder, tile=4, threads=1)
    assert np.array_equal(engine.generate(z_BZ, y_BL), again.generate(z_BZ, y_BL))


def test_an_unlabelled_checkpoint_is_served_too(tmp_path):
    config = GeneratorConfig(8, latent_dim=4, fmap_base=64, fmap_max=16)
    write(tmp_path / "plain-8", config, attributes=())
    engine = TorchEngine.load(tmp_path / "plain-8", tile=2, threads=1)
    assert engine.generate(np.ones((3, 4), np.float32), np.ones((3, 0), np.float32)).shape == (
        3, 8, 8, 3,
    )  # fmt: skip


def test_an_attribute_that_cannot_be_a_parameter_is_a_checkpoint_error(tmp_path):
    attributes = (Attribute("size", ("a", "b"), (0.5, 0.5)), ATTRIBUTES[1])
    write(tmp_path / "odd-16", attributes=attributes)
    with pytest.raises(CheckpointError, match=r"odd-16.*'size'"):
        TorchEngine.load(tmp_path / "odd-16", tile=2, threads=1)
