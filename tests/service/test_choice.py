"""Who the candidates of a choice are, and that the critic judges each by itself, in its turn."""

import asyncio
import threading
import time

import numpy as np
import pytest
from fakes import ATTRIBUTES, face_spec
from hypothesis import given
from hypothesis import strategies as st

from service.choice import TRIES, candidates, choice_key
from service.errors import DeadlineError, InferenceError, QueueFullError
from service.judge import Judge
from service.labels import Attribute, AttributeSpace
from service.params import Seed
from service.pipeline import Face
from service.telemetry import Telemetry
from service.watchdog import Device

WIDE = AttributeSpace([Attribute(f"a{n}", ("yes", "no"), (0.5, 0.5)) for n in range(40)])
"""No two seeds decide the same labels."""


SPEC = face_spec(space=AttributeSpace(ATTRIBUTES))


def face_of(text: str, space: AttributeSpace | None = None, **given_: str) -> Face:
    spec = SPEC if space is None else face_spec(space=space)
    seed = Seed.parse(text)
    return Face(spec, seed, spec.space.complete(given_, seed.root.text), 16, "png")


SEEDS = st.one_of(
    st.integers(0, 2**64 - 1).map(str), st.text("ab~1 é", min_size=1, max_size=20), st.just("7~3")
)
GIVEN = st.sampled_from(
    [{}, {"gender": "male"}, {"age": "60+"}, {"gender": "female", "age": "0-9"}]
)


@given(SEEDS, GIVEN, st.integers(2, 9))
def test_each_candidate_is_a_face_of_its_own_with_the_same_labels(text, asked, count):
    """Asked for by its seed alone, with what else was asked for, it is that very face."""
    first = face_of(text, **asked)
    found = candidates(first, asked, count)
    assert found[0] == first
    assert len({face.seed.text for face in found}) == len(found) == count
    for face in found:
        assert face == face_of(face.seed.text, **asked)
        assert face.labels == first.labels


@given(SEEDS, st.integers(2, 8))
def test_fewer_candidates_are_the_first_of_more(text, count):
    first = face_of(text)
    assert candidates(first, {}, count) == candidates(first, {}, 9)[:count]


def test_rare_labels_are_those_of_variations():
    found = candidates(face_of("7", WIDE), {}, 4)
    assert [face.seed.text for face in found] == ["7", "7~1", "7~2", "7~3"]
    assert all(face.labels == face_of(face.seed.text, WIDE).labels for face in found)


def test_a_seed_too_long_for_variations_is_its_only_candidate():
    first = face_of("x" * 128, WIDE)
    assert candidates(first, {}, 4) == [first]


def test_strangers_are_found_for_common_labels():
    found = candidates(face_of("7"), {}, 8)
    assert all(face.seed.number is not None for face in found)
    assert TRIES == 2000  # as docs/api.md says


@given(st.integers(0, 2**64 - 1), st.integers(0, 300))
def test_labels_are_decided_as_they_are_completed(seed, other):
    space = AttributeSpace(ATTRIBUTES, np.arange(1.0, 11.0).reshape(2, 5) / 55)
    labels = space.complete({}, str(seed))
    assert space.decides({}, labels)(str(seed))
    assert space.decides({}, labels)(str(other)) == (space.complete({}, str(other)) == labels)


def test_the_choice_of_another_model_engine_or_critic_is_another():
    def key(**changes: str) -> str:
        spec = face_spec(critic="c", **changes) if "critic" not in changes else face_spec(**changes)
        seed = Seed.parse("7")
        face = Face(spec, seed, spec.space.complete({}, "7"), 16, "png")
        return choice_key(candidates(face, {}, 4))

    keys = [key(), key(digest="f" * 64), key(engine="other"), key(critic="d")]
    assert len(set(keys)) == 4
    face = face_of("7")
    assert choice_key(candidates(face, {}, 4)) != choice_key(candidates(face, {}, 3))


