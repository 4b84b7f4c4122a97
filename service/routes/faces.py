"""Single faces: a new one, that of a seed, and the way from the one to the other."""

from urllib.parse import quote, urlencode

from fastapi import APIRouter, Request, Response

from service.addresses import LONGEST_ACCEPT, Meaning, RawHeaders, raw_headers
from service.choice import best, best_fresh, candidates, remembered
from service.choice_params import BestOf, pictures_wanted
from service.errors import InvalidParameter, InvalidParametersError
from service.exchange import (
    FOREVER,
    RawResponse,
    admit,
    face_headers,
    is_head,
    lease,
    matches,
    state_of,
    while_connected,
    work_headers,
)
from service.openapi import (
    BEST_OF_PARAMETER,
    DIRECT_PARAMETER,
    FACE_RESPONSE,
    FORMAT_PARAMETER,
    MODEL_PARAMETER,
    SEED_PARAMETER,
    SEED_PATH_PARAMETER,
    SIZE_PARAMETER,
    picture_operation,
    problems,
)
from service.params import FaceParams, parse_face, split_extension
from service.pipeline import Face, Picture, complete
from service.served import Served
from service.settings import Settings

router = APIRouter(tags=["faces"])

_PICTURE_PARAMETERS = [SIZE_PARAMETER, FORMAT_PARAMETER, MODEL_PARAMETER, BEST_OF_PARAMETER]
_PROBLEMS = problems(401, 404, 406, 413, 414, 422, 429, 500, 503, 504)


@router.get(
    "/image",
    response_class=Response,
    responses={200: FACE_RESPONSE, **_PROBLEMS},
    openapi_extra=picture_operation(SEED_PARAMETER, *_PICTURE_PARAMETERS),
    summary="A new face at every call",
)
async def image(request: Request) -> Response:
    """Never the same twice, unless `seed` asks for it; never stored. PNG unless asked otherwise."""
    query = _query(request)
    await admit(request, _cost(request, query))
    return await _new_face(request, query)


@router.get(
    "/v1/faces/random",
    response_class=Response,
    responses={
        200: FACE_RESPONSE,
        302: {
            "description": "The address of a face nobody has seen, or of that of `seed`, with the "
            "same parameters.",
            "headers": {"Location": {"schema": {"type": "string"}}},
        },
        **_PROBLEMS,
    },
    openapi_extra=picture_operation(DIRECT_PARAMETER, SEED_PARAMETER, *_PICTURE_PARAMETERS),
    summary="The way to a new face",
)
async def random_face(request: Request) -> Response:
    """A redirect to a seed nobody has seen, unless `seed` names one; with `direct=1` its bytes,
    as /image has them."""
    query = _query(request)
    direct = [text for name, text in query if name.casefold() == "direct"]
    # The way to a face costs as much as a face, however many it is to be chosen among.
    await admit(request, _cost(request, query) if direct == ["1"] else 1)
    rest = [(name, text) for name, text in query if name.casefold() != "direct"]
    if _direct(direct):
        return await _new_face(request, rest)
    with lease(request, _model(rest)) as served:
        params = _parse(request, served, rest, seed=None)
    named = [pair for pair in rest if pair[0].casefold() != "seed"]
    location = _last_part(params) + (f"?{urlencode(named)}" if named else "")
    # Relative: right behind a proxy that serves this under a prefix, too.
    return Response(
        status_code=302,
        headers={"Location": f"./{location}", "Cache-Control": "no-store"},
    )


@router.get(
    "/v1/faces/{seed:path}",
    response_class=Response,
    responses={
        200: FACE_RESPONSE,
        304: {"description": "The client has these very bytes."},
        **_PROBLEMS,
    },
    openapi_extra=picture_operation(SEED_PATH_PARAMETER, *_PICTURE_PARAMETERS),
    summary="The face of a seed, the same bytes each time",
)
async def seeded_face(request: Request) -> Response:
    """One seed, one face: cacheable for ever, and 304 before any work."""
    state = state_of(request)
    pipeline, addresses, seen = state["pipeline"], state["addresses"], state["seen"]
    scope, headers = request.scope, request.headers
    accept = headers.get("accept", "")
    address = (scope["path"], scope["query_string"], accept)
    meaning = addresses.get(address) if len(accept) <= LONGEST_ACCEPT else None
    if meaning is None:
        query = _query(request)
        model, cost = _model(query), _cost(request, query)
    else:
        model, cost = meaning.model, 1 if is_head(request) else meaning.pictures
    await admit(request, cost)
    with lease(request, model) as served:
        picture = None
        if meaning is None or meaning.face.spec is not served.spec:
            seed, extension = split_extension(request.path_params["seed"])
            params = _parse(request, served, _query(request), seed=seed, extension=extension)
            face, picture = await _face(request, served, params)
            meaning = _meaning(request, face or complete(params, served), params, extension)
            if face is None:
                return RawResponse(_unchosen(meaning.headers))
        known = matches(headers.get("if-none-match"), meaning.etag)
        if picture is None and not known and not is_head(request):
            picture = pipeline.at_hand(meaning.face)
        if known or picture is not None:
            seen.add(address[:2])
            if len(accept) <= LONGEST_ACCEPT:
                addresses[address] = meaning
        if known:
            return RawResponse(meaning.headers, status_code=304)
        if is_head(request):
            return RawResponse(meaning.headers)
        if picture is None:
            pipeline.check_room(meaning.face.key, served)
            seen.add(address[:2])
            picture = await while_connected(request, pipeline.picture(meaning.face, served))
        return RawResponse(meaning.headers + work_headers(picture), picture.content)


