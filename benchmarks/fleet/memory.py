"""Bytes that a face takes in Redis and on the wire: `python -m benchmarks.fleet.memory`.

The shipped model, its real engine, a real Valkey; what Valkey says it uses, before and after.
"""

import argparse
import sys
import time
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from running_valkey import RunningValkey  # noqa: E402

from benchmarks.serving.servers import service  # noqa: E402


def main() -> None:
    """Ask for so many faces and print the means."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faces", type=int, default=2000)
    parser.add_argument(
        "--checkpoint", type=Path, default=ROOT / "models" / "checkpoints" / "faces-64"
    )
    options = parser.parse_args()
    valkey = RunningValkey()
    try:
        with service(options.checkpoint, redis_url=valkey.url, reservoir=0) as running:
            before = valkey.inside.info("memory")["used_memory"]
            body = head = 0
            with httpx.Client(base_url=running.url) as client:
                for n in range(options.faces):
                    answer = client.get(f"/v1/faces/{n}.png")
                    body += len(answer.content)
                    head += sum(len(k) + len(v) + 4 for k, v in answer.headers.raw) + 19
            time.sleep(0.5)  # storing is not waited for
            used = valkey.inside.info("memory")["used_memory"] - before
            stored = valkey.inside.dbsize()
    finally:
        valkey.kill()
    print(f"{stored} faces stored: {used / stored:.0f} bytes each in Redis")
    print(
        f"answer: {body / options.faces:.0f} bytes of picture, {head / options.faces:.0f} of head"
    )


if __name__ == "__main__":
    main()
