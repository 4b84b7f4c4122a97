"""The ASGI middleware that counts, times and logs HTTP requests. Knows nothing about pictures."""

import functools
import time

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.telemetry import Telemetry

REQUEST_ID = "visage.request_id"
"""Key in the ASGI scope: what the request is called in the log, once somebody has named it."""
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class TelemetryMiddleware:
    """Counts and times every HTTP request, by route template and final status."""

    def __init__(self, app: ASGIApp, *, telemetry: Telemetry, access_log: bool) -> None:
        self._app = app
        self._in_flight = telemetry.requests_in_flight
        self._answers = functools.cache(telemetry.http_requests.labels)
        self._durations = functools.cache(telemetry.http_request_duration.labels)
        self._log = structlog.get_logger("service.access") if access_log else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        method = scope["method"] if scope["method"] in _METHODS else "OTHER"
        code = 499  # what stays if the client leaves before there is an answer
        started = time.perf_counter()

        async def counted_send(message: Message) -> None:
            nonlocal code
            if message["type"] == "http.response.start":
                code = message["status"]
            await send(message)

        self._in_flight.inc()
        try:
            await self._app(scope, receive, counted_send)
        finally:
            seconds = time.perf_counter() - started
            route = _route_template(scope)
            self._in_flight.dec()
            self._answers(route, method, str(code)).inc()
            self._durations(route).observe(seconds)
            if self._log is not None:
                self._log.info(
                    "request",
                    request_id=scope.get(REQUEST_ID),
                    method=method,
                    route=route,
                    path=scope["path"],
                    code=code,
                    ms=round(seconds * 1000, 2),
                )


def _route_template(scope: Scope) -> str:
    route = scope.get("route")
    template = getattr(route, "path_format", None) or getattr(route, "path", None)
    return template if isinstance(template, str) and template else "unmatched"
