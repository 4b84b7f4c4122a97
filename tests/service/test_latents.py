import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.latents import latent
from service.params import Seed


@given(st.integers(0, 2**32 - 1))
def test_small_integers_follow_the_ecosystems_convention(number):
    expected = np.random.RandomState(number).randn(16).astype(np.float32)
    assert latent(Seed.parse(str(number)), 16).tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    ("text", "first"), [("7", 1.6905257), (str(2**32), -0.2009911), ("jane", -0.4848892)]
)
def test_latents_never_change(text, first):
    assert latent(Seed.parse(text), 4)[0] == pytest.approx(first, abs=1e-6)


def test_all_kinds_of_seeds_give_different_latents():
    texts = ["0", "7", "007", str(2**32), str(2**32 + 7), str(2**64 - 1), str(2**64), "jane"]
    latents = {latent(Seed.parse(text), 8).tobytes() for text in texts}
    assert len(latents) == len(texts)


def test_latents_are_unit_normal():
    values = np.concatenate([latent(Seed.parse(str(n * 2**30)), 128) for n in range(100)])
    assert abs(values.mean()) < 0.03
    assert abs(values.std() - 1) < 0.03


def test_a_variation_lies_near_its_origin_and_strangers_do_not():
    def angle(a, b):
        a, b = latent(Seed.parse(a), 512), latent(Seed.parse(b), 512)
        return np.degrees(np.arccos(a @ b / np.linalg.norm(a) / np.linalg.norm(b)))

    assert abs(angle("7", "7~1") - 25) < 6
    assert abs(angle("7~1", "7~1~1") - 25) < 6
    assert 25 < angle("7~1", "7~2") < 48
    assert abs(angle("7", "8") - 90) < 15
    assert abs(angle("7", "8~1") - 90) < 15


def test_variations_are_unit_normal_too():
    z = np.concatenate([latent(Seed.parse(f"7~{k}~{k}"), 512) for k in range(1, 60)])
    assert abs(z.std() - 1) < 0.03
