"""Fresh faces made while nobody waits, so that a random face is there when somebody asks.

Knows nothing about HTTP or engines. One small store per popular label set; each face is handed
out once. The event loop takes, the engine's thread plans and fills.
"""

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.labels import ModelSpec
from service.latents import latent
from service.params import Seed
from service.telemetry import Telemetry

POPULAR_AFTER = 2
"""Requests for a label set after which it gets a store; the empty one has it from the start."""

LabelSet = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class FreshFace:
    """A face nobody has seen. `image_HWC` is None until the engine has made it."""

    seed: Seed
    labels: Mapping[str, str]
    image_HWC: NDArray[np.uint8] | None = None


@dataclass(frozen=True)
class Plan:
    """What the engine should make next, for the store of one label set."""

    label_set: LabelSet
    faces: Sequence[FreshFace]
    z_BZ: NDArray[np.float32]
    y_BL: NDArray[np.float32]


class Reservoir:
    """At most `capacity` faces for each of at most `label_sets` label sets.

    `on_taken` is called, on the taker's thread, whenever there is room again.
    """

    def __init__(
        self, capacity: int, label_sets: int, telemetry: Telemetry, on_taken: Callable[[], None]
    ) -> None:
        self._capacity = capacity
        self._label_sets = label_sets
        self._telemetry = telemetry
        self._on_taken = on_taken
        self._lock = threading.Lock()
        self._stores: dict[LabelSet, deque[FreshFace]] = {}
        # Asked for lately, the latest last: how often, while it has no store yet.
        self._asked: OrderedDict[LabelSet, int] = OrderedDict()
        if capacity:
            self._stores[()] = deque()
            self._asked[()] = POPULAR_AFTER

    def take(self, given: Mapping[str, str]) -> FreshFace | None:
        """A face with the labels `given`, or None where none waits; counts the asking."""
        if not self._capacity:
            return None
        label_set = tuple(sorted(given.items()))
        with self._lock:
            self._note(label_set)
            store = self._stores.get(label_set)
            face = store.popleft() if store else None
        self._telemetry.reservoir_requests.labels("miss" if face is None else "hit").inc()
        if label_set in self._stores:
            self._on_taken()
        return face

    @property
    def hungry(self) -> bool:
        """Whether some store has room."""
        with self._lock:
            return any(len(store) < self._capacity for store in self._stores.values())

    def plan(self, spec: ModelSpec, limit: int) -> Plan | None:
        """Up to `limit` faces for the emptiest store; None while all are full."""
        with self._lock:
            if not self._stores:
                return None
            label_set = min(self._stores, key=lambda key: len(self._stores[key]))
            count = min(limit, self._capacity - len(self._stores[label_set]))
        if count < 1:
            return None
        seeds = [Seed.random() for _ in range(count)]
        faces = [FreshFace(s, spec.space.complete(dict(label_set), s.text)) for s in seeds]
        return Plan(
            label_set,
            faces,
            np.stack([latent(seed, spec.latent_dim) for seed in seeds]),
            np.stack([spec.space.encode(face.labels) for face in faces]),
        )

    def fill(self, plan: Plan, image_BHWC: NDArray[np.uint8]) -> None:
        """Store what was planned, as far as its label set still has a store."""
        with self._lock:
            store = self._stores.get(plan.label_set)
            if store is not None:
                for face, image_HWC in zip(plan.faces, image_BHWC, strict=True):
                    store.append(FreshFace(face.seed, face.labels, image_HWC))

    def clear(self) -> None:
        """Forget every face: the engine would now make other bytes of them, or is gone."""
        with self._lock:
            for store in self._stores.values():
                store.clear()

    def __len__(self) -> int:
        with self._lock:
            return sum(len(store) for store in self._stores.values())

    def _note(self, label_set: LabelSet) -> None:
        self._asked[label_set] = self._asked.pop(label_set, 0) + 1
        if self._asked[label_set] >= POPULAR_AFTER and label_set not in self._stores:
            self._stores[label_set] = deque()
            if len(self._stores) > self._label_sets:
                unpopular = next(key for key in self._asked if key in self._stores)
                del self._stores[unpopular], self._asked[unpopular]
        while len(self._asked) > 8 * self._label_sets:
            oldest = next(key for key in self._asked if key not in self._stores)
            del self._asked[oldest]
