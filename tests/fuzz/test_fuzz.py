"""Every parser, with what is kept in the corpus and some hundred inputs more than that."""

from pathlib import Path
from random import Random

import pytest
from fuzz.parsers import Parser, all_parsers
from fuzz.trial import MAX_BYTES, run

INPUTS = 200
PARSERS = all_parsers()


@pytest.mark.filterwarnings("ignore")  # of decoders, about what is wrong with damaged pictures
@pytest.mark.parametrize("parser", PARSERS, ids=[parser.name for parser in PARSERS])
def test_a_parser_reads_or_refuses(parser: Parser) -> None:
    corpus, random = parser.corpus(), Random(f"test {parser.name}")
    assert corpus
    mutated = (parser.mutated(corpus, random) for _ in range(round(INPUTS * parser.share)))
    for inputs in (corpus, mutated):
        trial = run(parser, inputs)
        assert [why for why, _ in trial.failures if "took" not in why] == []
        assert trial.memory <= MAX_BYTES


@pytest.mark.parametrize("parser", PARSERS, ids=[parser.name for parser in PARSERS])
def test_the_seeds_are_read(parser: Parser) -> None:
    for data in parser.seeds():
        parser.read(data)


def test_what_is_no_refusal_is_a_failure() -> None:
    def read(data: bytes) -> None:
        if b"x" in data:
            raise KeyError("x")
        if b"y" in data:
            raise ValueError("y")

    parser = Parser("bad", read, lambda: [b"a"], refusals=(ValueError,))
    trial = run(parser, [b"a", b"x", b"y", b"xx"])
    assert (trial.inputs, trial.refused) == (4, 1)
    assert [(why, data) for why, data in trial.failures] == [
        ("KeyError: 'x'", b"x"),
        ("KeyError: 'x'", b"xx"),
    ]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="this system has no /proc")
def test_memory_is_seen_even_where_more_was_held_before() -> None:
    def held(size: int) -> None:
        bytearray(size)[::4096] = b"x" * (size // 4096)  # pages count once they are written to

    held(400 << 20)
    parser = Parser("greedy", lambda data: held(300 << 20), lambda: [b"a"])
    trial = run(parser, [b"a"])
    assert any("MiB" in why for why, _ in trial.failures)
    assert trial.memory > MAX_BYTES
