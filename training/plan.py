"""What a run would do, before it does it: phases, sizes, labels, and how long it would take.

Times a few real steps of every phase on random pictures; writes nothing. Knows nothing about run
folders.
"""

import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from training.augment import DRAWS
from training.backbone import backbone_of
from training.config import TrainConfig
from training.dataset import Dataset
from training.inputs import Inputs
from training.recorded_steps import Steps
from training.schedule import Phase, phase_at
from training.state import TrainingState
from training.steps import Setup, use_bf16

TIMED_STEPS = 3
UNEVEN = 10
"""The commonest value of an attribute is named once it has this many times the rarest's."""


@dataclass(frozen=True)
class PlannedPhase:
    """A stretch of the run in which resolution, batch size and fading stay the same."""

    start_kimg: float
    end_kimg: float
    resolution: int
    fading: bool
    batch_size: int
    seconds: float = 0.0
    """How long it would take."""
    measured: bool = True
    """False where the time follows from a smaller resolution's."""


@dataclass(frozen=True)
class Plan:
    """Everything `--dry-run` shows."""

    phases: list[PlannedPhase]
    generator_parameters: int
    discriminator_parameters: int
    warnings: list[str]

    @property
    def seconds(self) -> float:
        """How long all phases would take."""
        return sum(phase.seconds for phase in self.phases)


def plan(
    config: TrainConfig, dataset: Dataset, device: torch.device, *, patience: float = 60.0
) -> Plan:
    """Look ahead. `patience`: seconds of timing after which larger resolutions are estimated.

    Raises ConfigError where `train` would.
    """
    network = config.network.generator(dataset.label_dim)
    dataset.check_large_enough(network.resolution)
    state = TrainingState.initial(config, network, device)
    bf16 = use_bf16(config.precision, device)
    backbone = backbone_of(config, device, bf16=bf16)
    setup = Setup(config, dataset.label_sizes, device, bf16, backbone=backbone)
    return Plan(
        phases=_timed(list(planned_phases(config)), state, setup, patience),
        generator_parameters=sum(p.numel() for p in state.generator.parameters()),
        discriminator_parameters=sum(p.numel() for p in state.discriminator.parameters()),
        warnings=label_warnings(dataset),
    )


def planned_phases(config: TrainConfig) -> Iterator[PlannedPhase]:
    """The schedule as stretches, each but the last up to where something changes."""
    schedule, end = config.schedule, config.schedule.total_kimg
    edges, kimg = [0.0], schedule.hold_kimg
    resolution = schedule.start_resolution
    while resolution < config.network.resolution:
        edges += [kimg, kimg + schedule.fade_kimg]
        kimg += schedule.fade_kimg + schedule.hold_kimg
        resolution *= 2
    edges = sorted({edge for edge in edges if edge < end})
    for start, stop in itertools.pairwise([*edges, end]):
        phase = phase_at(round(start * 1000), config)
        yield PlannedPhase(start, stop, phase.resolution, phase.fading, phase.batch_size)


def label_warnings(dataset: Dataset) -> list[str]:
    """One sentence per attribute whose values are shared out very unevenly."""
    sentences = []
    for attribute in dataset.attributes():
        counts = [round(share * len(dataset)) for share in attribute.prior]
        named = dict(zip(attribute.values, counts, strict=True))
        rare, common = min(named, key=lambda v: named[v]), max(named, key=lambda v: named[v])
        if named[rare] == 0:
            none = ", ".join(value for value, count in named.items() if count == 0)
            sentences.append(
                f"no picture has {attribute.name}={none}: what is generated for it is a guess"
            )
        elif named[common] >= UNEVEN * named[rare]:
            sentences.append(
                f"{attribute.name} is uneven: {named[rare]} pictures of {rare}, {named[common]} of "
                f"{common}; consider --set conditioning.draw=balanced, with augmentation"
            )
    return sentences


