"""mosec, with its own batching; it reads --port itself."""

from generator import BATCH, WINDOW, Faces
from mosec import Server, Worker


class Api(Worker):
    resp_mime_type = "image/png"

    def __init__(self) -> None:
        super().__init__()
        self.faces = Faces()

    def deserialize(self, data: bytes) -> int:
        return int(data)

    def forward(self, data: list[int]) -> list[bytes]:
        return self.faces.pngs(data)

    def serialize(self, data: bytes) -> bytes:
        return data


if __name__ == "__main__":
    server = Server()
    server.append_worker(Api, num=1, max_batch_size=BATCH, max_wait_time=int(WINDOW * 1000))
    server.run()
