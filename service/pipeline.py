"""The story of a picture on one screen: cache? → latent → queue → await → encode → sign → store.

Knows nothing about HTTP, and nothing about engines: it meets them only at the queue.
"""

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from service.budget import Reservation
from service.cache import PictureCache
from service.encoder import encode, encoder_version
from service.errors import DrainingError
from service.face_json import face_json
from service.labels import ModelSpec, label_text
from service.latents import latent
from service.params import FORMATS, FaceParams, Seed, face_key
from service.provenance import Claims
from service.request_queue import Inferred
from service.served import Served
from service.signing import Signer
from service.telemetry import Telemetry

SOON_ENCODED = 128**2
"""Pixels of a PNG that is encoded at once: handing it to a thread and back would take as long."""


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

    def latent(self) -> NDArray[np.float32]:
        """z_Z of its seed."""
        return latent(self.seed, self.spec.latent_dim)

    def label_vector(self) -> NDArray[np.float32]:
        """y_L of its labels."""
        return self.spec.space.encode(self.labels)

    @functools.cached_property
    def label_text(self) -> str:
        """As in X-Labels: `gender=female&age=30-39`."""
        return label_text(self.labels)

    @functools.cached_property
    def claims(self) -> Claims:
        """What the picture says about itself."""
        return Claims(seed=str(self.seed), model=self.spec.identity, labels=self.label_text)

    @functools.cached_property
    def key(self) -> str:
        """Names the exact bytes."""
        return face_key(
            source=self.spec.source,
            encoder=encoder_version(picture_format(self.format)),
            seed=self.seed,
            labels=self.label_text,
            size=self.size,
            format_=self.format,
        )


@dataclass(frozen=True)
class Picture:
    """An encoded face; `seconds` each stage took, empty where none was needed."""

    content: bytes
    cache: str
    """`hit`, `miss` or `coalesced`."""
    seconds: Mapping[str, float] = field(default_factory=dict)


def complete(params: FaceParams, served: Served) -> Face:
    """Fill in what the request left open: labels by the seed, size by the model."""
    spec = served.spec
    labels = spec.space.complete(params.given, params.seed.root.text)
    size = params.size or spec.resolution
    return Face(spec, params.seed, labels, size, params.format)


def picture_format(format_: str) -> str:
    """The format of the pixels: JSON holds a PNG."""
    return "png" if format_ == "json" else format_


