"""The best of several faces: who the candidates are, and which one the critic likes most.

Knows nothing about HTTP. A choice is a seed: what it names is an ordinary face, the same picture
under its own address, and only who won is remembered.
"""

import time
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from service.pacing import Work, paced
from service.params import Seed
from service.pipeline import Face, Picture, Pipeline
from service.request_queue import Inferred
from service.served import Served

TRIES = 2000
"""Numbers that are looked at for seeds that decide the same labels: some milliseconds' worth."""
_VERSION = "1"
"""Changes with who the candidates are."""


def candidates(face: Face, given: Mapping[str, str], count: int) -> list[Face]:
    """`face` and up to `count` − 1 others with its labels, of which each is a seed of its own.

    They are decided by its seed and by `given`, the labels asked for; those of a smaller count
    come first. Strangers to one another, as long as numbers whose own labels are these are found;
    where such labels are too rare, variations of the seed, which share its labels.
    """
    labels_agree = face.spec.space.decides(given, face.labels)
    seeds = [face.seed]
    for number in range(TRIES):
        if len(seeds) == count:
            break
        digest = sha256(f"best of\n{face.seed.text}\n{number}".encode()).digest()
        further = int.from_bytes(digest[:8], "big")
        if labels_agree(str(further)):
            seeds.append(Seed(str(further), further))
    for number in range(1, count - len(seeds) + 1):
        variation = Seed.parse(f"{face.seed.text}~{number}")
        if isinstance(variation, Seed):  # else the seed is as long as seeds may be
            seeds.append(variation)
    return [replace(face, seed=seed) for seed in seeds]


def remembered(faces: Sequence[Face], pipeline: Pipeline) -> Face | None:
    """The best of `faces`, where this process has chosen before."""
    winner = pipeline.known(choice_key(faces))
    return None if winner is None else faces[int(winner)]


async def best(faces: Sequence[Face], served: Served, pipeline: Pipeline) -> tuple[Face, Picture]:
    """The best of `faces` and its picture, chosen before or now; for seeded faces.

    Raises as `Pipeline.picture` does.
    """
    key = choice_key(faces)
    pipeline.check_room(key, served, len(faces))
    seconds: dict[str, float] = {}
    made: list[Picture] = []

    async def choose() -> bytes:
        with served.hold():  # whoever waits for this may have come by another lease
            winner, image_HWC = await _choose(faces, served, pipeline, seconds)
            # Stored first: who waits for the choice finds the picture.
            made.append(await pipeline.picture(faces[winner], served, image_HWC))
            return str(winner).encode()

    choice = await pipeline.stored(key, choose, seconds, served)
    face = faces[int(choice.content)]
    if made:
        return face, Picture(made[0].content, choice.cache, {**seconds, **made[0].seconds})
    picture = await pipeline.picture(face, served)
    cache = picture.cache if choice.cache == "hit" else choice.cache
    return face, replace(picture, cache=cache)


async def best_fresh(
    faces: Sequence[Face], served: Served, pipeline: Pipeline
) -> tuple[Face, Picture]:
    """The same for faces nobody has seen: nothing is remembered."""
    served.queue.check(pipeline.deadline, len(faces))
    seconds: dict[str, float] = {}
    winner, image_HWC = await _choose(faces, served, pipeline, seconds)
    content = await pipeline.encoded(faces[winner], image_HWC, seconds)
    return faces[winner], Picture(content, "miss", seconds)


def choice_key(faces: Sequence[Face]) -> str:
    """Names everything that the choice depends on; size and format do not matter to it."""
    face = faces[0]
    model = (face.spec.source, face.spec.critic)
    parts = ("choice", _VERSION, *model, face.label_text, *(str(f.seed) for f in faces))
    return sha256("\n".join(parts).encode()).hexdigest()[:32]


async def _choose(
    faces: Sequence[Face], served: Served, pipeline: Pipeline, seconds: dict[str, float]
) -> tuple[int, NDArray[np.uint8]]:
    """Which of the faces the critic likes most, the first of equals, and its image_HWC."""
    judge = served.judge
    if judge is None:  # nobody asks where the spec names no critic: the model has stopped meanwhile
        raise served.batcher.refusal()
    with judge.room(len(faces), pipeline.deadline):
        deadline = time.monotonic() + pipeline.deadline
        y_L = faces[0].label_vector()

        def work(face: Face) -> Work[Inferred]:
            return lambda: pipeline.image(served, face.latent(), y_L, deadline=deadline)

        works = [work(face) for face in faces]
        pictures = paced(works, tile=served.tile, seconds=pipeline.deadline)
        async with aclosing(pictures):
            made = [inferred async for inferred in pictures]
        started = time.perf_counter()
        images = [inferred.image for inferred in made]
        scores = await judge.scores(images, y_L, deadline=deadline)
    winner = int(np.argmax(np.nan_to_num(scores, nan=-np.inf)))
    seconds["queue"] = max(inferred.queue_seconds for inferred in made)
    seconds["inference"] = max(inferred.inference_seconds for inferred in made)
    seconds["critic"] = time.perf_counter() - started
    return winner, images[winner]
