import dataclasses

import numpy as np
import pytest
import torch

from training.augment import AGAIN, DRAWS, Augmentation, augment, draws
from training.config import AUGMENT_KINDS, AugmentConfig

FIXED = AugmentConfig(mode="fixed")
IMAGE = torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1


def only(kind: str) -> AugmentConfig:
    return AugmentConfig(mode="fixed", kinds=(kind,))


def draw(**columns: float) -> torch.Tensor:
    """Draws of one picture that leave it as it is but for what is named."""
    names = [
        "colour",
        "brightness",
        "saturation",
        "contrast",
        "translation",
        "down",
        "right",
        "cutout",
        "row",
        "column",
    ]
    values = {"colour": 0, "translation": 0, "cutout": 0} | columns
    return torch.tensor([[values.get(name, 0.5) for name in names]])


def random_draws(size: int = 6) -> torch.Tensor:
    return torch.from_numpy(draws(np.random.default_rng(0), size))


def test_off_or_at_probability_zero_pictures_are_the_very_same() -> None:
    assert augment(IMAGE, random_draws(), 1.0, AugmentConfig()) is IMAGE
    assert augment(IMAGE, random_draws(), 0.0, FIXED) is IMAGE


@pytest.mark.parametrize("kind", AUGMENT_KINDS)
@pytest.mark.parametrize("probability", [0.3, 1.0])
def test_each_kind_changes_the_drawn_share_of_pictures(kind: str, probability: float) -> None:
    image = IMAGE[:1].expand(400, -1, -1, -1)
    changed = augment(image, random_draws(400), probability, only(kind)) != image
    share = changed.flatten(1).any(dim=1).float().mean().item()
    assert share == pytest.approx(probability, abs=0.08)


def test_colour_moves_brightness_saturation_and_contrast() -> None:
    image, config = IMAGE[:1], only("colour")
    torch.testing.assert_close(augment(image, draw(), 1.0, config), image)
    brighter = augment(image, draw(brightness=1.0), 1.0, config)
    torch.testing.assert_close(brighter, image + 0.5)
    grey = augment(image, draw(saturation=0.0), 1.0, config)
    torch.testing.assert_close(grey, image.mean(dim=1, keepdim=True).expand_as(image))
    flat = augment(image, draw(contrast=0.0), 1.0, config)
    torch.testing.assert_close(flat, (image + image.mean()) / 2)


@pytest.mark.parametrize(("down", "right"), [(2, -2), (0, 1), (-1, 0)])
def test_translation_moves_by_whole_pixels_and_lets_grey_in(down: int, right: int) -> None:
    places = {"down": (down + 2.5) / 5, "right": (right + 2.5) / 5}
    moved = augment(IMAGE[:1], draw(**places), 1.0, only("translation"))[0]
    padded = torch.nn.functional.pad(IMAGE[0], (2, 2, 2, 2))
    expected = padded[:, 2 - down : 18 - down, 2 - right : 18 - right]
    assert torch.equal(moved, expected)


def test_cutout_hides_a_square_of_half_the_side() -> None:
    hidden = augment(IMAGE[:1], draw(), 1.0, only("cutout"))[0]
    assert torch.equal(hidden[:, 4:12, 4:12], torch.zeros(3, 8, 8))
    hidden[:, 4:12, 4:12] = IMAGE[0, :, 4:12, 4:12]
    assert torch.equal(hidden, IMAGE[0])
    corner = augment(IMAGE[:1], draw(row=0.0, column=0.0), 1.0, only("cutout"))[0]
    assert (corner == 0).all(dim=0).sum() == 16


def test_the_generator_can_learn_through_it() -> None:
    image = IMAGE[:2, :, :8, :8].double().requires_grad_(True)
    assert torch.autograd.gradcheck(lambda x: augment(x, random_draws(2), 1.0, FIXED), (image,))


def test_draws_are_enough_for_every_kind_and_follow_the_generator() -> None:
    assert random_draws().shape == (6, DRAWS)
    assert torch.equal(random_draws(), random_draws())


ADAPTIVE = AugmentConfig(mode="adaptive", adaptation_kimg=1.0, interval=4, target=0.6)


def after(signs: list[float], start: float = 0.0) -> float:
    augmentation = Augmentation.initial(ADAPTIVE)
    augmentation.probability = start
    for sign in signs:
        augmentation.adapt(torch.tensor(sign), batch_size=10)
    return augmentation.probability


def test_a_sure_discriminator_is_shown_more_changes_and_a_doubtful_one_fewer() -> None:
    assert after([1.0] * 3) == 0.0
    assert after([1.0] * 4) == pytest.approx(0.04)
    assert after([1.0] * 8) == pytest.approx(0.08)
    assert after([0.2] * 4, start=0.5) == pytest.approx(0.46)
    assert after([1.0, 1.0, 0.0, 0.0], start=0.5) == pytest.approx(0.46)


def test_the_probability_stays_between_zero_and_its_limit() -> None:
    assert after([0.0] * 8, start=0.05) == 0.0
    assert after([1.0] * 8, start=0.79) == ADAPTIVE.max_probability


def test_a_fixed_probability_does_not_adapt() -> None:
    augmentation = Augmentation.initial(dataclasses.replace(FIXED, probability=0.3))
    for _ in range(9):
        augmentation.adapt(torch.tensor(1.0), batch_size=10)
    assert augmentation.probability == 0.3


def test_adaptation_goes_on_from_between_two_moves() -> None:
    whole, cut = Augmentation.initial(ADAPTIVE), Augmentation.initial(ADAPTIVE)
    signs = [1.0, 0.9, 0.75, 0.8, 0.1, 1.0, 0.9, 1.0]
    for sign in signs:
        whole.adapt(torch.tensor(sign), batch_size=10)
    for number, sign in enumerate(signs):
        if number == 6:
            kept = cut.to_dict()
            cut = Augmentation.initial(ADAPTIVE)
            cut.restore(kept)
        cut.adapt(torch.tensor(sign), batch_size=10)
    assert whole.to_dict() == cut.to_dict()
    assert whole.probability > 0


def test_what_is_changed_again_has_draws_of_its_own() -> None:
    draw_BK = random_draws(4_000)
    first, again = draw_BK[:, 4:10], draw_BK[:, AGAIN][:, 4:10]
    assert again.shape == first.shape
    correlation = np.corrcoef(first.numpy().T, again.numpy().T)[:6, 6:]
    assert np.abs(correlation).max() < 0.06
