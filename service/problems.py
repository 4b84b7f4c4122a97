"""Whatever goes wrong → one problem document (RFC 9457).

Knows nothing about routes: it turns our own errors, and those of the HTTP libraries, into answers.
"""

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from service.errors import (
    BadRequestError,
    InvalidParameter,
    InvalidParametersError,
    MethodNotAllowedError,
    NotFoundError,
    VisageError,
)

MEDIA_TYPE = "application/problem+json"


def problem_response(error: VisageError) -> JSONResponse:
    """The answer that `error` is."""
    return JSONResponse(
        error.problem(),
        status_code=error.status,
        headers={**error.headers, "Cache-Control": "no-store"},
        media_type=MEDIA_TYPE,
    )


async def answer_error(request: Request, error: Exception) -> JSONResponse:
    """The one handler: every refusal and every failure becomes a problem document."""
    return problem_response(_as_ours(request, error))


def _as_ours(request: Request, error: Exception) -> VisageError:
    if isinstance(error, VisageError):
        return error
    if isinstance(error, RequestValidationError):
        return _as_invalid(error)
    if isinstance(error, HTTPException) and error.status_code == 400:
        return BadRequestError(f"The request cannot be read: {error.detail}.")
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


def _as_invalid(error: RequestValidationError) -> VisageError:
    """Each field by its path in the body: `seeds.0`."""
    problems = []
    for problem in error.errors():
        if problem["type"] == "json_invalid":
            reason = problem.get("ctx", {}).get("error", "it is no JSON")
            return BadRequestError(f"The body is not JSON: {reason}.")
        where = ".".join(str(part) for part in problem["loc"][1:]) or str(problem["loc"][0])
        message = str(problem["msg"]).removeprefix("Value error, ").rstrip(".")
        problems.append(InvalidParameter(where, f"{where}: {message}."))
    return InvalidParametersError(problems)
