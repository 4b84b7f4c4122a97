"""Is the quality the same for everyone: faces found and labels right, for each group of labels.

A group is a value of one attribute, or a combination of values of all attributes, ages taken in
thirds of the real pictures. It knows nothing of how pictures were made.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise, product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from training.metrics.figure import PictureSet
from training.metrics.labels import age_accuracy, gender_accuracy, judges_age, judges_gender

FEWEST = 50  # pictures of a group, in either set, below which its shares say nothing
MOST_COMBINATIONS = 200  # of more, each would be too small
THIRDS = 3


class _Seen(NamedTuple):
    """What the judges of faces saw in pictures, with their labels."""

    index_NA: NDArray[np.int64]
    found_N: NDArray[np.bool_]
    female_N: NDArray[np.float64]
    age_N: NDArray[np.float64]


def compare_groups(
    generated: PictureSet, real: Sequence[PictureSet], *, fewest: int = FEWEST
) -> list[dict[str, Any]]:
    """Each group with enough pictures in both: `group`, `samples` and `shares`, in percent.

    A group's name is as `gender=female` or `gender=female, age 0-9 to 20-29`; of samples and of
    each share there is one for `generated` and one for `real`. None where no judge of faces was
    asked, or where the sets have not the same labels.
    """
    ours, theirs = _seen([generated]), _seen(real)
    values = generated.values
    if ours is None or theirs is None or any(s.values != values for s in real):
        return []
    groups = []
    for name, members in _groups(values, theirs.index_NA):
        member_N, member_M = members(ours.index_NA), members(theirs.index_NA)
        if min(member_N.sum(), member_M.sum()) < fewest:
            continue
        shares, baseline = _shares(ours, member_N, values), _shares(theirs, member_M, values)
        groups.append(
            {
                "group": name,
                "samples": {"generated": int(member_N.sum()), "real": int(member_M.sum())},
                "shares": {
                    asked: {"generated": share, "real": baseline[asked]}
                    for asked, share in shares.items()
                },
            }
        )
    return groups


class _Members(NamedTuple):
    """Who is in a group: rows whose value of each attribute lies in its range [first, end)."""

    ranges: Mapping[int, tuple[int, int]]

    def __call__(self, index_NA: NDArray[np.int64]) -> NDArray[np.bool_]:
        inside = np.ones(len(index_NA), bool)
        for column, (first, end) in self.ranges.items():
            inside &= (index_NA[:, column] >= first) & (index_NA[:, column] < end)
        return inside


def _groups(
    values: Mapping[str, tuple[str, ...]], index_NA: NDArray[np.int64]
) -> Iterator[tuple[str, _Members]]:
    """Single values, then combinations; `index_NA` says where the thirds of ages are."""
    parts = []
    for column, (attribute, names) in enumerate(values.items()):
        single = [(f"{attribute}={name}", (i, i + 1)) for i, name in enumerate(names)]
        for name, span in single:
            yield name, _Members({column: span})
        if judges_age(attribute, names):
            single = [
                (f"{attribute} {names[first]} to {names[end - 1]}", (first, end))
                for first, end in _thirds(index_NA[:, column], len(names))
            ]
        parts.append([(name, column, span) for name, span in single])
    if len(parts) < 2 or np.prod([len(part) for part in parts]) > MOST_COMBINATIONS:
        return
    for combination in product(*parts):
        name = ", ".join(part for part, _, _ in combination)
        yield name, _Members({column: span for _, column, span in combination})


def _thirds(index_N: NDArray[np.int64], values: int) -> list[tuple[int, int]]:
    """Ranges [first, end) of values that hold about a third of the pictures each."""
    share = np.cumsum(np.bincount(index_N, minlength=values)) / len(index_N)
    inner = {int(np.argmin(np.abs(share - part / THIRDS))) + 1 for part in range(1, THIRDS)}
    return list(pairwise(sorted({0, *inner, values})))


def _shares(
    seen: _Seen, member_N: NDArray[np.bool_], values: Mapping[str, tuple[str, ...]]
) -> dict[str, float]:
    shares = {"face found": float(seen.found_N[member_N].mean())}
    if not np.isnan(seen.age_N).any():
        for column, (attribute, names) in enumerate(values.items()):
            index_N = seen.index_NA[member_N, column]
            if judges_gender(names):
                right = gender_accuracy(seen.female_N[member_N], names, index_N)
                shares[f"{attribute} as labelled"] = right
            elif judges_age(attribute, names):
                right = age_accuracy(seen.age_N[member_N], names, index_N)
                shares[f"{attribute} within a bin of the label"] = right
    return {asked: 100 * share for asked, share in shares.items()}


def _seen(sets: Sequence[PictureSet]) -> _Seen | None:
    """All pictures of the sets together; None where nobody looked."""
    faces = [pictures.faces for pictures in sets if pictures.faces is not None]
    if len(faces) < len(sets):
        return None
    return _Seen(
        np.concatenate([pictures.index_NA for pictures in sets]),
        np.concatenate([face.found_N for face in faces]),
        np.concatenate([face.female_N for face in faces]),
        np.concatenate([face.age_N for face in faces]),
    )
