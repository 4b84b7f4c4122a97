"""HTTP only: requests to parameters, pictures to responses, with their headers.

Knows nothing about queues, batches or pixels. Routes answer GET; the app serves HEAD from the
same handlers, and a handler that sees `is_head` leaves out the work, not the headers.
"""

import asyncio
import re
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypedDict, TypeVar, cast

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse, JSONResponse

from service.batcher import Batcher
from service.errors import ClientGoneError, DrainingError, UnknownModelError
from service.labels import ModelSpec
from service.params import (
    FORMATS,
    MAX_SEED_LENGTH,
    MAX_SIZE,
    MIN_SIZE,
    parse_face,
    split_extension,
)
from service.pipeline import Face, Picture, Pipeline, complete
from service.telemetry import Telemetry

WEB = Path(__file__).parent / "web"
HEAD_FLAG = "visage.head"
"""Key in the ASGI scope: the client asked HEAD."""

_FOREVER = "public, max-age=31536000, immutable"
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_PICTURE_PARAMETERS: list[dict[str, Any]] = [
    {
        "name": "size",
        "in": "query",
        "description": "Pixels a side, resampled with Lanczos; default: the model's own.",
        "schema": {"type": "integer", "minimum": MIN_SIZE, "maximum": MAX_SIZE},
    },
    {
        "name": "format",
        "in": "query",
        "description": "Goes before the extension and the Accept header.",
        "schema": {"type": "string", "enum": list(FORMATS)},
    },
    {
        "name": "model",
        "in": "query",
        "description": "A loaded model's name; default: the server's default.",
        "schema": {"type": "string"},
    },
]
_PICTURE_DOC: dict[str, Any] = {
    "parameters": _PICTURE_PARAMETERS,
    "description": (
        "Each attribute of the loaded model (see /v1/models) is a query parameter too, "
        "e.g. gender=female or age=34."
    ),
}
_PICTURE_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The picture.",
        "content": {media_type: {} for media_type in FORMATS.values()},
    },
    **{
        status: {"description": about, "content": {"application/problem+json": {}}}
        for status, about in {
            404: "The model is not loaded.",
            406: "This format is not made here.",
            422: "A parameter is unknown, doubled or not valid; lists what is allowed.",
            503: "Not ready, draining, or the queue is full; see Retry-After.",
            504: "The deadline passed.",
        }.items()
    },
}

router = APIRouter()
T = TypeVar("T")


class ServiceState(TypedDict):
    """What the lifespan hands to every request."""

    batcher: Batcher
    pipeline: Pipeline
    telemetry: Telemetry


def state_of(request: Request) -> ServiceState:
    """The typed state of the app that answers `request`."""
    return cast(ServiceState, request.state)


def is_head(request: Request) -> bool:
    """Whether only the headers are wanted."""
    return HEAD_FLAG in request.scope


@router.get("/", include_in_schema=False)
async def page() -> Response:
    """The page."""
    return FileResponse(
        WEB / "index.html",
        headers={"Cache-Control": "no-cache", "Content-Security-Policy": _PAGE_POLICY},
    )


@router.get(
    "/image",
    response_class=Response,
    responses=_PICTURE_RESPONSES,
    openapi_extra=_PICTURE_DOC,
    summary="A new face at every call",
)
async def image(request: Request) -> Response:
    """Never the same twice, unless `seed` asks for it; never stored."""
    face = _face(request)
    headers = _face_headers(face) | {"Cache-Control": "no-store", "Vary": "Accept"}
    return await _picture_response(request, face, headers)


@router.get(
    "/v1/faces/{seed:path}",
    response_class=Response,
    responses=_PICTURE_RESPONSES | {304: {"description": "The client has these very bytes."}},
    openapi_extra=_PICTURE_DOC
    | {
        "parameters": [
            {
                "name": "seed",
                "in": "path",
                "required": True,
                "description": (
                    "An integer 0…2^64−1 or any other text up to 128 characters; may end in .png."
                ),
                "schema": {"type": "string", "minLength": 1, "maxLength": MAX_SEED_LENGTH + 4},
            },
            *_PICTURE_PARAMETERS,
        ]
    },
    summary="The face of a seed, the same bytes each time",
)
async def seeded_face(request: Request) -> Response:
    """One seed, one face: cacheable for ever, and 304 before any work."""
    seed, extension = split_extension(request.path_params["seed"])
    face = _face(request, seed=seed, extension=extension)
    etag = f'"{face.key}"'
    headers = _face_headers(face) | {"ETag": etag, "Cache-Control": _FOREVER}
    if extension is None:
        headers["Vary"] = "Accept"
    if _matches(request.headers.get("if-none-match"), etag):
        return Response(status_code=304, headers=headers)
    return await _picture_response(request, face, headers)


