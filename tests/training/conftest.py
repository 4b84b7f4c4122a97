"""What tests of training share."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from training_backbones import halvings

import training.backbone


@pytest.fixture
def cheap_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    def made(device: torch.device, *, bf16: bool) -> Callable[[Tensor], list[Tensor]]:
        del device, bf16
        return halvings

    monkeypatch.setattr(training.backbone, "FrozenEfficientNet", made)
