"""Networks that turn pictures into features, by name: those of the extra, and the user's own.

An extractor whose weights are not there is left out, with one sentence that says so. Figures of
different extractors are never compared.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.metrics.efficientnet import PACKAGE as EFFICIENTNET_PACKAGE
from training.metrics.efficientnet import (
    efficientnet_features,
    efficientnet_file,
    load_efficientnet,
)
from training.metrics.extras import missing
from training.metrics.features import Advance
from training.metrics.inception import inception_features, load_inception
from training.metrics.store import remembered
from training.metrics.weights import Weights, digest

BATCH = 16


@dataclass(frozen=True)
class Extractor:
    """A network with weights, and how its features are told of."""

    noun: str  # what stands in the table
    method: str  # network, weights, input size and filter
    weights: Weights
    digest: str
    network: Callable[[Weights, Tensor], Tensor]  # pictures in 0 … 1, [N, 3, H, W] → [N, E]
    comparable: bool  # with published figures: so its numbers are taken as they are

    def features(
        self, image_NHWC: NDArray[np.uint8], *, advance: Advance, folder: Path | None = None
    ) -> NDArray[np.float64]:
        """[N, E]; with a folder, keeps them there and finds them again."""
        judge = f"{self.noun.split()[0].lower()}-{self.digest}"
        arrays, found = remembered(
            folder, judge, image_NHWC, lambda: {"feature_NE": self._look(image_NHWC, advance)}
        )
        if found:
            for _ in image_NHWC:
                advance()
        return arrays["feature_NE"].astype(np.float64)

    def _look(self, image_NHWC: NDArray[np.uint8], advance: Advance) -> NDArray[np.float32]:
        batches = []
        for start in range(0, len(image_NHWC), BATCH):
            image_BHWC = image_NHWC[start : start + BATCH]
            image_BCHW = torch.from_numpy(image_BHWC).permute(0, 3, 1, 2).float() / 255
            batches.append(self.network(self.weights, image_BCHW).numpy())
            for _ in image_BHWC:
                advance()
        return np.concatenate(batches)


def available_extractors(inception: Path | None = None) -> tuple[list[Extractor], list[str]]:
    """Those whose weights are there, and a sentence for each one that is left out.

    `inception`: a file of Inception's weights. Raises EvaluationError where a file is not what it
    should be.
    """
    extractors, left_out = [], []
    lacking = missing(EFFICIENTNET_PACKAGE)
    if lacking is None:
        path = efficientnet_file()
        extractors.append(
            Extractor(
                "EfficientNet features",
                f"EfficientNet-lite0 {digest(path)}, 1280 numbers, 224 px bicubic",
                load_efficientnet(path),
                digest(path),
                efficientnet_features,
                comparable=False,
            )
        )
    else:
        left_out.append(f"EfficientNet features are left out. {lacking}")
    if inception is None:
        left_out.append(
            "Inception features are left out: their weights are not part of the extra; give a file "
            "of them with --inception."
        )
    else:
        weights = load_inception(inception)
        extractors.append(
            Extractor(
                "Inception features",
                f"Inception v3 {digest(inception)}, 2048 numbers, 299 px TensorFlow-1 bilinear",
                weights,
                digest(inception),
                inception_features,
                comparable=True,
            )
        )
    return extractors, left_out
