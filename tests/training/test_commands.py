"""Every option of the command line, typed once: what the work behind it is told."""

import dataclasses
import importlib
import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from typer.testing import CliRunner

from training.__main__ import app
from training.averaging import Averaging
from training.commands import look, run
from training.config import TrainConfig
from training.curation import Curation
from training.distributed import World
from training.origin import Origin
from training.overrides import override
from training.presets import faces_64, smoke_16

COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def begun(config: TrainConfig) -> TrainConfig:
    """What beginning from a checkpoint makes of a configuration, here."""
    return dataclasses.replace(config, average_ramp=0.25)


def as_typed() -> TrainConfig:
    """What the options below make of a preset."""
    config = override(begun(smoke_16()), ["loss.r1_gamma=7"])
    schedule = dataclasses.replace(config.schedule, total_kimg=3.5)
    return dataclasses.replace(config, schedule=schedule, seed=5, precision="fp32")


@dataclass(frozen=True)
class StubOrigin:
    """What `Origin.load` was given."""

    folder: Path
    companions_of: Path | None

    def begun(self, config: TrainConfig) -> TrainConfig:
        return begun(config)


@dataclass(frozen=True)
class Case:
    """A line as it is typed, where its work is done, and with what; no value is the default."""

    line: str
    callee: str
    told: dict[str, Any]


CASES = [
    Case(
        "prepare photos out.zip --resolution 32 --name N --layout folders --workers 3"
        " --min-chroma 2.5 --min-sharpness 4 --max-cast 1.5",
        "training.commands.data.prepare",
        {
            "source": Path("photos"),
            "archive": Path("out.zip"),
            "resolution": 32,
            "name": "N",
            "layout": "folders",
            "workers": 3,
            "curation": Curation(min_chroma=2.5, min_sharpness=4, max_cast=1.5),
        },
    ),
    Case(
        "import their.pt out --licence L --pixel-norms latent,blocks",
        "training.importers.import_checkpoint",
        {
            "file": Path("their.pt"),
            "folder": Path("out"),
            "licence": "L",
            "pixel_norms": ("latent", "blocks"),
        },
    ),
    Case(
        "train --data d.zip --run r --preset smoke_16 --from c --companions-of other --kimg 3.5"
        " --seed 5 --precision fp32 --device cpu --threads 2 --set loss.r1_gamma=7",
        "training.commands.run.train",
        {
            "config": as_typed(),
            "dataset": "dataset d.zip",
            "run": Path("r"),
            "device": torch.device("cpu"),
            "resume": False,
            "origin": StubOrigin(Path("c"), Path("other")),
            "threads": 2,
        },
    ),
    *(
        Case(
            f"train --data d.zip --run r {option}",
            "training.commands.run.train",
            {
                "config": smoke_16(),
                "dataset": "dataset d.zip",
                "run": Path("r"),
                "device": torch.device("cuda"),
                "resume": True,
                "origin": None,
            },
        )
        for option in ("--resume", "--resume-if-any", "--resume-if-any --from c")
    ),
    Case(
        "train --data d.zip --run r --dry-run",
        "training.commands.run.plan",
        {"config": faces_64(), "dataset": "dataset d.zip", "device": torch.device("cuda")},
    ),
    Case(
        "evaluate c --data d.zip --report r.json --samples 40 --seed 5 --inception i.pth",
        "training.metrics.evaluate.evaluate_checkpoint",
        {
            "checkpoint_folder": Path("c"),
            "archive": Path("d.zip"),
            "samples": 40,
            "seed": 5,
            "inception": Path("i.pth"),
            "report": Path("r.json"),
        },
    ),
    *(
        Case(
            f"export r out --data d.zip --licence L --evaluation e.json {flag}"
            " --average-with c --average-share 0.3 --precision fp32",
            "training.commands.run.export",
            {
                "run": Path("r"),
                "folder": Path("out"),
                "config": smoke_16(),
                "dataset": "dataset d.zip",
                "licence": "L",
                "evaluation": Path("e.json"),
                **{name: flag == f"--{name}" for name in ("best", "critic", "reached")},
                "averaging": ("average", Path("c"), 0.3),
                "dtype": torch.float32,
            },
        )
        for flag in ("--best", "--critic", "--reached")
    ),
    Case(
        "pictures r --data d.zip",
        "training.run_pictures.run_pictures",
        {"run": Path("r"), "config": smoke_16(), "dataset": "dataset d.zip"},
    ),
    Case(
        "inspect c out --data d.zip --samples 40 --seed 5",
        "training.inspection.inspect",
        {
            "folder": Path("c"),
            "archive": Path("d.zip"),
            "out": Path("out"),
            "samples": 40,
            "seed": 5,
        },
    ),
    Case(
        "project p.jpg c out --label age=20+ --label gender=male --seed 5 --steps 50 --unchecked",
        "training.project.project_photograph",
        {
            "photo": Path("p.jpg"),
            "checkpoint": Path("c"),
            "out": Path("out"),
            "labels": ["age=20+", "gender=male"],
            "seed": 5,
            "steps": 50,
            "check_face": False,
        },
    ),
]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What is heard besides the callee's arguments; nothing is read from the disk."""
    heard: dict[str, Any] = {}
    for module in (look, run):
        monkeypatch.setattr(module, "Dataset", lambda path: f"dataset {path}")
        monkeypatch.setattr(module, "read_run", lambda _: smoke_16())
    monkeypatch.setattr(run, "list_snapshots", lambda folder: [folder])
    monkeypatch.setattr(run, "label_warnings", lambda _: [])
    monkeypatch.setattr(Origin, "load", StubOrigin)
    monkeypatch.setattr(Averaging, "load", lambda folder, share: ("average", folder, share))
    monkeypatch.setattr(torch, "set_num_threads", lambda count: heard.update(threads=count))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)  # so that cpu is a choice
    return heard


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.line)
def test_what_is_typed_reaches_the_work(
    case: Case, told: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    module, name = case.callee.rsplit(".", 1)
    parameters = inspect.signature(getattr(importlib.import_module(module), name))

    def record(*args: object, **named: object) -> None:
        told.update(parameters.bind(*args, **named).arguments)
        raise typer.Exit  # all that comes after is the work's own

    monkeypatch.setattr(case.callee, record)
    result = CliRunner().invoke(app, case.line.split(), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    # How the work tells of itself is no option.
    kept = {k: v for k, v in told.items() if not isinstance(v, World) and not inspect.isfunction(v)}
    assert kept == case.told


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_typed_above(command: str) -> None:
    lines = [case.line.split() for case in CASES]
    typed = {word for words in lines if words[0] == command for word in words if word[:2] == "--"}
    assert typed == {
        option.opts[0] for option in COMMANDS[command].params if option.param_type_name == "option"
    }
