"""What only the operator may do; off unless a token is configured."""

import asyncio
import secrets
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from service.answers import LoadAnswer, ModelAnswer
from service.errors import AdminDisabledError, UnauthorizedError
from service.exchange import state_of
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
    responses=problems(401, 403, 404, 414, 422, 503),
)
async def load(request: Request, response: Response, name: str) -> LoadAnswer:
    """Reads the checkpoint's folder again, or for the first time, without dropping a request.

    The folder is one of VISAGE_CHECKPOINTS, or one of that name beside the default model's.
    What was served under the name goes on until the new one is warm, and for good where the
    new one is no good.
    """
    fleet = state_of(request)["fleet"]
    # Loading goes on though the client may leave: half a reload helps nobody.
    spec, tile, seconds = await asyncio.shield(asyncio.ensure_future(fleet.load(name)))
    response.headers["Cache-Control"] = "no-store"
    answer = ModelAnswer.of(spec, tile=tile, default=name == fleet.default)
    return LoadAnswer(model=answer, seconds=round(seconds, 3))
