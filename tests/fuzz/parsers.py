"""Every parser that takes bytes from strangers, as a function of bytes that may only refuse.

Knows nothing about where inputs come from, or how long they may take.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

from fuzz.mutation import edit_bytes

CORPUS = Path(__file__).parent / "corpus"
Edit = Callable[[bytes, Random], bytes]


@dataclass(frozen=True)
class Parser:
    """What is fuzzed. `read` may raise `refusals` and nothing else."""

    name: str
    read: Callable[[bytes], object]
    seeds: Callable[[], list[bytes]]
    """Good inputs, to begin from."""
    refusals: tuple[type[Exception], ...] = ()
    edits: tuple[Edit, ...] = (edit_bytes,)
    """Ways to change an input; those that know the format come past its checksums."""
    share: float = 1.0
    """Of the inputs, beside the other parsers': less for one that takes long."""

    def corpus(self) -> list[bytes]:
        """The seeds, and what is kept in the corpus: inputs that found something once."""
        folder = CORPUS / self.name
        return [*self.seeds(), *(path.read_bytes() for path in sorted(folder.glob("*")))]

    def mutated(self, corpus: list[bytes], random: Random) -> bytes:
        """Another input: one of the corpus, changed a little."""
        data = random.choice(corpus)
        for _ in range(random.choice((1, 1, 1, 2, 3, 8))):
            data = random.choice(self.edits)(data, random)
        return data[:MAX_INPUT]


MAX_INPUT = 1 << 18
"""Bytes; what is larger takes longer and says the same."""


def all_parsers() -> list[Parser]:
    """By name."""
    from fuzz import file_parsers, service_parsers

    return sorted([*service_parsers.PARSERS, *file_parsers.PARSERS], key=lambda p: p.name)
