"""The page in a real browser: one face, its controls, its address."""

import re
from urllib.parse import urlsplit

import pytest
from browsing import DESKTOP, PHONE, asked, face, neighbours_drawn, query, seed_box, shown
from playwright.sync_api import expect
from running_server import REPOSITORY

WEB = REPOSITORY / "service" / "web"

pytestmark = pytest.mark.e2e


def test_the_page_shows_a_face_and_says_what_it_is(page):
    page.goto("/")
    shown(page)
    expect(page.get_by_text("Nobody shown here exists.")).to_be_visible()
    seed = seed_box(page).input_value()
    labels = page.locator("#caption").inner_text()
    assert query(page) == {"seed": [seed]}
    assert face(page).get_attribute("alt") == (
        f"Seed {seed}: {labels}. Machine-made; this person does not exist."
    )
    assert page.title() == f"Seed {seed} · Visage"
    assert "<" not in page.locator("main").inner_text()


def test_another_changes_seed_and_picture_and_back_brings_them_back(page):
    page.goto("/?seed=7&gender=female")
    first = shown(page)
    page.get_by_role("button", name="New face").click()
    expect(face(page)).not_to_have_attribute("src", first)
    second = shown(page)
    assert query(page)["seed"] != ["7"]
    assert query(page)["gender"] == ["female"]
    page.go_back()
    expect(face(page)).to_have_attribute("src", first)
    expect(seed_box(page)).to_have_value("7")
    page.go_forward()
    expect(face(page)).to_have_attribute("src", second)


def test_another_is_at_hand_before_it_is_asked_for(page):
    with page.expect_response(re.compile(r"/v1/faces/\d{2,}\.png")) as ahead:
        page.goto("/?seed=7")
    ahead.value.finished()
    shown(page)
    neighbours_drawn(page)
    page.get_by_role("button", name="New face").click()
    expect(face(page)).to_have_attribute("src", urlsplit(ahead.value.url).path)


def test_the_controls_offer_what_the_model_declares_and_change_the_request(page, server):
    page.goto("/?seed=7")
    first = shown(page)
    with page.expect_response(re.compile(r"/v1/faces/7\.png\?gender=female$")) as answer:
        asked(page, "gender").select_option("female")
    assert answer.value.ok
    expect(face(page)).not_to_have_attribute("src", first)
    shown(page)
    assert query(page) == {"seed": ["7"], "gender": ["female"]}
    assert "female" in page.locator("#caption").inner_text()
    asked(page, "gender").select_option("any")
    expect(face(page)).to_have_attribute("src", first)
    assert query(page) == {"seed": ["7"]}

    attributes = server.client.get("/v1/models").json()["models"][0]["attributes"]
    for attribute in attributes:
        options = asked(page, attribute["name"]).locator("option")
        values = options.evaluate_all("all => all.map(option => option.value)")
        assert values == ["", *attribute["values"]]
        drawn = options.first.inner_text().removeprefix("any (").removesuffix(")")
        assert drawn in page.locator("#caption").inner_text().split(", ")


def test_a_choice_of_models_is_offered_where_there_are_several(page, server):
    loaded = server.client.get("/v1/models").json()["models"][0]
    other = loaded | {"name": "other", "default": False, "attributes": loaded["attributes"][:1]}
    page.route("**/v1/models", lambda route: route.fulfill(json={"models": [loaded, other]}))
    picture = server.client.get("/v1/faces/7.png").content
    page.route(
        re.compile("model=other"),
        lambda route: route.fulfill(body=picture, headers={"Content-Type": "image/png"}),
    )
    page.goto("/?seed=7&age=60%2B")
    shown(page)
    page.get_by_label("model").select_option("other")
    expect(face(page)).to_have_attribute("src", "/v1/faces/7.png?model=other")
    assert query(page) == {"seed": ["7"], "model": ["other"]}
    expect(asked(page, "age")).to_have_count(0)
    page.get_by_label("model").select_option(loaded["name"])
    expect(face(page)).to_have_attribute("src", "/v1/faces/7.png")
    assert query(page) == {"seed": ["7"]}


