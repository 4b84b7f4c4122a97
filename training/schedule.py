"""Images seen → what the run is doing at that moment. Pure functions, no state.

Source: Karras et al., "Progressive Growing of GANs" (arXiv 1710.10196), section 2 and appendix A;
unlike there, the first resolution need not be 4 px and a phase's lengths are free.
"""

from dataclasses import dataclass

from training.config import TrainConfig


@dataclass(frozen=True)
class Phase:
    """One moment of the schedule."""

    resolution: int
    """Side in pixels of the pictures being learned."""
    alpha: float
    """Share of this resolution while it fades in: 0 at the start of the fade, 1 after it."""
    batch_size: int
    """Pictures per step."""
    learning_rate: float
    """Adam's learning rate."""
    label_influence: float = 1.0
    """How far labels have grown into themselves: 0: all are the average label, 1: as they are."""
    generator_share: float = 1.0
    """Of the learning rate, what the generator has: 0 while a fresh discriminator catches up with a
    generator that was there before it."""
    lower_share: float = 1.0
    """Of the generator's learning rate, what its layers below `resolution` have."""

    @property
    def generator_learns(self) -> bool:
        """Whether the generator moves at all."""
        return self.generator_share > 0

    @property
    def fading(self) -> bool:
        """Whether a resolution is on its way in."""
        return self.alpha < 1.0


def phase_at(images_seen: int, config: TrainConfig) -> Phase:
    """The phase in which the step after `images_seen` real images takes place."""
    schedule = config.schedule
    kimg = images_seen / 1000
    # The first resolution only holds; each further one fades in, then holds.
    resolution, alpha, start = schedule.start_resolution, 1.0, schedule.hold_kimg
    while resolution < config.network.resolution and kimg >= start:
        resolution *= 2
        alpha = min((kimg - start) / schedule.fade_kimg, 1.0) if schedule.fade_kimg else 1.0
        start += schedule.fade_kimg + schedule.hold_kimg
    return Phase(
        resolution=resolution,
        alpha=alpha,
        batch_size=schedule.batch_size_by_resolution.get(resolution, schedule.batch_size),
        learning_rate=learning_rate_at(kimg, resolution, config),
        label_influence=label_influence_at(kimg, config),
        generator_share=generator_share_at(kimg, config),
        lower_share=schedule.lower_rate,
    )


def fade_ends(before: int, after: int, config: TrainConfig) -> bool:
    """Whether a fade begins or ends when images seen go from `before` to `after`."""
    old, new = phase_at(before, config), phase_at(after, config)
    return (old.resolution, old.fading) != (new.resolution, new.fading)


def grows(before: int, after: int, config: TrainConfig) -> bool:
    """Whether a new resolution begins when images seen go from `before` to `after`."""
    return phase_at(before, config).resolution < phase_at(after, config).resolution


def label_influence_at(kimg: float, config: TrainConfig) -> float:
    """Linear from 0 to 1 over `ramp_kimg`. Source of the idea: Shahbazi et al., "Collapse by
    Conditioning" (arXiv 2201.06578), who fade conditioning in where data are few."""
    ramp = config.conditioning.ramp_kimg
    return min(kimg / ramp, 1.0) if ramp else 1.0


def generator_share_at(kimg: float, config: TrainConfig) -> float:
    """0 while the discriminator learns alone, then linear to the generator's own share.

    Adam's steps are as long whether a gradient means much or little, so a generator at its full
    rate walks away from what it can before a discriminator that is new to it can tell.
    """
    schedule = config.schedule
    after = kimg - schedule.discriminator_kimg
    if after < 0:
        return 0.0
    ramp = schedule.generator_ramp_kimg
    grown = min(max(after / ramp, 0.01), 1.0) if ramp else 1.0
    return grown * schedule.generator_rate


def learning_rate_at(kimg: float, resolution: int, config: TrainConfig) -> float:
    """Constant at a resolution, then linear to `final_learning_rate` over the last `decay_kimg`."""
    schedule = config.schedule
    rate = schedule.learning_rate_by_resolution.get(resolution, schedule.learning_rate)
    if not schedule.decay_kimg:
        return rate
    left = (schedule.total_kimg - kimg) / schedule.decay_kimg
    share = min(max(left, 0.0), 1.0)
    return schedule.final_learning_rate + share * (rate - schedule.final_learning_rate)


def average_decay_at(images_seen: int, batch_size: int, config: TrainConfig) -> float:
    """Share of the old averaged generator that stays in one step of `batch_size` images.

    The half-life is cut to a share of the images seen, so that the first, worthless weights are
    soon forgotten. Source: Karras et al., StyleGAN2-ADA (arXiv 2006.06676), training loop. A fixed
    `average_decay` takes its place, as in the progressive-GAN paper (0.999).
    """
    if config.average_decay:
        return config.average_decay
    half_life = config.average_half_life_kimg * 1000
    if config.average_ramp:
        half_life = min(half_life, config.average_ramp * images_seen)
    decay: float = 0.5 ** (batch_size / max(half_life, 1e-8))
    return decay
