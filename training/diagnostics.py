"""What goes wrong in GAN training, told from the numbers a run logs while it goes.

Pure functions of the rows of metrics.jsonl: each names one trouble or stays silent. Nothing here
touches networks or pictures. `diagnose` is what the journal calls at every row.

Rules of thumb, not proofs: each is set so that a sound run stays silent, and says what to try.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.errors import TrainingError

Row = Mapping[str, Any]
"""One line of metrics.jsonl; a key is missing where its measure was not due."""

HISTORY = 300
"""How many of the newest rows are looked at."""
RECENT = 5
"""Rows whose mean counts as now."""


class NotFiniteError(TrainingError):
    """A loss or a weight became NaN or infinite."""

    def __init__(self, what: str, images_seen: int, since: int | None = None) -> None:
        when = f"at image {images_seen}"
        if since is not None:
            when = f"between images {since} and {images_seen}"
        super().__init__(
            f"{what} became NaN or infinite {when}: the last snapshot is good; resume from it with "
            "--precision fp32 or a lower schedule.learning_rate"
        )


def diagnose(rows: Sequence[Row]) -> dict[str, str]:
    """Name of each trouble the latest row shows → one sentence for people."""
    rows = rows[-HISTORY:]
    found = {name: look(rows) for name, look in TROUBLES.items()}
    return {name: sentence for name, sentence in found.items() if sentence is not None}


def mode_collapse(rows: Sequence[Row]) -> str | None:
    """Generated pictures are much more alike than real ones, overall or within a label.

    Reads `diversity` and `diversity/<label>`: mean distance between generated pictures as a share
    of that between real ones; and `repetitions`: share of them with another so near as only 2 % of
    real ones have. All as measured at the newest resolution, fully faded in.
    """
    rows = [row for row in _at_resolution(rows) if row.get("alpha", 1.0) == 1.0]
    measured = [row for row in rows if "diversity" in row]
    if not measured:
        return None
    low = {
        name: measured[-1][name]
        for name in measured[-1]
        if name.split("/")[0] == "diversity"
        and _collapsed([row[name] for row in measured if name in row], low=0.5, sound=0.75)
    }
    signs = []
    if "diversity" in low:
        signs = [f"generated pictures vary {low['diversity']:.0%} as much as real ones"]
    elif low:
        worst = sorted(low, key=lambda name: low[name])[:3]
        parts = [f"{name.split('/', 1)[1]} ({low[name]:.0%})" for name in worst]
        more = f" and {len(low) - 3} other labels" if len(low) > 3 else ""
        signs = [f"pictures of {', '.join(parts)}{more} vary less than half as much as real ones"]
    unlike = [1 - row.get("repetitions", 0.0) for row in measured]
    if _collapsed(unlike, low=0.1, sound=0.5):
        signs.append(f"{1 - unlike[-1]:.0%} of generated pictures repeat another")
    if not signs:
        return None
    return (
        f"mode collapse: {', '.join(signs)}; go back to an earlier snapshot, and try "
        "conditioning.ramp_kimg, augment.mode adaptive or a larger loss.r1_gamma"
    )


def _collapsed(variety: Sequence[float], *, low: float, sound: float) -> bool:
    """Whether variety fell from `sound` below `low`, or stays below it three times in a row.

    A young network has little too, but more each time.
    """
    if variety[-1] >= low:
        return False
    fell = max(variety[:-1], default=0.0) >= sound
    stays = len(variety) >= 3 and max(variety[-3:]) < low and variety[-1] < variety[-3] + 0.03
    return fell or stays


def weak_gradient(rows: Sequence[Row]) -> str | None:
    """The discriminator saturates: its lead grows while what it teaches fades.

    The first and the last five rows of a resolution are compared, once there are 20.
    """
    rows = [row for row in _at_resolution(rows) if "gradient_g" in row]
    if len(rows) < 4 * RECENT:
        return None
    lead, gradient = (
        _series(rows, "score_real") - _series(rows, "score_fake"),
        _series(rows, "gradient_g"),
    )
    is_sure = _now(_series(rows, "sign_fake")) < -0.9 if "sign_fake" in rows[-1] else True
    if is_sure and _now(lead) > 1.5 * _then(lead) and _now(gradient) < 0.5 * _then(gradient):
        return (
            f"weak gradient: the discriminator's lead grew from {_then(lead):.2f} to "
            f"{_now(lead):.2f} while the generator's gradient fell from {_then(gradient):.2g} to "
            f"{_now(gradient):.2g}; use loss.kind non_saturating, a larger loss.r1_gamma or "
            "augmentation"
        )
    return None


def overfitting(rows: Sequence[Row]) -> str | None:
    """Held-out pictures score more like generated ones than like those trained on.

    r_v of Karras et al. (arXiv 2006.06676), section 3.1: 0 means no overfitting, 1 complete.
    Silent for losses whose scores have no undecided point: those wander without meaning.
    """
    rows = [row for row in _at_resolution(rows) if "r_v" in row and "sign_fake" in row]
    rows = rows[-2 * RECENT :]
    if len(rows) < 2 * RECENT:
        return None
    real = _series(rows, "score_real")
    gap, lead = real - _series(rows, "score_held_out"), real - _series(rows, "score_fake")
    # Not the median of r_v: where the lead is small, that is a quotient of two noises. Four rows in
    # five must agree.
    if np.median(lead) <= 0 or np.quantile(gap - lead / 2, 0.2) <= 0:
        return None
    share = float(np.median(gap) / np.median(lead))
    return (
        f"the discriminator overfits: pictures held out score {share:.0%} of the way from real to "
        "generated; use augment.mode adaptive, more pictures, or stop here"
    )


def oscillation(rows: Sequence[Row]) -> str | None:
    """The distance to real pictures no longer falls while the scores go round in a cycle."""
    rows = [row for row in _at_resolution(rows) if row.get("alpha", 1.0) == 1.0]
    distances = np.array([row["swd"] for row in rows if "swd" in row])
    if len(distances) < 6:
        return None
    _, middle, last = (float(np.median(part)) for part in np.array_split(distances, 3))
    if last < 0.97 * middle:
        return None
    period = cycle_length(_series(rows, "score_real") - _series(rows, "score_fake"))
    if period is None:
        return None
    kimg = (rows[-1]["images_seen"] - rows[0]["images_seen"]) / 1000 / max(len(rows) - 1, 1)
    return (
        f"oscillation: the sliced Wasserstein distance stays at {last:.1f} while "
        f"the discriminator's lead comes and goes every {period * kimg:.0f} kimg; lower "
        "schedule.learning_rate or raise loss.r1_gamma"
    )


TROUBLES: Mapping[str, Callable[[Sequence[Row]], str | None]] = {
    "mode_collapse": mode_collapse,
    "weak_gradient": weak_gradient,
    "overfitting": overfitting,
    "oscillation": oscillation,
}


def overfitting_share(real: float, held_out: float, fake: float) -> float:
    """r_v: how far mean scores of held-out pictures lie from real towards generated."""
    lead = real - fake
    return (real - held_out) / lead if abs(lead) > 1e-6 else 0.0


def cycle_length(series: NDArray[np.float64]) -> int | None:
    """The period of a series that comes and goes, in samples; None for trends and noise.

    Its autocorrelation, the linear trend taken out, must fall below −0.3 and rise above 0.3 again
    within a third of the series.
    """
    count = len(series)
    if count < 24:
        return None
    time = np.arange(count)
    rest = series - np.polyval(np.polyfit(time, series, 1), time)
    power = float(rest @ rest)
    if power <= 1e-12 * count:
        return None
    lags = range(1, count // 3)
    correlation = np.array(
        [rest[lag:] @ rest[:-lag] / power * count / (count - lag) for lag in lags]
    )
    troughs = np.flatnonzero(correlation < -0.3)
    if not len(troughs):
        return None
    after = correlation[troughs[0] :]
    peak = int(np.argmax(after))
    return int(troughs[0]) + peak + 1 if after[peak] > 0.3 else None


def _at_resolution(rows: Sequence[Row]) -> list[Row]:
    """The newest rows in a row that share the latest one's resolution."""
    newest = rows[-1].get("resolution")
    start = len(rows)
    while start and rows[start - 1].get("resolution") == newest:
        start -= 1
    return list(rows[start:])


def _series(rows: Sequence[Row], name: str) -> NDArray[np.float64]:
    return np.array([row.get(name, np.nan) for row in rows], dtype=np.float64)


def _then(series: NDArray[np.float64]) -> float:
    return float(np.nanmean(series[:RECENT]))


def _now(series: NDArray[np.float64]) -> float:
    return float(np.nanmean(series[-RECENT:]))
