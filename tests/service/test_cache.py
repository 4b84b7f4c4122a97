import asyncio
import traceback

import pytest
from serving import eventually

from service.cache import Claim, PictureCache
from service.errors import (
    DrainingError,
    InferenceError,
    InvalidParameter,
    InvalidParametersError,
    MethodNotAllowedError,
    QueueFullError,
    RateLimitedError,
)
from service.telemetry import Telemetry

PICTURE = b"picture" * 100


class Maker:
    """Makes pictures when told to; counts how often it was asked, and how often cancelled."""

    def __init__(self, content=PICTURE, error=None):
        self.calls = self.cancelled = 0
        self.proceed = asyncio.Event()
        self.content, self.error = content, error

    async def __call__(self):
        self.calls += 1
        try:
            await self.proceed.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error is not None:
            raise self.error
        return self.content


class Shelf:
    """A shared store in memory. `holder` has the claim to whatever is not there."""

    def __init__(self, *, holder=None):
        self.pictures, self.holder = {}, holder
        self.asked = self.released = 0

    async def get_or_claim(self, key):
        self.asked += 1
        if key in self.pictures:
            return self.pictures[key]
        if self.holder is not None:
            return None
        self.holder = Claim("ours")
        return self.holder

    async def put(self, key, content, claim):
        self.pictures[key] = content
        await self.release(key, claim)

    async def release(self, key, claim):
        if claim == self.holder:
            self.holder = None
            self.released += 1


@pytest.fixture
def telemetry():
    return Telemetry()


@pytest.fixture
async def cache(telemetry):
    cache = PictureCache(2**20, telemetry)
    yield cache
    await cache.aclose()
    assert not cache._flights
    assert not cache._tasks


@pytest.fixture
def counted(telemetry):
    def value(result):
        return telemetry.registry.get_sample_value(
            "visage_cache_requests_total", {"result": result}
        )

    return value


async def ask(cache, maker, count=1, key="a"):
    """Tasks that wait for the picture; returns once all of them do."""
    fresh = key not in cache._flights
    before = 0 if fresh else len(cache._flights[key].waiters)
    tasks = [asyncio.create_task(cache.get_or_make(key, maker)) for _ in range(count)]
    await eventually(
        lambda: key in cache._flights and len(cache._flights[key].waiters) == before + count
    )
    await eventually(lambda: maker.calls == 1 or not fresh or cache._shared is not None)
    return tasks


async def test_a_picture_is_made_once_and_found_after_that(cache, counted):
    maker = Maker()
    maker.proceed.set()
    assert await cache.get_or_make("a", maker) == (PICTURE, "miss")
    assert await cache.get_or_make("a", maker) == (PICTURE, "hit")
    assert maker.calls == 1
    assert (counted("miss"), counted("hit")) == (1, 1)


async def test_who_asks_meanwhile_shares_one_making(cache, counted):
    maker = Maker()
    tasks = await ask(cache, maker, 5)
    maker.proceed.set()
    answers = await asyncio.gather(*tasks)
    assert [result for _, result in answers] == ["miss"] + 4 * ["coalesced"]
    assert {content for content, _ in answers} == {PICTURE}
    assert maker.calls == 1
    assert counted("coalesced") == 4


async def test_different_pictures_are_made_beside_each_other(cache):
    first, second = Maker(b"first"), Maker(b"second")
    (slow,) = await ask(cache, first, key="a")
    second.proceed.set()
    assert await cache.get_or_make("b", second) == (b"second", "miss")
    first.proceed.set()
    assert await slow == (b"first", "miss")


@pytest.mark.parametrize("leaver", [0, 1, 2], ids=["leader", "middle", "last"])
async def test_who_leaves_disturbs_nobody(cache, leaver):
    maker = Maker()
    tasks = await ask(cache, maker, 3)
    tasks[leaver].cancel()
    await asyncio.wait([tasks[leaver]])
    maker.proceed.set()
    stayed = await asyncio.gather(*(task for task in tasks if task is not tasks[leaver]))
    assert [content for content, _ in stayed] == [PICTURE, PICTURE]
    assert (maker.calls, maker.cancelled) == (1, 0)


