"""What is measured and simulated side by side: small fleets of an engine that only waits."""

from dataclasses import dataclass

from benchmarks.fleet.arrivals import Trace, constant, poisson

SECONDS = 10.0
DEADLINE = 2.0


@dataclass(frozen=True)
class Case:
    """So many replicas under a constant load, some of it for faces that were asked for before."""

    engine: str
    """As FLEET_ENGINE: kind, seconds and tile."""
    replicas: int
    rate: float
    new_share: float = 1.0

    @property
    def name(self) -> str:
        return f"{self.engine} x{self.replicas} {self.rate:g}/s new={self.new_share:g}"

    def trace(self, seed: int) -> Trace:
        """Its requests, the same at every call."""
        return poisson(
            constant(self.rate),
            SECONDS,
            seed=seed,
            new_share=self.new_share,
            faces=400,
            exponent=1.0,
        )


EACH, TILE = "each:0.02:8", "tile:0.08:8"  # 50 and 100 pictures a second
CALIBRATED, CALIBRATED_SECONDS = EACH, 0.02
"""What a request takes beside the engine is measured with this one, and holds for both."""
CASES = [
    *(Case(EACH, 1, rate) for rate in (25, 45, 75)),
    *(Case(EACH, 2, rate) for rate in (50, 90, 150)),
    *(Case(EACH, replicas, 75 * replicas, new_share=0.2) for replicas in (1, 2)),
    Case(EACH, 2, 300, new_share=0.2),
    *(Case(TILE, 1, rate) for rate in (50, 90)),
    *(Case(TILE, 2, rate) for rate in (180, 300)),
]
