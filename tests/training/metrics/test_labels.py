"""What counts as right, and that the classifier can be asked at all."""

import numpy as np
import pytest

from training.metrics.faces import Face
from training.metrics.labels import (
    age_accuracy,
    gender_accuracy,
    judge_face,
    judges_age,
    judges_gender,
)

AGES = ("0-9", "10-19", "20-29", "30-39", "40-49", "50-59", "60+")


@pytest.mark.parametrize("values", [("male", "female"), ("female", "male")])
def test_gender_is_right_whatever_the_order_of_the_values(values: tuple[str, str]) -> None:
    female = np.array([0.9, 0.2, 0.7, 0.4])
    labelled = np.array([values.index(v) for v in ("female", "male", "male", "female")])
    assert gender_accuracy(female, values, labelled) == 0.5


def test_age_may_be_one_bin_off() -> None:
    ages = np.array([5.0, 19.9, 45.0, 31.0])
    labelled = np.array([AGES.index(v) for v in ("0-9", "0-9", "20-29", "30-39")])
    assert age_accuracy(ages, AGES, labelled) == 0.75


def test_ages_from_fifty_on_are_one_bin() -> None:
    labelled = np.array([AGES.index("60+")] * 3)
    assert age_accuracy(np.array([85.0, 41.0, 39.0]), AGES, labelled) == pytest.approx(2 / 3)


def test_ages_in_years_and_other_buckets_are_understood() -> None:
    values = ("4", "18-34", "35+")
    assert age_accuracy(np.array([3.0, 25.0, 70.0]), values, np.array([0, 1, 2])) == pytest.approx(
        2 / 3
    )


def test_which_attributes_can_be_judged() -> None:
    assert judges_gender(("female", "male"))
    assert not judges_gender(("male", "female", "other"))
    assert judges_age("years", AGES)
    assert not judges_age("age", ("young", "old"))
    assert not judges_age("age", ("White", "60+"))


def test_a_face_and_its_mirror_image_are_judged_alike() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    face = Face(pixels, (30, 40, 200, 210), found=True)
    judgement = judge_face(face)
    assert judgement == judge_face(face.mirrored())
    assert 0 <= judgement.female <= 1
    assert 0 <= judgement.age <= 80


def test_bare_numbers_are_ages_only_where_the_attribute_is_called_so() -> None:
    assert not judges_age("class", ("0", "1"))
    assert judges_age("class", ("0-9", "34", "60+"))
    assert judges_age("Age", ("20", "34"))
