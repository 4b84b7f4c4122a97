"""Dockerfiles read as what they are: stages of instructions over a context of files.

Knows the instructions and the patterns of .dockerignore that this repository uses, and no others.
"""

import fnmatch
import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from running_server import REPOSITORY


@dataclass
class Stage:
    """Everything from one FROM to the next."""

    base: str
    name: str
    steps: list[tuple[str, str]] = field(default_factory=list)
    """Instruction and what follows it, in order."""

    def all(self, instruction: str) -> list[str]:
        return [value for keyword, value in self.steps if keyword == instruction]

    def last_list(self, instruction: str) -> list[str]:
        """The words of an instruction in its JSON form."""
        value = self.all(instruction)[-1]
        return json.loads(value[value.index("[") :])

    def variables(self, instruction: str) -> dict[str, str]:
        """What ENV, ARG or LABEL set."""
        words = [word for value in self.all(instruction) for word in shlex.split(value)]
        return dict(word.split("=", 1) for word in words if "=" in word)

    def copies(self) -> Iterator[tuple[list[str], str]]:
        """Sources in the context and where they go, stage by stage copies left out."""
        for value in self.all("COPY"):
            *sources, target = value.split()
            if not sources[0].startswith("--from"):
                yield sources, target


def stages(recipe: str = "Dockerfile") -> list[Stage]:
    """The stages of one of the repository's, in order; what stands before them is left out."""
    text = (REPOSITORY / recipe).read_text(encoding="utf-8")
    lines = re.sub(r"^ *#.*\n", "", text, flags=re.M).replace("\\\n", " ").splitlines()
    found: list[Stage] = []
    for line in filter(str.strip, lines):
        keyword, _, value = line.partition(" ")
        if keyword == "FROM":
            base, _, name = value.partition(" AS ")
            found.append(Stage(base, name))
        elif found:
            found[-1].steps.append((keyword, " ".join(value.split())))
    return found


def lineage(variant: str) -> list[Stage]:
    """The stages that build the image of a variant, the first one first, the image itself last."""
    by_name = {stage.name: stage for stage in stages()}
    chain, stage = [by_name[""]], by_name["build"]
    while stage:
        chain.insert(0, stage)
        stage = by_name.get(stage.base.replace("${VARIANT}", variant))
    return chain


def context() -> list[str]:
    """The files a build sees: what git knows or would add, less what is ignored."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\n")
    return [
        file for file in listed if file and (REPOSITORY / file).is_file() and not _ignored(file)
    ]


def _ignored(file: str) -> bool:
    """The last pattern that fits decides; one that fits a folder fits all in it."""
    result = False
    parents = [file, *map(str, Path(file).parents)][:-1]
    for line in (REPOSITORY / ".dockerignore").read_text(encoding="utf-8").splitlines():
        pattern = line.removeprefix("!").removeprefix("**/")
        anywhere = line.removeprefix("!").startswith("**/")
        names = [Path(part).name for part in parents] if anywhere else parents
        if line and not line.startswith("#") and any(fnmatch.fnmatch(n, pattern) for n in names):
            result = not line.startswith("!")
    return result


def copied(source: str) -> list[str]:
    """Files of the context that a source of COPY means."""
    pattern = re.compile(fnmatch.translate(source).replace(".*", "[^/]*"))
    return [file for file in context() if file.startswith(f"{source}/") or pattern.match(file)]


def copy(stage: Stage, root: Path) -> None:
    """Do the stage's COPYs, into `root` for its working folder, and under it for other targets."""
    for sources, target in stage.copies():
        for source in sources:
            for file in copied(source):
                inner = Path(file).relative_to(source) if file.startswith(f"{source}/") else ""
                to = root / target.lstrip("/") / (inner or Path(file).name)
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(REPOSITORY / file, to)


def build_variables(chain: list[Stage], given: Mapping[str, str]) -> dict[str, str]:
    """ARG and ENV as the RUNs of these stages see them, with build arguments given."""
    values: dict[str, str] = {}
    for stage in chain:
        arguments = stage.variables("ARG")
        values |= arguments | {k: v for k, v in given.items() if k in arguments}
        values |= stage.variables("ENV")
    return values