class Pipeline:
    """Makes pictures of faces. `deadline`: seconds a picture may take, queue and engine.

    `encoders` run what takes milliseconds, `assembler` sheets and animations, which take seconds:
    one at a time, so that no face waits for them.
    """

    def __init__(
        self,
        cache: PictureCache,
        encoders: Executor,
        assembler: Executor,
        telemetry: Telemetry,
        *,
        deadline: float,
        signer: Signer | None = None,
    ) -> None:
        self._cache = cache
        self._signer = signer
        self._encoders = encoders
        self._assembler = assembler
        self._encoding = functools.cache(telemetry.encode.labels)
        self._telemetry = telemetry
        self.deadline = deadline

    def etag(self, key: str) -> str:
        """Names the bytes of `key`; weakly where a signature puts the time into them."""
        return f'"{key}"' if self._signer is None else f'W/"{key}"'

    async def picture(
        self, face: Face, served: Served, image_HWC: NDArray[np.uint8] | None = None
    ) -> Picture:
        """The bytes of a seeded face: stored, in the making for somebody else, or made now.

        `image_HWC`: what the engine made of it, where somebody has that already.
        Raises QueueFullError, DeadlineError, InferenceError, NotReadyError or DrainingError.
        Cancelling it takes the request out of the queue, unless others wait for the same face.
        """
        if image_HWC is None:
            self.check_room(face.key, served)
        seconds: dict[str, float] = {}

        async def make() -> bytes:
            if image_HWC is not None:
                return await self.encoded(face, image_HWC, seconds)
            with served.hold():  # whoever waits for this may have come by another lease
                return await self.made(face, served, seconds)

        return await self.stored(face.key, make, seconds, served)

    def at_hand(self, face: Face) -> Picture | None:
        """The picture of a seeded face, where this process has made it before."""
        content = self.known(face.key)
        return None if content is None else Picture(content, "hit")

    def known(self, key: str) -> bytes | None:
        """What `key` names, where this process has it."""
        return self._cache.get(self._stored_as(key))

    def check_room(self, key: str, served: Served, pictures: int = 1) -> None:
        """QueueFullError where `key` asks for so many and they have no room, or what the queue was
        closed with."""
        if self._cache.must_make(self._stored_as(key)):
            served.queue.check(self.deadline, pictures)

    async def stored(
        self,
        key: str,
        make: Callable[[], Awaitable[bytes]],
        seconds: Mapping[str, float],
        served: Served,
    ) -> Picture:
        """What `key` names: found, or by `make`, which fills `seconds` and whose errors it raises.

        Signed and unsigned bytes never stand for one another. `served`: what `make` asks.
        """
        name = self._stored_as(key)
        try:
            content, result = await self._cache.get_or_make(name, make)
        except DrainingError:
            if served.retired:
                raise
            # Who began to make it, and has left, held a model that was replaced by the same one.
            content, result = await self._cache.get_or_make(name, make)
        return Picture(content, result, seconds if result == "miss" else {})

    async def fresh(self, params: FaceParams, served: Served) -> tuple[Face, Picture]:
        """A face nobody has seen: from the reservoir, or made now. Raises as `picture` does."""
        seconds: dict[str, float] = {}
        ready = served.reservoir.take(params.given)
        if ready is None:
            served.queue.check(self.deadline)
        face = complete(params, served)
        if ready is not None and ready.image_HWC is not None:
            face = Face(face.spec, ready.seed, ready.labels, face.size, face.format)
            content = await self.encoded(face, ready.image_HWC, seconds)
            return face, Picture(content, "hit", seconds)
        content = await self.made(face, served, seconds)
        return face, Picture(content, "miss", seconds)

    async def made(
        self,
        face: Face,
        served: Served,
        seconds: dict[str, float],
        z_Z: NDArray[np.float32] | None = None,
    ) -> bytes:
        """The bytes of a face, computed now and stored nowhere; raises as `picture` does.

        `z_Z`: its latent, where that is not its seed's. Fills `seconds`.
        """
        z_Z = face.latent() if z_Z is None else z_Z
        inferred = await self.image(served, z_Z, face.label_vector())
        seconds["queue"] = inferred.queue_seconds
        seconds["inference"] = inferred.inference_seconds
        return await self.encoded(face, inferred.image, seconds)

    async def assembled(
        self, make: Callable[[], bytes], media_type: str, reservation: Reservation
    ) -> bytes:
        """The sheet or animation that `make` encodes, off the event loop, and signed as faces are.

        `reservation`: of the memory that `make` holds, until it is done, whoever is cancelled
        meanwhile. Raises what `make` raises.
        """
        work = [make]
        job = self._assembler.submit(lambda: self._signed(work.pop()(), media_type))
        reservation.lasts_until_done(job)
        try:
            return await asyncio.wrap_future(job)
        finally:
            work.clear()  # what is cancelled before its turn, the executor keeps until then

    async def image(
        self,
        served: Served,
        z_Z: NDArray[np.float32],
        y_L: NDArray[np.float32],
        *,
        deadline: float | None = None,
    ) -> Inferred:
        """The bare image of one latent, not encoded; raises as `picture` does.

        `deadline`: `time.monotonic()` seconds; None: as long as a picture may take, from now.
        """
        if deadline is None:
            deadline = time.monotonic() + self.deadline
        return await served.queue.submit(z_Z, y_L, deadline=deadline)

    async def encoded(
        self, face: Face, image_HWC: NDArray[np.uint8], seconds: dict[str, float]
    ) -> bytes:
        """The bytes of a face whose image is there; fills `seconds`."""
        started = time.perf_counter()
        largest = max(face.size, len(image_HWC))  # resampling takes as long as the larger one
        if self._signer is None and face.format == "png" and largest**2 <= SOON_ENCODED:
            content = self._encode(face, image_HWC)
        else:
            with self._telemetry.encoder_backlog.track_inprogress():
                content = await asyncio.get_running_loop().run_in_executor(
                    self._encoders, self._encode, face, image_HWC
                )
        seconds["encode"] = time.perf_counter() - started
        return content

    def _encode(self, face: Face, image_HWC: NDArray[np.uint8]) -> bytes:
        with self._encoding(face.format).time():
            content = encode(
                image_HWC, picture_format(face.format), claims=face.claims, size=face.size
            )
            content = self._signed(content, FORMATS[picture_format(face.format)])
            if face.format != "json":
                return content
            return face_json(
                seed=face.seed.text,
                model=face.spec.identity,
                labels=face.labels,
                size=face.size,
                z_Z=face.latent(),
                png=content,
            )

    def _stored_as(self, key: str) -> str:
        return key if self._signer is None else f"{key}-{self._signer.name}"

    def _signed(self, content: bytes, media_type: str) -> bytes:
        return content if self._signer is None else self._signer.sign(content, media_type)
