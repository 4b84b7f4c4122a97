"""Imported weights make the pictures their own project makes."""

from pathlib import Path

import numpy as np
import peer_files
import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from models import Generator, load_checkpoint
from service.engine import load_engine
from training.__main__ import app
from training.errors import ImportFileError
from training.importers import read_weights

NARROWING = [16, 16, 8, 4]
EVEN = [8, 8]
LABELS = {
    "hair": {"order": 1, "values": ["dark", "fair", "none"]},
    "smile": {"order": 0, "values": ["no", "yes"]},
}


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(3)


def ours(generator: Generator, code: Tensor) -> Tensor:
    """In float64: what is compared is the arithmetic, not its rounding."""
    config = generator.config
    z, y = code.double().split([config.latent_dim, config.label_dim], dim=1)
    return generator.double()(z, y if config.label_dim else None)


def same(generator: Generator, code: Tensor, theirs: Tensor) -> None:
    assert theirs.std() > 0.05
    # Folded, as it is served; 1e-5 of what pictures range over.
    torch.testing.assert_close(ours(generator, code), theirs.double(), rtol=0, atol=1e-5)
    torch.testing.assert_close(ours(generator.fold(), code), theirs.double(), rtol=0, atol=1e-5)


def doubled(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.double() for name, value in state.items()}


@pytest.mark.parametrize("widths", [NARROWING, EVEN])
@pytest.mark.parametrize("infix", [".module", ""])
def test_weights_of_gan_zoo_make_the_pictures_they_made(
    tmp_path: Path, widths: list[int], infix: str
) -> None:
    state = peer_files.gan_zoo_state(widths, 12, infix)
    imported = read_weights(peer_files.write_gan_zoo(tmp_path / "file.pt", state))
    code = torch.randn(4, 12)
    assert imported.generator.config.resolution == 4 * 2 ** (len(widths) - 1)
    same(imported.generator, code, peer_files.gan_zoo_forward(doubled(state), code.double(), infix))


def test_gan_zoo_labels_come_in_their_order(tmp_path: Path) -> None:
    state = peer_files.gan_zoo_state(EVEN, 12 + 5)
    file = peer_files.write_gan_zoo(tmp_path / "file.pt", state, attribKeysOrder=LABELS)
    imported = read_weights(file)
    assert [a.name for a in imported.attributes] == ["smile", "hair"]
    assert imported.attributes[1].values == ("dark", "fair", "none")
    assert (imported.generator.config.latent_dim, imported.generator.config.label_dim) == (12, 5)
    code = torch.cat([torch.randn(3, 12), torch.eye(5)[:3]], dim=1)
    same(imported.generator, code, peer_files.gan_zoo_forward(doubled(state), code.double()))


@pytest.mark.parametrize("norms", [True, False])
def test_weights_of_pro_gan_pytorch_make_the_pictures_they_made(
    tmp_path: Path, norms: bool
) -> None:
    state = peer_files.pro_gan_state(NARROWING, 12)
    file = peer_files.write_pro_gan(tmp_path / "file.bin", state)
    imported = read_weights(file, None if norms else ("base",))
    code = torch.randn(4, 12)
    theirs = peer_files.pro_gan_forward(doubled(state), code.double(), norms=norms)
    if not norms:  # without norms pictures range further
        theirs, scale = theirs / theirs.abs().max(), theirs.abs().max()
        pictures = ours(imported.generator, code) / scale
        torch.testing.assert_close(pictures, theirs, rtol=0, atol=1e-5)
    else:
        same(imported.generator, code, theirs)


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("labels", [0, 3])
def test_official_weights_make_the_pictures_they_made(
    tmp_path: Path, fused: bool, labels: int
) -> None:
    variables = peer_files.official_variables(NARROWING, 12 + labels, fused=fused)
    file = peer_files.write_official(tmp_path / "file.pkl", variables, label_size=labels)
    imported = read_weights(file)
    assert imported.generator.config.label_dim == labels
    code = torch.randn(4, 12 + labels)
    same(imported.generator, code, peer_files.official_forward(variables, code))


