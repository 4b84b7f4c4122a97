import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.interpolation import linear, spherical, there_and_back


def normal(seed: int, length: int = 64) -> np.ndarray:
    return np.random.RandomState(seed).randn(length).astype(np.float32)


@given(st.integers(2, 1000))
def test_a_loop_goes_there_and_back_by_the_same_places(frames):
    way = there_and_back(frames)
    assert len(way) == frames
    assert way[0] == 0
    assert way[1:] == way[:0:-1]
    assert all(0 <= share <= 1 for share in way)
    if frames % 2 == 0:
        assert way[frames // 2] == 1
    rising = way[: frames // 2 + 1]
    assert rising == sorted(rising)


@given(st.integers(0, 99), st.integers(100, 199), st.floats(0, 1))
def test_the_way_keeps_to_the_sphere(first, second, share):
    start, end = (z / np.linalg.norm(z) for z in (normal(first), normal(second)))
    assert np.linalg.norm(spherical(start, end, share)) == pytest.approx(1, abs=1e-5)


def test_it_moves_by_equal_angles():
    start, end = (z / np.linalg.norm(z) for z in (normal(1), normal(2)))
    points = [spherical(start, end, share) for share in np.linspace(0, 1, 6)]
    angles = [np.arccos(np.clip(a @ b, -1, 1)) for a, b in itertools.pairwise(points)]
    assert angles == pytest.approx([angles[0]] * 5, rel=1e-3)


def test_the_ends_are_themselves_to_the_last_bit():
    start, end = normal(1), normal(2)
    assert np.array_equal(spherical(start, end, 0), start)
    assert np.array_equal(spherical(start, end, 1), end)


@pytest.mark.parametrize("end", [normal(1), 2 * normal(1), -normal(1), np.zeros(64, np.float32)])
def test_where_there_is_no_circle_the_way_is_straight(end):
    middle = spherical(normal(1), end, 0.25)
    assert middle.dtype == np.float32
    assert np.allclose(middle, linear(normal(1), end, 0.25))
