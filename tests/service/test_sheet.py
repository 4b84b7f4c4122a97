import numpy as np
import pytest

from service.sheet import BACKGROUND, GAP, Sheet, sheet_pixels


@pytest.mark.parametrize(
    ("count", "columns", "rows"),
    [(1, 1, 1), (2, 2, 1), (3, 2, 2), (4, 2, 2), (5, 3, 2), (7, 3, 3), (64, 8, 8)],
)
def test_the_grid_is_as_square_as_it_can_be(count, columns, rows):
    image = Sheet(count, 16).image_HWC
    assert image.shape == (rows * (16 + GAP) + GAP, columns * (16 + GAP) + GAP, 3)
    assert sheet_pixels(count, 16) == image.shape[0] * image.shape[1]


def test_each_picture_is_in_its_place_whole_and_the_rest_is_background():
    sheet = Sheet(5, 16)
    pictures = np.random.RandomState(0).randint(100, 256, (5, 16, 16, 3)).astype(np.uint8)
    for index in (3, 0, 4, 1, 2):
        sheet.place(index, pictures[index])
    left = sheet.image_HWC.copy()
    for index in range(5):
        row, column = divmod(index, 3)
        top, start = GAP + row * (16 + GAP), GAP + column * (16 + GAP)
        place = np.s_[top : top + 16, start : start + 16]
        assert np.array_equal(sheet.image_HWC[place], pictures[index])
        left[place] = BACKGROUND
    assert (left == BACKGROUND).all()
