"""Groups of labels: who is in them, and that a group that is made badly is seen to be."""

import numpy as np
import pytest

from training.card import _long_tables
from training.metrics.features import FaceFeatures
from training.metrics.figure import PictureSet
from training.metrics.groups import compare_groups

GENDERS = ("male", "female")
AGES = ("0-9", "10-19", "20-29", "30-39", "40-49", "50+")
HAIR = ("dark", "fair")
VALUES = {"gender": GENDERS, "age": AGES, "hair": HAIR}
COUNT = 4000


def pictures(seed, *, faces=True, judged=True, values=VALUES, wrong=None) -> PictureSet:
    """Faces as labelled; `wrong(index_NA)` says whose gender is not."""
    rng = np.random.default_rng(seed)
    index_NA = np.stack(
        [rng.integers(2, size=COUNT), rng.integers(6, size=COUNT), rng.integers(2, size=COUNT)], 1
    )
    female_N = (index_NA[:, 0] == 1).astype(float)
    if wrong is not None:
        female_N = np.where(wrong(index_NA), 1 - female_N, female_N)
    age_N = index_NA[:, 1] * 10.0 + 5
    if not judged:
        female_N, age_N = np.full(COUNT, np.nan), np.full(COUNT, np.nan)
    seen = FaceFeatures(np.ones(COUNT, bool), np.zeros((COUNT, 2)), female_N, age_N)
    nothing = np.zeros((COUNT, 1, 1, 3), np.uint8)
    return PictureSet(nothing, index_NA, values, np.zeros(1), seen if faces else None, None, {})


def test_every_value_and_every_combination_with_ages_in_thirds():
    groups = compare_groups(pictures(0), [pictures(1), pictures(2)])
    names = [group["group"] for group in groups]
    singles = [f"{a}={v}" for a, values in VALUES.items() for v in values]
    combined = [
        f"gender={g}, age {a}, hair={h}"
        for g in GENDERS
        for a in ("0-9 to 10-19", "20-29 to 30-39", "40-49 to 50+")
        for h in HAIR
    ]
    assert names == sorted(singles, key=names.index) + combined
    assert set(singles) <= set(names)
    for group in groups:
        assert set(group["shares"]) == {
            "face found",
            "gender as labelled",
            "age within a bin of the label",
        }
        assert all(s == {"generated": 100.0, "real": 100.0} for s in group["shares"].values())
    ours = {g["group"]: g["samples"] for g in groups}
    assert sum(ours[f"hair={h}"]["generated"] for h in HAIR) == COUNT
    assert sum(ours[name]["real"] for name in combined) == 2 * COUNT


def test_the_group_that_is_made_badly_is_the_one_that_is_behind():
    def old_and_fair(index_NA):
        return (index_NA[:, 1] >= 4) & (index_NA[:, 2] == 1) & (index_NA[:, 0] == 1)

    groups = compare_groups(pictures(0, wrong=old_and_fair), [pictures(1)])
    right = {g["group"]: g["shares"]["gender as labelled"]["generated"] for g in groups}
    assert right["gender=female, age 40-49 to 50+, hair=fair"] == 0
    assert right["gender=male, age 40-49 to 50+, hair=fair"] == 100
    assert 50 < right["hair=fair"] < 100


def test_small_groups_say_nothing():
    groups = compare_groups(pictures(0), [pictures(1)], fewest=COUNT // 3)
    assert {g["group"] for g in groups} == {
        "gender=male",
        "gender=female",
        "hair=dark",
        "hair=fair",
    }


@pytest.mark.parametrize(
    ("generated", "real"),
    [
        (pictures(0, faces=False), pictures(1)),
        (pictures(0), pictures(1, faces=False)),
        (pictures(0), pictures(1, values={"gender": GENDERS, "age": AGES, "hat": HAIR})),
    ],
)
def test_no_groups_without_a_judge_or_without_the_same_labels(generated, real):
    assert compare_groups(generated, [real]) == []


def test_without_a_judge_of_labels_there_are_faces_still():
    groups = compare_groups(pictures(0, judged=False), [pictures(1, judged=False)])
    assert {asked for group in groups for asked in group["shares"]} == {"face found"}


def test_the_model_card_has_them_in_a_table():
    groups = compare_groups(pictures(0), [pictures(1)])
    [card] = _long_tables({"measures": [], "groups": groups})
    assert "| group | samples | face found | gender as labelled | age within a bin" in card
    assert card.count("100 (100)") == 3 * len(groups)
