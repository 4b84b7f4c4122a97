"""What only the operator may do; off unless a token is configured."""

import asyncio
import secrets
import time
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from service.answers import LoadAnswer, ModelAnswer
from service.errors import AdminDisabledError, UnauthorizedError
from service.exchange import state_of
from service.labels import ModelSpec
from service.openapi import problems

router = APIRouter(tags=["admin"])
_bearer = HTTPBearer(auto_error=False, description="The value of VISAGE_ADMIN_TOKEN.")


def require_token(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> None:
    """Raises AdminDisabledError or UnauthorizedError."""
    token = state_of(request)["settings"].admin_token.get_secret_value()
    if not token:
        raise AdminDisabledError("Admin routes are off: set VISAGE_ADMIN_TOKEN to turn them on.")
    given = credentials.credentials if credentials is not None else ""
    if not secrets.compare_digest(given.encode(), token.encode()):
        raise UnauthorizedError("Send the admin token as `Authorization: Bearer …`.")


@router.post(
    "/v1/admin/models/{name}/load",
    summary="Load or reload a checkpoint",
    dependencies=[Depends(require_token)],
    responses=problems(401, 403, 404, 414, 422, 500, 503),
)
async def load(request: Request, response: Response, name: str) -> LoadAnswer:
    """Reads the checkpoint's folder again, or for the first time, without dropping a request.

    The folder is one of VISAGE_CHECKPOINTS, or one of that name beside the default model's.
    What was served under the name goes on until the new one is warm, and for good where the
    new one is no good. Of several processes, all load it before the answer comes.
    """
    fleet, load_elsewhere = state_of(request)["fleet"], state_of(request)["load_elsewhere"]

    async def load_everywhere() -> tuple[ModelSpec, int, float, int]:
        # Here first: what is no good here is no good anywhere, and nothing has changed.
        spec, tile, seconds = await fleet.load(name)
        started = time.perf_counter()
        others = 0 if load_elsewhere is None else await load_elsewhere(name)
        return spec, tile, seconds + time.perf_counter() - started, 1 + others

    # Loading goes on though the client may leave: half a reload helps nobody.
    loading = asyncio.ensure_future(load_everywhere())
    spec, tile, seconds, processes = await asyncio.shield(loading)
    response.headers["Cache-Control"] = "no-store"
    answer = ModelAnswer.of(spec, tile=tile, default=name == fleet.default)
    return LoadAnswer(model=answer, seconds=round(seconds, 3), processes=processes)
