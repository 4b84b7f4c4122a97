"""The way from one face to another and back, as a looping animation."""

import asyncio
import time
from contextlib import aclosing
from hashlib import sha256
from typing import Any

import numpy as np
from fastapi import APIRouter, Request, Response
from numpy.typing import NDArray

from service.addresses import raw_headers
from service.animation import ANIMATION_FORMATS, animate, animation_version
from service.budget import BUDGET, Reservation
from service.encoder import resample
from service.exchange import (
    FOREVER,
    RawResponse,
    admit,
    disposition,
    identify,
    is_head,
    lease,
    matches,
    state_of,
    while_connected,
    work_headers,
)
from service.interpolation import linear, spherical, there_and_back
from service.labels import label_text
from service.morph_params import DEFAULT_FRAMES, MIN_FRAMES, MorphEnd, MorphParams, parse_morph
from service.openapi import (
    MODEL_PARAMETER,
    SIZE_PARAMETER,
    picture_operation,
    problems,
    query_parameter,
)
from service.pacing import Work, paced
from service.params import MAX_SEED_LENGTH, FaceParams
from service.pipeline import Face, complete
from service.provenance import Claims
from service.served import Served

_PATH_VERSION = "1"
"""Changes with the frames' places on the way."""

router = APIRouter(tags=["faces"])


def _seed_parameter(end: str, about: str) -> dict[str, Any]:
    schema = {"type": "string", "minLength": 1, "maxLength": MAX_SEED_LENGTH}
    parameter = query_parameter(end, f"{about}, an integer 0…2^64−1 or any other text.", schema)
    return parameter | {"required": True}


@router.get(
    "/v1/morph",
    response_class=Response,
    responses={
        200: {
            "description": "The animation.",
            "content": {
                media_type: {"schema": {"type": "string", "format": "binary"}}
                for media_type in ANIMATION_FORMATS.values()
            },
        },
        304: {"description": "The client has these very bytes."},
        **problems(401, 404, 413, 414, 422, 429, 500, 503, 504),
    },
    openapi_extra=picture_operation(
        _seed_parameter("from", "Seed of the face where it starts and ends"),
        _seed_parameter("to", "Seed of the face half way"),
        query_parameter(
            "frames",
            f"Frames of the whole loop; default: {DEFAULT_FRAMES}.",
            {"type": "integer", "minimum": MIN_FRAMES},
        ),
        query_parameter(
            "format", "Default: webp.", {"type": "string", "enum": list(ANIMATION_FORMATS)}
        ),
        SIZE_PARAMETER,
        MODEL_PARAMETER,
        prefixes=("", "from_", "to_"),
    ),
    summary="A looping animation between two faces",
)
async def morph(request: Request) -> Response:
    """There and back: spherically between the latents, straight between the labels.

    An attribute counts for both ends, or with `from_` or `to_` before its name for one of them. As
    cacheable as the faces at its ends, and 304 before any work.
    """
    identify(request)
    state = state_of(request)
    query = request.query_params.multi_items()
    model = next((text.strip() for name, text in query if name.casefold() == "model"), None)
    with lease(request, model) as served:
        params = parse_morph(
            query,
            served.spec.space,
            native_size=served.spec.resolution,
            max_frames=state["settings"].max_frames,
        )
        start, end = (_face(one, params, served) for one in (params.start, params.end))
        key = _key(start, end, params)
        etag = state["pipeline"].etag(key)
        headers = _headers(start, end, params) | {"ETag": etag, "Cache-Control": FOREVER}
        known = matches(request.headers.get("if-none-match"), etag)
        if known or is_head(request):
            await admit(request)
            response = Response(status_code=304 if known else 200, headers=headers)
            if not known:
                del response.headers["Content-Length"]  # unknown: nothing was made
            return response
        await admit(request, _distinct(params.frames))
        seconds: dict[str, float] = {}

        async def make() -> bytes:
            with (
                served.hold(),  # whoever waits for this may have come by another lease
                BUDGET.spend(params.frames * params.size**2) as reservation,
            ):
                return await _film(request, served, start, end, params, seconds, reservation)

        film = state["pipeline"].stored(key, make, seconds, served)
        picture = await while_connected(request, film)
        return RawResponse(raw_headers(headers) + work_headers(picture), picture.content)


def _face(end: MorphEnd, params: MorphParams, served: Served) -> Face:
    """The face at one end, as it is when asked for alone."""
    face = FaceParams(end.seed, end.given, params.size, "png", model=None, seeded=True)
    return complete(face, served)


def _distinct(frames: int) -> int:
    """Pictures of the way there; those of the way back are the same."""
    return frames // 2 + 1


def _key(start: Face, end: Face, params: MorphParams) -> str:
    """Names the exact bytes."""
    version = animation_version(params.format)
    parts = ("morph", _PATH_VERSION, version, start.key, end.key, str(params.frames))
    return sha256("|".join(parts).encode()).hexdigest()[:32]


def _claims(start: Face, end: Face) -> Claims:
    """Both seeds, and the labels: once where they are the same, else by their end."""
    labels = label_text(start.labels)
    if start.labels != end.labels:
        both = {"from": start, "to": end}
        labels = label_text(
            {
                f"{of}_{name}": value
                for of, face in both.items()
                for name, value in face.labels.items()
            }
        )
    return Claims(f"{start.seed}..{end.seed}", start.spec.identity, labels)


def _headers(start: Face, end: Face, params: MorphParams) -> dict[str, str]:
    claims = _claims(start, end)
    headers = {
        "X-Seed": claims.seed,
        "X-Model": claims.model,
        "X-AI-Generated": "true",
        "Content-Type": ANIMATION_FORMATS[params.format],
        "Content-Disposition": disposition(f"morph-{start.seed}-{end.seed}", params.format),
    }
    return headers | ({"X-Labels": claims.labels} if claims.labels else {})


async def _film(
    request: Request,
    served: Served,
    start: Face,
    end: Face,
    params: MorphParams,
    seconds: dict[str, float],
    reservation: Reservation,
) -> bytes:
    pipeline = state_of(request)["pipeline"]
    z_start, z_end = start.latent(), end.latent()
    y_start, y_end = start.label_vector(), end.label_vector()

    def frame(fraction: float) -> Work[NDArray[np.uint8]]:
        async def work() -> NDArray[np.uint8]:
            z_Z, y_L = spherical(z_start, z_end, fraction), linear(y_start, y_end, fraction)
            image_HWC = (await pipeline.image(served, z_Z, y_L)).image
            return await asyncio.to_thread(resample, image_HWC, params.size)

        return work

    started = time.perf_counter()
    way = there_and_back(params.frames)[: _distinct(params.frames)]
    works = [frame(fraction) for fraction in way]
    patience = state_of(request)["settings"].deadline
    frames = paced(works, tile=served.tile, seconds=patience)
    async with aclosing(frames):
        there = [image_HWC async for image_HWC in frames]
    loop = [there[min(index, params.frames - index)] for index in range(params.frames)]
    rendered = time.perf_counter()
    content = await pipeline.assembled(
        lambda: animate(loop, params.format, claims=_claims(start, end)),
        ANIMATION_FORMATS[params.format],
        reservation,
    )
    seconds |= {"frames": rendered - started, "encode": time.perf_counter() - rendered}
    return content