@router.get("/v1/models", summary="The loaded models")
async def models(request: Request) -> JSONResponse:
    """What each offers: resolution, attributes with values and priors, digest, licence, metrics."""
    return JSONResponse({"models": [_describe(request, _ready_model(request))]})


@router.get(
    "/v1/models/{name}",
    summary="One loaded model",
    responses={404: {"description": "This model is not loaded."}},
)
async def model(request: Request, name: str) -> JSONResponse:
    """The same as in the list."""
    spec = _ready_model(request)
    _require_model(name, spec)
    return JSONResponse(_describe(request, spec))


@router.get("/healthz", summary="Is the process alive?")
async def healthz() -> JSONResponse:
    """Says nothing about the engine: restart the process only when this fails."""
    return JSONResponse({"status": "alive"}, headers={"Cache-Control": "no-store"})


@router.get(
    "/readyz",
    summary="Can pictures be served now?",
    responses={503: {"description": "Not now: loading, warming up, draining or failed."}},
)
async def readyz(request: Request) -> JSONResponse:
    """Send requests here only while this is 200."""
    _ready_model(request)
    return JSONResponse({"status": "ready"}, headers={"Cache-Control": "no-store"})


@router.get("/metrics", summary="Prometheus", response_class=Response)
async def metrics(request: Request) -> Response:
    """Every metric, as docs/api.md lists them."""
    body, content_type = state_of(request)["telemetry"].exposition(
        request.headers.get("accept", "")
    )
    return Response(body, headers={"Content-Type": content_type, "Cache-Control": "no-store"})


def _ready_model(request: Request) -> ModelSpec:
    return state_of(request)["batcher"].spec()


def _require_model(name: str, spec: ModelSpec) -> None:
    if name != spec.name:
        raise UnknownModelError(f"The model {name!r} is not loaded; loaded: {spec.name}.")


def _face(request: Request, *, seed: str | None = None, extension: str | None = None) -> Face:
    try:
        spec = _ready_model(request)
    except DrainingError:
        state_of(request)["telemetry"].requests_rejected.labels(reason="draining").inc()
        raise
    params = parse_face(
        request.query_params.multi_items(),
        spec.space,
        seed=seed,
        extension=extension,
        accept=request.headers.get("accept"),
    )
    if params.model is not None:
        _require_model(params.model, spec)
    return complete(params, spec)


def _face_headers(face: Face) -> dict[str, str]:
    seed = str(face.seed)
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", seed)[:64]
    headers = {
        "X-Seed": seed,
        "X-Model": face.spec.identity,
        "X-AI-Generated": "true",
        "Content-Type": face.media_type,
        "Content-Disposition": f'inline; filename="face-{stem}.{face.format}"',
    }
    return headers | ({"X-Labels": face.label_text} if face.labels else {})


async def _picture_response(request: Request, face: Face, headers: Mapping[str, str]) -> Response:
    if is_head(request):
        response = Response(headers=headers)
        del response.headers["Content-Length"]  # unknown: no picture was made
        return response
    picture = await _while_connected(request, state_of(request)["pipeline"].picture(face))
    return Response(picture.content, headers={**headers, "Server-Timing": _timing(picture)})


def _timing(picture: Picture) -> str:
    stages = {
        "queue": picture.queue_seconds,
        "inference": picture.inference_seconds,
        "encode": picture.encode_seconds,
    }
    return ", ".join(f"{stage};dur={seconds * 1000:.2f}" for stage, seconds in stages.items())


async def _while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Await `work`; cancel it and raise ClientGoneError when the client goes away."""
    task = asyncio.ensure_future(work)
    gone = False

    async def cancel_when_gone() -> None:
        nonlocal gone
        while (await request.receive())["type"] != "http.disconnect":
            pass
        gone = True
        task.cancel()

    watch = asyncio.ensure_future(cancel_when_gone())
    try:
        return await task
    except asyncio.CancelledError:
        if gone:
            raise ClientGoneError("The client left before its picture was there.") from None
        raise
    finally:
        task.cancel()
        watch.cancel()
        with suppress(asyncio.CancelledError):
            await watch


def _matches(if_none_match: str | None, etag: str) -> bool:
    """Whether one of the client's entity tags is ours (weak comparison, RFC 9110)."""
    if if_none_match is None:
        return False
    tags = (tag.strip().removeprefix("W/") for tag in if_none_match.split(","))
    return any(tag in ("*", etag) for tag in tags)


def _describe(request: Request, spec: ModelSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "default": True,
        "digest": spec.digest,
        "resolution": spec.resolution,
        "latent_dim": spec.latent_dim,
        "attributes": [
            {"name": a.name, "values": list(a.values), "prior": list(a.prior)}
            for a in spec.space.attributes
        ],
        "licence": spec.licence,
        "metrics": dict(spec.metrics),
        "engine": spec.engine,
        "tile": state_of(request)["batcher"].tile,
    }
