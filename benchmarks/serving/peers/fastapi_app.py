"""A plain FastAPI endpoint: one picture a request, no batching. And an empty route."""

import sys

import uvicorn
from fastapi import FastAPI, Response
from generator import Faces

app, faces = FastAPI(), Faces()


@app.get("/empty")
async def empty() -> Response:
    return Response(b"", media_type="image/png")


@app.get("/face")
def face(seed: int) -> Response:
    return Response(faces.pngs([seed])[0], media_type="image/png")


uvicorn.run(app, port=int(sys.argv[1]), log_level="warning", access_log=False)