async def test_the_last_one_to_leave_takes_the_work_with_it(cache):
    maker = Maker()
    tasks = await ask(cache, maker, 3)
    for task in tasks:
        assert maker.cancelled == 0
        task.cancel()
        await asyncio.wait([task])
    await eventually(lambda: maker.cancelled == 1)
    assert not cache._flights


async def test_work_given_up_is_begun_anew_for_whoever_asks_next(cache):
    given_up, anew = Maker(b"old"), Maker(b"new")
    (task,) = await ask(cache, given_up)
    task.cancel()
    await asyncio.sleep(0)  # it has left, and the work does not yet know
    anew.proceed.set()
    assert await cache.get_or_make("a", anew) == (b"new", "miss")
    await eventually(lambda: given_up.cancelled == 1)
    assert await cache.get_or_make("a", given_up) == (b"new", "hit")


async def test_work_that_ends_late_does_not_take_its_successors_place(cache):
    let_go, ended, anew = asyncio.Event(), asyncio.Event(), Maker(b"new")

    async def clings():
        try:
            await asyncio.Event().wait()
        finally:
            await let_go.wait()
            ended.set()

    given_up = asyncio.create_task(cache.get_or_make("a", clings))
    await eventually(lambda: "a" in cache._flights)
    await asyncio.sleep(0)
    given_up.cancel()
    await asyncio.wait([given_up])
    (successor,) = await ask(cache, anew)
    let_go.set()
    await ended.wait()
    await asyncio.sleep(0.01)
    (joined,) = await ask(cache, Maker(b"never"))
    anew.proceed.set()
    assert await successor == (b"new", "miss")
    assert await joined == (b"new", "coalesced")


async def test_a_failure_reaches_everybody_as_their_own_and_is_forgotten(cache, counted):
    maker = Maker(error=QueueFullError("full", retry_after=7))
    tasks = await ask(cache, maker, 3)
    maker.proceed.set()
    errors = await asyncio.gather(*tasks, return_exceptions=True)
    assert [str(error) for error in errors] == ["full"] * 3
    assert [error.retry_after for error in errors] == [7, 7, 7]
    assert len({id(error) for error in [*errors, maker.error]}) == 4
    # The way to where it failed, and the frames of no other caller.
    frames = [[frame.name for frame in traceback.extract_tb(e.__traceback__)] for e in errors]
    assert frames[0] == frames[1] == frames[2]
    assert frames[0].count("get_or_make") == 1
    assert frames[0][-1] == "__call__"
    assert counted("error") == 3
    maker.error = None
    assert await cache.get_or_make("a", maker) == (PICTURE, "miss")


