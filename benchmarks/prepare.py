"""Pictures per second of `training prepare`, beside its bare decode-and-resize loop.

    python -m benchmarks.prepare --pictures 4000 --resolution 128 --workers 2

The pictures are generated: JPEG files of 200×200 pixels, about as heavy as small photographs.
The ratio is to that many workers doing nothing but decoding and resizing: what is lost to
hashing, PNG, processes and the disk. `--minimum` makes it a check that exits with 1.
"""

import argparse
import io
import os
import sys
import tempfile
import time
import zipfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from PIL import Image

from training.pictures import load_picture
from training.prepare import prepare
from training.sources import SourceFiles

SIDE = 200


def main() -> int:
    arguments = _parse_arguments()
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source.zip"
        _generate(source, arguments.pictures)
        report = prepare(
            source,
            Path(folder) / "archive.zip",
            resolution=arguments.resolution,
            workers=arguments.workers,
        )
        rate = report.files / report.seconds
        bare = _bare_rate(source, arguments.resolution, arguments.workers)
    print(
        f"prepare {rate:.0f} pictures/s, decode and resize alone {bare:.0f}, ratio "
        f"{rate / bare:.2f} ({report.files} JPEG of {SIDE} px to {report.resolution} px, "
        f"{arguments.workers} workers)"
    )
    return 1 if rate < arguments.minimum else 0


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pictures", type=int, default=4000)
    parser.add_argument("--resolution", type=int, default=128)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--minimum", type=float, default=0.0, help="pictures/s below which to fail")
    return parser.parse_args()


def _generate(path: Path, pictures: int) -> None:
    """A folder-per-class zip of smooth colour fields with some grain, no two alike."""
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(path, "w") as archive:
        for i in range(pictures):
            coarse = rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)
            smooth = Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
            grain = rng.normal(0, 6, (SIDE, SIDE, 1))
            pixels = np.clip(np.asarray(smooth) + grain, 0, 255).astype(np.uint8)
            jpeg = io.BytesIO()
            Image.fromarray(pixels).save(jpeg, "JPEG", quality=75)
            archive.writestr(f"{'ab'[i % 2]}/{i:06d}.jpg", jpeg.getvalue())


def _bare_rate(source: Path, resolution: int, workers: int) -> float:
    """Pictures/s of `workers` processes that decode and resize and nothing else."""
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        jobs = [
            pool.submit(_decode_and_resize, source, resolution, workers, k) for k in range(workers)
        ]
        return sum(job.result() for job in jobs)


def _decode_and_resize(source: Path, resolution: int, step: int, start: int) -> float:
    with SourceFiles(source) as files:
        pictures = [files.read(name) for name in files.names()[start::step]]
    started = time.perf_counter()
    for data in pictures:
        load_picture(data, resolution)
    return len(pictures) / (time.perf_counter() - started)


if __name__ == "__main__":
    sys.exit(main())
