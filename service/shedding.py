"""Refuses pictures that have no room before the app is asked: a third of the work of a refusal.

Knows addresses. Where more is asked than can be computed, the time that refusing takes is taken
from the pictures of who was let in. So it looks at no more than it must, and refuses only new
pictures of the default model, once those that were let in just before have come to the queue. All
else goes on to the app, which decides as always: what was answered at this address lately, what
another replica may have, what a 304 may answer, what is anything but plain, and a client without a
key or quota.
"""

import asyncio
import functools
import time
from collections.abc import Iterable, Mapping
from typing import cast

from starlette.types import Scope
from uvicorn._types import HTTPScope
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from service.addresses import raw_headers
from service.clients import Clients
from service.errors import QueueFullError, UnauthorizedError
from service.exchange import ServiceState
from service.express import FACES, IMAGE, SEEDED
from service.fleet import Fleet
from service.limits import RateLimiter
from service.middleware import TO_GET, joined, request_name
from service.problems import problem_response
from service.served import Served
from service.telemetry import Telemetry

LONGEST = 512
"""Bytes of an address that is judged here."""

NEAR = 64
"""Free places in the queue from which on requests are looked at here."""
TURNS = 3
"""Of the event loop, from here to the queue: the request's task, and the picture's."""

_NOT_PLAIN = (b"if-none-match", b"content-length", b"transfer-encoding")


class Shedding:
    """A `service.wire.Shed`. `deadline`: seconds a picture may take.

    `max_url_bytes`: the app refuses longer addresses. `limiter`: one that counts in this process.
    `shared`: other replicas may have what is asked for by a seed, so that the app has to look.
    """

    def __init__(
        self,
        fleet: Fleet,
        telemetry: Telemetry,
        *,
        deadline: float,
        max_url_bytes: int,
        clients: Clients,
        limiter: RateLimiter | None,
        shared: bool,
    ) -> None:
        self._fleet = fleet
        self._clients = clients
        self._limiter = limiter
        self._shared = shared
        self._deadline = deadline
        self._longest = min(LONGEST, max_url_bytes)
        self._rejected = functools.cache(telemetry.requests_rejected.labels)
        self._answers = functools.cache(telemetry.http_requests.labels)
        self._durations = functools.cache(telemetry.http_request_duration.labels)
        self._coming = 0
        self._worded: tuple[object, bytes, bytes] = None, b"", b""

    def __call__(self, scope: HTTPScope, server_headers: list[tuple[bytes, bytes]]) -> bytes | None:
        """The answer that refuses, as uvicorn would send it; None where the app is to answer."""
        served = self._fleet.default_served
        if served is None or not served.queue.nearly_full(self._deadline, NEAR):
            return None
        started = time.perf_counter()
        headers = list(scope["headers"])
        asked = dict(reversed(headers))
        if len(asked) < len(headers):  # the app remembers addresses by the whole Accept
            asked = dict(reversed(joined(headers)))
        if len(scope["raw_path"]) + len(scope["query_string"]) > self._longest:
            return None
        route = _new_picture(scope, asked, served, shared=self._shared)
        # With `connection` among the server's headers its answer would be the last.
        if route is None or any(name == b"connection" for name, _ in server_headers):
            return None
        try:
            client = self._known(scope)
        except UnauthorizedError:
            return None
        if self._limiter and not self._limiter.has_left_here(client):
            return None
        error = served.queue.no_room(self._deadline, coming=self._coming)
        if error is None:  # whoever asks for the same shares the picture
            if route == SEEDED.path:
                _state(scope)["seen"].add((scope["path"], scope["query_string"]))
            self._coming += 1
            self._come(TURNS)
            return None
        quota = self._limiter.check_here(client, 1) if self._limiter else {}
        head, body = self._words(error)
        answer = b"%s%s%sx-request-id: %s\r\n\r\n%s" % (
            head,
            _lines(raw_headers(dict(quota))),
            _lines(server_headers),
            request_name(asked).encode(),
            body,
        )
        self._rejected(error.reason).inc()
        self._answers(route, "GET", str(error.status)).inc()
        self._durations(route).observe(time.perf_counter() - started)
        return answer

    def _known(self, scope: HTTPScope) -> str:
        """Who asks, where that matters, as in `service.exchange.admit`. UnauthorizedError."""
        if self._limiter is None and not self._clients.keyed:
            return ""
        return self._clients.identify(cast(Scope, scope))

    def _come(self, turns: int) -> None:
        """Count somebody who was let in until they stand in the queue."""
        if turns:
            asyncio.get_running_loop().call_soon(self._come, turns - 1)
        else:
            self._coming -= 1

    def _words(self, error: QueueFullError) -> tuple[bytes, bytes]:
        """Status line with headers, and body; often as they were just before."""
        if self._worded[0] != (what := (str(error), error.headers)):
            response = problem_response(error)
            head = STATUS_LINE[error.status] + _lines((*response.raw_headers, *TO_GET))
            self._worded = what, head, bytes(response.body)
        return self._worded[1:]


def _state(scope: HTTPScope) -> ServiceState:
    return cast(ServiceState, scope["state"])


def _lines(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    return b"".join([b"%s: %s\r\n" % header for header in headers])


def _new_picture(
    scope: HTTPScope, asked: Mapping[bytes, bytes], served: Served, *, shared: bool
) -> str | None:
    """The route's template, where what is asked, with these headers, is sure to need the engine."""
    path, query = scope["path"], scope["query_string"]
    if any(name in asked for name in _NOT_PLAIN):
        return None
    if scope["method"] != "GET" or scope["root_path"]:
        return None
    if path == IMAGE.path:
        return None if query or len(served.reservoir) else IMAGE.path
    if shared or not path.startswith(FACES) or path == FACES + "random":
        return None
    # Another model has room perhaps, a choice costs more, and a name may have percent signs.
    if b"%" in query or any(name in query.lower() for name in (b"model", b"best_of")):
        return None
    state = _state(scope)
    accept = asked.get(b"accept", b"").decode("latin-1")
    known = (path, query) in state["seen"] or (path, query, accept) in state["addresses"]
    return None if known else SEEDED.path
