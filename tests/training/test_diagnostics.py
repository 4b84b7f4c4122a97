"""Each trouble is provoked in a game small enough to run here, and its sound twin stays silent."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from training_archives import write_archive

from training.config import NetworkConfig, ScheduleConfig, TrainConfig
from training.dataset import Dataset
from training.diagnostics import (
    cycle_length,
    diagnose,
    mode_collapse,
    oscillation,
    overfitting,
    overfitting_share,
    weak_gradient,
)
from training.losses import ADVERSARIAL_LOSSES
from training.trainer import train

Row = dict[str, Any]


def row(number: int, **figures: float) -> Row:
    return {"images_seen": 1000 * (number + 1), "resolution": 64, "alpha": 1.0, **figures}


# One number instead of a picture: real pictures are 0, the generator's only weight is its output,
# the discriminator's only weight is the slope of its score (Mescheder et al., arXiv 1801.04406).
# With Wasserstein losses that is the game V = slope · output.
def dirac_game(r1_gamma: float) -> list[Row]:
    slope, output = torch.tensor(0.2, requires_grad=True), torch.tensor(1.0, requires_grad=True)
    loss, rows = ADVERSARIAL_LOSSES["wgan_gp"], []
    for step in range(900):
        real, fake = torch.zeros(1) * slope, (output * slope).reshape(1)
        # R1: the score slope · x has the gradient slope everywhere.
        penalty = r1_gamma / 2 * slope.square()
        (move,) = torch.autograd.grad(loss.discriminator(real, fake) + penalty, slope)
        with torch.no_grad():
            slope -= 0.05 * move
        (move,) = torch.autograd.grad(loss.generator((output * slope).reshape(1)), output)
        with torch.no_grad():
            output -= 0.05 * move
        if step % 10 == 0:
            figures = {"score_real": real.item(), "score_fake": fake.item()}
            if step % 70 == 0:
                figures["swd"] = 1 + 10 * abs(output.item())
            rows.append(row(len(rows), **figures))
    return rows


def test_a_game_without_regularisation_goes_in_circles_and_with_r1_settles() -> None:
    said = oscillation(dirac_game(r1_gamma=0.0))
    assert said is not None
    assert said.startswith("oscillation: the sliced Wasserstein distance stays at")
    assert oscillation(dirac_game(r1_gamma=1.0)) is None


@pytest.mark.parametrize(
    ("series", "period"),
    [
        (np.sin(np.arange(120) * 2 * np.pi / 20), 20),
        (np.sin(np.arange(120) * 2 * np.pi / 20) + np.arange(120) / 10, 20),
        (np.arange(120.0), None),
        (np.exp(-np.arange(120) / 20), None),
        (np.random.default_rng(0).standard_normal(120), None),
        (np.random.default_rng(0).standard_normal(120).cumsum() / 30 + np.arange(120), None),
        (np.ones(120), None),
        (np.sin(np.arange(12)), None),
    ],
)
def test_cycles_are_told_from_trends_and_noise(series: np.ndarray, period: int | None) -> None:
    found = cycle_length(series)
    assert (found is None) == (period is None)
    assert found is None or period is None or abs(found - period) <= 1


# Real numbers around 0, generated ones far off; the discriminator learns, the generator is slow.
def slow_generator(kind: str) -> list[Row]:
    torch.manual_seed(0)
    loss, rows = ADVERSARIAL_LOSSES[kind], []
    judge = torch.nn.Linear(1, 1)
    offset = torch.tensor(3.0, requires_grad=True)
    optimizer = torch.optim.Adam(judge.parameters(), lr=0.03)
    for number in range(40):
        for _ in range(10):
            real, fake = torch.randn(64, 1) * 0.3, torch.randn(64, 1) * 0.3 + offset
            real_score, fake_score = judge(real).flatten(), judge(fake.detach()).flatten()
            optimizer.zero_grad()
            loss.discriminator(real_score, fake_score).backward()
            optimizer.step()
        (gradient,) = torch.autograd.grad(loss.generator(judge(fake).flatten()), offset)
        rows.append(
            row(
                number,
                score_real=real_score.mean().item(),
                score_fake=fake_score.mean().item(),
                sign_fake=fake_score.sign().mean().item(),
                gradient_g=gradient.abs().item(),
            )
        )
    return rows


def test_minimax_starves_a_generator_that_lags_and_non_saturating_does_not() -> None:
    said = [weak_gradient(rows[:n]) for rows in [slow_generator("minimax")] for n in range(20, 41)]
    assert any(sentence and sentence.startswith("weak gradient") for sentence in said)
    rows = slow_generator("non_saturating")
    assert all(weak_gradient(rows[:n]) is None for n in range(20, 41))


def test_a_new_resolution_starts_the_comparison_anew() -> None:
    rows = slow_generator("minimax")
    for late in rows[25:]:
        late["resolution"] = 128
    assert all(weak_gradient(rows[:n]) is None for n in range(26, 41))


# A linear judge of 50 numbers: ten real samples it learns by heart, two thousand it cannot.
def judged_on(samples: int) -> list[Row]:
    torch.manual_seed(0)
    loss, rows = ADVERSARIAL_LOSSES["non_saturating"], []
    shift = torch.zeros(50)
    shift[0] = 1.0
    real, held_out = torch.randn(samples, 50) + shift, torch.randn(500, 50) + shift
    judge = torch.nn.Linear(50, 1)
    optimizer = torch.optim.Adam(judge.parameters(), lr=0.01)
    for number in range(40):
        for _ in range(10):
            fake = torch.randn(64, 50)
            batch = real[torch.randint(len(real), (64,))]
            real_score, fake_score = judge(batch).flatten(), judge(fake).flatten()
            optimizer.zero_grad()
            loss.discriminator(real_score, fake_score).backward()
            optimizer.step()
        scores = [x.mean().item() for x in (real_score, judge(held_out), fake_score)]
        rows.append(judged(number, *scores))
    return rows


def judged(number: int, real: float, held_out: float, fake: float) -> Row:
    return row(
        number,
        score_real=real,
        score_held_out=held_out,
        score_fake=fake,
        sign_fake=-0.5,
        r_v=overfitting_share(real, held_out, fake),
    )


def test_a_judge_that_learns_by_heart_is_told_from_one_that_sees_enough() -> None:
    said = overfitting(judged_on(10))
    assert said is not None
    assert "the discriminator overfits: pictures held out score" in said
    assert overfitting(judged_on(2000)) is None
    assert overfitting(judged_on(10)[:9]) is None


def test_a_small_lead_or_a_scale_that_drifts_is_no_overfitting() -> None:
    random = np.random.default_rng(0)
    noise = random.standard_normal((40, 3))
    rows = [judged(n, 0.1 + a, 0.1 + b, -0.1 + c) for n, (a, b, c) in enumerate(noise)]
    # The median of r_v alone would have believed some of these.
    medians = [np.median([r["r_v"] for r in rows[n - 10 : n]]) for n in range(10, 41)]
    assert max(medians) > 0.5
    assert all(overfitting(rows[:n]) is None for n in range(10, 41))
    # Wasserstein scores drift, those of held-out pictures, taken last, the most.
    drifting = [judged(n, 5.0 - n, 4.0 - n, 4.4 - n) for n in range(10)]
    assert overfitting(drifting) is not None
    for one in drifting:
        del one["sign_fake"]
    assert overfitting(drifting) is None


def test_overfitting_share_is_where_held_out_pictures_lie_between_real_and_generated() -> None:
    assert overfitting_share(2.0, 2.0, -2.0) == 0.0
    assert overfitting_share(2.0, -2.0, -2.0) == 1.0
    assert overfitting_share(2.0, 1.0, -2.0) == 0.25
    assert overfitting_share(1.0, 1.0, 1.0) == 0.0


OLD = "diversity/age=60+"


def test_collapse_within_one_label_is_said_at_once_and_by_name() -> None:
    sound = {"diversity": 0.97, "diversity/age=0-9": 0.8, OLD: 0.8, "repetitions": 0.1}
    assert mode_collapse([row(0, **sound), row(1)]) is None
    rows = [row(0, **sound), row(1, **sound | {OLD: 0.21}), row(2)]
    assert "pictures of age=60+ (21%) vary less than half" in str(mode_collapse(rows))
    rows = [row(0, **sound), row(1, **dict.fromkeys([*sound, "diversity/x", "diversity/y"], 0.2))]
    assert "mode collapse: generated pictures vary 20%" in str(mode_collapse(rows))
    few = {f"diversity/{name}": 0.9 for name in "abcde"}
    rows = [row(0, **sound | few), row(1, **sound | dict.fromkeys(few, 0.3))]
    assert "a (30%), b (30%), c (30%) and 2 other labels" in str(mode_collapse(rows))


@pytest.mark.parametrize(
    ("measured", "collapsed"),
    [
        ([0.3, 0.4, 0.48], False),  # young
        ([0.3], False),
        ([0.31, 0.29, 0.30], True),  # stays
        ([0.9, 1.0, 0.4], True),  # fell
        ([0.9, 0.4, 0.55], False),  # came back
    ],
)
def test_a_young_network_is_told_from_a_collapsed_one(
    measured: list[float], collapsed: bool
) -> None:
    rows = [row(n, diversity=value) for n, value in enumerate(measured)]
    assert (mode_collapse(rows) is not None) == collapsed
    for one in rows[:-1]:
        one["resolution"] = 32
    assert mode_collapse(rows) is None


def test_a_sound_or_a_young_run_is_silent() -> None:
    random = np.random.default_rng(0)
    rows = []
    for number in range(200):
        noise = random.standard_normal(4) * 0.1
        figures = {
            "score_real": 0.8 + noise[0],
            "score_fake": -0.8 + noise[1],
            "sign_real": 0.5,
            "sign_fake": -0.5,
            "gradient_g": 0.3 + noise[2] / 3,
            "score_held_out": 0.6 + noise[3],
            "r_v": 0.1 + noise[3],
        }
        if number % 20 == 0:
            figures |= {"swd": 20 - number / 20, "diversity": 0.9}
        rows.append(row(number, **figures))
        assert diagnose(rows) == {}


def test_a_collapsing_run_says_so_once_and_keeps_it_in_its_log(tmp_path: Path) -> None:
    # One number, brought to length one, is 1 or -1: such a generator knows two pictures.
    config = TrainConfig(
        preset="test",
        network=NetworkConfig(8, latent_dim=1, fmap_base=32, fmap_max=8),
        schedule=ScheduleConfig(total_kimg=0.128, batch_size=8),
        precision="fp32",
        metrics_kimg=0.032,
        metrics_samples=32,
        log_kimg=0.016,
    )
    dataset = Dataset(write_archive(tmp_path / "plain.zip", labelled=False))
    said, run = io.StringIO(), tmp_path / "run"
    train(config, dataset, run, device=torch.device("cpu"), console=Console(file=said, width=999))
    assert said.getvalue().count("mode collapse: 100% of generated pictures repeat another") == 1
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["troubles"] for line in lines] == [[]] * 5 + [["mode_collapse"]] * 3
    assert all("swd" in line for line in lines[1::2])
