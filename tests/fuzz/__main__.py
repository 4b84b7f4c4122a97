"""Fuzzes every parser that takes bytes from strangers. `make fuzz`

Each parser has a process of its own, which may have so much memory and no more. Where atheris is
installed, --coverage lets it look for inputs that reach new code, and keeps them.
"""

import argparse
import json
import resource
import subprocess
import sys
import warnings
from collections.abc import Iterator
from hashlib import sha256
from itertools import chain
from pathlib import Path
from random import Random

from fuzz.guided import guide
from fuzz.parsers import Parser, all_parsers
from fuzz.trial import Trial, run

ADDRESS_SPACE = 8 << 30
"""Bytes that a process may ask for: the machine outlives whatever a parser does."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument("parsers", nargs="*", help="names; none: all of them")
    parser.add_argument("--inputs", type=int, default=20_000, help="over all parsers together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--failures", type=Path, default=Path("fuzz-failures"))
    parser.add_argument("--coverage", action="store_true", help="guided by atheris")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.coverage and given.alone:  # before anything is imported that is to be followed
        return guide(given.parsers[0], given.inputs, given.seed)
    known = {one.name: one for one in all_parsers()}
    if unknown := set(given.parsers) - set(known):
        parser.error(f"no parser is called {', '.join(unknown)}; there are: {', '.join(known)}")
    chosen = [known[name] for name in given.parsers or known]
    if given.alone:
        return _alone(chosen[0], given.inputs, given.seed, given.failures)
    return _all(chosen, given)


def _all(chosen: list[Parser], given: argparse.Namespace) -> int:
    shares = sum(one.share for one in chosen)
    print(f"{'parser':22} {'inputs':>9} {'refused':>9} {'failed':>6} {'slowest':>9} {'memory':>8}")
    done, worst = 0, 0
    for one in chosen:
        inputs = max(1, round(given.inputs * one.share / shares))
        command = [sys.executable, "-m", "fuzz", one.name, "--alone", "--inputs", str(inputs)]
        command += ["--seed", str(given.seed), "--failures", str(given.failures)]
        command += ["--coverage"] if given.coverage else []
        code = subprocess.run(command, check=False).returncode
        done, worst = done + inputs, worst or code
        if code not in (0, 1):  # a crash of the interpreter, or a hang
            print(f"{one.name}: the process ended with {code}")
    print(f"{done} inputs, {'no failure' if not worst else 'failures, see above'}", flush=True)
    return worst


def _alone(parser: Parser, inputs: int, seed: int, failures: Path) -> int:
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    warnings.simplefilter("ignore")
    corpus, random = parser.corpus(), Random(f"{seed} {parser.name}")
    for data in corpus:  # what it takes to begin at all is no input's doing
        run(parser, [data])

    def made() -> Iterator[bytes]:
        for _ in range(inputs - len(corpus)):
            yield parser.mutated(corpus, random)

    trial = run(parser, chain(corpus, made()))
    print(_line(trial), flush=True)
    for why, data in trial.failures:
        failures.mkdir(parents=True, exist_ok=True)
        path = failures / f"{parser.name}-{sha256(data).hexdigest()[:12]}"
        path.write_bytes(data)
        print(f"  {path}: {json.dumps(why)}", flush=True)
    return 1 if trial.failures else 0


def _line(trial: Trial) -> str:
    return (
        f"{trial.parser:22} {trial.inputs:9} {trial.refused:9} {len(trial.failures):6} "
        f"{trial.slowest * 1000:6.0f} ms {trial.memory >> 20:4} MiB"
    )


if __name__ == "__main__":
    sys.exit(main())
