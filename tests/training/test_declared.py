"""Labels that no archive could hold, or no server offer, are refused before anything is decoded."""

import json
from pathlib import Path

import pytest
from PIL import Image

from service import labels as served
from service.params import RESERVED as SERVED
from training.declared import RESERVED, DeclaredAttribute, check_declared
from training.errors import DatasetError
from training.prepare import prepare

HERE = Path("raw")


def checked(*attributes: tuple[object, tuple[object, ...]]) -> None:
    check_declared(HERE, [DeclaredAttribute(name, values) for name, values in attributes])


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ([("", ("a",))], "the name of an attribute is ''"),
        ([(["hair"], ("a",))], r"the name of an attribute is \"\['hair'\]\""),
        ([("h" * 257, ("a",))], "1 to 256 characters"),
        ([("hair", ("red", ""))], "a value of 'hair' is ''"),
        ([("hair", ("r" * 257,))], "a value of 'hair' is 'rrr"),
        ([("hair", ("caf\udce9",))], r"a value of 'hair', 'caf\\udce9', is no Unicode text"),
        ([("hair", ("red", "red"))], r"the same but for case \(red, red\)"),
        ([("class", ("Male", "male"))], r"values of 'class' that are .* \(Male, male\): rename"),
        ([("Hair", ("a",)), ("hair", ("b",))], r"attributes that are .* \(Hair, hair\)"),
        ([("Size", ("a", "b"))], "an attribute 'Size', and so is a parameter of the server called"),
        ([("age", ("1",)), ("from_age", ("2",))], "an attribute 'from_age'"),
    ],
)
def test_what_cannot_be_a_label_is_refused(attributes, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        checked(*attributes)


def test_what_can_be_is_taken() -> None:
    checked(("gender", ("male", "female")), ("âge", ("0-9", "60+")), ("from_afar", ("yes", "no")))


def test_reserved_is_what_the_server_reserves() -> None:
    assert set(RESERVED) == set(SERVED)
    for name in RESERVED:
        with pytest.raises(ValueError, match="may not be called"):
            served.AttributeSpace([served.Attribute(name, ("a", "b"), (0.5, 0.5))])
        with pytest.raises(DatasetError, match="give it another name"):
            checked((name, ("a", "b")))


def test_prepare_refuses_before_it_writes(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    Image.new("RGB", (16, 16)).save(raw / "1.png")
    document = {"labels": [["1.png", [0]]], "attributes": [{"name": ["mood"], "values": ["glad"]}]}
    (raw / "dataset.json").write_text(json.dumps(document))
    with pytest.raises(DatasetError, match="the name of an attribute"):
        prepare(raw, tmp_path / "made.zip", resolution=16, workers=1)
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]
