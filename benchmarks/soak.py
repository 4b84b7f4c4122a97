"""Ten thousand visits while models are reloaded and the server is stopped and replaced.

Prints what was lost (nothing), and what each server held of memory at the end over what it had
settled at before.
"""

import argparse
import asyncio
import socket
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from running_server import RunningServer, server_factory  # noqa: E402
from soaking import ADMIN_TOKEN, Event, Soak, soak  # noqa: E402
from tiny_checkpoints import write_tiny  # noqa: E402

# The first server lives for half of all requests: memory that grows slowly needs time to show.
EVENTS: list[Event] = [*["reload"] * 5, "drain", "reload", "drain", "reload", "drain", "reload"]


def report(result: Soak, seconds: float) -> None:
    visitors = result.visitors
    heard = result.heard
    unanswered = heard.keys() & set(visitors.unheard)
    print(f"{result.answered} visits in {seconds:.0f} s, by status {visitors.tally.statuses}")
    print(f"lost: {len(visitors.tally.lost) + len(unanswered)}")
    print(f"reloads: {len(result.reloads)}, by status {sorted(set(result.reloads))}")
    print(
        f"servers replaced: {len(result.exits)}, exit codes {sorted({c for c, _ in result.exits})}"
    )
    print(f"connections refused and tried again: {visitors.refused}")
    print(f"connections reset before a request was read: {len(visitors.unheard)}")
    print(f"turned away by a server that stopped or started: {visitors.turned_away}")
    print(f"requests read by servers: {len(heard)}, by status {sorted(set(heard.values()))}")
    for number, samples in enumerate(result.resident):
        if len(samples) >= 8:
            print(
                f"server {number + 1}: {samples[-1] / 2**20:.0f} MiB, "
                f"{len(samples)} samples, last quarter / the one before "
                f"{result.growth(number):.3f}"
            )


def main() -> None:
    """Soak, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=8)
    options = parser.parse_args()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with server_factory(folder, write_tiny(folder / "tiny-16")) as start_server:

            def start() -> RunningServer:
                return start_server(
                    port=port, admin_token=ADMIN_TOKEN, access_log=True, cache_bytes=2**20
                )

            started = time.monotonic()
            result = asyncio.run(
                soak(
                    start,
                    model="tiny-16",
                    requests=options.requests,
                    clients=options.clients,
                    events=EVENTS,
                )
            )
            report(result, time.monotonic() - started)


if __name__ == "__main__":
    main()
