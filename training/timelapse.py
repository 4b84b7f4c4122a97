"""A run's sample grids → the whole run as one animation: the same seeds, from noise to faces.

Knows nothing about networks: it reads the pictures that the trainer left.
"""

import re
from pathlib import Path

import numpy as np
from PIL import Image

from training.animation import animated_webp
from training.grids import cells, grid, with_caption

FACES, COLUMNS = 16, 4  # the first so many seeds
MAX_FRAMES = 60
MAX_SIDE = 64  # of a face, in pixels
FRAME_MS, LAST_FRAME_MS = 120, 2000

_GRID_NAME = re.compile(r"(\d+)k\.png")


def timelapse(run: Path, resolution: int) -> bytes | None:
    """The run as an animated WebP; None where it has left fewer than two grids.

    `resolution`: side of one face in the grids, the network's full one. A grid that cannot be
    read, as when it is being written at this moment, is passed over.
    """
    found = [
        (int(match[1]), path)
        for path in (run / "samples").glob("*.png")
        if (match := _GRID_NAME.fullmatch(path.name))
    ]
    frames = []
    for kimg, path in _thinned(sorted(found)):
        try:
            with Image.open(path) as sheet:
                faces = cells(sheet, resolution)[:FACES]
        except OSError:
            continue
        frame = grid(faces, COLUMNS)
        if resolution > MAX_SIDE:
            frame = frame.reduce(resolution // MAX_SIDE)
        frames.append(with_caption(frame, f"{kimg} kimg"))
    if len(frames) < 2 or len({frame.size for frame in frames}) > 1:
        return None
    return animated_webp(frames, [FRAME_MS] * (len(frames) - 1) + [LAST_FRAME_MS])


def _thinned(grids: list[tuple[int, Path]]) -> list[tuple[int, Path]]:
    """At most MAX_FRAMES of them, evenly over the run, the first and the last among them."""
    if len(grids) <= MAX_FRAMES:
        return grids
    return [grids[i] for i in np.linspace(0, len(grids) - 1, MAX_FRAMES).round().astype(int)]