def test_an_address_is_a_face(page):
    page.goto("/?seed=jane+doe's&age=60%2B")
    assert shown(page) == "/v1/faces/jane%20doe%27s.png?age=60%2B"
    assert seed_box(page).input_value() == "jane doe's"
    assert asked(page, "age").input_value() == "60+"


def test_an_address_may_say_it_in_the_servers_words(page):
    page.goto("/?seed=7&age=34&gender=FEMALE")
    shown(page)
    assert asked(page, "age").input_value() == "30-39"
    assert asked(page, "gender").input_value() == "female"
    assert query(page) == {"seed": ["7"], "gender": ["female"], "age": ["30-39"]}


def test_an_address_that_makes_no_sense_is_told_so_and_left_behind(page, complaints):
    page.goto("/?seed=7&age=old")
    expect(page.get_by_role("alert")).to_contain_text("age=old is not known; allowed: 0-9")
    assert ["422" in complaint for complaint in complaints] == [True]  # the browser's own
    complaints.clear()
    page.get_by_role("button", name="New face").click()
    shown(page)
    expect(page.get_by_role("alert")).to_be_hidden()


def test_what_is_being_typed_is_left_alone_and_nothing_is_no_seed(page):
    page.goto("/?seed=7")
    shown(page)
    asked(page, "gender").select_option("female")
    seed_box(page).fill("4")
    expect(face(page)).to_have_attribute("src", "/v1/faces/7.png?gender=female")
    shown(page)
    expect(seed_box(page)).to_have_value("4")
    seed_box(page).fill("")
    seed_box(page).press("Enter")
    expect(seed_box(page)).to_have_value("7")


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_small_pictures_are_enlarged_in_whole_pixels_or_by_the_server(page, viewport):
    page.set_viewport_size(viewport)
    page.goto("/?seed=7#kept=11,anna")
    shown(page)
    measure = """all => all.map(i => [i.getBoundingClientRect().width, i.naturalWidth,
                                      getComputedStyle(i).imageRendering])"""
    side, native, rendering = face(page).evaluate(f"image => ({measure})([image])[0]")
    assert (side % native, rendering) == (0, "pixelated")
    assert side >= 4 * native
    neighbours_drawn(page)
    page.locator("#strip").scroll_into_view_if_needed()
    expect(page.locator("#strip .face")).to_have_count(2)
    for side, native, rendering in page.locator(".face").evaluate_all(measure):
        assert side % native == 0 or (side < 2 * native and rendering == "auto")
    page.get_by_label("Smooth").check()
    expect(face(page)).to_have_attribute("src", re.compile(r"\.webp\?size="))
    side, native, rendering = face(page).evaluate(f"image => ({measure})([image])[0]")
    assert (side <= native, rendering) == (True, "auto")
    wider = page.evaluate("document.documentElement.scrollWidth > window.innerWidth")
    assert not wider, "the page scrolls sideways"


def test_the_picture_is_saved_as_chosen(page, server):
    page.goto("/?seed=7")
    shown(page)
    page.get_by_label("Pixels a side").select_option("128 px")
    with page.expect_download() as saved:
        page.get_by_role("link", name="Save", exact=True).click()
    assert saved.value.suggested_filename == "face-7.png"
    picture = server.client.get("/v1/faces/7.png?size=128").content
    assert saved.value.path().read_bytes() == picture


def test_link_and_command_are_copied(page, server):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto("/?seed=anna's&gender=female#kept=11")
    shown(page)
    page.get_by_role("button", name="Copy link").click()
    expect(page.locator("#notice")).to_have_text("Link copied.")
    read = "navigator.clipboard.readText()"
    assert page.evaluate(read) == page.url
    page.get_by_role("button", name="Copy curl").click()
    expect(page.locator("#notice")).to_have_text("Command copied.")
    assert page.evaluate(read) == (
        f"curl -o face-anna-s.png '{server.url}/v1/faces/anna%27s.png?gender=female'"
    )


