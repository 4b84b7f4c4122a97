"""An engine that raises, is out of memory or makes no numbers: who is told, what is counted.

How a batch is tried again picture by picture is in tests/service/test_batcher.py.
"""

import asyncio

import numpy as np
import pytest
from answers import picture, problem
from fakes import FakeEngine
from serving import eventually, sample_of, serve

from service.batcher import FAILURES_BEFORE_DEATH, IDLE_SECONDS, State
from service.errors import EngineOutOfMemoryError, NotFiniteError


class Failing(FakeEngine):
    """Raises `error()` for every latent that `hit` picks."""

    def __init__(self, error, hit, **options):
        super().__init__(**options)
        self.error, self.hit = error, hit

    def generate(self, z_BZ, y_BL):
        if any(self.hit(z_Z) for z_Z in z_BZ):
            raise self.error()
        return super().generate(z_BZ, y_BL)


def failures(client, reason):
    name = "visage_engine_failures_total"
    return sample_of(client)(name, model="fake-16", reason=reason)


@pytest.mark.parametrize(
    ("error", "slug", "reason"),
    [
        (lambda: RuntimeError("CUDA error: illegal access"), "inference-failed", "error"),
        (lambda: NotFiniteError("a picture of NaN"), "not-finite", "not_finite"),
        (lambda: EngineOutOfMemoryError("no room"), "out-of-memory", "out_of_memory"),
    ],
    ids=["raises", "not finite", "out of memory"],
)
async def test_an_engine_that_always_fails_is_given_up_and_says_so(error, slug, reason):
    async with serve(lambda: Failing(error, lambda z_Z: True, tile=2)) as client:
        for n in range(FAILURES_BEFORE_DEATH):
            problem(await client.get(f"/v1/faces/{n}.png"), 500, slug)
        await eventually(lambda: client.app.state.fleet.state is State.FAILED)
        problem(await client.get("/readyz"), 503, "not-ready")
        problem(await client.get("/healthz"), 503, "not-ready")
        problem(await client.get("/image"), 503, "not-ready")
        # Each batch, and at last a latent of nothing in particular.
        assert failures(client, reason) == FAILURES_BEFORE_DEATH + 1
        if reason == "out_of_memory":
            assert sample_of(client)("visage_engine_oom_total", model="fake-16") > 0


async def test_latents_that_no_picture_comes_of_cost_their_senders_only():
    """However often: a client must not be able to have the engine given up."""
    too_large = [1e6] * 8

    def engine():
        return Failing(lambda: NotFiniteError("not a picture"), lambda z_Z: z_Z.max() > 1e5)

    async with serve(engine) as client:
        body = {"latents": [too_large], "layout": "sheet"}
        for n in range(2 * FAILURES_BEFORE_DEATH):
            bad, good = await asyncio.gather(
                client.post("/v1/faces", json=body), client.get(f"/v1/faces/{n}.png")
            )
            assert "not a picture" in problem(bad, 500, "not-finite")["detail"]
            picture(good)
        for _ in range(2 * FAILURES_BEFORE_DEATH):
            problem(await client.post("/v1/faces", json=body), 500, "not-finite")
        assert (await client.get("/readyz")).status_code == 200
        assert failures(client, "not_finite") >= 4 * FAILURES_BEFORE_DEATH
        assert sample_of(client)("visage_cache_requests_total", result="error") == 0


async def test_latents_of_zeros_do_not_have_the_engine_given_up():
    """In fp16 pixel norm makes NaN of them: an engine is tried on other numbers than those."""

    def engine():
        return Failing(lambda: NotFiniteError("not a picture"), lambda z_Z: not z_Z.any())

    async with serve(engine) as client:
        body = {"latents": [[0.0] * 8], "layout": "sheet"}
        for _ in range(2 * FAILURES_BEFORE_DEATH):
            problem(await client.post("/v1/faces", json=body), 500, "not-finite")
        assert (await client.get("/readyz")).status_code == 200


async def test_what_failed_is_neither_cached_nor_shared():
    troubles = iter([True, True])

    def engine():
        return Failing(lambda: NotFiniteError("not a picture"), lambda z_Z: next(troubles, False))

    async with serve(engine) as client:
        problem(await client.get("/v1/faces/7.png"), 500, "not-finite")
        assert picture(await client.get("/v1/faces/7.png")).size == (16, 16)
        assert sample_of(client)("visage_cache_requests_total", result="hit") == 0


async def test_a_reservoir_is_never_filled_with_what_is_no_picture():
    def engine():
        return Failing(lambda: NotFiniteError("not a picture"), lambda z_Z: np.abs(z_Z).max() > 0)

    async with serve(engine, reservoir=4) as client:
        await eventually(lambda: failures(client, "not_finite") == 2)
        assert sample_of(client)("visage_reservoir_faces", model="fake-16") == 0
        # It is tried again after a while, not as often as there is nothing else to do.
        await asyncio.sleep(10 * IDLE_SECONDS)
        assert failures(client, "not_finite") <= 4
        problem(await client.get("/v1/faces/7.png"), 500, "not-finite")  # nobody waits for that
