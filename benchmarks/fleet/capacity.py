"""From what one replica was measured to do to a fleet: arithmetic, no simulation.

Every figure that was not measured is a parameter, and `docs/capacity.md` says which.
"""

import math
from dataclasses import dataclass

MILLION_A_MINUTE = 1e6 / 60


@dataclass(frozen=True)
class Demand:
    """What is asked for."""

    rate: float = MILLION_A_MINUTE
    """Requests a second."""
    seeded_share: float = 0.5
    """Of them for a named face; the others are for any new one, and never cached."""
    hit_rate: float = 0.6
    """Of the seeded: found in a process, in Redis, or at a browser's or CDN's that is ours."""
    local_share: float = 0.2
    """Of the hits: found in the replica's own memory, so that Redis is not asked."""

    @property
    def made(self) -> float:
        """Pictures that engines must make, a second."""
        return self.rate * (1 - self.seeded_share * self.hit_rate)

    @property
    def asked_of_redis(self) -> float:
        """Lookups a second: every seeded request that the replica does not answer by itself."""
        return self.rate * self.seeded_share * (1 - self.hit_rate * self.local_share)

    @property
    def stored_in_redis(self) -> float:
        """Faces put there a second: every seeded one that was made."""
        return self.rate * self.seeded_share * (1 - self.hit_rate)


@dataclass(frozen=True)
class Unit:
    """What one replica does and costs."""

    faces: float
    """New faces a second, measured at 64 clients."""
    price: float
    """Of an hour."""
    headroom: float = 0.7
    """How much of it is planned with: the rest is for bursts and for replicas that stop."""


def replicas(demand: Demand, unit: Unit) -> int:
    """How many it takes."""
    return math.ceil(demand.made / (unit.faces * unit.headroom))


def cost_per_million(demand: Demand, unit: Unit) -> float:
    """Of a million answers, in the price's currency: replicas only."""
    return replicas(demand, unit) * unit.price / (demand.rate * 3600 / 1e6)


def traffic_cost_per_million(answer_bytes: float, price_per_gb: float) -> float:
    """Of sending a million answers out of the data centre."""
    return answer_bytes * 1e6 / 1e9 * price_per_gb


def bits_per_second(rate: float, bytes_each: float, overhead: float = 0.05) -> float:
    """On the wire; `overhead`: of TCP, IP and TLS."""
    return rate * bytes_each * 8 * (1 + overhead)


def redis_bytes(faces: float, bytes_each: float) -> float:
    """Memory that so many faces take."""
    return faces * bytes_each


def redis_busy(demand: Demand, lookup: float, put: float) -> float:
    """Cores that Redis' commands take, of which one server has one; in seconds of each command."""
    return demand.asked_of_redis * lookup + demand.stored_in_redis * put
