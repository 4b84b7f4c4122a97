"""BentoML: a batching generator behind an API service, as its documentation composes them."""

from typing import Annotated

import bentoml
import numpy as np
from bentoml.validators import ContentType
from generator import BATCH, Faces, png


@bentoml.service(workers=1, traffic={"timeout": 60, "max_concurrency": 1000})
class Generator:
    def __init__(self) -> None:
        self.faces = Faces()

    @bentoml.api(batchable=True, max_batch_size=BATCH, max_latency_ms=60000)
    def generate(self, seeds: list[int]) -> list[np.ndarray]:
        return self.faces.pixels(seeds)


@bentoml.service(workers=1, traffic={"timeout": 60, "max_concurrency": 1000})
class Api:
    generator = bentoml.depends(Generator)

    @bentoml.api(route="/face")
    async def face(self, seed: int) -> Annotated[bytes, ContentType("image/png")]:
        (pixels,) = await self.generator.to_async.generate([seed])
        return png(np.asarray(pixels, dtype=np.uint8))
