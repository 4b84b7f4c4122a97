"""The page in a real browser: Debian's Chromium, driven by Playwright."""

import re
import shutil
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

pytestmark = pytest.mark.e2e

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
DESKTOP, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    executable = shutil.which("chromium")
    assert executable, "the page's tests need a browser: install the package chromium (apt-get)"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def complaints() -> list[str]:
    """What the console complained about."""
    return []


@pytest.fixture
def page(browser: Browser, server, complaints) -> Iterator[Page]:
    """A fresh page of the server; the test fails if complaints are left at its end."""
    context = browser.new_context(base_url=server.url, viewport=DESKTOP)
    page = context.new_page()
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "console",
        lambda message: complaints.append(message.text) if message.type == "error" else None,
    )
    yield page
    context.close()
    assert complaints == []


def shown(page: Page) -> str:
    """Wait until the face that is asked for is there; its address."""
    expect(page.locator("#frame.busy")).to_have_count(0, timeout=60_000)
    face = page.locator("#face")
    expect(face).to_be_visible()
    assert face.evaluate("image => image.complete && image.naturalWidth") > 0
    return face.get_attribute("src")


def query(page: Page) -> dict[str, list[str]]:
    return parse_qs(urlsplit(page.url).query)


def test_the_page_shows_a_face_and_says_what_it_is(page):
    page.goto("/")
    shown(page)
    expect(page.get_by_text("Nobody shown here exists.")).to_be_visible()
    assert page.locator("#face").get_attribute("alt").startswith("Machine-made face")
    assert "<" not in page.locator("main").inner_text()
    assert query(page)["seed"] == [page.get_by_label("Seed").input_value()]


def test_another_changes_seed_and_picture_and_back_brings_them_back(page):
    page.goto("/?seed=7")
    first = shown(page)
    page.get_by_role("button", name="Another").click()
    expect(page.locator("#face")).not_to_have_attribute("src", first)
    second = shown(page)
    assert query(page)["seed"] != ["7"]
    page.go_back()
    expect(page.locator("#face")).to_have_attribute("src", first)
    assert page.get_by_label("Seed").input_value() == "7"
    page.go_forward()
    expect(page.locator("#face")).to_have_attribute("src", second)


def test_an_attribute_control_changes_the_request(page):
    page.goto("/?seed=7")
    first = shown(page)
    with page.expect_response(re.compile(r"/v1/faces/7\.png\?gender=female")) as answer:
        page.get_by_label("gender").select_option("female")
    assert answer.value.ok
    expect(page.locator("#face")).not_to_have_attribute("src", first)
    shown(page)
    assert query(page) == {"seed": ["7"], "gender": ["female"]}
    assert "female" in page.locator("#caption").inner_text()


def test_an_address_is_a_face(page):
    page.goto("/?seed=jane+doe&age=60%2B")
    assert shown(page) == "/v1/faces/jane%20doe.png?age=60%2B"
    assert page.get_by_label("Seed").input_value() == "jane doe"
    assert page.get_by_label("age").input_value() == "60+"
    assert page.get_by_role("link", name="Save the picture").get_attribute("href") == shown(page)


def test_an_address_may_say_it_in_the_servers_words(page):
    page.goto("/?seed=7&age=34&gender=FEMALE")
    shown(page)
    assert page.get_by_label("age").input_value() == "30-39"
    assert page.get_by_label("gender").input_value() == "female"
    assert query(page) == {"seed": ["7"], "gender": ["female"], "age": ["30-39"]}


def test_an_address_that_makes_no_sense_is_told_so(page, complaints):
    page.goto("/?seed=7&age=old")
    expect(page.get_by_role("alert")).to_contain_text("age=old is not known; allowed: 0-9")
    assert ["422" in complaint for complaint in complaints] == [True]  # the browser's own
    complaints.clear()


def test_the_keyboard_is_enough(page):
    page.goto("/?seed=7")
    first = shown(page)
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Another")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#face")).not_to_have_attribute("src", first)
    page.keyboard.press("Tab")
    expect(page.get_by_label("Seed")).to_be_focused()
    page.keyboard.press("Control+A")
    page.keyboard.type("42")
    page.keyboard.press("Enter")
    expect(page.locator("#face")).to_have_attribute("src", "/v1/faces/42.png")
    page.keyboard.press("Tab")
    expect(page.get_by_label("gender")).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(page.locator("#face")).to_have_attribute("src", re.compile(r"42\.png\?gender="))
    shown(page)


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_small_pictures_are_enlarged_in_whole_pixels(page, viewport):
    page.set_viewport_size(viewport)
    page.goto("/?seed=7")
    shown(page)
    side, native, rendering = page.locator("#face").evaluate(
        "i => [i.getBoundingClientRect().width, i.naturalWidth, getComputedStyle(i).imageRendering]"
    )
    assert side % native == 0
    assert side >= 4 * native
    assert rendering == "pixelated"
    wider = page.evaluate("document.documentElement.scrollWidth > window.innerWidth")
    assert not wider, "the page scrolls sideways"


def test_a_refusal_is_told_in_the_servers_words(page, complaints):
    page.goto("/?seed=7")
    shown(page)
    page.route(
        "**/v1/faces/8.png",
        lambda route: route.fulfill(
            status=422, content_type="application/problem+json", body='{"detail": "Not so."}'
        ),
    )
    page.get_by_label("Seed").fill("8")
    page.get_by_label("Seed").press("Enter")
    expect(page.get_by_role("alert")).to_have_text("Not so.")
    assert ["422" in complaint for complaint in complaints] == [True]  # the browser's own
    complaints.clear()


def test_without_javascript_there_is_a_face(browser, server):
    context = browser.new_context(base_url=server.url, java_script_enabled=False)
    page = context.new_page()
    with page.expect_response("**/image") as answer:
        page.goto("/")
    assert answer.value.headers["content-type"] == "image/png"
    expect(page.get_by_alt_text("A machine-made face")).to_be_visible()
    expect(page.get_by_role("button", name="Another")).not_to_be_visible()
    context.close()
