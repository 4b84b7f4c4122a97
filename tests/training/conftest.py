"""What tests of training share."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from training_archives import write_archive
from training_backbones import halvings

import training.backbone
from training.dataset import Dataset


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Noise of 16 px, labelled by turns."""
    return Dataset(write_archive(tmp_path / "noise.zip"))


@pytest.fixture
def cheap_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    def made(device: torch.device, *, bf16: bool) -> Callable[[Tensor], list[Tensor]]:
        del device, bf16
        return halvings

    monkeypatch.setattr(training.backbone, "FrozenEfficientNet", made)
