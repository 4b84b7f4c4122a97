"""Many faces on the page in a real browser: one person varied, a wall of strangers, a zip."""

import io
import json
import re
import zipfile

import pytest
from browsing import asked_for, face, fragment, query, shown
from playwright.sync_api import expect

pytestmark = pytest.mark.e2e


def test_a_person_is_shown_by_each_value_of_an_attribute(page, server):
    model = server.client.get("/v1/models").json()["models"][0]
    values = {attribute["name"]: attribute["values"] for attribute in model["attributes"]}
    drawn = server.client.get("/v1/faces/7.json?gender=female").json()["labels"]
    asked = asked_for(page)
    page.goto("/?seed=7&gender=female")
    shown(page)
    row = page.get_by_role("region", name="This person by")
    row.scroll_into_view_if_needed()
    cells = row.get_by_role("button")
    expect(cells.locator(".face")).to_have_count(len(values["age"]))
    expect(row.get_by_role("listitem")).to_have_text(values["age"])
    expect(row.locator("[aria-current=true]")).to_have_accessible_name(f"age {drawn['age']}")
    expect(row.locator("[aria-current=true] img")).to_have_attribute(
        "src", "/v1/faces/7.png?gender=female"
    )
    other = next(value for value in values["age"] if value != drawn["age"])
    labels = {"gender": "female", "age": other, "ethnicity": drawn["ethnicity"]}
    address = page.get_by_role("button", name=f"age {other}", exact=True).locator("img")
    assert address.get_attribute("src") in {f"/v1/faces/{each}" for each in asked}

    page.get_by_role("button", name=f"age {other}", exact=True).click()
    expect(row.locator("[aria-current=true]")).to_have_accessible_name(f"age {other}")
    assert query(page) == {"seed": ["7"], **{name: [value] for name, value in labels.items()}}
    row.get_by_role("combobox").select_option("gender")
    assert fragment(page) == "by=gender"
    expect(row.get_by_role("listitem")).to_have_text(values["gender"])
    page.get_by_role("button", name="gender male", exact=True).click()
    expect(face(page)).to_have_attribute("src", re.compile(r"/7\.png\?gender=male&age="))
    page.reload()
    shown(page)
    expect(row.get_by_role("combobox")).to_have_value("gender")


def test_a_model_without_labels_varies_nothing(page, server):
    model = server.client.get("/v1/models").json()["models"][0] | {"attributes": []}
    page.route("**/v1/models", lambda route: route.fulfill(json={"models": [model]}))
    page.goto("/?seed=7")
    shown(page)
    expect(page.get_by_role("button", name="New face")).to_be_visible()
    expect(page.locator("#varied")).to_be_hidden()


def test_a_wall_of_faces_is_shown_when_asked_for_and_one_of_them_picked(page):
    asked = asked_for(page)
    page.goto("/?seed=7&gender=female")
    shown(page)
    cells = page.get_by_role("region", name="A wall of faces").locator("li button")
    expect(cells).to_have_count(0)
    page.get_by_role("button", name="Show 24 random faces").click()
    expect(cells).to_have_count(24)
    cells.last.scroll_into_view_if_needed()
    expect(cells.locator(".face")).to_have_count(24)
    first = int(fragment(page).removeprefix("wall="))
    wall = [f"{first + n}.png?gender=female" for n in range(24)]
    assert set(wall) < set(asked)
    expect(cells.nth(2)).to_have_accessible_name(re.compile(f"^Seed {first + 2}: female, "))

    asked.clear()
    cells.nth(2).click()
    expect(face(page)).to_have_attribute("src", f"/v1/faces/{wall[2]}")
    expect(face(page)).to_be_in_viewport()
    expect(cells.nth(2)).to_have_attribute("aria-current", "true")
    assert not {wall[0], wall[1], wall[3]} & set(asked)
    page.reload()
    shown(page)
    expect(cells.nth(3)).to_have_accessible_name(re.compile(f"^Seed {first + 3}"))
    page.go_back()
    expect(face(page)).to_have_attribute("src", "/v1/faces/7.png?gender=female")
    page.get_by_role("button", name="Other faces").click()
    expect(cells.nth(3)).not_to_have_accessible_name(re.compile(f"^Seed {first + 3}"))


def test_of_a_wall_only_what_is_in_view_is_asked_for(page):
    page.set_viewport_size({"width": 390, "height": 500})
    asked = asked_for(page)
    page.goto("/?seed=7#wall=500")
    shown(page)
    page.wait_for_load_state("networkidle")
    assert not [each for each in asked if re.fullmatch(r"5[0-9][0-9]\.png", each)]
    page.get_by_role("heading", name="A wall of faces").scroll_into_view_if_needed()
    expect(page.locator("#faces .face").first).to_be_visible()


def test_kept_faces_are_downloaded_as_one_zip(page, server):
    page.goto("/?seed=7#kept=7?gender=female,anna")
    shown(page)
    page.get_by_label("Pixels a side").select_option("128 px")
    with page.expect_download() as saved:
        page.get_by_role("button", name="Download all as zip").click()
    assert saved.value.suggested_filename == "faces-faces-64.zip"
    with zipfile.ZipFile(io.BytesIO(saved.value.path().read_bytes())) as archive:
        items = json.loads(archive.read("manifest.json"))["items"]
        assert [item["seed"] for item in items] == ["7", "anna"]
        first = server.client.get("/v1/faces/7.png?gender=female&size=128").content
        assert archive.read(items[0]["name"]) == first
    page.get_by_role("button", name="Remove seed 7").click()
    page.get_by_role("button", name="Remove seed anna").click()
    expect(page.get_by_role("button", name="Download all as zip")).to_be_hidden()


def test_a_zip_that_is_refused_says_why(page, complaints):
    page.goto("/?seed=7#kept=7?gender=x")
    shown(page)
    page.get_by_role("button", name="Download all as zip").click()
    expect(page.get_by_role("alert")).to_contain_text("The zip could not be had: ")
    expect(page.get_by_role("alert")).to_contain_text("gender=x")
    expect(page.get_by_role("button", name="Download all as zip")).to_be_enabled()
    complaints.clear()
