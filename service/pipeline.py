"""The story of a picture on one screen: labels → latent → queue → await → encode.

Knows nothing about HTTP, and nothing about engines: it meets them only at the queue.
"""

import asyncio
import time
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.encoder import ENCODER_VERSION, encode_png
from service.labels import ModelSpec, label_text
from service.latents import latent
from service.params import FORMATS, FaceParams, Seed, face_key
from service.provenance import text_fields
from service.request_queue import RequestQueue
from service.telemetry import Telemetry


@dataclass(frozen=True)
class Face:
    """A request made complete: everything its bytes depend on, before any work is done."""

    spec: ModelSpec
    seed: Seed
    labels: Mapping[str, str]
    """A value for every attribute of the model."""
    size: int
    """Pixels a side."""
    format: str

    @property
    def media_type(self) -> str:
        return FORMATS[self.format]

    @property
    def label_text(self) -> str:
        """As in X-Labels: `gender=female&age=30-39`."""
        return label_text(self.labels)

    @property
    def key(self) -> str:
        """Names the exact bytes."""
        return face_key(
            digest=self.spec.digest,
            encoder=ENCODER_VERSION,
            seed=self.seed,
            labels=self.label_text,
            size=self.size,
            format_=self.format,
        )


@dataclass(frozen=True)
class Picture:
    """An encoded face, and the seconds each stage took."""

    content: bytes
    queue_seconds: float
    inference_seconds: float
    encode_seconds: float


def complete(params: FaceParams, spec: ModelSpec) -> Face:
    """Fill in what the request left open: labels by the seed, size by the model."""
    labels = spec.space.complete(params.given, params.seed.text)
    return Face(spec, params.seed, labels, params.size or spec.resolution, params.format)


class Pipeline:
    """Makes pictures of faces. `deadline`: seconds a picture may take, queue and engine."""

    def __init__(
        self, queue: RequestQueue, encoders: Executor, telemetry: Telemetry, *, deadline: float
    ) -> None:
        self._queue = queue
        self._encoders = encoders
        self._telemetry = telemetry
        self._deadline = deadline

    async def picture(self, face: Face) -> Picture:
        """The bytes of `face`.

        Raises QueueFullError, DeadlineError, InferenceError, NotReadyError or DrainingError.
        Cancelling it takes the request out of the queue.
        """
        deadline = time.monotonic() + self._deadline
        z_Z = latent(face.seed, face.spec.latent_dim)
        y_L = face.spec.space.encode(face.labels)

        inferred = await self._queue.submit(z_Z, y_L, deadline=deadline)

        started = time.perf_counter()
        content = await asyncio.get_running_loop().run_in_executor(
            self._encoders, self._encode, face, inferred.image
        )
        encode_seconds = time.perf_counter() - started
        return Picture(content, inferred.queue_seconds, inferred.inference_seconds, encode_seconds)

    def _encode(self, face: Face, image_HWC: NDArray[np.uint8]) -> bytes:
        text = text_fields(seed=str(face.seed), model=face.spec.identity, labels=face.label_text)
        with self._telemetry.encode.labels(face.format).time():
            return encode_png(image_HWC, text=text, size=face.size)
