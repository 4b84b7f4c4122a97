"""Both engines: the real generator with random weights, small."""

import io
import os
import sys
import threading
from pathlib import Path

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
from service.engine import load_engine
from service.errors import NotFiniteError, SettingsError
from service.latents import latent
from service.params import Seed
from service.processor import instruction_set

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


GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
KINDS = ["torch", "openvino", "openvino fp32"]
KINDS += [pytest.param(kind, marks=[pytest.mark.gpu, GPU]) for kind in ("cuda", "cuda fp32")]


@pytest.fixture(scope="module", params=KINDS)
def load(request):
    """Loads a folder with one kind of engine."""
    kind, _, precision = request.param.partition(" ")
    settings = {"kind": kind, "precision": precision or "auto", "tile": 4, "threads": 2}
    return lambda folder, **changes: load_engine(folder, **(settings | changes))


@pytest.fixture(scope="module")
def engine(folder, load):
    engine = load(folder)
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
    difference = np.abs(engine.generate(z_BZ, y_BL) - expected)
    if "fp32" in engine.spec.engine:
        assert difference.max() <= 1
    else:
        assert difference.mean() < 1  # of 255, in bf16


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


def test_a_reloaded_engine_gives_the_same_bytes(engine, folder, load):
    z_BZ, y_BL = inputs(engine, 6)
    again = load(folder)
    assert np.array_equal(engine.generate(z_BZ, y_BL), again.generate(z_BZ, y_BL))


def test_an_unlabelled_checkpoint_is_served_too(tmp_path, load):
    config = GeneratorConfig(8, latent_dim=4, fmap_base=64, fmap_max=16)
    write(tmp_path / "plain-8", config, attributes=())
    engine = load(tmp_path / "plain-8")
    assert engine.generate(np.ones((3, 4), np.float32), np.ones((3, 0), np.float32)).shape == (
        3, 8, 8, 3,
    )  # fmt: skip


def test_an_attribute_that_cannot_be_a_parameter_is_a_checkpoint_error(tmp_path):
    attributes = (Attribute("size", ("a", "b"), (0.5, 0.5)), ATTRIBUTES[1])
    write(tmp_path / "odd-16", attributes=attributes)
    with pytest.raises(CheckpointError, match=r"odd-16.*'size'"):
        load_engine(tmp_path / "odd-16", threads=1)


@pytest.mark.parametrize("threads", [1, 3])
def test_with_openvino_bytes_do_not_depend_on_threads(folder, threads):
    one, other = (load_engine(folder, kind="openvino", threads=n) for n in (2, threads))
    assert one.spec.engine == other.spec.engine
    z_BZ, y_BL = inputs(one, 7)
    assert np.array_equal(one.generate(z_BZ, y_BL), other.generate(z_BZ, y_BL))


def test_the_engines_name_says_all_that_bytes_depend_on(folder):
    torch_engine = load_engine(folder, kind="torch", tile=4, threads=1)
    assert (
        torch_engine.spec.engine
        == f"torch {torch.__version__.split('+')[0]} cpu ({instruction_set()}) fp32, "
        "tile 4, 1 threads"
    )
    assert torch_engine.halve_tile()
    assert "tile 2" in torch_engine.spec.engine
    exact = load_engine(folder, kind="openvino", precision="fp32", threads=1)
    assert exact.spec.engine.startswith("openvino 20")
    assert exact.spec.engine.endswith(f"cpu ({instruction_set()}) fp32")
    assert exact.weights_bytes == torch_engine.weights_bytes
    assert not exact.halve_tile()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_without_a_device_is_refused(folder):
    with pytest.raises(SettingsError, match=r"VISAGE_ENGINE is cuda .* there is no CUDA device"):
        load_engine(folder, kind="cuda", threads=1)


@pytest.mark.gpu
@GPU
def test_cuda_goes_first_and_halves_its_tile(folder):
    engine = load_engine(folder, tile=4, threads=1)
    assert engine.spec.engine.endswith("tile 4")
    assert engine.halve_tile()
    assert engine.spec.engine.endswith("tile 2")
    z_BZ, y_BL = inputs(engine, 7)
    assert engine.generate(z_BZ, y_BL).shape == (7, 16, 16, 3)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a niceness for each thread")
def test_openvino_s_threads_give_way_and_no_others(folder):
    own = os.getpriority(os.PRIO_PROCESS, 0)
    before = set(Path("/proc/self/task").iterdir())
    engine = load_engine(folder, kind="openvino", threads=2, niceness=min(own + 7, 19))
    engine.warm_up()
    begun = set(Path("/proc/self/task").iterdir()) - before
    gentle = [os.getpriority(os.PRIO_PROCESS, int(thread.name)) for thread in begun]
    assert gentle.count(min(own + 7, 19)) >= 2
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == own


@pytest.mark.skipif(torch.cuda.is_available(), reason="there CUDA goes first")
def test_openvino_goes_first_where_it_is_installed(folder, monkeypatch):
    assert load_engine(folder, threads=1).spec.engine.startswith("openvino")
    monkeypatch.setattr("service.engine.find_spec", lambda name: None)
    assert load_engine(folder, threads=1).spec.engine.startswith("torch")
    with pytest.raises(SettingsError, match=r"pip install '\.\[cpu\]'"):
        load_engine(folder, kind="openvino", threads=1)
    with pytest.raises(SettingsError, match="VISAGE_PRECISION is bf16"):
        load_engine(folder, precision="bf16", threads=1)


def test_bf16_where_the_cpu_has_none_is_refused(folder, monkeypatch):
    import openvino

    monkeypatch.setattr(openvino.Core, "get_property", lambda *_: ["FP32"])
    with pytest.raises(SettingsError, match="this CPU has no bf16"):
        load_engine(folder, kind="openvino", precision="bf16", threads=1)
    assert load_engine(folder, kind="openvino", threads=1).spec.engine.endswith("fp32")


def test_openvino_tells_nobody_that_it_is_used(folder):
    load_engine(folder, kind="openvino", threads=1)
    assert sys.modules["openvino_telemetry"] is None


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_never_a_picture(engine, value):
    z_BZ, y_BL = inputs(engine, 6)
    wanted = engine.generate(z_BZ, y_BL)
    sick_BZ = z_BZ.copy()
    sick_BZ[[1, 5], 3] = value
    # Some engines count in the whole, some in the first tile that has any.
    with pytest.raises(NotFiniteError, match=r"(2 of 6|1 of 4) in this batch"):
        engine.generate(sick_BZ, y_BL)
    # Nor does anything of it stay behind.
    assert np.array_equal(engine.generate(z_BZ, y_BL), wanted)
    assert np.array_equal(engine.generate(z_BZ[:1], y_BL[:1]), wanted[:1])


@pytest.mark.parametrize("layer", ["dense.bias", "blocks.0.conv0.weight", "blocks.1.conv1.bias"])
def test_sick_weights_are_noticed_wherever_they_are(folder, load, monkeypatch, layer):
    """As after a flipped bit in memory: a checkpoint on disk is looked through when it is read."""

    def sick(checkpoint):
        generator = Generator(checkpoint.config)
        generator.load_state_dict(dict(checkpoint.state))
        generator.state_dict()[layer].view(-1)[0] = np.nan
        return generator.eval().requires_grad_(False)

    monkeypatch.setattr("models.Checkpoint.build", sick)
    with pytest.raises(NotFiniteError):
        load(folder).warm_up()
