"""POST /v1/faces: zips, sheets and refusals."""

import io
import json
from hashlib import sha256

import numpy as np
import pytest
from answers import ask, problem, unzipped
from fakes import FakeEngine, face_spec
from PIL import Image
from serving import serve

from service.many_params import MOST, ManyRequest, narrowed
from service.provenance import read_claims
from service.sheet import GAP

Z = 8


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)))


@pytest.mark.parametrize(
    ("format_", "extension"), [("png", "png"), ("webp", "webp"), ("jpeg", "jpg"), ("jpg", "jpg")]
)
async def test_seeds_are_the_faces_that_single_requests_give(client, format_, extension):
    labels = {"gender": "Female", "age": 34}
    answer = await ask(client, seeds=[7, "jane doe"], labels=labels, size=32, format=format_)
    manifest, pictures = unzipped(answer)
    query = f"gender=female&age=30-39&size=32&format={format_}"
    for path, content in zip(("7", "jane%20doe"), pictures, strict=True):
        assert (await client.get(f"/v1/faces/{path}?{query}")).content == content
    assert manifest == {
        "model": "fake-16@0123456789ab",
        "format": "jpeg" if format_ == "jpg" else format_,
        "size": 32,
        "ai_generated": True,
        "items": [
            {
                "index": index,
                "name": name,
                "seed": seed,
                "labels": {"gender": "female", "age": "30-39"},
            }
            for index, (name, seed) in enumerate(
                [(f"0000-7.{extension}", "7"), (f"0001-jane-doe.{extension}", "jane doe")]
            )
        ],
    }
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Model"] == "fake-16@0123456789ab"
    assert answer.headers["X-AI-Generated"] == "true"


async def test_a_count_is_new_faces_that_can_be_had_again(client):
    manifest, pictures = unzipped(await ask(client, count=9, labels={"gender": "male"}))
    assert len({item["seed"] for item in manifest["items"]}) == len(set(pictures)) == 9
    item = manifest["items"][4]
    again = await client.get(f"/v1/faces/{item['seed']}.png", params=item["labels"])
    assert again.content == pictures[4]


async def test_a_latent_is_the_face_it_makes(client):
    face = (await client.get("/v1/faces/7.json?gender=female&age=34")).json()
    latents = [face["latent"], [0.0] * Z]
    body = {"latents": latents, "labels": {"gender": "female", "age": "30-39"}}
    manifest, pictures = unzipped(await ask(client, **body))
    single = await client.get("/v1/faces/7.png?gender=female&age=34")
    assert np.array_equal(pixels(pictures[0]), pixels(single.content))
    claims = read_claims(pictures[0])
    assert claims.seed == manifest["items"][0]["seed"]
    assert claims.seed.startswith("latent-")
    assert len(claims.seed) == len("latent-") + 16
    assert claims.labels == "gender=female&age=30-39"
    assert manifest["items"][0]["seed"] != manifest["items"][1]["seed"]
    assert unzipped(await ask(client, **body)) == (manifest, pictures)


async def test_numbers_are_whole_however_they_are_written(client):
    headers = {"Content-Type": "application/json"}
    plain = b'{"seeds": [7, "-1"], "size": 32, "labels": {"age": 34}}'
    other = b'{"seeds": [7.0, "-1"], "size": 32.0, "labels": {"age": 3.4e1}}'
    answers = [await client.post("/v1/faces", content=b, headers=headers) for b in (plain, other)]
    assert unzipped(answers[0]) == unzipped(answers[1])


async def test_labels_may_differ_by_item(client):
    answer = await ask(client, seeds=[7, 7], labels=[{"age": 5}, {"AGE": "60+"}])
    manifest, pictures = unzipped(answer)
    assert [item["labels"]["age"] for item in manifest["items"]] == ["0-9", "60+"]
    assert pictures[0] != pictures[1]


@pytest.mark.parametrize("format_", ["png", "webp", "jpeg"])
async def test_a_sheet_is_one_picture_that_names_its_seeds(client, format_):
    answer = await ask(
        client, seeds=[1, "b c", 3], layout="sheet", format=format_, labels={"gender": "male"}
    )
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == f"image/{format_}"
    assert Image.open(io.BytesIO(answer.content)).size == (2 * 16 + 3 * GAP, 2 * 16 + 3 * GAP)
    claims = read_claims(answer.content)
    assert claims.seed == answer.headers["X-Seed"] == "1,b%20c,3"
    assert claims.model == answer.headers["X-Model"]
    assert "gender=male" in answer.headers["X-Labels"]
    assert claims.labels == answer.headers["X-Labels"]


