"""Ray Serve, one replica, with its own batching."""

import sys
import time

import ray
from generator import BATCH, WINDOW, Faces
from ray import serve
from starlette.requests import Request
from starlette.responses import Response


@serve.deployment(max_ongoing_requests=512, ray_actor_options={"num_cpus": 1})
class Api:
    def __init__(self) -> None:
        self.faces = Faces()

    @serve.batch(max_batch_size=BATCH, batch_wait_timeout_s=WINDOW)
    async def generate(self, seeds: list[int]) -> list[bytes]:
        return self.faces.pngs(seeds)

    async def __call__(self, request: Request) -> Response:
        png = await self.generate(int(request.query_params["seed"]))
        return Response(png, media_type="image/png")


ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
serve.start(http_options={"port": int(sys.argv[1]), "access_log": False})
serve.run(Api.bind(), route_prefix="/face")
while True:
    time.sleep(3600)
