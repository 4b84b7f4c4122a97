"""/openapi.json says what is really sent and taken."""

from fakes import FakeEngine, face_spec
from serving import serve

from service.labels import Attribute, AttributeSpace


async def document(client):
    answer = await client.get("/openapi.json")
    assert answer.status_code == 200
    return answer.json()


def parameters(document, path, method="get"):
    return {p["name"]: p for p in document["paths"][path][method].get("parameters", [])}


async def test_the_attributes_of_the_loaded_model_are_parameters_of_every_picture(client):
    doc = await document(client)
    for path in ("/image", "/v1/faces/random", "/v1/faces/{seed}"):
        found = parameters(doc, path)
        assert found["gender"]["schema"] == {"type": "string", "enum": ["male", "female"]}
        number = {"type": "integer", "minimum": 0, "maximum": 999_999_999}
        assert number in found["age"]["schema"]["anyOf"]
        assert {"size", "format", "model"} <= set(found)
    assert "gender" not in parameters(doc, "/v1/models")


async def test_the_attributes_are_those_of_all_models():
    def load(folder):
        hair = Attribute("hair", ("red", "grey"), (0.5, 0.5))
        space = AttributeSpace([hair]) if folder.name == "two" else AttributeSpace()
        return FakeEngine(face_spec(name=folder.name, space=space))

    async with serve(load, checkpoints="one,two") as client:
        found = parameters(await document(client), "/image")
        assert found["hair"]["schema"]["enum"] == ["red", "grey"]


async def test_before_a_model_is_loaded_there_is_a_document_already():
    def fail(folder):
        raise ValueError("no")

    async with serve(fail, until=None) as client:
        assert "gender" not in parameters(await document(client), "/image")


async def test_every_problem_is_described_as_one(client):
    doc = await document(client)
    for path, operations in doc["paths"].items():
        for operation in operations.values():
            for status, response in operation["responses"].items():
                if int(status) >= 400:
                    assert list(response["content"]) == ["application/problem+json"], (path, status)
    problem = doc["components"]["schemas"]["ProblemAnswer"]
    assert set(problem["required"]) == {"type", "title", "status", "detail"}
    assert "HTTPValidationError" not in str(doc)


async def test_what_may_cost_more_than_the_quota_says_so():
    async with serve(rate_limit="2/minute") as client:
        answer = await client.get("/v1/morph?from=1&to=2")
        doc = await document(client)
    assert answer.status_code == 413
    for path in ("/image", "/v1/faces/random", "/v1/faces/{seed}", "/v1/morph"):
        assert "413" in doc["paths"][path]["get"]["responses"]


async def test_every_operation_has_a_summary_and_every_reference_leads_somewhere(client):
    doc = await document(client)
    schemas = set(doc["components"]["schemas"])

    def references(node):
        if isinstance(node, dict):
            if "$ref" in node:
                yield node["$ref"]
            for child in node.values():
                yield from references(child)
        elif isinstance(node, list):
            for child in node:
                yield from references(child)

    assert {ref.removeprefix("#/components/schemas/") for ref in references(doc)} <= schemas
    assert all(op["summary"] for ops in doc["paths"].values() for op in ops.values())


async def test_the_token_of_the_admin_routes_is_declared(client):
    doc = await document(client)
    assert doc["paths"]["/v1/admin/models/{name}/load"]["post"]["security"]
    assert doc["components"]["securitySchemes"]["HTTPBearer"]["scheme"] == "bearer"


async def test_it_says_the_limits_of_this_server():
    async with serve(max_items=7, max_frames=9) as client:
        doc = await document(client)
        again = await document(client)
    assert doc == again
    assert parameters(doc, "/v1/morph")["frames"]["schema"]["maximum"] == 9
    assert "from_gender" in parameters(doc, "/v1/morph")
    content = doc["paths"]["/v1/faces"]["post"]["requestBody"]["content"]["application/json"]
    fields = content["schema"]["properties"]
    assert fields["count"]["maximum"] == fields["seeds"]["maxItems"] == 7
    assert fields["latents"]["items"]["minItems"] == 8
    assert set(fields["labels"]["anyOf"][0]["properties"]) == {"gender", "age"}


async def test_keys_are_declared_where_the_server_has_some():
    key = {"ApiKey": []}
    for settings, security in [
        ({}, None),
        ({"api_keys": "alpha"}, [{}, key]),
        ({"api_keys": "alpha", "api_key_required": True}, [key]),
    ]:
        async with serve(**settings) as client:
            doc = await document(client)
        found = {
            path: operation.get("security")
            for path, operations in doc["paths"].items()
            for operation in operations.values()
        }
        assert found.pop("/v1/admin/models/{name}/load") == [{"HTTPBearer": []}]
        pictures = {"/image", "/v1/faces", "/v1/faces/random", "/v1/faces/{seed}"}
        pictures |= {"/v1/morph", "/v1/verify"}
        assert {path for path in found if found[path] is not None} == (
            pictures if security else set()
        )
        assert all(found[path] == security for path in pictures)
        schemes = doc["components"]["securitySchemes"]
        assert ("ApiKey" in schemes) == (security is not None)
