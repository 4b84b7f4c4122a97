"""What the routes share of one exchange: the app's parts, who asks, waiting while they stay.

Knows HTTP, but no route; routes read requests and word answers with what is here.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypedDict, TypeVar, cast

from fastapi import Request, Response

from service.addresses import Addresses, RawHeaders, Seen, raw_headers
from service.clients import Clients
from service.errors import ClientGoneError, DeadlineError, DrainingError, QueueFullError
from service.fleet import Fleet
from service.limits import RateLimiter
from service.middleware import HEAD_FLAG, HEADERS
from service.pipeline import Face, Picture, Pipeline
from service.served import Served
from service.settings import Settings
from service.telemetry import Telemetry
from service.wire import CONNECTION, BoundedHttpProtocol

FOREVER = "public, max-age=31536000, immutable"
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")
T = TypeVar("T")


LoadElsewhere = Callable[[str], Awaitable[int]]
"""Has the other processes behind this address load a checkpoint by name; how many have.
PartlyLoadedError where one has not."""


class ServiceState(TypedDict):
    """What the lifespan hands to every request."""

    addresses: Addresses
    seen: Seen
    settings: Settings
    fleet: Fleet
    pipeline: Pipeline
    telemetry: Telemetry
    clients: Clients
    limiter: RateLimiter | None
    load_elsewhere: LoadElsewhere | None


def state_of(request: Request) -> ServiceState:
    """The typed state of the app that answers `request`."""
    return cast(ServiceState, request.state)


def is_head(request: Request) -> bool:
    """Whether only the headers are wanted."""
    return HEAD_FLAG in request.scope


def identify(request: Request) -> str:
    """Who asks: UnauthorizedError for strangers, before anything is read or said to them."""
    return state_of(request)["clients"].identify(request.scope)


async def admit(request: Request, pictures: int = 1) -> None:
    """Let a request for so many pictures in, at its client's cost.

    Raises UnauthorizedError, RateLimitedError or TooLargeError. The quota goes with every answer.
    """
    state = state_of(request)
    if state["limiter"] is None:
        if state["clients"].keyed:
            identify(request)
        return
    client = identify(request)
    headers = await state["limiter"].check(client, pictures)
    request.scope[HEADERS] = dict(headers)


@contextmanager
def lease(request: Request, model: str | None = None) -> Iterator[Served]:
    """The model that is asked for, kept going until the block is left (see Fleet.lease).

    A refusal that leaves the block counts as one, for it ends the request.
    """
    state = state_of(request)
    try:
        with state["fleet"].lease(model) as served:
            yield served
    except (QueueFullError, DeadlineError, DrainingError) as error:
        state["telemetry"].requests_rejected.labels(reason=error.reason).inc()
        raise


async def while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Await `work`; cancel it and raise ClientGoneError when the client goes away.

    Only for requests whose body has been read, or that have none.
    """
    waiter = asyncio.current_task()
    assert waiter is not None
    gone = False

    def leave() -> None:
        nonlocal gone
        gone = True
        waiter.cancel()

    try:
        with _watching(request, leave):
            return await work
    except asyncio.CancelledError:
        if gone and not waiter.uncancel():
            raise ClientGoneError("The client left before its picture was there.") from None
        raise


def _watching(request: Request, leave: Callable[[], None]) -> AbstractContextManager[None]:
    """Call `leave` if the client goes before the block is left."""
    connection: BoundedHttpProtocol | None = request.scope.get(CONNECTION)
    return _listening(request, leave) if connection is None else connection.telling(leave)


@contextmanager
def _listening(request: Request, leave: Callable[[], None]) -> Iterator[None]:
    """The same on any server."""

    async def wait() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        leave()

    watch = asyncio.ensure_future(wait())
    try:
        yield
    finally:
        watch.cancel()


class RawResponse(Response):
    """An answer with its headers as they are sent, which may be many answers' headers."""

    def __init__(
        self, headers: RawHeaders, content: bytes | None = None, *, status_code: int = 200
    ) -> None:
        # Not Starlette's: that would encode and check every header again.
        self.status_code = status_code
        self.background = None
        self.body = content or b""
        length = [] if content is None else [(b"content-length", b"%d" % len(content))]
        self.raw_headers = headers + length


def face_headers(face: Face) -> RawHeaders:
    """Everything an answer says about the face it holds."""
    seed = str(face.seed)
    headers = [
        (b"x-seed", seed.encode()),
        (b"x-model", face.spec.identity.encode()),
        (b"x-ai-generated", b"true"),
        (b"content-type", face.media_type.encode()),
        (b"content-disposition", disposition(f"face-{seed}", face.format).encode()),
    ]
    return headers + ([(b"x-labels", face.label_text.encode())] if face.labels else [])


def disposition(stem: str, format_: str) -> str:
    """Content-Disposition with a file name that every file system takes."""
    stem = _UNSAFE.sub("-", stem)[:72]
    return f'inline; filename="{stem}.{"jpg" if format_ == "jpeg" else format_}"'


def work_headers(picture: Picture) -> RawHeaders:
    """What it took to make the picture."""
    if picture.cache == "hit" and not picture.seconds:
        return _FROM_CACHE
    stages = ", ".join(
        f"{stage};dur={seconds * 1000:.2f}" for stage, seconds in picture.seconds.items()
    )
    timing = stages or f"cache;desc={picture.cache}"
    return [(b"x-cache", picture.cache.encode()), (b"server-timing", timing.encode())]


_FROM_CACHE = raw_headers({"X-Cache": "hit", "Server-Timing": "cache;desc=hit"})


def matches(if_none_match: str | None, etag: str) -> bool:
    """Whether one of the client's entity tags is ours (weak comparison, RFC 9110)."""
    if if_none_match is None:
        return False
    if if_none_match == etag:
        return True
    tags = (tag.strip().removeprefix("W/") for tag in _TAG.findall(if_none_match))
    return any(tag in ("*", etag.removeprefix("W/")) for tag in tags)


_TAG = re.compile(r'(?:[^,"]|"[^"]*"|")+')
"""One of a list; a comma between quotes belongs to it."""
