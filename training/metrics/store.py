"""Keeps on disk what was seen in pictures, under the hash of their pixels, and finds it again.

A store that cannot be used is no error: the pictures are looked at once more. It knows nothing of
what is kept.
"""

import contextlib
import hashlib
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]


def remembered(
    folder: Path | None, judge: str, image_NHWC: NDArray[np.uint8], look: Callable[[], Arrays]
) -> tuple[Arrays, bool]:
    """What `judge` sees in the pictures, and whether it was found; without a folder, looks anew."""
    if folder is None:
        return look(), False
    pixels = hashlib.sha256(np.ascontiguousarray(image_NHWC).tobytes()).hexdigest()
    path = folder / f"{judge}-{image_NHWC.shape[1]}-{pixels[:32]}.npz"
    kept = _read(path)
    if kept is not None:
        return kept, True
    seen = look()
    _write(path, seen)
    return seen, False


def _read(path: Path) -> Arrays | None:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return dict(arrays)
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile):
        return None


def _write(path: Path, arrays: Arrays) -> None:
    partial = path.with_suffix(f".{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
        partial.replace(path)
    except OSError:  # it will be looked at again, no more
        with contextlib.suppress(OSError):
            partial.unlink()