def test_the_fused_kernel_is_a_turned_one(tmp_path: Path) -> None:
    """The two ways the official code can run a ×2 agree, so the flip is the right one."""
    fused = peer_files.official_variables(EVEN, 12, fused=True)
    plain = dict(fused)
    kernel = plain.pop("8x8/Conv0_up/weight")
    plain["8x8/Conv0/weight"] = np.ascontiguousarray(kernel[::-1, ::-1].transpose(0, 1, 3, 2))
    plain["8x8/Conv0/bias"] = plain.pop("8x8/Conv0_up/bias")
    code = torch.randn(2, 12)
    torch.testing.assert_close(
        peer_files.official_forward(fused, code), peer_files.official_forward(plain, code)
    )


def test_the_command_writes_a_checkpoint_that_serves(tmp_path: Path) -> None:
    state = peer_files.pro_gan_state(NARROWING, 12)
    file = peer_files.write_pro_gan(tmp_path / "file.bin", state)
    arguments = ["import", str(file), str(tmp_path / "peer"), "--licence", "MIT"]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "pixel norms" in result.output
    checkpoint = load_checkpoint(tmp_path / "peer")
    assert checkpoint.provenance["licence"] == "MIT"
    assert checkpoint.config.pixel_norms == ("latent", "base", "blocks")
    code = torch.randn(2, 12)
    same(checkpoint.build(), code, peer_files.pro_gan_forward(doubled(state), code.double()))
    card = (tmp_path / "peer" / "README.md").read_text()
    assert "akanimax/pro_gan_pytorch" in card
    assert "MIT" in card


@pytest.mark.parametrize("kind", ["torch", "openvino"])
def test_both_engines_honour_missing_norms(tmp_path: Path, kind: str) -> None:
    file = peer_files.write_pro_gan(tmp_path / "f.bin", peer_files.pro_gan_state(NARROWING, 12))
    CliRunner().invoke(app, ["import", str(file), str(tmp_path / "peer")], catch_exceptions=False)
    if kind == "openvino":
        pytest.importorskip("openvino")
    engine = load_engine(tmp_path / "peer", kind=kind, precision="fp32", threads=1)
    z = np.random.default_rng(0).normal(size=(2, 12)).astype(np.float32)
    pixels = engine.generate(z, np.zeros((2, 0), np.float32))
    state = torch.load(file, weights_only=True)["shadow_generator"]["state_dict"]
    theirs = peer_files.pro_gan_forward(state, torch.from_numpy(z)).permute(0, 2, 3, 1)
    expected = (theirs * 127.5 + 127.5).round().clamp(0, 255).numpy()
    assert np.abs(pixels.astype(float) - expected).max() <= 1


def test_what_ours_cannot_compute_is_refused(tmp_path: Path) -> None:
    good = peer_files.gan_zoo_state(EVEN, 12)
    cases = {
        "tanh": peer_files.write_gan_zoo(tmp_path / "a", good, lossMode="DCGAN"),
        "fading": peer_files.write_gan_zoo(tmp_path / "b", good, alpha=0.4),
        "wide": peer_files.write_gan_zoo(
            tmp_path / "c", peer_files.gan_zoo_state([8, 8, 7, 2], 12)
        ),
        "4 px": peer_files.write_gan_zoo(tmp_path / "d", peer_files.gan_zoo_state([8], 12)),
        "NaN": peer_files.write_gan_zoo(
            tmp_path / "e", {**good, "groupScale0.0.module.bias": torch.full((8,), torch.nan)}
        ),
        "groupScale0.0.weight": peer_files.write_gan_zoo(
            tmp_path / "f", {k: v for k, v in good.items() if k != "groupScale0.0.module.weight"}
        ),
        "shapes": peer_files.write_gan_zoo(
            tmp_path / "g", {**good, "toRGBLayers.1.module.weight": torch.zeros(3, 5, 1, 1)}
        ),
        "colours": peer_files.write_pro_gan(
            tmp_path / "h", peer_files.pro_gan_state(EVEN, 12), num_channels=1
        ),
        "lod": peer_files.write_official(
            tmp_path / "i",
            {**peer_files.official_variables(EVEN, 12), "lod": np.float32(1.5)},
        ),
        "use_leakyrelu": peer_files.write_official(
            tmp_path / "j", peer_files.official_variables(EVEN, 12), use_leakyrelu=False
        ),
    }
    for word, file in cases.items():
        with pytest.raises(ImportFileError, match=word):
            read_weights(file)
