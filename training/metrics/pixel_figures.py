"""What pixels alone tell of a set: patches at every scale, likeness of pairs, spread by label."""

from collections.abc import Iterator

import numpy as np

from training.metrics.diversity import (
    distance_by_label,
    mean_distance,
    thumbnails,
    value_names,
)
from training.metrics.feature_figures import repetitions, told_apart
from training.metrics.figure import Figure, PictureSet
from training.metrics.msssim import ms_ssim, pairs_of_one_label
from training.metrics.swd import sliced_wasserstein

SMALL = "pictures of 16 px"
SHADES = "root mean square in shades of 255, at 16 px"


def distance_figures(pictures: PictureSet, reference: PictureSet) -> Iterator[Figure]:
    """Sliced Wasserstein per level, and the random-projection test."""
    count = len(pictures.image_NHWC)
    levels = sliced_wasserstein(pictures.image_NHWC, reference.image_NHWC)
    yield Figure(
        "sliced Wasserstein ×10³, mean",
        float(np.mean(list(levels.values()))),
        count,
        "lower",
        "7×7 patches, 128 per picture and pyramid level, 512 projections",
    )
    for side, distance in levels.items():
        yield Figure(
            f"sliced Wasserstein ×10³, {side} px", distance, count, "lower", "that level alone"
        )
    point_ND, real_MD = thumbnails(pictures.image_NHWC), thumbnails(reference.image_NHWC)
    yield from told_apart(SMALL, point_ND, real_MD, "768 shades")


def variety_figures(pictures: PictureSet, reference: PictureSet) -> Iterator[Figure]:
    """Likeness of pairs of one label, spread overall and by label, repetitions, copies."""
    pairs_P2 = pairs_of_one_label(
        pictures.index_NA, len(pictures.image_NHWC), np.random.default_rng(0)
    )
    if len(pairs_P2):
        first_NHWC, second_NHWC = (pictures.image_NHWC[pairs_P2[:, side]] for side in (0, 1))
        yield Figure(
            "MS-SSIM of pairs of one label",
            float(ms_ssim(first_NHWC, second_NHWC).mean()),
            len(pairs_P2),
            "as real",
            "window of 11 px or the whole scale, halved to 4 px; pairs alike in all attributes",
        )
    point_ND, real_MD = thumbnails(pictures.image_NHWC), thumbnails(reference.image_NHWC)
    yield Figure(
        "distance between pictures, mean", mean_distance(point_ND), len(point_ND), "as real", SHADES
    )
    for label_N in value_names(pictures.index_NA, pictures.values):
        for label, distance in distance_by_label(point_ND, label_N).items():
            yield Figure(
                f"distance between pictures, {label}",
                distance,
                int((label_N == label).sum()),
                "as real",
                SHADES,
            )
    yield repetitions(SMALL, point_ND, real_MD, "768 shades")
    yield Figure(
        "distance to the nearest training picture, 5th percentile",
        float(np.quantile(pictures.source_shades_M, 0.05)),
        len(pictures.source_shades_M),
        "as real",
        f"{SHADES}, mirrored or not",
    )
