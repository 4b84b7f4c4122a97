"""One training step: generate once, step the discriminator, step the generator.

Each function does one pass, and returns the scalars worth logging.
Knows nothing about files, schedules or data sets.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import cached

from models.layers import stddev_group
from training.augment import AGAIN, augment
from training.companions import Seen
from training.config import AugmentConfig, TrainConfig
from training.distributed import World
from training.feature_discriminator import Backbone
from training.inputs import Inputs
from training.losses import (
    ADVERSARIAL_LOSSES,
    AdversarialLoss,
    classification_loss,
    drift_penalty,
    gradient_penalty,
    hinge_discriminator_loss,
    r1_penalty,
)
from training.schedule import Phase
from training.state import TrainingState
from training.variety_discriminator import in_every_second_group

Scalars = dict[str, Tensor]


@dataclass(frozen=True)
class Setup:
    """What stays the same through a whole run."""

    config: TrainConfig
    label_sizes: tuple[int, ...]
    """Number of values of each attribute, in the label vector's order."""
    device: torch.device
    bf16: bool
    world: World = field(default_factory=World)
    backbone: Backbone | None = None
    """What the discriminators of features and variety see pictures through."""

    @property
    def loss(self) -> AdversarialLoss:
        """The losses both networks minimise."""
        return ADVERSARIAL_LOSSES[self.config.loss.kind]

    def autocast(self) -> torch.autocast:
        """bfloat16 where the run uses it."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16)


def use_bf16(precision: str, device: torch.device) -> bool:
    """Whether to train in bfloat16: asked for, or native to the device."""
    if precision != "auto":
        return precision == "bf16"
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and bool(torch.cpu._is_avx512_bf16_supported())


def r1_due(state: TrainingState, setup: Setup) -> bool:
    """Whether this step is one of the few that take R1 and look at the gradient."""
    return state.step % setup.config.loss.r1_interval == 0


def step(state: TrainingState, inputs: Inputs, phase: Phase, setup: Setup) -> Scalars:
    """A whole step: the same generated pictures serve every discriminator's and the generator's.

    The scalars come without a way back to the networks.
    """
    # Generate once.
    fake = generate(state, inputs, phase, setup)

    # Step the discriminator, and those that stand beside it.
    scalars = step_discriminator(state, inputs, fake, phase, setup)
    scalars |= step_companions(state, inputs, fake, setup)

    # Step the generator.
    if phase.generator_learns:
        scalars |= step_generator(state, inputs, fake, phase, setup)
    return {name: value.detach() for name, value in scalars.items()}


def generate(state: TrainingState, inputs: Inputs, phase: Phase, setup: Setup) -> Seen:
    """One pass of generator and backbone serves every network's step."""
    with torch.set_grad_enabled(phase.generator_learns), setup.autocast():
        image_BCHW: Tensor = state.generator(
            inputs.z_BZ, inputs.fake_label_BL, resolution=phase.resolution, alpha=phase.alpha
        )
    return _seen(image_BCHW, inputs.fake_draw_BK, inputs.fake_label_BL, state, setup)


def step_discriminator(
    state: TrainingState, inputs: Inputs, fake: Seen, phase: Phase, setup: Setup
) -> Scalars:
    """Score real and generated pictures, apart; move the discriminator."""
    loss_config, undecided = setup.config.loss, setup.loss.undecided
    fake_BCHW = fake.image_BCHW.detach()
    real_BCHW = _augmented(inputs.real_BCHW, inputs.real_draw_BK, state, setup)
    with setup.autocast():
        real_score_B, real_logit_BL = state.discriminator.judge(
            real_BCHW, inputs.real_label_BL, alpha=phase.alpha
        )
        fake_score_B, fake_logit_BL = state.discriminator.judge(
            fake_BCHW, inputs.fake_label_BL, alpha=phase.alpha
        )
    loss = setup.loss.discriminator(real_score_B, fake_score_B)
    scalars = {
        "loss_d": loss,
        "score_real": real_score_B.float().mean(),
        "score_fake": fake_score_B.float().mean(),
    }
    if undecided is not None:
        scalars["sign_real"] = (real_score_B.float() - undecided).sign().mean()
        scalars["sign_fake"] = (fake_score_B.float() - undecided).sign().mean()

    def score_real(image_BCHW: Tensor) -> Tensor:
        return state.discriminator(image_BCHW, inputs.real_label_BL, alpha=phase.alpha)

    # Keep the discriminator smooth.
    if loss_config.kind == "wgan_gp":
        penalty = gradient_penalty(score_real, real_BCHW, fake_BCHW, inputs.mix_B)
        drift = drift_penalty(real_score_B)
        loss = loss + loss_config.gradient_penalty * penalty + loss_config.drift * drift
        scalars["gradient_penalty"] = penalty
    if loss_config.r1_gamma and r1_due(state, setup):
        r1 = r1_penalty(score_real, real_BCHW)
        loss = loss + r1 * (loss_config.r1_gamma / 2 * loss_config.r1_interval)
        scalars["r1"] = r1

    # Guess the labels, where it has a head for that.
    real_guess = _guess(real_logit_BL, inputs.real_label_BL, phase, setup)
    fake_guess = _guess(fake_logit_BL, inputs.fake_label_BL, phase, setup)
    if real_guess is not None and fake_guess is not None:
        loss = loss + real_guess + fake_guess
        scalars["labels_real"], scalars["labels_fake"] = real_guess, fake_guess

    _descend(loss, state.discriminator, state.optimizer_d, setup)
    return scalars


