"""Networks by their weights: the right file is taken, any other refused with a sentence."""

import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from training.errors import EvaluationError
from training.metrics import inception as inception_module
from training.metrics.extractors import EFFICIENTNET_PACKAGE, available_extractors
from training.metrics.extras import missing
from training.metrics.inception import (
    inception_features,
    inception_shapes,
    load_inception,
    resize_as_tensorflow,
)
from training.metrics.weights import read_weights

PICTURES = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def inception_file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state dict of the right shapes with random weights."""
    torch.manual_seed(0)
    state = {}
    for name, shape in inception_shapes().items():
        if name.endswith("running_var") or name.endswith("bn.weight"):
            state[name] = torch.ones(shape)
        elif len(shape) == 4:
            fan_in = shape[1] * shape[2] * shape[3]
            state[name] = torch.randn(shape, dtype=torch.float16) * (2 / fan_in) ** 0.5
        else:
            state[name] = torch.zeros(shape)
    state["fc.bias"] = torch.zeros(1008)
    path = tmp_path_factory.mktemp("weights") / "inception.pth"
    torch.save(state, path)
    yield path
    path.unlink()


def test_inception_has_the_published_size() -> None:
    trained = [
        torch.Size(shape).numel()
        for name, shape in inception_shapes().items()
        if "running" not in name and name != "fc.weight"
    ]
    assert sum(trained) == 21_785_568  # 23,834,568 less the 1000 classes' last layer


def test_inception_from_a_file(inception_file: Path) -> None:
    extractors, left_out = available_extractors(inception_file)
    [inception] = [e for e in extractors if e.noun == "Inception features"]
    assert inception.comparable
    assert not any("Inception" in sentence for sentence in left_out)
    steps: list[None] = []
    features = inception.features(PICTURES, advance=lambda: steps.append(None))
    assert features.shape == (2, 2048)
    assert np.isfinite(features).all()
    assert np.abs(features[0] - features[1]).max() > 1e-3
    assert len(steps) == 2


def test_the_last_block_takes_maxima_and_pads_are_not_counted(
    inception_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pools = []
    real_pool = torch.nn.functional.avg_pool2d

    def average(x: torch.Tensor, *args: object, **named: object) -> torch.Tensor:
        pools.append(named["count_include_pad"])
        return real_pool(x, *args, **named)

    monkeypatch.setattr(inception_module.F, "avg_pool2d", average)
    inception_features(load_inception(inception_file), torch.rand(1, 3, 75, 75))
    assert pools == [False] * 8  # of nine blocks that keep their size


def test_pictures_are_enlarged_from_their_corner() -> None:
    row = resize_as_tensorflow(torch.tensor([[0.0, 1.0, 4.0]]), axis=1)[0]
    position = torch.arange(299) * 3 / 299
    expected = torch.where(position < 1, position, (1 + 3 * (position - 1)).clamp(max=4))
    assert torch.allclose(row, expected, atol=1e-5)
    same = torch.rand(1, 1, 2, 299)
    assert torch.equal(resize_as_tensorflow(same, axis=3), same)


def test_an_imagenet_inception_is_another_network(tmp_path: Path) -> None:
    state = {"fc.weight": torch.zeros(1000, 2048)}
    torch.save(state, tmp_path / "inception_v3.pth")
    with pytest.raises(EvaluationError, match=r"fc\.weight has shape \(1000, 2048\) instead of"):
        load_inception(tmp_path / "inception_v3.pth")


class Malicious:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (self.target,)  # type: ignore[return-value]


def test_files_that_are_no_weights(tmp_path: Path) -> None:
    (tmp_path / "text.pth").write_text("not weights")
    (tmp_path / "text.safetensors").write_text("not weights")
    (tmp_path / "code.pth").write_bytes(pickle.dumps(Malicious(tmp_path / "ran")))
    for name in ("text.pth", "text.safetensors", "code.pth"):
        with pytest.raises(EvaluationError, match=f"{name} is no file of weights"):
            load_inception(tmp_path / name)
    assert not (tmp_path / "ran").exists()
    with pytest.raises(EvaluationError, match=r"none\.pth cannot be read"):
        load_inception(tmp_path / "none.pth")


def test_weights_are_checked_by_name_shape_and_value(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file({"a": torch.ones(2, 3, dtype=torch.float16), "more": torch.ones(1)}, path)
    assert read_weights(path, {"a": (2, 3)}, "net")["a"].dtype == torch.float32
    with pytest.raises(EvaluationError, match="no tensor b: give the file of net"):
        read_weights(path, {"a": (2, 3), "b": (1,)}, "net")
    save_file({"a": torch.tensor([float("nan")])}, path)
    with pytest.raises(EvaluationError, match="a is not finite"):
        read_weights(path, {"a": (1,)}, "net")
    torch.save([torch.ones(1)], tmp_path / "list.pth")
    with pytest.raises(EvaluationError, match="no tensor a"):
        read_weights(tmp_path / "list.pth", {"a": (1,)}, "net")


@pytest.mark.skipif(missing(EFFICIENTNET_PACKAGE) is not None, reason="an optional package")
def test_efficientnet_keeps_what_it_saw(tmp_path: Path) -> None:
    [efficientnet], _ = available_extractors()
    first = efficientnet.features(PICTURES, advance=lambda: None, folder=tmp_path)
    assert first.shape == (2, 1280)
    assert first.min() >= 0
    [kept] = tmp_path.iterdir()
    assert kept.name.startswith("efficientnet-")
    steps: list[None] = []
    again = efficientnet.features(PICTURES, advance=lambda: steps.append(None), folder=tmp_path)
    assert np.array_equal(first, again)
    assert len(steps) == 2
