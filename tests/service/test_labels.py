import numpy as np
import pytest
from fakes import ATTRIBUTES
from hypothesis import given
from hypothesis import strategies as st

from service.errors import InvalidParameter
from service.labels import Attribute, AttributeSpace, label_text

SPACE = AttributeSpace(ATTRIBUTES)
# Training saw only boys and old women.
JOINT = np.array([[0.6, 0, 0, 0, 0], [0, 0, 0, 0, 0.4]])
CORRELATED = AttributeSpace(ATTRIBUTES, JOINT)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("30-39", "30-39"),
        ("34", "30-39"),
        ("30", "30-39"),
        ("39", "30-39"),
        ("0", "0-9"),
        ("60+", "60+"),
        ("60 ", "60+"),  # what a plus sign in a query string arrives as
        ("116", "60+"),
    ],
)
def test_age_is_read_as_bucket_or_number(text, value):
    assert SPACE.parse("age", text) == value


@pytest.mark.parametrize("text", ["", "40", "-1", "30-38", "old", "3.5", "9" * 400])
def test_what_no_bucket_covers_lists_what_is_allowed(text):
    problem = SPACE.parse("age", text)
    assert isinstance(problem, InvalidParameter)
    assert problem.allowed == ATTRIBUTES[1].values


def test_a_value_named_like_a_number_wins_over_a_range_that_covers_it():
    space = AttributeSpace([Attribute("size class", ("0-9", "7"), (0.5, 0.5))])
    assert space.parse("size class", "7") == "7"


@given(seed=st.text(max_size=20), gender=st.sampled_from(["male", "female", None]))
def test_given_values_are_kept_and_the_rest_depends_on_the_seed_alone(seed, gender):
    given_ = {"gender": gender} if gender else {}
    labels = CORRELATED.complete(given_, seed)
    assert labels == CORRELATED.complete(given_, seed)
    assert tuple(labels) == SPACE.names
    assert gender in (None, labels["gender"])
    assert (labels["gender"], labels["age"]) in {("male", "0-9"), ("female", "60+")}
    assert CORRELATED.complete(labels, seed) == labels


def test_draws_condition_on_what_is_given_whichever_attribute_that_is():
    assert CORRELATED.complete({"age": "60+"}, "7") == {"gender": "female", "age": "60+"}


def test_a_combination_never_seen_falls_back_on_the_priors():
    genders = {CORRELATED.complete({"age": "20-29"}, str(seed))["gender"] for seed in range(50)}
    assert genders == {"male", "female"}
    both = CORRELATED.complete({"gender": "female", "age": "0-9"}, "7")
    assert both == {"gender": "female", "age": "0-9"}


INDEPENDENT = np.outer(ATTRIBUTES[0].prior, ATTRIBUTES[1].prior)


@pytest.mark.parametrize("space", [SPACE, AttributeSpace(ATTRIBUTES, INDEPENDENT)])
def test_draws_follow_the_prior(space):
    ages = [space.complete({}, str(seed))["age"] for seed in range(4000)]
    shares = [ages.count(value) / len(ages) for value in ATTRIBUTES[1].values]
    assert shares == pytest.approx(ATTRIBUTES[1].prior, abs=0.03)


def test_a_value_with_no_share_is_never_drawn():
    space = AttributeSpace([Attribute("a", ("never", "always", "nor this"), (0.0, 1.0, 0.0))])
    assert {space.complete({}, str(seed))["a"] for seed in range(500)} == {"always"}


def test_encoding_is_the_one_hots_in_a_row():
    y_L = SPACE.encode({"gender": "female", "age": "20-29"})
    assert y_L.dtype == np.float32
    assert y_L.tolist() == [0, 1, 0, 0, 1, 0, 0]


def test_a_model_without_attributes_has_empty_labels():
    space = AttributeSpace()
    assert space.complete({}, "7") == {}
    assert space.encode({}).shape == (0,)
    assert label_text({}) == ""


@pytest.mark.parametrize(
    ("attributes", "sentence"),
    [
        ([Attribute("Seed", ("a",), (1.0,))], "may not be called 'Seed'"),
        ([Attribute("frames", ("a",), (1.0,))], "may not be called 'frames'"),
        (
            [Attribute("age", ("a",), (1.0,)), Attribute("from_Age", ("a",), (1.0,))],
            "may not be called 'from_Age'",
        ),
        ([Attribute("a", ("x",), (1.0,)), Attribute("A", ("x",), (1.0,))], "differ only by case"),
        ([Attribute("a", ("x", "X"), (0.5, 0.5))], "differ only by case"),
    ],
)
def test_declarations_that_cannot_be_parameters_are_refused(attributes, sentence):
    with pytest.raises(ValueError, match=sentence):
        AttributeSpace(attributes)


def test_a_joint_prior_of_another_shape_is_refused():
    with pytest.raises(ValueError, match="joint prior"):
        AttributeSpace(ATTRIBUTES, np.ones((2, 3)) / 6)


def test_label_text_is_safe_in_a_header():
    assert label_text({"age": "60+", "ethnicity": "Größe"}) == "age=60%2B&ethnicity=Gr%C3%B6%C3%9Fe"