def without_clipboard(page):
    """As in a page that did not come by https."""
    page.add_init_script("Object.defineProperty(navigator, 'clipboard', { value: undefined })")


def test_without_https_the_link_is_copied_all_the_same(page):
    without_clipboard(page)
    page.goto("/?seed=7")
    shown(page)
    page.get_by_role("button", name="Copy link").click()
    expect(page.locator("#notice")).to_have_text("Link copied.")
    expect(page.get_by_role("button", name="Copy link")).to_be_focused()
    seed_box(page).fill("")
    seed_box(page).press("Control+V")
    expect(seed_box(page)).to_have_value(page.url)


def test_what_cannot_be_copied_is_shown_until_it_is_closed(page):
    without_clipboard(page)
    page.add_init_script("document.execCommand = () => false")
    page.clock.install()
    page.goto("/?seed=7")
    shown(page)
    page.get_by_role("button", name="Copy link").click()
    expect(page.locator("#notice")).to_have_text(page.url)
    page.clock.fast_forward(60_000)
    expect(page.locator("#notice")).to_have_text(page.url)
    page.get_by_role("button", name="Close").click()
    expect(page.locator("#notice")).to_be_hidden()
    expect(page.get_by_role("button", name="Close")).to_be_hidden()


def test_what_is_known_about_the_model_can_be_read(page, server):
    model = server.client.get("/v1/models").json()["models"][0]
    page.goto("/?seed=7")
    shown(page)
    page.get_by_text(f"About this model: {model['name']}").click()
    facts = page.locator("#facts")
    size = f"{model['resolution']}×{model['resolution']} pixels"
    expect(facts).to_contain_text(size)
    for fact in (model["engine"], model["digest"][:12], model["licence"], "60+"):
        expect(facts).to_contain_text(fact)
    measure = model["metrics"]["measures"][0]
    row = facts.locator("div").filter(has_text=re.compile(f"^{measure['name']}", re.IGNORECASE))
    expect(row.locator("dd")).to_have_text(re.compile(r"^[\d.]+; photographs [\d.]+$"))
    expect(page.get_by_text("Its pictures show nobody")).to_be_visible()
    links = page.locator("a[href]").evaluate_all("all => all.map(link => link.origin)")
    assert set(links) == {server.url}


def test_every_module_is_fetched_ahead_and_links_to_the_page_have_a_picture(page, server):
    page.goto("/?seed=7")
    shown(page)
    ahead = page.locator("link[rel=modulepreload]").evaluate_all(
        "all => all.map(link => link.getAttribute('href'))"
    )
    modules = {f"/static/{module.name}" for module in WEB.glob("*.js")}
    assert sorted(ahead) == sorted(modules - {"/static/app.js"})
    said = {name: page.locator(f"meta[property='og:{name}']") for name in ("title", "image")}
    assert said["title"].get_attribute("content") == "Visage: nobody you know"
    assert server.client.get(said["image"].get_attribute("content")).status_code == 200
    assert page.locator("meta[name=theme-color]").count() == 2


def test_without_javascript_there_is_a_face_and_a_way_to_a_seed(browser, server):
    context = browser.new_context(base_url=server.url, java_script_enabled=False)
    page = context.new_page()
    with page.expect_response("**/image?size=384") as answer:
        page.goto("/")
    assert answer.value.headers["content-type"] == "image/png"
    expect(page.get_by_alt_text("A machine-made face; this person does not exist")).to_be_visible()
    expect(page.get_by_role("button", name="New face")).not_to_be_visible()
    seed_box(page).fill("7")
    with page.expect_response("**/image?*") as answer:
        page.get_by_role("button", name="Show this face").click()
    assert answer.value.headers["x-seed"] == "7"
    context.close()
