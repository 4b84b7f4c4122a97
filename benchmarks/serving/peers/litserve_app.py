"""LitServe, with its own batching."""

import sys

import litserve as ls
from fastapi import Response
from generator import BATCH, WINDOW, Faces


class Api(ls.LitAPI):
    def setup(self, device):  # noqa: ARG002  LitServe passes it
        self.faces = Faces()

    def decode_request(self, request):
        return int(request["seed"])

    def batch(self, inputs):
        return list(inputs)

    def predict(self, seeds):
        return self.faces.pngs(seeds)

    def unbatch(self, output):
        return output

    def encode_response(self, output):
        return Response(output, media_type="image/png")


if __name__ == "__main__":
    api = Api(max_batch_size=BATCH, batch_timeout=WINDOW)
    server = ls.LitServer(api, accelerator="cpu", timeout=60)
    server.run(port=int(sys.argv[1]), generate_client_file=False, log_level="warning")
