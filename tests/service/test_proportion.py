"""What a small or senseless request may cost: answers and memory stay in proportion to it."""

import json

import pytest
from answers import ask, problem

from service.addresses import LONGEST_ACCEPT
from service.errors import MAX_PROBLEMS
from service.many_params import MOST, MOST_NAMES


async def post(client, text: str):
    headers = {"Content-Type": "application/json"}
    return await client.post("/v1/faces", content=text.encode(), headers=headers)


def names(count: int) -> str:
    return ",".join(f'"name{i}":""' for i in range(count))


async def test_of_many_wrong_parameters_the_first_are_named(client):
    answer = await client.get("/image?" + "&".join(f"a{i}=" for i in range(400)))
    body = problem(answer, 422, "invalid-parameters")
    assert len(body["errors"]) == MAX_PROBLEMS
    assert body["detail"].endswith(f"And {400 - MAX_PROBLEMS} more.")


@pytest.mark.parametrize(
    "text",
    [
        "{…}".replace("…", names(100_000)),
        '{"seeds":[1],"labels":{…}}'.replace("…", names(100_000)),
        '{"seeds":[1],"labels":[{…}]}'.replace("…", names(100_000)),
        '{"seeds":[1],"labels":{…}}'.replace("…", names(MOST_NAMES)),
        '{"seeds":[1],"labels":{"…":1}}'.replace("…", "x" * 10**6),
        '{"seeds":[1],"labels":{"age":"…"}}'.replace("…", "x" * 10**6),
        '{"seeds":["…"]}'.replace("…", "x" * 10**6),
        '{"seeds":[1],"model":"…"}'.replace("…", "x" * 10**6),
        '{"seeds":[1],"…":1}'.replace("…", "x" * 10**6),
        '{"seeds":[1],"format":"…"}'.replace("…", "x" * 10**6),
        '{"latents":[[…]]}'.replace("…", ",".join("0" * 10**5)),
    ],
    ids=range(11),
)
async def test_the_answer_to_a_senseless_body_is_small(client, text):
    answer = await post(client, text)
    problem(answer, 422, "invalid-parameters")
    assert len(answer.content) < 200_000


@pytest.mark.parametrize(
    "body",
    [
        {"count": 10**30},
        {"seeds": [1] * (MOST + 1)},
        {"latents": [[]] * (MOST + 1)},
        {"seeds": [1], "labels": [{}] * (MOST + 1)},
    ],
)
async def test_far_too_many_items_are_too_many(client, body):
    problem(await ask(client, **body), 413, "too-large")


@pytest.mark.parametrize(
    "text",
    ["[" * 10**6, '{"seeds":[' + "9" * 10**6 + "]}", '{"seeds":["\\ud800"]}', '{"count":1e999}'],
)
async def test_json_without_sense_is_refused_at_once(client, text):
    answer = await post(client, text)
    assert answer.status_code in (400, 422)
    assert len(answer.content) < 2000
    json.loads(answer.content)


async def test_addresses_with_endless_accept_headers_are_not_remembered(client):
    long = {"Accept": "image/png," + "x/y," * LONGEST_ACCEPT}
    for _ in range(3):
        answers = [await client.get("/v1/faces/7", headers=headers) for headers in (long, {})]
        assert answers[0].content == answers[1].content
        assert answers[0].headers["X-Labels"] == answers[1].headers["X-Labels"]
    etag = {"If-None-Match": answers[0].headers["ETag"]}
    assert (await client.get("/v1/faces/7", headers=long | etag)).status_code == 304
    assert [len(accept) for _, _, accept in remembered(client)] == [len("*/*")]


def remembered(client):
    """The addresses whose meaning the app of `client` knows."""
    return list(client.state["addresses"])