class Brightness:
    """Likes bright pictures; `before` runs on the critic's thread ahead of each."""

    version, takes_turns, weights_bytes = "brightness", True, 10

    def __init__(self, before=lambda: None) -> None:
        self.before = before
        self.looked = 0
        self.threads: set[int] = set()

    def score(self, image_HWC, y_L) -> float:
        self.looked += 1
        self.threads.add(threading.get_ident())
        self.before()
        return float(image_HWC.mean())


def pictures(*shades: int) -> list[np.ndarray]:
    return [np.full((4, 4, 3), shade, np.uint8) for shade in shades]


def soon(seconds: float = 20.0) -> float:
    return time.monotonic() + seconds


async def test_every_picture_is_scored_off_the_loop_while_the_device_is_held():
    device = Device()
    held = []
    critic = Brightness(lambda: held.append(device._held))
    judge = Judge(critic, device, Telemetry(), "fake")
    assert await judge.scores(pictures(3, 9, 5), np.zeros(2), deadline=soon()) == [3, 9, 5]
    assert held == [True] * 3
    assert threading.get_ident() not in critic.threads
    assert len(critic.threads) == 1
    judge.close()


async def test_others_have_the_device_between_two_pictures():
    device = Device()
    order = []

    def before() -> None:
        order.append("critic")
        if len(order) == 1:
            engine.start()
            while not device.wanted:
                time.sleep(0.001)

    def compute() -> None:
        with device:
            order.append("engine")

    engine = threading.Thread(target=compute)
    judge = Judge(Brightness(before), device, Telemetry(), "fake")
    await judge.scores(pictures(1, 2), np.zeros(2), deadline=soon())
    assert order == ["critic", "engine", "critic"]
    judge.close()


async def test_a_device_that_hangs_costs_the_deadline_and_no_more():
    device = Device()
    telemetry = Telemetry()
    judge = Judge(Brightness(), device, telemetry, "fake")
    with device, pytest.raises(DeadlineError):
        await judge.scores(pictures(1), np.zeros(2), deadline=soon(0.05))
    value = telemetry.registry.get_sample_value
    assert value("visage_choices_total", {"model": "fake"}) == 0
    # What nobody waits for any more is not looked at, and the next is.
    assert await judge.scores(pictures(8), np.zeros(2), deadline=soon()) == [8]
    assert judge.critic.looked == 1
    judge.close()


async def test_what_the_critic_cannot_get_through_in_time_is_refused_before_it_is_made():
    judge = Judge(Brightness(lambda: time.sleep(0.01)), Device(), Telemetry(), "fake")
    with judge.room(1000, 0.01):  # nothing is known of its pace yet
        await judge.scores(pictures(1), np.zeros(2), deadline=soon())
        with pytest.raises(QueueFullError, match="1000 pictures") as refused, judge.room(4, 10):
            raise AssertionError("let in")
        assert refused.value.reason == "deadline"
        with judge.room(4, 1e6):
            pass
    with judge.room(4, 0.01):
        pass
    judge.close()


async def test_a_failing_critic_is_one_request_s_failure():
    fail = [True]

    def before() -> None:
        if fail:
            raise RuntimeError("no luck")

    judge = Judge(Brightness(before), Device(), Telemetry(), "fake")
    with pytest.raises(InferenceError, match="critic"):
        await judge.scores(pictures(1, 2), np.zeros(2), deadline=soon())
    fail.clear()
    assert await judge.scores(pictures(1, 2), np.zeros(2), deadline=soon()) == [1, 2]
    judge.close()


async def test_closing_ends_the_thread_after_what_waits():
    judge = Judge(Brightness(), Device(), Telemetry(), "fake")
    scores = asyncio.create_task(judge.scores(pictures(4), np.zeros(2), deadline=soon()))
    await asyncio.sleep(0)
    judge.close()
    assert await scores == [4]
    await asyncio.to_thread(judge._thread.join, 20)
    assert not judge._thread.is_alive()
