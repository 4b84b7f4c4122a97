"""A real Ray cluster of stub replicas: run as a program, it is the driver that keeps it alive.

The replicas are the whole service; only the engine is a stub, for which a batch takes a fixed time
and next to no processor. On stdin, one JSON object a line: the options of a deployment to become;
on stdout, a line each time that is reached. At the end of stdin, everything ends.
"""

import json
import os
import sys
import time
from pathlib import Path

from fakes import FakeEngine, face_spec

from service.engine_protocol import Engine
from service.fleet import LoadEngine
from service.settings import Settings

FOLDER = "RAY_STUB_FOLDER"
"""Environment variable: the folder where each replica leaves a file named after its process, and
where a file called `hold` keeps every engine in the batch that it has begun."""


def fixed_latency(settings: Settings) -> LoadEngine:
    """Its tile is the settings'. The model is named after the folder, `NAME-MILLISECONDS`, which
    need not exist."""

    def load_engine(folder: Path) -> Engine:
        seconds = int(folder.name.rpartition("-")[2]) / 1000
        stub = Path(os.environ[FOLDER])

        def compute(_: int) -> None:
            time.sleep(seconds)
            while (stub / "hold").exists():
                time.sleep(0.01)

        (stub / str(os.getpid())).touch()
        return FakeEngine(face_spec(name=folder.name), tile=settings.tile, before_batch=compute)

    return load_engine


def main(port: int) -> None:
    import ray
    from ray import serve

    from deploy.ray.app import Options, application

    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    serve.start(http_options={"host": "127.0.0.1", "port": port}, proxy_location="HeadOnly")
    for line in sys.stdin:
        options = Options(**json.loads(line))
        serve.run(application(options, fixed_latency), name="visage", route_prefix="/")
        print("deployed", flush=True)
    ray.shutdown()


if __name__ == "__main__":
    from ray_stub import main as importable_main  # what Ray pickles must have a name to import

    importable_main(int(sys.argv[1]))