def step_companions(state: TrainingState, inputs: Inputs, fake: Seen, setup: Setup) -> Scalars:
    """Move the discriminators that stand beside the first, where there are any."""
    if not state.companions:
        return {}
    with torch.no_grad():
        real = _seen(inputs.real_BCHW, inputs.real_draw_BK, inputs.real_label_BL, state, setup)
    fake, scalars = fake.detach(), {}
    for name, companion in state.companions.items():
        # Weights of bounded slope are worked out once for both.
        with setup.autocast(), cached():
            real_score, fake_score = companion.score(real), companion.score(fake)
        loss = hinge_discriminator_loss(real_score, fake_score)
        _descend(loss, companion.network, companion.optimizer, setup)
        scalars[f"{name}_d"] = loss
        scalars[f"{name}_real"], scalars[f"{name}_fake"] = real_score.mean(), fake_score.mean()
    return scalars


def step_generator(
    state: TrainingState, inputs: Inputs, fake: Seen, phase: Phase, setup: Setup
) -> Scalars:
    """Score the generated pictures by the moved discriminator; move the generator."""
    companions = state.companions.values()
    judges = [state.discriminator, *(companion.network for companion in companions)]
    for judge in judges:
        judge.requires_grad_(False)
    with setup.autocast():
        fake_score_B, fake_logit_BL = state.discriminator.judge(
            fake.image_BCHW, inputs.fake_label_BL, alpha=phase.alpha
        )
    loss = setup.loss.generator(fake_score_B)
    scalars = {"loss_g": loss}
    guess = _guess(fake_logit_BL, inputs.fake_label_BL, phase, setup)
    if guess is not None:
        loss = loss + guess
    for companion in companions:
        with setup.autocast():
            score = companion.score(fake)
        loss = loss + companion.config.weight * companion.generator_loss(score)
    _descend(loss, state.generator, state.optimizer_g, setup)
    for judge in judges:
        judge.requires_grad_(True)
    # Every few steps is enough to see it fade.
    if r1_due(state, setup):
        gradients = [p.grad for p in state.generator.parameters() if p.grad is not None]
        scalars["gradient_g"] = nn.utils.get_total_norm(gradients)
    return scalars


@torch.no_grad()
def mean_score(
    state: TrainingState,
    real_BCHW: Tensor,
    label_BL: Tensor | None,
    draw_BK: Tensor,
    phase: Phase,
    setup: Setup,
) -> float:
    """Mean score of real pictures, augmented as in training."""
    real_BCHW = _augmented(real_BCHW, draw_BK, state, setup)
    with setup.autocast():
        score_B = state.discriminator(real_BCHW, label_BL, alpha=phase.alpha)
    return float(score_B.float().mean())


def _seen(
    image_BCHW: Tensor, draw_BK: Tensor, label_BL: Tensor | None, state: TrainingState, setup: Setup
) -> Seen:
    """What the discriminators are shown of pictures, real or generated."""
    maps = _maps(image_BCHW, draw_BK, setup)
    return Seen(_augmented(image_BCHW, draw_BK, state, setup), maps, label_BL)


def _augmented(image_BCHW: Tensor, draw_BK: Tensor, state: TrainingState, setup: Setup) -> Tensor:
    """With the run's own augmentation."""
    return augment(image_BCHW, draw_BK, state.augmentation.probability, setup.config.augment)


def _maps(image_BCHW: Tensor, draw_BK: Tensor, setup: Setup) -> list[Tensor]:
    """Pictures through the backbone: moved and cut for the heads of features, never of other
    colours, which those judge, and apart from the run's own augmentation.

    Squares and shifts that differ from picture to picture would hide how much the pictures do, so
    the judge of variety needs them as they are: every second group is, where there are two or more,
    and the others are changed so much the more.
    """
    if setup.backbone is None:
        return []
    features = setup.config.features
    kinds = AugmentConfig(mode="fixed", kinds=("translation", "cutout"))
    draw_BK, probability = draw_BK[:, AGAIN], features.probability if features.weight else 0.0
    groups = len(draw_BK) // stddev_group(len(draw_BK))
    if setup.config.variety.weight and groups > 1:
        plain_B = in_every_second_group(len(draw_BK), draw_BK.device)
        # No draw of 1 is below a probability.
        draw_BK = torch.where(plain_B[:, None], torch.ones_like(draw_BK), draw_BK)
        probability = min(probability * groups / (groups // 2), 1.0)
    image_BCHW = augment(image_BCHW, draw_BK, probability, kinds)
    with setup.autocast():
        return setup.backbone(image_BCHW)


def _guess(
    logit_BL: Tensor | None, label_BL: Tensor | None, phase: Phase, setup: Setup
) -> Tensor | None:
    """The auxiliary head's weighted loss, which the ramp lets in as it does labels."""
    if logit_BL is None or label_BL is None:
        return None
    weight = setup.config.conditioning.auxiliary_weight * phase.label_influence
    return weight * classification_loss(logit_BL, label_BL, setup.label_sizes)


def _descend(
    loss: Tensor, network: nn.Module, optimizer: torch.optim.Optimizer, setup: Setup
) -> None:
    optimizer.zero_grad()
    loss.backward()
    setup.world.average_gradients(network.parameters())
    optimizer.step()
