"""Which real pictures and which labels a step sees: pure functions of (seed, images seen).

So there is no loader state to save, and a resumed run continues in the middle of an epoch. Knows
nothing about networks; several processes may each take their rows of the same batch.
"""

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from training.dataset import Batch, Dataset

Rows = NDArray[np.int64]


class Stream(IntEnum):
    """What a random draw is for: the same seed never feeds two purposes."""

    ORDER = 0
    MIRROR = 1
    LABELS = 2
    LATENTS = 3
    AUGMENT_REAL = 4
    AUGMENT_FAKE = 5
    MIX = 6
    HOLDOUT = 7
    MEASURE = 8


def generator_for(seed: int, stream: Stream, position: int) -> np.random.Generator:
    """The generator of random numbers for one purpose at one position of a run."""
    return np.random.default_rng([seed, int(stream), position])


class Sampler:
    """Draws from a data set as a run needs it.

    `balanced`: every combination of attribute values that occurs is drawn as often as any other,
    for real and generated pictures alike. `holdout`: that many pictures, the same in every run,
    are never drawn but by `held_out`; of a small data set no more than a tenth.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        seed: int,
        mirror: bool = False,
        balanced: bool = False,
        holdout: int = 0,
    ) -> None:
        self.dataset, self._seed, self._mirror = dataset, seed, mirror
        rows, holdout = np.arange(len(dataset)), min(holdout, len(dataset) // 10)
        if holdout:
            rows = generator_for(0, Stream.HOLDOUT, 0).permutation(len(dataset))
        self.held_out_rows, self.rows = np.sort(rows[:holdout]), np.sort(rows[holdout:])
        self._groups = _combinations(dataset.index_NA, self.rows) if balanced else []
        self._orders: dict[int, Rows] = {}
        self.mean_label_L = self._mean_label()

    def batch(
        self, resolution: int, size: int, *, images_seen: int, take: Rows | None = None
    ) -> Batch:
        """The `size` real pictures that follow the first `images_seen` ones of a run.

        `take`: which of them are wanted, all by default.
        """
        rows = self._rows_at(images_seen, size)
        flip_B = np.zeros(size, bool)
        if self._mirror:
            flip_B = generator_for(self._seed, Stream.MIRROR, images_seen).random(size) < 0.5
        if take is not None:
            rows, flip_B = rows[take], flip_B[take]
        return self._load(resolution, rows, flip_B)

    def labels(
        self, size: int, *, images_seen: int, take: Rows | None = None
    ) -> NDArray[np.float32]:
        """Labels label_BL for generated pictures, drawn as real ones are."""
        random = generator_for(self._seed, Stream.LABELS, images_seen)
        if self._groups:
            group_B = random.integers(len(self._groups), size=size)
            rows = np.array([self._groups[g][0] for g in group_B])
        else:
            rows = self.rows[random.integers(len(self.rows), size=size)]
        return self.dataset.one_hot(self.dataset.index_NA[rows if take is None else rows[take]])

    def held_out(self, resolution: int, size: int, *, images_seen: int) -> Batch:
        """Up to `size` of the pictures that are never trained on, another choice each time."""
        random = generator_for(self._seed, Stream.HOLDOUT, images_seen)
        rows = random.permutation(self.held_out_rows)[:size]
        flip_B = random.random(len(rows)) < 0.5 if self._mirror else np.zeros(len(rows), bool)
        return self._load(resolution, rows, flip_B)

    def reference(self, resolution: int, size: int) -> Batch:
        """Up to `size` real pictures to measure generated ones against, always the same."""
        order = generator_for(self._seed, Stream.MEASURE, 0).permutation(self.rows)
        rows = order[:size]
        return self._load(resolution, rows, np.zeros(len(rows), bool))

    def _mean_label(self) -> NDArray[np.float32]:
        rows = np.array([group[0] for group in self._groups]) if self._groups else self.rows
        label_NL = self.dataset.one_hot(self.dataset.index_NA[rows])
        return np.asarray(label_NL.mean(axis=0), np.float32)

    def _load(self, resolution: int, rows: Rows, flip_B: NDArray[np.bool_]) -> Batch:
        image_BHWC = self.dataset.images(resolution)[rows]
        image_BHWC[flip_B] = image_BHWC[flip_B, :, ::-1]
        return Batch(image_BHWC, self.dataset.one_hot(self.dataset.index_NA[rows]))

    def _rows_at(self, start: int, size: int) -> Rows:
        """Positions start … start + size of an endless row of shuffled epochs."""
        epoch_B, offset_B = np.divmod(np.arange(start, start + size), len(self.rows))
        return np.array([self._order(int(e))[o] for e, o in zip(epoch_B, offset_B, strict=True)])

    def _order(self, epoch: int) -> Rows:
        if epoch not in self._orders:
            if len(self._orders) > 2:
                self._orders.clear()
            random = generator_for(self._seed, Stream.ORDER, epoch)
            if self._groups:
                self._orders[epoch] = _balanced_order(self._groups, len(self.rows), random)
            else:
                self._orders[epoch] = self.rows[random.permutation(len(self.rows))]
        return self._orders[epoch]


def _combinations(index_NA: Rows, rows: Rows) -> list[Rows]:
    """Rows of each combination of attribute values that occurs."""
    _, group_N = np.unique(index_NA[rows], axis=0, return_inverse=True)
    group_N = group_N.ravel()
    return [rows[group_N == group] for group in range(group_N.max() + 1)]


def _balanced_order(groups: list[Rows], length: int, random: np.random.Generator) -> Rows:
    """`length` rows, each group as often as any other, each picture of a group in its turn."""
    share, rest = divmod(length, len(groups))
    extra = set(random.permutation(len(groups))[:rest].tolist())
    parts = []
    for number, group in enumerate(groups):
        count = share + (number in extra)
        rounds = -(-count // len(group))
        turns = [random.permutation(group) for _ in range(rounds)] or [group[:0]]
        parts.append(np.concatenate(turns)[:count])
    return random.permutation(np.concatenate(parts))
