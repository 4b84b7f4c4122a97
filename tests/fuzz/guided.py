"""One parser, fuzzed by atheris: inputs that reach new code are kept and changed further.

Needs atheris (`pip install atheris`), which the suite does without. A failure ends it with a
traceback; libFuzzer leaves the input beside it.
"""

import sys
import tempfile
from contextlib import suppress
from random import Random


def guide(name: str, inputs: int, seed: int) -> int:
    """Read so many inputs; 0 where every one was read or refused."""
    import atheris

    with atheris.instrument_imports(include=["service", "training", "models"]):
        from fuzz.parsers import all_parsers

        parser = next(one for one in all_parsers() if one.name == name)
    corpus = parser.corpus()

    def read(data: bytes) -> None:
        with suppress(*parser.refusals):
            parser.read(data)

    def changed(data: bytes, most: int, seed: int) -> bytes:
        random = Random(seed)
        if not data or random.random() < 0.1:
            data = random.choice(corpus)
        return parser.mutated([data], random)[:most]

    with tempfile.TemporaryDirectory() as kept:
        options = [f"-runs={inputs}", f"-seed={seed + 1}", "-timeout=10", "-rss_limit_mb=4096"]
        options += ["-max_len=262144", "-print_final_stats=1", kept]
        atheris.Setup([sys.argv[0], *options], read, custom_mutator=changed)
        atheris.Fuzz()  # ends the process
    return 0
