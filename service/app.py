"""FRONT DOOR: `create_app(settings, load_engine)` puts the stages together.

Knows nothing about torch: the engine is whatever `load_engine` returns, and it is called on
the engine's own thread. The app answers at once; /readyz says when pictures can be had.
"""

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import structlog
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.batcher import Batcher, Engine
from service.errors import MethodNotAllowedError, NotFoundError, VisageError
from service.pipeline import Pipeline
from service.request_queue import RequestQueue
from service.routes import HEAD_FLAG, WEB, ServiceState, router
from service.settings import Settings
from service.telemetry import Telemetry, TelemetryMiddleware, version

log = structlog.get_logger("service.app")

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
EXPOSED_HEADERS = (
    "X-Seed",
    "X-Model",
    "X-Labels",
    "X-Request-ID",
    "X-AI-Generated",
    "ETag",
    "Server-Timing",
    "Content-Disposition",
    "Retry-After",
)
"""What scripts of other origins may read of an answer."""
_EXPOSED = ", ".join(EXPOSED_HEADERS)


def create_app(settings: Settings, load_engine: Callable[[], Engine]) -> FastAPI:
    """The whole service. `app.state` has the batcher and the telemetry, for who runs the app."""
    telemetry = Telemetry()
    queue = RequestQueue(settings.queue_capacity, telemetry)
    batcher = Batcher(load_engine, queue, telemetry, batch_wait=settings.batch_wait)
    telemetry.watch(queue=queue, capacity=settings.queue_capacity, ready=lambda: batcher.ready)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[ServiceState]:
        with ThreadPoolExecutor(settings.encoder_threads, "encoder") as encoders:
            batcher.start()
            pipeline = Pipeline(queue, encoders, telemetry, deadline=settings.deadline)
            yield ServiceState(batcher=batcher, pipeline=pipeline, telemetry=telemetry)
            batcher.drain()
            await asyncio.to_thread(batcher.join, settings.drain_grace)

    app = FastAPI(
        title="Visage",
        description="Faces of people who do not exist, on demand.",
        version=version(),
        docs_url=None,  # both load scripts from elsewhere; docs/api.md is the reference
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    app.state.batcher = batcher
    app.state.telemetry = telemetry
    app.include_router(router)
    app.mount("/static", StaticFiles(directory=WEB), name="static")
    app.add_exception_handler(VisageError, _answer_error)
    app.add_exception_handler(HTTPException, _answer_error)
    app.add_middleware(EdgeMiddleware)
    app.add_middleware(TelemetryMiddleware, telemetry=telemetry, access_log=settings.access_log)
    return app


class EdgeMiddleware:
    """What every answer shares: request id, CORS, HEAD, and a problem instead of a traceback."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        method = scope["method"]
        preflight = method == "OPTIONS" and "access-control-request-method" in headers
        if method == "HEAD":
            scope["method"] = "GET"
            scope[HEAD_FLAG] = True
        started = False

        async def edge_send(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                answer = MutableHeaders(scope=message)
                answer["X-Request-ID"] = request_id
                answer["X-Content-Type-Options"] = "nosniff"
                answer["Referrer-Policy"] = "no-referrer"
                if method in ("GET", "HEAD") or preflight:
                    answer["Access-Control-Allow-Origin"] = "*"
                    answer["Access-Control-Expose-Headers"] = _EXPOSED
            elif method == "HEAD" and message["type"] == "http.response.body":
                if message.get("more_body", False):
                    return
                message = {**message, "body": b""}
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                if preflight:
                    await _answer_preflight(scope, receive, edge_send)
                else:
                    await self._app(scope, receive, edge_send)
            except Exception:
                log.exception("request failed", path=scope["path"])
                if started:
                    raise
                error = VisageError(f"Something failed here; the log has it as {request_id}.")
                await _problem_response(error)(scope, receive, edge_send)


async def _answer_preflight(scope: Scope, receive: Receive, send: Send) -> None:
    response = JSONResponse(None, status_code=200)
    response.headers["Access-Control-Allow-Methods"] = "GET, HEAD"
    response.headers["Access-Control-Allow-Headers"] = "*"
    response.headers["Access-Control-Max-Age"] = "86400"
    await response(scope, receive, send)


async def _answer_error(request: Request, error: Exception) -> JSONResponse:
    """The one handler: every refusal and every failure becomes a problem document."""
    return _problem_response(_as_ours(request, error))


def _as_ours(request: Request, error: Exception) -> VisageError:
    if isinstance(error, VisageError):
        return error
    if isinstance(error, HTTPException) and error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "GET")
        allowed = allowed if "HEAD" in allowed else allowed.replace("GET", "GET, HEAD")
        return MethodNotAllowedError(
            f"{request.method} is not for this route; allowed: {allowed}.", allowed=allowed
        )
    if isinstance(error, HTTPException) and error.status_code == 404:
        return NotFoundError(
            f"There is nothing at {request.url.path}; /openapi.json lists the routes."
        )
    raise error


def _problem_response(error: VisageError) -> JSONResponse:
    return JSONResponse(
        error.problem(),
        status_code=error.status,
        headers={**error.headers, "Cache-Control": "no-store"},
        media_type="application/problem+json",
    )
