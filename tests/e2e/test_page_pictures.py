"""The pictures that the page asks for, in a real browser: which, when, and how they fit."""

import re

import pytest
from browsing import (
    PHONE,
    asked_for,
    face,
    neighbours_drawn,
    of_fine_pictures,
    put,
    seed_box,
    seeds_around,
    shown,
)
from playwright.sync_api import expect

pytestmark = pytest.mark.e2e


def test_pictures_are_small_files_of_few_sizes_and_saved_as_png(page, server):
    of_fine_pictures(page, server)
    page.goto("/?seed=7")
    assert shown(page) == "/v1/faces/7.webp?size=512"
    neighbours_drawn(page)
    cell = page.locator("#grid img").first
    assert cell.get_attribute("src") == "/v1/faces/7~1.webp"
    assert cell.evaluate("image => getComputedStyle(image).imageRendering") == "auto"
    assert cell.evaluate("image => image.clientWidth === image.closest('button').clientWidth")
    with page.expect_download() as saved:
        page.get_by_role("link", name="Save", exact=True).click()
    assert saved.value.suggested_filename == "face-7.png"
    assert saved.value.path().read_bytes() == server.client.get("/v1/faces/7.png").content


def test_only_what_is_in_view_is_asked_for_and_the_middle_not_at_all(page, server):
    of_fine_pictures(page, server)
    page.set_viewport_size({"width": 390, "height": 600})
    asked = asked_for(page)
    page.goto("/?seed=7#kept=11,anna")
    shown(page)
    page.wait_for_load_state("networkidle")
    wanted, *ahead = dict.fromkeys(asked)
    assert wanted == "7.webp?size=384"
    assert [bool(re.fullmatch(r"\d+\.webp\?size=384", each)) for each in ahead] == [True]
    asked.clear()
    neighbours_drawn(page)
    assert set(asked) >= {f"7~{n}.webp" for n in range(1, 9)}
    assert "7.webp" not in asked
    assert page.locator("#grid .middle img").get_attribute("src") == "/v1/faces/7.webp?size=384"
    page.locator("#strip").scroll_into_view_if_needed()
    expect(page.locator("#strip .face")).to_have_count(2)


@pytest.mark.parametrize("resolution", [64, 128])
def test_a_phone_that_is_turned_round_while_a_morph_plays(page, server, resolution):
    if resolution == 128:
        of_fine_pictures(page, server)
    wide = {"width": PHONE["height"], "height": PHONE["width"]}
    page.set_viewport_size(wide)
    page.goto("/?seed=7#morph=7,11,8")
    shown(page)
    page.get_by_role("button", name="Play").click()
    film = page.locator("#film")
    expect(film).to_be_visible(timeout=60_000)
    before = film.evaluate("film => film.clientWidth")
    # At once, and not only when the page has caught up with it:
    page.clock.install()
    page.clock.pause_at(page.evaluate("Date.now()") + 1000)
    page.set_viewport_size(PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    sides = film.evaluate("film => [film.clientWidth, film.clientHeight]")
    assert sides[0] == sides[1] < before
    page.clock.resume()
    expect(face(page)).to_be_visible()
    page.set_viewport_size(wide)
    page.wait_for_function(f"document.querySelector('#film').clientWidth === {before}")


def test_another_face_or_other_variations_end_what_is_still_on_its_way(page):
    page.goto("/?seed=7")
    shown(page)
    neighbours_drawn(page)
    held, given_up = [], []
    page.on("requestfailed", lambda request: given_up.append(request.url.split("/")[-1]))
    page.route(re.compile(r"/9~\d+\.png"), lambda route: held.append(route))
    put(page, "9")
    shown(page)
    page.wait_for_function("document.querySelectorAll('#grid .old').length === 8")
    while len(held) < 8:
        page.wait_for_timeout(50)
    page.get_by_role("button", name="Eight more", exact=True).click()
    while len(held) < 16:
        page.wait_for_timeout(50)
    assert set(given_up) == {f"9~{n}.png" for n in range(1, 9)}
    put(page, "8")
    assert seeds_around(page)[0] == "8~1"
    assert set(given_up) == {f"9~{n}.png" for n in range(1, 17)}


def test_the_middle_shows_eight_more_as_it_says(page):
    page.goto("/?seed=7")
    shown(page)
    assert seeds_around(page)[0] == "7~1"
    page.get_by_role("button", name="Show eight more variations of seed 7").click()
    expect(page.get_by_role("button", name="Variation 1 of 8, seed 7~9")).to_be_visible()
    assert seeds_around(page)[-1] == "7~16"
    assert seed_box(page).input_value() == "7"


def test_nothing_is_left_on_a_signal_that_waits_were_given(page):
    page.goto("/?seed=7")
    shown(page)
    left = page.evaluate(
        """async () => {
          const { pause } = await import("/static/until.js");
          const { signal } = new AbortController();
          let left = 0;
          for (const [name, change] of [["addEventListener", 1], ["removeEventListener", -1]]) {
            const before = signal[name];
            signal[name] = (...given) => { left += change; before.apply(signal, given); };
          }
          for (let n = 0; n < 3; n++) await pause(0.001, signal);
          return left;
        }"""
    )
    assert left == 0