async def test_a_sheet_of_more_seeds_than_a_header_holds_is_named_by_their_digest(client):
    seeds = [f"{n:02}".ljust(128, "x") for n in range(60)]
    answer = await ask(client, seeds=seeds, layout="sheet")
    assert answer.status_code == 200, answer.text
    name = f"sheet-{sha256(','.join(seeds).encode()).hexdigest()[:16]}"
    assert read_claims(answer.content).seed == answer.headers["X-Seed"] == name


async def test_each_face_is_in_its_place_on_the_sheet(client):
    answer = await ask(client, seeds=[1, 2, 3], layout="sheet", size=24)
    sheet = pixels(answer.content)
    for index, (row, column) in enumerate([(0, 0), (0, 1), (1, 0)]):
        top, left = GAP + row * (24 + GAP), GAP + column * (24 + GAP)
        single = await client.get(f"/v1/faces/{index + 1}.png?size=24")
        assert np.array_equal(sheet[top : top + 24, left : left + 24], pixels(single.content))


@pytest.mark.parametrize(
    ("body", "parameter"),
    [
        ({}, "body"),
        ({"seeds": [1], "count": 1}, "body"),
        ({"seeds": []}, "seeds"),
        ({"seeds": [1.5]}, "seeds.0"),
        ({"seeds": [True]}, "seeds.0"),
        ({"seeds": [-1]}, "seeds.0"),
        ({"seeds": [2**64]}, "seeds.0"),
        ({"seeds": [""]}, "seeds.0"),
        ({"seeds": [1, "x" * 129]}, "seeds.1"),
        ({"seeds": None, "count": 2}, "seeds"),
        ({"count": 0}, "count"),
        ({"count": "3"}, "count"),
        ({"latents": [[0.0] * (Z - 1)]}, "latents.0"),
        ({"latents": [[0.0] * Z, [1e30] * Z]}, "latents.1.0"),
        ({"latents": [["1"] * Z]}, "latents.0.0"),
        ({"count": 1, "size": 15}, "size"),
        ({"count": 1, "size": "64"}, "size"),
        ({"count": 1, "format": "gif"}, "format"),
        ({"count": 1, "layout": "tar"}, "layout"),
        ({"count": 1, "labels": "male"}, "labels"),
        ({"count": 1, "labels": {"age": None}}, "labels"),
        ({"count": 1, "labels": {"hair": "red"}}, "labels.hair"),
        ({"count": 1, "labels": {"gender": "x"}}, "labels.gender"),
        ({"count": 2, "labels": {"age": 3, "AGE": 4}}, "labels.AGE"),
        ({"count": 2, "labels": [{"age": 3}]}, "labels"),
        ({"count": 2, "labels": [{"age": 3}, {"gender": "x"}]}, "labels.1.gender"),
        ({"count": 1, "colour": "red"}, "colour"),
    ],
)
async def test_what_is_not_valid_is_named(client, sample, body, parameter):
    answer = await client.post("/v1/faces", json=body)
    found = problem(answer, 422, "invalid-parameters")["errors"]
    assert [error["parameter"] for error in found] == [parameter]
    assert sample("visage_batch_size_count", model="fake-16") == 0


@pytest.mark.parametrize(
    ("body", "parameters"),
    [
        ('{"count": 1, "count": 2}', ["count"]),
        ('{"count": {}, "size": 32, "count": 2, "size": 32, "count": 1}', ["count", "size"]),
        ('{"count": 1, "labels": {"age": 20, "age": 60}}', ["labels.age"]),
        ('{"count": 2, "labels": [{}, {"age": 20, "\\u0061ge": 20}]}', ["labels.1.age"]),
        ('{"seeds": ' + "9" * 4000 + ', "seeds": ["NaN"]}', ["seeds"]),
    ],
)
async def test_a_member_given_twice_is_named(client, body, parameters):
    headers = {"Content-Type": "application/json"}
    answer = await client.post("/v1/faces", content=body, headers=headers)
    found = problem(answer, 422, "invalid-parameters")["errors"]
    assert [error["parameter"] for error in found] == parameters


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
async def test_latents_are_finite(client, number):
    body = '{"latents": [[' + ",".join([number] * Z) + "]]}"
    headers = {"Content-Type": "application/json"}
    answer = await client.post("/v1/faces", content=body, headers=headers)
    problem(answer, 422, "invalid-parameters")