async def _face(
    request: Request, served: Served, params: FaceParams
) -> tuple[Face | None, Picture | None]:
    """The seeded face that is meant, with its picture where choosing it has made that.

    None where it has yet to be chosen and only headers are wanted.
    """
    face = complete(params, served)
    if params.best_of == 1:
        return face, None
    pipeline = state_of(request)["pipeline"]
    faces = candidates(face, params.given, params.best_of)
    chosen = remembered(faces, pipeline)
    if chosen is not None or is_head(request):
        return chosen, None
    state_of(request)["seen"].add((request.scope["path"], request.scope["query_string"]))
    return await while_connected(request, best(faces, served, pipeline))


def _meaning(request: Request, face: Face, params: FaceParams, extension: str | None) -> Meaning:
    """What the address of a seeded face means, in the terms of the model it names."""
    etag = state_of(request)["pipeline"].etag(face.key)
    headers = face_headers(face) + raw_headers({"ETag": etag, "Cache-Control": FOREVER})
    if extension is None:
        headers += raw_headers({"Vary": "Accept"})
    return Meaning(params.model, face, etag, headers, params.best_of)


async def _new_face(request: Request, query: list[tuple[str, str]]) -> Response:
    pipeline = state_of(request)["pipeline"]
    with lease(request, _model(query)) as served:
        params = _parse(request, served, query, seed=None, prefer="png")
        face = complete(params, served)
        if is_head(request):
            headers = face_headers(face) + _UNSTORED
            return RawResponse(headers if params.best_of == 1 else _unchosen(headers))
        if params.best_of > 1:
            choose = best if params.seeded else best_fresh
            faces = candidates(face, params.given, params.best_of)
            face, picture = await while_connected(request, choose(faces, served, pipeline))
        elif params.seeded:
            picture = await while_connected(request, pipeline.picture(face, served))
        else:
            face, picture = await while_connected(request, pipeline.fresh(params, served))
        headers = face_headers(face) + work_headers(picture) + _UNSTORED
        return RawResponse(headers, picture.content)


def _unchosen(headers: RawHeaders) -> RawHeaders:
    """Those of `headers` that do not depend on which of the candidates is the best."""
    return [(name, value) for name, value in headers if name not in _OF_THE_CHOSEN]


_OF_THE_CHOSEN = (b"x-seed", b"etag", b"content-disposition")
_UNSTORED = raw_headers({"Cache-Control": "no-store", "Vary": "Accept"})


def _parse(
    request: Request,
    served: Served,
    query: list[tuple[str, str]],
    *,
    seed: str | None,
    extension: str | None = None,
    prefer: str | None = None,
) -> FaceParams:
    return parse_face(
        query,
        served.spec.space,
        seed=seed,
        extension=extension,
        accept=request.headers.get("accept"),
        prefer=prefer,
        best_of=BestOf(_settings(request).max_best_of, bool(served.spec.critic)),
    )


def _last_part(params: FaceParams) -> str:
    """Of the address that means this seed, with its format where the seed alone means another."""
    text = params.seed.text
    alone = text not in _NO_LAST_PARTS and split_extension(text)[1] is None
    return quote(str(params.seed), safe="%~") + ("" if alone else f".{params.format}")


_NO_LAST_PARTS = ("random", ".", "..")
"""A route of its own, and what clients take for a way to elsewhere."""


def _cost(request: Request, query: list[tuple[str, str]]) -> int:
    """Pictures that a request for a face asks for; HEAD asks for none and costs one."""
    if not query or is_head(request):
        return 1
    return pictures_wanted(query, _settings(request).max_best_of)


def _settings(request: Request) -> Settings:
    return state_of(request)["settings"]


def _query(request: Request) -> list[tuple[str, str]]:
    """Names and values, in order; most requests have none."""
    return request.query_params.multi_items() if request.scope["query_string"] else []


def _model(query: list[tuple[str, str]]) -> str | None:
    """Which model is asked for; the rest is read in the terms of its attributes."""
    return next((text.strip() for name, text in query if name.casefold() == "model"), None)


def _direct(texts: list[str]) -> bool:
    if texts in ([], ["0"], ["1"]):
        return texts == ["1"]
    detail = "direct is given once, as 0 or 1."
    raise InvalidParametersError([InvalidParameter("direct", detail, ("0", "1"))])
