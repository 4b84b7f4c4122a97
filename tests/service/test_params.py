import pytest
from fakes import ATTRIBUTES
from hypothesis import given
from hypothesis import strategies as st

from service.errors import InvalidParametersError, NotAcceptableError
from service.labels import AttributeSpace
from service.params import Seed, face_key, parse_face, split_extension

SPACE = AttributeSpace(ATTRIBUTES)


def parse(*query, **rest):
    return parse_face(query, SPACE, **rest)


def problems(*query, **rest):
    with pytest.raises(InvalidParametersError) as caught:
        parse(*query, **rest)
    return {problem.parameter: problem for problem in caught.value.problems}


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("7", 7),
        (str(2**64 - 1), 2**64 - 1),
        (str(2**64), None),
        ("007", None),
        ("-1", None),
        ("٣", None),  # a digit, but not one of ours
        ("jane", None),
        ("x" * 128, None),
    ],
)
def test_seed_is_a_canonical_integer_or_text(text, number):
    assert Seed.parse(text) == Seed(text, number)


@pytest.mark.parametrize("text", ["", "x" * 129])
def test_seed_of_no_usable_length_is_a_problem(text):
    assert "1 to 128 characters" in problems(seed=text)["seed"].detail


@given(st.text(min_size=1, max_size=128))
def test_seed_prints_as_ascii_without_separators(text):
    printed = str(Seed(text, None))
    assert printed.isascii()
    assert not set(printed) & set("/?#& \r\n\0")


def test_random_seeds_differ():
    assert len({Seed.random() for _ in range(1000)}) == 1000


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("7.png", ("7", "png")),
        ("7", ("7", None)),
        ("7.webp", ("7", "webp")),
        ("jane.doe", ("jane.doe", None)),
        ("a/b.c.png", ("a/b.c", "png")),
        (".png", ("", "png")),
        ("a\nb.webp", ("a\nb", "webp")),
    ],
)
def test_extension_is_split_off_only_where_it_is_one(name, expected):
    assert split_extension(name) == expected


def test_names_and_values_are_read_in_any_case():
    params = parse(("GENDER", "Female"), ("Age", " 34 "), ("Size", "64"), seed="7")
    assert params.given == {"gender": "female", "age": "30-39"}
    assert params.size == 64
    assert params.format == "png"


def test_every_problem_is_named_at_once():
    found = problems(
        ("gendre", "male"), ("age", "-3"), ("size", "15"), ("format", "gif"), seed="x" * 129
    )
    assert set(found) == {"gendre", "age", "size", "format", "seed"}
    assert found["gendre"].allowed == ("gender", "age", "seed", "size", "format", "model")
    assert found["age"].allowed == ATTRIBUTES[1].values
    assert found["format"].allowed == ("png", "webp", "jpeg", "json")


def test_a_doubled_parameter_is_a_problem_even_in_another_case():
    assert "more than once" in problems(("age", "34"), ("AGE", "35"))["age"].detail


def test_seed_may_not_stand_in_path_and_query():
    assert "already names the seed" in problems(("seed", "8"), seed="7")["seed"].detail


@pytest.mark.parametrize("size", ["16", "1024"])
def test_size_bounds_are_allowed(size):
    assert parse(("size", size)).size == int(size)


@pytest.mark.parametrize("size", ["15", "1025", "", "6.4", "1e3", "٦٤", "-64", "9" * 5000])
def test_other_sizes_are_problems(size):
    assert "16 to 1024" in problems(("size", size))["size"].detail


@pytest.mark.parametrize(
    ("accept", "format_"),
    [
        (None, "png"),
        ("", "png"),
        ("*/*", "png"),
        ("image/*", "png"),
        ("image/PNG", "png"),
        ("text/html,*/*;q=0.8", "png"),
        ("image/png;q=0, image/*", "webp"),
        ("image/webp, image/png;q=0.1", "webp"),
        ("image/avif,image/webp,image/apng,*/*;q=0.8", "webp"),
        ("image/jpeg", "jpeg"),
        ("application/json", "json"),
    ],
)
def test_accept_chooses_among_the_formats(accept, format_):
    assert parse(accept=accept).format == format_


@pytest.mark.parametrize("accept", ["text/html", "image/avif", "*/*;q=0", "image/*;q=0, text/html"])
def test_accept_that_takes_none_of_them(accept):
    with pytest.raises(NotAcceptableError, match="png, webp, jpeg, json"):
        parse(accept=accept)


def test_accept_gives_way_to_what_the_route_prefers():
    assert parse(accept="image/webp,image/*;q=0.1", prefer="png").format == "png"
    assert parse(accept="image/webp", prefer="png").format == "webp"
    assert parse(prefer="png").format == "png"


def test_format_goes_before_extension_goes_before_accept():
    assert parse(("format", "png"), extension="webp", accept="text/html").format == "png"
    assert parse(("format", "JPG"), accept="image/png").format == "jpeg"
    assert parse(extension="png", accept="text/html").format == "png"
    assert parse(extension="jpg", accept="image/png").format == "jpeg"
    with pytest.raises(NotAcceptableError, match="gif"):
        parse(extension="gif", accept="image/png")


def test_who_chose_the_seed_is_known():
    assert not parse().seeded
    assert parse(("seed", "7")).seeded
    assert parse(seed="7").seeded


@pytest.mark.parametrize(
    ("text", "origins"),
    [
        ("7~3", ["7"]),
        ("7~3~15", ["7~3", "7"]),
        ("jane~1", ["jane"]),
        ("~1", []),
        ("7~", []),
        ("7~0", []),
        ("7~x", []),
        ("7~12345", []),
    ],
)
def test_variations_know_where_they_come_from(text, origins):
    seed, found = Seed.parse(text), []
    assert seed.number is None
    while seed.origin is not None:
        seed = seed.origin
        found.append(seed.text)
    assert found == origins
    assert Seed.parse(text).root.text == ([text, *origins])[-1]


BASE = {
    "source": "fake-16 d",
    "encoder": "e",
    "seed": Seed("7", 7),
    "labels": "age=60%2B",
    "size": 64,
    "format_": "png",
}


@pytest.mark.parametrize(
    "change",
    [
        {"source": "fake-16 D"},
        {"encoder": "f"},
        {"seed": Seed("8", 8)},
        {"seed": Seed("7", None)},
        {"labels": ""},
        {"size": 65},
        {"format_": "webp"},
    ],
)
def test_key_names_everything_the_bytes_depend_on(change):
    assert face_key(**BASE) == face_key(**BASE)
    assert face_key(**(BASE | change)) != face_key(**BASE)