async def test_unknown_labels_say_what_is_allowed_as_in_addresses(client):
    body = await ask(client, count=1, labels={"gender": "x"})
    address = await client.get("/image?gender=x")
    (one,), (other,) = (a.json()["errors"] for a in (body, address))
    assert one == other | {"parameter": "labels.gender"}


@pytest.mark.parametrize("body", [b"{", b"[1", b"\xff\xfe", b"nul"])
async def test_what_is_no_json_is_a_bad_request(client, body):
    headers = {"Content-Type": "application/json"}
    problem(await client.post("/v1/faces", content=body, headers=headers), 400, "bad-request")


async def test_other_bodies_and_parameters_are_refused(client):
    answer = await client.post("/v1/faces", data={"count": 1})
    problem(answer, 415, "unsupported-media-type")
    problem(await client.post("/v1/faces", content=b"{}"), 415, "unsupported-media-type")
    headers = {"Content-Type": "application/json; charset=utf-8"}
    problem(await client.post("/v1/faces", headers=headers), 400, "bad-request")
    answer = await client.post("/v1/faces?size=32", json={"count": 1})
    assert problem(answer, 422, "invalid-parameters")["errors"][0]["parameter"] == "size"


async def test_too_much_at_once_is_refused():
    async with serve(max_items=3) as client:
        unzipped(await ask(client, count=3))
        for body in ({"count": 4}, {"seeds": [1] * 4}, {"latents": [[0.0] * Z] * 4}):
            found = problem(await ask(client, **body), 413, "too-large")
            assert "3 are the most" in found["detail"]


async def test_a_sheet_beyond_memory_is_refused_before_any_work(client, sample):
    found = problem(await ask(client, count=64, size=1024, layout="sheet"), 413, "too-large")
    assert "a zip" in found["detail"]
    assert sample("visage_batch_size_count", model="fake-16") == 0


async def test_an_unknown_model_is_not_found(client):
    problem(await ask(client, count=1, model="other"), 404, "unknown-model")


async def test_spaces_around_a_model_s_name_do_not_count_as_in_addresses(client):
    unzipped(await ask(client, count=1, model=" fake-16 "))
    problem(await ask(client, count=1, model="  "), 422, "invalid-parameters")


async def test_a_model_without_attributes_takes_no_labels():
    from service.labels import AttributeSpace

    async with serve(lambda: FakeEngine(face_spec(space=AttributeSpace()))) as client:
        manifest, _ = unzipped(await ask(client, count=1))
        assert manifest["items"][0]["labels"] == {}
        sheet = await ask(client, count=1, layout="sheet")
        assert "X-Labels" not in sheet.headers
        problem(await ask(client, count=1, labels={"age": 3}), 422, "invalid-parameters")


async def test_openapi_says_what_the_body_may_be(client):
    document = (await client.get("/openapi.json")).json()
    operation = document["paths"]["/v1/faces"]["post"]
    content = operation["requestBody"]["content"]["application/json"]
    schema = content["schema"]
    assert set(schema["properties"]) == {
        "seeds", "count", "latents", "labels", "size", "format", "model", "layout",
    }  # fmt: skip
    assert schema["additionalProperties"] is False
    assert "$ref" not in json.dumps(schema)
    assert "null" not in json.dumps(schema)
    for example in content["examples"].values():
        answer = await client.post("/v1/faces", json=example["value"])
        assert answer.status_code == 200, answer.text


async def test_every_picture_counts_against_the_quota():
    async with serve(rate_limit="10/minute") as client:
        assert (await ask(client, count=8)).status_code == 200
        problem(await ask(client, count=8), 429, "rate-limited")
        assert (await client.get("/image")).status_code == 200


def test_a_running_server_can_say_more_about_the_body():
    schema = ManyRequest.openapi()["content"]["application/json"]["schema"]
    age = {"enum": ["young", "old"]}
    fields = narrowed(schema, max_items=5, labels={"age": age}, latent_dims=[8, 16])["properties"]
    assert (fields["count"]["minimum"], fields["count"]["maximum"]) == (1, 5)
    assert fields["seeds"]["maxItems"] == fields["latents"]["maxItems"] == 5
    latent = fields["latents"]["items"]
    assert (latent["minItems"], latent["maxItems"]) == (8, 16)
    one, several = fields["labels"]["anyOf"]
    assert several["items"] == one
    assert one["properties"] == {"age": age}
    assert one["additionalProperties"] is False
    assert schema["properties"]["seeds"]["maxItems"] == MOST
    unloaded = narrowed(schema, max_items=5, labels={}, latent_dims=[])["properties"]
    assert unloaded["labels"] == schema["properties"]["labels"]
