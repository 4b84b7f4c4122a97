"""What routes that read a body share: its type and that there is one.

Knows HTTP, but no route. How long it may be is settled before (service/bounds.py).
"""

from collections.abc import Sequence

from fastapi import Request
from starlette.requests import ClientDisconnect

from service.errors import (
    BadRequestError,
    ClientGoneError,
    InvalidParameter,
    InvalidParametersError,
    UnsupportedMediaTypeError,
)


async def read_body(request: Request, media_types: Sequence[str], *, holds: str) -> bytes:
    """The whole body, of one of `media_types` (`image/*` is any image); `holds` says what it is.

    Raises UnsupportedMediaTypeError, BadRequestError for an empty one, InvalidParametersError
    where there is a query, which would not be read, ClientGoneError where the client leaves on the
    way, and what reading raises.
    """
    if query := request.query_params:
        name = next(iter(query))
        detail = f"This route takes no parameters in the address, but {name!r}: put it in the body."
        raise InvalidParametersError([InvalidParameter(name, detail)])
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    family = media_type.partition("/")[0] + "/*"
    if media_type not in media_types and family not in media_types:
        raise UnsupportedMediaTypeError(
            f"The body's Content-Type is {media_type or 'missing'}; this route reads "
            f"{', '.join(media_types)}: send {holds} as that."
        )
    try:
        body = await request.body()
    except ClientDisconnect:
        raise ClientGoneError("The client left before its request was whole.") from None
    if not body:
        raise BadRequestError(f"The body is empty: send {holds}.")
    return body