def _timed(
    phases: list[PlannedPhase], state: TrainingState, setup: Setup, patience: float
) -> list[PlannedPhase]:
    """Each phase with its time, smallest resolution first, as long as patience lasts."""
    deadline, timed, steps = time.perf_counter() + patience, [], Steps(state, setup)
    per_image, before = 0.0, 0
    for phase in phases:
        # Pointwise work and convolutions both grow with the pixels: four times per doubling.
        guess = per_image * (phase.resolution / before) ** 2 if before else 0.0
        left = deadline - time.perf_counter()
        measured = not before or guess * phase.batch_size * (TIMED_STEPS + 1) < left
        per_image = _seconds_per_image(phase, steps, state) if measured else guess
        before = phase.resolution
        images = (phase.end_kimg - phase.start_kimg) * 1000
        timed.append(
            PlannedPhase(**{**vars(phase), "seconds": images * per_image, "measured": measured})
        )
    return timed


def _seconds_per_image(phase: PlannedPhase, steps: Steps, state: TrainingState) -> float:
    """Of whole steps, R1 counted in as often as it is taken."""
    setup = steps.setup
    interval = setup.config.loss.r1_interval
    now = Phase(phase.resolution, 0.5 if phase.fading else 1.0, phase.batch_size, 0.0)
    state.set_learning_rates(now)
    inputs = _random_inputs(now, setup)

    def seconds(step: int) -> float:
        state.step = step
        start = time.perf_counter()
        steps(inputs, now)
        if setup.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    # The first steps also make room for what they need.
    for _ in range(steps.warm_up):
        seconds(1)
    usual = min(seconds(1) for _ in range(TIMED_STEPS - 1))
    with_r1 = [seconds(0) for _ in range(steps.warm_up)][-1]
    return (usual + max(with_r1 - usual, 0.0) / interval) / phase.batch_size


def _random_inputs(phase: Phase, setup: Setup) -> Inputs:
    size, side, device = phase.batch_size, phase.resolution, setup.device
    label_BL = None
    if setup.label_sizes:
        label_BL = torch.zeros(size, sum(setup.label_sizes), device=device)
    return Inputs(
        real_BCHW=torch.randn(size, 3, side, side, device=device),
        real_label_BL=label_BL,
        fake_label_BL=label_BL,
        z_BZ=torch.randn(size, setup.config.network.latent_dim, device=device),
        real_draw_BK=torch.rand(size, DRAWS, device=device),
        fake_draw_BK=torch.rand(size, DRAWS, device=device),
        mix_B=torch.rand(size, device=device),
    )


def written(plan: Plan, config: TrainConfig) -> Iterator[str]:
    """The plan as lines for people."""
    yield f"preset {config.preset}, {config.schedule.total_kimg:g} kimg"
    yield (
        f"generator {plan.generator_parameters / 1e6:.2f} M parameters, "
        f"discriminator {plan.discriminator_parameters / 1e6:.2f} M"
    )
    yield f"{'kimg':>17}  {'resolution':12} {'batch':>5} {'images/s':>9} {'time':>9}"
    for phase in plan.phases:
        rate = (phase.end_kimg - phase.start_kimg) * 1000 / max(phase.seconds, 1e-9)
        mark = " " if phase.measured else "~"
        side = f"{phase.resolution} px" + (" fades in" if phase.fading else "")
        yield (
            f"{phase.start_kimg:8.1f}-{phase.end_kimg:8.1f}  {side:15} {phase.batch_size:2}"
            f" {mark}{rate:8.1f} {mark}{duration(phase.seconds):>8}"
        )
    about = "" if all(phase.measured for phase in plan.phases) else " (~: estimated from smaller)"
    left_out = "measures and snapshots"
    if steps := config.schedule.distil_steps:
        left_out += f", and {steps} steps before each new resolution to repeat what is there"
    yield f"in all {duration(plan.seconds)}{about}, without {left_out}"
    yield from (f"warning: {sentence}" for sentence in plan.warnings)


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} days"
