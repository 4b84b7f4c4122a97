"""FRONT DOOR: `create_app(settings, load_engine)` puts the stages together.

Knows nothing about torch: an engine is whatever `load_engine` returns, and it is called on
the engine's own thread. The app answers at once; /readyz says when pictures can be had.
"""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from cachetools import LRUCache
from fastapi import FastAPI, Response
from fastapi.exceptions import RequestValidationError
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from service.addresses import ADDRESSES, Seen
from service.bounds import BoundsMiddleware
from service.cache import PictureCache
from service.clients import Clients
from service.errors import VisageError
from service.exchange import LoadElsewhere, ServiceState
from service.express import ExpressMiddleware
from service.fleet import Fleet, LoadEngine
from service.limits import RateLimiter
from service.middleware import EdgeMiddleware
from service.openapi import openapi_document
from service.pipeline import Pipeline
from service.problems import answer_error, problem_response
from service.redis_link import RedisLink
from service.redis_store import RedisPictures
from service.request_telemetry import TelemetryMiddleware
from service.routes import router
from service.routes.operations import WEB
from service.settings import Settings
from service.shedding import Shedding
from service.signing import load_signer
from service.telemetry import Telemetry, version


class _Static(StaticFiles):
    """Files of the page, which browsers ask for again each time: a 304 as long as they are new."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers["Cache-Control"] = "no-cache"
        return response


def create_app(
    settings: Settings,
    load_engine: LoadEngine,
    *,
    telemetry: Telemetry | None = None,
    load_elsewhere: LoadElsewhere | None = None,
) -> FastAPI:
    """The whole service. `app.state` has the fleet and the telemetry, for who runs the app.

    `telemetry` and `load_elsewhere` are for one of several processes. Raises SettingsError where
    settings contradict one another.
    """
    telemetry = telemetry or Telemetry()
    telemetry.encoder_threads.set(settings.encoder_threads)
    fleet = Fleet(settings, load_engine, telemetry)
    clients = Clients(
        api_keys=settings.api_keys,
        api_key_required=settings.api_key_required,
        trusted_proxies=settings.trusted_proxies,
    )
    signer = load_signer(settings.c2pa_certificate, settings.c2pa_key)
    link = None
    if redis_url := settings.redis_url.get_secret_value():
        link = RedisLink(redis_url, timeout=settings.redis_timeout, telemetry=telemetry)
    limiter = None
    if settings.rate_limit:
        limiter = RateLimiter(settings.rate_limit, telemetry, link=link)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[ServiceState]:
        async with AsyncExitStack() as stack:
            encoders = stack.enter_context(ThreadPoolExecutor(settings.encoder_threads, "encoder"))
            assembler = stack.enter_context(ThreadPoolExecutor(1, "assembler"))
            shared = None
            if link is not None:
                stack.push_async_callback(link.aclose)
                shared = RedisPictures(link, telemetry, ttl=settings.redis_ttl)
            cache = PictureCache(settings.cache_bytes, telemetry, shared=shared)
            stack.push_async_callback(cache.aclose)
            fleet.start()
            pipeline = Pipeline(
                cache, encoders, assembler, telemetry, deadline=settings.deadline, signer=signer
            )
            yield ServiceState(
                addresses=LRUCache(ADDRESSES),
                seen=Seen(),
                settings=settings,
                fleet=fleet,
                pipeline=pipeline,
                telemetry=telemetry,
                clients=clients,
                limiter=limiter,
                load_elsewhere=load_elsewhere,
            )
            fleet.close()
            await asyncio.to_thread(fleet.join, fleet.grace_left)

    app = FastAPI(
        title="Visage",
        description="Faces of people who do not exist, on demand.",
        version=version(),
        docs_url=None,  # both load scripts from elsewhere; docs/api.md is the reference
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        telemetry={"tracing": settings.tracing, "metrics": False, "logs": False},
    )
    app.state.fleet = fleet
    app.state.telemetry = telemetry
    # What is logged or traced has to be read first, and what other replicas have counted is not
    # known here.
    app.state.shed = None
    if not (settings.tracing or settings.access_log or (link and limiter)):
        app.state.shed = Shedding(
            fleet,
            telemetry,
            deadline=settings.deadline,
            max_url_bytes=settings.max_url_bytes,
            clients=clients,
            limiter=limiter,
            shared=link is not None,
        )
    app.include_router(router)
    app.mount("/static", _Static(directory=WEB), name="static")
    for kind in (VisageError, HTTPException, RequestValidationError):
        app.add_exception_handler(kind, answer_error)
    if not settings.tracing:  # FastAPI traces what passes through it
        app.add_middleware(ExpressMiddleware)
    app.add_middleware(
        BoundsMiddleware,
        max_url_bytes=settings.max_url_bytes,
        max_body_bytes=settings.max_body_bytes,
        problem_response=problem_response,
    )
    app.add_middleware(EdgeMiddleware)
    app.add_middleware(TelemetryMiddleware, telemetry=telemetry, access_log=settings.access_log)

    def openapi() -> dict[str, Any]:
        specs = [spec for spec, _ in fleet.specs()] if fleet.ready else []
        return openapi_document(
            app,
            specs,
            max_items=settings.max_items,
            max_frames=settings.max_frames,
            max_best_of=settings.max_best_of,
            api_keys=bool(settings.api_keys),
            api_key_required=settings.api_key_required,
        )

    app.openapi = openapi  # type: ignore[method-assign]
    return app
