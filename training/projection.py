"""A given picture → the latent and labels whose generated picture is most like it.

A GAN has no inference network: the latent is found by optimisation, through the generator's own
gradient. Many random latents are looked at, the best few are improved side by side, and after each
round the worse half is dropped. Labels are given, or searched with the latents. Knows nothing
about files, the command line or the service.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models import Attribute, Generator, from_pixels, to_pixels
from training.label_draw import draw_labels, given_indices, label_vectors
from training.perceptual import PerceptualDistance

SCREENED = 512  # random latents looked at before the first step
STARTS = 16  # of those, how many are improved
ROUNDS = (0.1, 0.1, 0.15)  # share of the steps after which the worse half is dropped
SWEEP = 0.15  # share of the steps in which other labels are tried
LEARNING_RATE = 0.1  # of Adam, on a latent whose entries are of unit size
BATCH = 32  # pictures computed at once while screening
STRIP = 8  # pictures kept of the way, denser at its beginning, where most happens

Report = Callable[[int, int, float], None]  # step, steps in all, distance of the best


@dataclass(frozen=True)
class Projection:
    """What was found, and the way there."""

    z_Z: NDArray[np.float32]
    labels: dict[str, str]
    image_HWC: NDArray[np.uint8]
    start_HWC: NDArray[np.uint8]
    """The best of the random latents, before the first step."""
    progress: list[NDArray[np.uint8]]
    """The best picture now and then, from the start to the end."""
    distance: float
    start_distance: float
    """Perceptual distances to the target: see `perceptual`."""


@dataclass
class _Candidates:
    """Latents under way; row i has the labels `index_NA[i]`."""

    z_NZ: Tensor
    index_NA: list[tuple[int, ...]]

    def take(self, rows: Sequence[int]) -> "_Candidates":
        return _Candidates(self.z_NZ[list(rows)], [self.index_NA[i] for i in rows])


def project(
    target_HWC: NDArray[np.uint8],
    generator: Generator,
    attributes: Sequence[Attribute],
    joint_prior: NDArray[np.float64] | None,
    *,
    given: Mapping[str, str] | None = None,
    seed: int = 0,
    steps: int = 400,
    report: Report | None = None,
) -> Projection:
    """Project a picture of the generator's own resolution, [R, R, 3] RGB.

    `given`: labels that are known; the others are searched over the values that training saw
    together. The latent stays on the sphere of radius √Z, where normal draws lie. The same seed
    gives the same result on the same hardware. Raises ConfigError for unknown labels.
    """
    search = _Search(target_HWC, generator, attributes, joint_prior, given or {}, report)
    return search.run(seed, steps)


class _Search:
    def __init__(
        self,
        target_HWC: NDArray[np.uint8],
        generator: Generator,
        attributes: Sequence[Attribute],
        joint_prior: NDArray[np.float64] | None,
        given: Mapping[str, str],
        report: Report | None,
    ) -> None:
        self._generator, self._attributes, self._joint = generator, tuple(attributes), joint_prior
        self._given, self._settled = given, given_indices(attributes, given)
        self._distance = PerceptualDistance(from_pixels(torch.from_numpy(target_HWC)[None])[0])
        self._report = report
        self._done, self._steps = 0, 0
        self._kept_at: set[int] = set()  # steps after which a picture is kept
        self._progress: list[NDArray[np.uint8]] = []

    def run(self, seed: int, steps: int) -> Projection:
        self._steps = steps
        self._kept_at = {round(step) for step in np.geomspace(1, steps, STRIP - 1)[:-1]}
        found, start_distance = self._screen(seed)
        start_HWC = self._picture(found.take([0]))
        for share in ROUNDS:
            found = self._improve(found, round(share * steps), LEARNING_RATE)
            found = found.take(range((len(found.index_NA) + 1) // 2))
        others = self._other_labels(found.take([0]))
        if len(others.index_NA) > 1:
            found = self._improve(others, round(SWEEP * steps), LEARNING_RATE / 2).take([0])
        found = self._improve(found, steps - self._done, LEARNING_RATE, settle=True).take([0])
        with torch.inference_mode():
            distance = float(self._distances(found)[0])
        labels = {
            a.name: a.values[i] for a, i in zip(self._attributes, found.index_NA[0], strict=True)
        }
        image_HWC = self._picture(found)
        progress = [start_HWC, *self._progress, image_HWC]
        z_Z = found.z_NZ[0].numpy()
        return Projection(z_Z, labels, image_HWC, start_HWC, progress, distance, start_distance)

    @torch.inference_mode()
    def _screen(self, seed: int) -> tuple[_Candidates, float]:
        """The best of many random latents, each with labels as training saw them."""
        random = np.random.default_rng(seed)
        dim = self._generator.config.latent_dim
        z_NZ = torch.from_numpy(random.standard_normal((SCREENED, dim), dtype=np.float32))
        index_NA = [
            draw_labels(f"{seed}/{n}", self._attributes, self._joint, self._given)
            for n in range(SCREENED)
        ]
        everything = _Candidates(_on_shell(z_NZ), index_NA)
        rows = [range(i, i + BATCH) for i in range(0, SCREENED, BATCH)]
        distance_N = torch.cat([self._distances(everything.take(r)) for r in rows])
        best = distance_N.argsort()[:STARTS].tolist()
        chosen = everything.take(best)
        return _Candidates(chosen.z_NZ.clone(), chosen.index_NA), float(distance_N.min())

    def _improve(
        self, found: _Candidates, steps: int, rate: float, *, settle: bool = False
    ) -> _Candidates:
        """`steps` steps of Adam on every candidate at once; best first. `settle`: to rate 0."""
        z_NZ = found.z_NZ.clone().requires_grad_(True)
        under_way = _Candidates(z_NZ, found.index_NA)
        optimizer = torch.optim.Adam([z_NZ], lr=rate, betas=(0.9, 0.99))
        for step in range(steps):
            if settle:
                optimizer.param_groups[0]["lr"] = rate * 0.5 * (1 + np.cos(np.pi * step / steps))
            distance_N = self._distances(under_way)
            optimizer.zero_grad()
            distance_N.sum().backward()
            optimizer.step()
            with torch.no_grad():
                z_NZ.copy_(_on_shell(z_NZ))
            self._note(under_way, distance_N.detach())
        with torch.inference_mode():
            order = self._distances(under_way).argsort().tolist()
        return _Candidates(z_NZ.detach(), found.index_NA).take(order)

    def _other_labels(self, best: _Candidates) -> _Candidates:
        """The candidate itself, and with each value of each attribute that is not given."""
        own = best.index_NA[0]
        rows = [own]
        for axis, attribute in enumerate(self._attributes):
            for index in range(len(attribute.values)):
                row = (*own[:axis], index, *own[axis + 1 :])
                if axis not in self._settled and row != own and self._seen(row):
                    rows.append(row)
        return _Candidates(best.z_NZ.expand(len(rows), -1), rows)

    def _seen(self, row: tuple[int, ...]) -> bool:
        return self._joint is None or bool(self._joint[row] > 0)

    def _images(self, candidates: _Candidates) -> Tensor:
        y_NL = None
        if self._attributes:
            y_NL = torch.from_numpy(label_vectors(candidates.index_NA, self._attributes))
        return self._generator(candidates.z_NZ, y_NL)

    def _distances(self, candidates: _Candidates) -> Tensor:
        return self._distance(self._images(candidates))

    @torch.no_grad()
    def _picture(self, candidates: _Candidates) -> NDArray[np.uint8]:
        pixels: NDArray[np.uint8] = to_pixels(self._images(candidates))[0].numpy()
        return pixels

    def _note(self, under_way: _Candidates, distance_N: Tensor) -> None:
        """Tell, and keep a picture of the best now and then."""
        self._done += 1
        best = int(distance_N.argmin())
        if self._done in self._kept_at:
            self._progress.append(self._picture(under_way.take([best])))
        if self._report is not None:
            self._report(self._done, self._steps, float(distance_N[best]))


def _on_shell(z_NZ: Tensor) -> Tensor:
    """Onto the sphere of radius √Z, around which normal draws concentrate."""
    return z_NZ * (z_NZ.shape[1] ** 0.5 / z_NZ.norm(dim=1, keepdim=True))
