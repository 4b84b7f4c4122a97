"""What every answer shares: request id, CORS, HEAD, and a problem instead of a traceback.

Knows nothing about routes. Pure ASGI: a wrapper around the body would hide disconnects.
"""

import re
import secrets
from collections.abc import Mapping, Sequence

import structlog
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import VisageError
from service.problems import problem_response
from service.request_telemetry import REQUEST_ID

log = structlog.get_logger("service.middleware")

HEAD_FLAG = "visage.head"
"""Key in the ASGI scope: the client asked HEAD."""
HEADERS = "visage.headers"
"""Key in the ASGI scope: headers that a route wants on whatever answer it becomes."""
POLICY = "visage.policy"
"""Key in the ASGI scope: what browsers may do with an answer that is a document, as raw headers."""
EXPOSED_HEADERS = (
    "X-Seed",
    "X-Model",
    "X-Labels",
    "X-Cache",
    "X-Request-ID",
    "X-AI-Generated",
    "ETag",
    "Server-Timing",
    "Content-Disposition",
    "RateLimit-Policy",
    "RateLimit",
    "Retry-After",
)
"""What scripts of other origins may read of an answer."""

_EVERY_ANSWER = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)
_NO_DOCUMENT = (
    # Opened by itself, an answer may run, load and frame nothing. Browsers style pictures inline.
    (
        b"content-security-policy",
        b"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox",
    ),
    # Pages of any origin may show pictures.
    (b"cross-origin-resource-policy", b"cross-origin"),
)
_FOR_OTHER_ORIGINS = (
    (b"access-control-allow-origin", b"*"),
    (b"access-control-expose-headers", ", ".join(EXPOSED_HEADERS).encode()),
)
TO_GET = (*_EVERY_ANSWER, *_NO_DOCUMENT, *_FOR_OTHER_ORIGINS)
"""Headers that every answer to GET has, beside x-request-id, unless it is a document."""

_LISTS = (b"accept", b"if-none-match")
"""Headers that may come on several lines, of which readers look at one."""

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")


def request_name(asked: Mapping[bytes, bytes]) -> str:
    """What the client calls its request, by its headers, where that is a name; else a new one."""
    given = asked.get(b"x-request-id", b"")
    return given.decode() if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)


def joined(headers: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """`headers` with each list on one line (RFC 9110, 5.3)."""
    lists = {
        name: b", ".join(value for found, value in headers if found == name)
        for name in dict(headers)
        if name in _LISTS
    }
    return [header for header in headers if header[0] not in lists] + list(lists.items())


class EdgeMiddleware:
    """Around everything but telemetry."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # By hand and not by Starlette's Headers, which takes as long as answering from the cache.
        asked = dict(reversed(scope["headers"]))
        if len(asked) < len(scope["headers"]):
            scope["headers"] = joined(scope["headers"])
        scope[REQUEST_ID] = request_id = request_name(asked)
        method = scope["method"]
        preflight = method == "OPTIONS" and b"access-control-request-method" in asked
        inner = scope
        if method == "HEAD":
            # A copy: the server reads in its own whether bytes may follow the headers.
            inner = {**scope, "method": "GET", HEAD_FLAG: True}
        started = False

        async def edge_send(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                answer = [
                    *message["headers"],
                    (b"x-request-id", request_id.encode()),
                    *_EVERY_ANSWER,
                    *inner.get(POLICY, _NO_DOCUMENT),
                ]
                if wanted := inner.get(HEADERS):
                    present = {name.lower() for name, _ in answer}
                    raw = ((n.lower().encode(), v.encode()) for n, v in wanted.items())
                    answer += [header for header in raw if header[0] not in present]
                if method in ("GET", "HEAD") or preflight:
                    answer += _FOR_OTHER_ORIGINS
                message["headers"] = answer
            elif method == "HEAD" and message["type"] == "http.response.body":
                if message.get("more_body", False):
                    return
                message = {**message, "body": b""}
            await send(message)

        bound = structlog.contextvars.bind_contextvars(request_id=request_id)
        try:
            if preflight:
                await _answer_preflight(scope, receive, edge_send)
            else:
                await self._app(inner, receive, edge_send)
        except Exception as failure:
            if started and isinstance(failure.__cause__, VisageError):
                # Returning breaks the answer off: its transfer does not end well.
                log.warning("answer broken off", path=scope["path"], error=str(failure.__cause__))
                return
            log.exception("request failed", path=scope["path"])
            if started:
                raise
            error = VisageError(f"Something failed here; the log has it as {request_id}.")
            await problem_response(error)(scope, receive, edge_send)
        finally:
            structlog.contextvars.reset_contextvars(**bound)
            if inner is not scope and "route" in inner:
                scope["route"] = inner["route"]  # telemetry, outside, counts by it


async def _answer_preflight(scope: Scope, receive: Receive, send: Send) -> None:
    response = JSONResponse(None, status_code=200)
    response.headers["Access-Control-Allow-Methods"] = "GET, HEAD"
    response.headers["Access-Control-Allow-Headers"] = "*"
    response.headers["Access-Control-Max-Age"] = "86400"
    await response(scope, receive, send)