@pytest.mark.parametrize(
    "error",
    [
        InferenceError("no"),
        MethodNotAllowedError("no", allowed="GET"),
        RateLimitedError("no", retry_after=3),
        InvalidParametersError([InvalidParameter("size", "no", ("1", "2"))]),
        ValueError("no", 2),
        OSError(5, "no"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_errors_of_every_kind_arrive_whole(cache, error):
    maker = Maker(error=error)
    maker.proceed.set()
    with pytest.raises(type(error)) as caught:
        await cache.get_or_make("a", maker)
    assert caught.value is not error
    assert (str(caught.value), vars(caught.value)) == (str(error), vars(error))


async def test_memory_is_bounded_in_bytes_and_the_least_asked_for_go_first(telemetry):
    cache = PictureCache(40_000, telemetry)
    for n in range(100):
        maker = Maker(bytes(10_000 - 512))
        maker.proceed.set()
        await cache.get_or_make("kept", maker)
        await cache.get_or_make(str(n), maker)
        assert cache._pictures.currsize <= 40_000
    never = Maker()
    assert (await cache.get_or_make("kept", never))[1] == "hit"
    assert (await cache.get_or_make("99", never))[1] == "hit"
    assert "96" not in cache._pictures


@pytest.mark.parametrize("max_bytes", [0, 700])
async def test_what_does_not_fit_is_made_each_time(telemetry, max_bytes):
    cache = PictureCache(max_bytes, telemetry)
    maker = Maker()
    maker.proceed.set()
    for _ in range(2):
        assert await cache.get_or_make("a", maker) == (PICTURE, "miss")
    assert maker.calls == 2


async def test_closing_answers_who_still_waits(telemetry):
    cache = PictureCache(2**20, telemetry)
    maker = Maker()
    tasks = await ask(cache, maker, 2)
    await cache.aclose()
    errors = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(error) for error in errors] == [DrainingError, DrainingError]
    assert maker.cancelled == 1


async def test_what_the_store_has_is_not_made_and_not_asked_for_again(telemetry):
    shelf, maker = Shelf(), Maker()
    shelf.pictures["a"] = PICTURE
    cache = PictureCache(2**20, telemetry, shared=shelf)
    assert await cache.get_or_make("a", maker) == (PICTURE, "hit")
    assert await cache.get_or_make("a", maker) == (PICTURE, "hit")
    assert (maker.calls, shelf.asked) == (0, 1)


async def test_what_was_made_is_stored_and_the_claim_given_back(telemetry):
    shelf, maker = Shelf(), Maker()
    maker.proceed.set()
    cache = PictureCache(0, telemetry, shared=shelf)
    assert await cache.get_or_make("a", maker) == (PICTURE, "miss")
    await cache.aclose()
    assert shelf.pictures == {"a": PICTURE}
    assert (shelf.holder, shelf.released) == (None, 1)


@pytest.mark.parametrize("how", ["fails", "is given up"])
async def test_a_claim_without_a_picture_is_given_back(telemetry, how):
    shelf, maker = Shelf(), Maker(error=InferenceError("no"))
    cache = PictureCache(2**20, telemetry, shared=shelf)
    (task,) = await ask(cache, maker)
    await eventually(lambda: maker.calls == 1)
    if how == "fails":
        maker.proceed.set()
    else:
        task.cancel()
    await asyncio.wait([task])
    await eventually(lambda: shelf.holder is None)
    assert not shelf.pictures


async def test_a_picture_that_another_replica_makes_is_waited_for(telemetry):
    shelf, maker = Shelf(holder=Claim("theirs")), Maker()
    cache = PictureCache(2**20, telemetry, shared=shelf, patience=30)
    (task,) = await ask(cache, maker)
    await eventually(lambda: shelf.asked >= 3)
    await shelf.put("a", PICTURE, Claim("theirs"))
    assert await task == (PICTURE, "coalesced")
    assert maker.calls == 0


async def test_when_the_other_replica_gives_up_it_is_made_here(telemetry):
    shelf, maker = Shelf(holder=Claim("theirs")), Maker()
    cache = PictureCache(2**20, telemetry, shared=shelf, patience=30)
    maker.proceed.set()
    task = asyncio.create_task(cache.get_or_make("a", maker))
    await eventually(lambda: shelf.asked >= 3)
    await shelf.release("a", Claim("theirs"))
    assert await task == (PICTURE, "miss")


async def test_patience_with_other_replicas_ends(telemetry):
    shelf, maker = Shelf(holder=Claim("theirs")), Maker()
    maker.proceed.set()
    cache = PictureCache(2**20, telemetry, shared=shelf, patience=0.02)
    assert await cache.get_or_make("a", maker) == (PICTURE, "miss")
    await cache.aclose()
    assert shelf.holder == Claim("theirs"), "a claim is given back by its owner only"
    assert shelf.pictures == {"a": PICTURE}


async def test_a_picture_must_be_made_where_nobody_has_it_or_is_making_it():
    telemetry, maker = Telemetry(), Maker()
    cache = PictureCache(10_000, telemetry)
    assert cache.must_make("face")
    task = asyncio.create_task(cache.get_or_make("face", maker))
    await eventually(lambda: maker.calls == 1)
    assert not cache.must_make("face")
    maker.proceed.set()
    await task
    assert not cache.must_make("face")
    assert cache.must_make("another")
    assert not PictureCache(10_000, telemetry, shared=Shelf()).must_make("face")
    hits = telemetry.registry.get_sample_value("visage_cache_requests_total", {"result": "hit"})
    assert hits == 0  # asking counts nothing
