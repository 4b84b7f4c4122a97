"""The page's manners in a real browser: keyboard, screen readers, contrast."""

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from browsing import DESKTOP, PHONE, asked, face, fragment, neighbours_drawn, query, seed_box, shown
from playwright.sync_api import expect

pytestmark = pytest.mark.e2e


def test_tab_and_enter_reach_everything_in_reading_order(page):
    page.goto("/?seed=7#kept=11")
    first = shown(page)
    neighbours_drawn(page)
    expect(page.locator("#strip li")).to_have_count(1)
    page.keyboard.press("Tab")
    expect(page.get_by_label("Smooth")).to_be_focused()
    reached = []
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate("document.activeElement.id || document.activeElement.ariaLabel || ''")
        )
        assert page.evaluate(
            "document.activeElement === document.body || document.activeElement.id === 'file' ||"
            "getComputedStyle(document.activeElement).outlineStyle !== 'none'"
        ), f"{reached[-1]} does not show that it has the focus"
        if page.evaluate("document.activeElement === document.body"):
            break
    names = [
        re.sub(r"^Show eight more.*", "grid", re.sub(r"^Seed 11.*", "kept", n)) for n in reached
    ]
    expected = [
        "another",
        "keep",
        "pick",
        "save",
        "format",
        "size",
        "copy-link",
        "copy-curl",
        "seed",
    ]
    expected += ["grid", "others", "by", "age 60+", "kept", "Remove seed 11", "zip", "hang"]
    expected += ["from", "swap", "to", "frames", "play"]
    assert [name for name in names if name in expected] == expected
    assert face(page).get_attribute("src") == first


def test_the_form_answers_to_the_keyboard(page):
    page.goto("/?seed=7")
    first = shown(page)
    page.get_by_role("button", name="New face").focus()
    page.keyboard.press("Enter")
    expect(face(page)).not_to_have_attribute("src", first)
    seed_box(page).focus()
    page.keyboard.press("Control+A")
    page.keyboard.type("42")
    page.keyboard.press("Enter")
    expect(face(page)).to_have_attribute("src", "/v1/faces/42.png")
    page.keyboard.press("Tab")
    expect(asked(page, "gender")).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(face(page)).to_have_attribute("src", re.compile(r"42\.png\?gender="))
    shown(page)


def test_arrow_keys_walk_the_grid(page):
    page.goto("/?seed=7")
    shown(page)
    neighbours_drawn(page)
    page.keyboard.press("g")
    focused = page.locator("#grid button:focus")
    expect(focused).to_have_attribute("aria-label", "Show eight more variations of seed 7")
    for key, nth in [
        ("ArrowUp", 2),
        ("ArrowUp", 2),
        ("ArrowLeft", 1),
        ("End", 3),
        ("ArrowDown", 5),
        ("ArrowDown", 8),
        ("Home", 6),
    ]:
        page.keyboard.press(key)
        expect(focused).to_have_attribute("aria-label", f"Variation {nth} of 8, seed 7~{nth}")
    expect(page.locator("#grid button[tabindex='0']")).to_have_count(1)
    page.keyboard.press("Enter")
    expect(face(page)).to_have_attribute("src", "/v1/faces/7~6.png")
    expect(focused).to_have_attribute("aria-label", "Show eight more variations of seed 7~6")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Eight more", exact=True)).to_be_focused()


def test_single_keys_do_what_the_list_says_and_can_be_switched_off(page):
    page.goto("/?seed=7")
    shown(page)
    neighbours_drawn(page)
    page.keyboard.press("k")
    assert fragment(page) == "kept=7"
    page.keyboard.press("o")
    expect(page.locator("#grid img").first).to_have_attribute("src", "/v1/faces/7~9.png")
    with page.expect_download():
        page.keyboard.press("s")
    page.keyboard.press("m")
    expect(page.locator("#notice")).to_contain_text("The morph starts at seed 7.")
    page.keyboard.press("m")
    expect(page.get_by_role("button", name="Morph from this")).to_be_visible()
    page.keyboard.press("n")
    expect(face(page)).not_to_have_attribute("src", "/v1/faces/7.png")
    page.keyboard.press("/")
    page.keyboard.type("kn7~2")
    page.keyboard.press("Enter")
    expect(face(page)).to_have_attribute("src", "/v1/faces/kn7~2.png")
    seed_box(page).blur()
    page.keyboard.press("b")
    expect(face(page)).to_have_attribute("src", "/v1/faces/kn7.png")
    page.keyboard.press("?")
    expect(page.get_by_text("Keyboard")).to_be_focused()
    page.get_by_label("Use these single keys").uncheck()
    page.keyboard.press("n")
    page.reload()
    shown(page)
    page.keyboard.press("n")
    assert query(page)["seed"] == ["kn7"]


def test_changes_are_announced(page):
    page.goto("/?seed=7")
    shown(page)
    announcement = page.locator("#announcement")
    expect(announcement).to_have_text(face(page).get_attribute("alt"))
    page.get_by_role("button", name="New face").click()
    expect(announcement).not_to_contain_text("Seed 7:")
    shown(page)
    expect(announcement).to_have_text(face(page).get_attribute("alt"))
    page.get_by_role("button", name="Keep").click()
    expect(page.locator("#notice")).to_have_text(re.compile(r"^Seed \d+ kept; 1 kept\.$"))


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_axe_finds_nothing(page, server, viewport):
    identity = server.client.get("/v1/faces/7.png").headers["X-Model"]
    claims = {"seed": "7", "model": identity, "labels": {}}
    page.emulate_media(color_scheme="light", reduced_motion="reduce")
    page.set_viewport_size(viewport)
    page.route(
        "**/v1/verify",
        lambda route: route.fulfill(
            json={"verdict": "reproduced", "claims": claims, "detail": "It is seed 7."}
        ),
    )
    page.goto("/?seed=7~1#kept=11,anna;morph=11,anna,8;wall=500")
    shown(page)
    neighbours_drawn(page)
    page.get_by_text("Keyboard").click()
    page.get_by_text("About this model: faces-64").click()
    page.get_by_label("Drop a picture here").set_input_files(
        {"name": "face.png", "mimeType": "image/png", "buffer": b"x"}
    )
    expect(page.locator("#verdict img")).to_be_visible()
    page.get_by_role("button", name="Keep").click()
    page.locator("#strip").scroll_into_view_if_needed()
    expect(page.locator("#strip .face")).to_have_count(3)
    page.locator("#faces").scroll_into_view_if_needed()
    expect(page.locator("#faces .face").first).to_be_visible()
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    page.emulate_media(color_scheme="dark")
    contrast = Axe().run(page, options={"runOnly": ["color-contrast"]})
    assert contrast.violations_count == 0, contrast.generate_report()
