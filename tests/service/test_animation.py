import io

import numpy as np
import pytest
from PIL import Image

from service.animation import ANIMATION_FORMATS, FRAME_MILLISECONDS, animate, animation_version
from service.encoder import encoder_version
from service.provenance import Claims, read_claims

CLAIMS = Claims("1..2", "faces@0123", "age=60%2B")


def frames(count: int) -> list[np.ndarray]:
    ramp = np.add.outer(np.arange(32), np.arange(32))
    return [
        np.stack([ramp * 3, ramp[::-1], ramp + 9 * k], -1).astype(np.uint8) for k in range(count)
    ]


@pytest.mark.parametrize("format_", ANIMATION_FORMATS)
def test_frames_loop_for_ever_in_order(format_):
    content = animate(frames(7), format_, claims=CLAIMS)
    picture = Image.open(io.BytesIO(content))
    assert picture.n_frames == 7
    assert picture.info["loop"] == 0
    for index, frame in enumerate(frames(7)):
        picture.seek(index)
        picture.load()
        shown = np.asarray(picture.convert("RGB"), float)
        assert np.abs(shown - frame).mean() < (0.5 if format_ == "apng" else 6)
        assert picture.info["duration"] == FRAME_MILLISECONDS
    assert read_claims(content) == CLAIMS


@pytest.mark.parametrize("format_", ANIMATION_FORMATS)
def test_the_same_frames_are_the_same_bytes(format_):
    assert animate(frames(4), format_, claims=CLAIMS) == animate(frames(4), format_, claims=CLAIMS)


def test_a_version_of_its_own_for_each_format():
    versions = {animation_version(format_) for format_ in ANIMATION_FORMATS}
    assert len(versions | {encoder_version("webp"), encoder_version("png")}) == 4


def test_no_other_format_is_made():
    with pytest.raises(ValueError, match="gif"):
        animate(frames(2), "gif", claims=CLAIMS)
