"""HTTP only: requests to parameters, pictures to responses, with their headers.

Knows nothing about queues, batches or pixels. One module per kind of thing that is asked for.
Routes answer GET; the middleware serves HEAD from the same handlers, and a handler that sees
`is_head` leaves out the work, not the headers.
"""

from fastapi import APIRouter

from service.routes import admin, faces, many, models, morph, operations, verify

PARTS = (
    faces.router,
    many.router,
    morph.router,
    verify.router,
    models.router,
    operations.router,
    admin.router,
)

router = APIRouter()
for part in PARTS:
    router.include_router(part)
