"""Dataset archive → real pictures at any resolution, and their labels.

The archive is decoded once; after that pictures come from uint8 memory maps, one per resolution,
kept in a folder beside it. Knows nothing about networks or schedules, or which pictures are drawn
when.
"""

import errno
import io
import math
import os
import shutil
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models import Attribute
from training.description import read_description
from training.errors import ConfigError, DatasetError
from training.zip_members import read_member

CHUNK = 512
MOST_COMBINATIONS = 1 << 16
MOST_AXES = 12
"""Of a joint prior: each attribute more multiplies it; a checkpoint holds it as nested lists."""


_NO_FALLOCATE = (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS)
"""What file systems say that cannot take place ahead."""


@dataclass(frozen=True)
class Batch:
    """Real pictures and their labels."""

    image_BHWC: NDArray[np.uint8]
    label_BL: NDArray[np.float32]
    """The attributes' one-hots in a row."""


class Dataset:
    """A prepared archive, ready to be drawn from.

    Raises DatasetError where the archive is missing, damaged or of another version.
    """

    def __init__(self, archive: Path) -> None:
        description = read_description(archive)
        self.archive = archive
        self.name = description.name
        self.digest = description.digest
        self.resolution = description.resolution
        self._names = description.files
        self._values = description.attributes
        self.index_NA = description.index_NA
        self._maps: dict[int, NDArray[np.uint8]] = {}

    def __len__(self) -> int:
        return len(self._names)

    @property
    def label_dim(self) -> int:
        """L: the number of values of all attributes."""
        return sum(len(values) for _, values in self._values)

    @property
    def label_sizes(self) -> tuple[int, ...]:
        """The number of values of each attribute, in the label vector's order."""
        return tuple(len(values) for _, values in self._values)

    def check_large_enough(self, resolution: int) -> None:
        """Raises ConfigError where the pictures are smaller."""
        if resolution > self.resolution:
            raise ConfigError(
                f"{self.archive} holds pictures of {self.resolution} px, the run needs "
                f"{resolution}: prepare it again with --resolution {resolution}"
            )

    def joint_prior(self) -> NDArray[np.float64] | None:
        """Share of the pictures in each combination of values, an axis for each attribute.

        None without attributes, and with so many that pictures could not fill it: labels are
        drawn independently of each other then.
        """
        sizes = self.label_sizes
        if not 0 < len(sizes) <= MOST_AXES or math.prod(sizes) > MOST_COMBINATIONS:
            return None
        counts = np.zeros(sizes)
        np.add.at(counts, tuple(self.index_NA.T), 1)
        return counts / counts.sum()

    def attributes(self) -> tuple[Attribute, ...]:
        """The attributes with each value's share of the pictures."""
        return tuple(
            Attribute(
                name,
                values,
                tuple(np.bincount(self.index_NA[:, i], minlength=len(values)) / len(self)),
            )
            for i, (name, values) in enumerate(self._values)
        )

    def one_hot(self, index_BA: NDArray[np.int64]) -> NDArray[np.float32]:
        """Value indices → label vectors label_BL."""
        parts = [
            np.eye(len(values), dtype=np.float32)[index_BA[:, i]]
            for i, (_, values) in enumerate(self._values)
        ]
        return np.concatenate(parts, axis=1) if parts else np.zeros((len(index_BA), 0), np.float32)

    def indices(self, label_BL: NDArray[np.float32]) -> NDArray[np.int64]:
        """Label vectors → value indices index_BA: the inverse of `one_hot`."""
        if not self.label_sizes:
            return np.zeros((len(label_BL), 0), np.int64)
        parts = np.split(label_BL, np.cumsum(self.label_sizes)[:-1], axis=1)
        return np.stack([part.argmax(axis=1) for part in parts], axis=1)

    def images(self, resolution: int) -> NDArray[np.uint8]:
        """Every picture at `resolution`, image_NHWC, as a read-only memory map."""
        if resolution not in self._maps:
            path = self._cache_folder() / f"{resolution}.npy"
            if not path.is_file():
                self._build_cache()
            if not path.is_file():
                raise DatasetError(
                    f"{self.archive} holds pictures of {self.resolution} px, which cannot give "
                    f"{resolution} px: prepare it again with --resolution {resolution}"
                )
            self._maps[resolution] = np.load(path, mmap_mode="r")
        return self._maps[resolution]

    def _cache_folder(self) -> Path:
        return self.archive.with_name(self.archive.name + ".cache") / self.digest[:16]

    def _build_cache(self) -> None:
        """Decode every picture once; halve by box down to 4 px; appear all at once."""
        folder = self._cache_folder()
        partial = folder.with_name(f"{folder.name}.partial-{os.getpid()}")
        shutil.rmtree(partial, ignore_errors=True)
        try:
            partial.mkdir(parents=True)
            sides = [2**k for k in range(2, self.resolution.bit_length())]
            maps = {
                side: _whole_map(partial / f"{side}.npy", (len(self), side, side, 3))
                for side in sides
            }
            for start in range(0, len(self), CHUNK):
                image_NHWC = self._decode(self._names[start : start + CHUNK])
                stop = start + len(image_NHWC)
                for side in reversed(sides):
                    maps[side][start:stop] = image_NHWC
                    image_NHWC = _halve(image_NHWC)
            for array in maps.values():
                array.flush()
            shutil.rmtree(folder, ignore_errors=True)
            partial.rename(folder)
        except OSError as error:
            raise DatasetError(
                f"the pictures of {self.archive} cannot be unpacked to {folder.parent}: "
                f"{error.strerror or error}; free some space there or make it writable"
            ) from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def _decode(self, names: Sequence[str]) -> NDArray[np.uint8]:
        with zipfile.ZipFile(self.archive) as archive, ThreadPoolExecutor() as pool:

            def decode(name: str) -> NDArray[np.uint8]:
                side = self.resolution
                try:
                    content = io.BytesIO(read_member(archive, name))
                    with Image.open(content, formats=("PNG",)) as image:
                        width, height = image.size
                        if (width, height) == (side, side):
                            return np.asarray(image.convert("RGB"))
                except Exception as error:  # decoders raise anything on damaged input
                    raise DatasetError(
                        f"{self.archive}: {name} cannot be read ({error}); prepare it again"
                    ) from error
                raise DatasetError(
                    f"{self.archive}: {name} is {width}×{height}, not {side} px square; "
                    "prepare it again"
                )

            return np.stack(list(pool.map(decode, names)))


def _whole_map(path: Path, shape: tuple[int, ...]) -> "np.memmap[Any, np.dtype[np.uint8]]":
    """A new array in a file, whose place on the disk is taken now where the system can do that.

    OSError where there is none: a sparse file that finds the disk full later is a bus error, which
    ends the process.
    """
    array = np.lib.format.open_memmap(path, "w+", np.uint8, shape)
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            try:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
            except OSError as error:
                if error.errno not in _NO_FALLOCATE:
                    raise
    return array


def _halve(image_NHWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """2×2 box mean, rounded."""
    n, h, w, c = image_NHWC.shape
    blocks = image_NHWC.reshape(n, h // 2, 2, w // 2, 2, c).astype(np.uint16)
    return ((blocks.sum(axis=(2, 4)) + 2) // 4).astype(np.uint8)
