"""The pictures that the page asks for, in a real browser: which, when, and how they fit."""

import re

import pytest
from browsing import (
    PHONE,
    asked_for,
    neighbours_drawn,
    of_fine_pictures,
    put,
    seed_box,
    seeds_around,
    shown,
    wait_until,
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
    page.set_viewport_size(PHONE)
    page.goto("/?seed=7#morph=7,11,8")
    shown(page)
    page.get_by_role("button", name="Play").click()
    film = page.locator("#film")
    expect(film).to_be_visible(timeout=60_000)
    narrow = film.evaluate("film => film.clientWidth")
    page.set_viewport_size({"width": PHONE["height"], "height": PHONE["width"]})
    wait_until(page, lambda: film.evaluate("film => film.clientWidth") > narrow)
    shown(page)
    # It fits at once, and not only when the page has caught up with it.
    page.clock.install()
    page.clock.pause_at(page.evaluate("Date.now()") + 1000)
    page.set_viewport_size(PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    width, height, room = film.evaluate(
        "film => [film.clientWidth, film.clientHeight, film.parentElement.clientWidth]"
    )
    assert width == height <= room
    page.clock.resume()


def test_another_face_or_other_variations_end_what_is_still_on_its_way(page):
    page.goto("/?seed=7")
    shown(page)
    neighbours_drawn(page)
    held, given_up = [], []
    page.on("requestfailed", lambda request: given_up.append(request.url.split("/")[-1]))
    page.route(re.compile(r"/9~\d+\.png"), lambda route: held.append(route))
    put(page, "9")
    shown(page)
    expect(page.locator("#grid .old")).to_have_count(8)
    wait_until(page, lambda: len(held) == 8)
    page.get_by_role("button", name="Eight more", exact=True).click()
    wait_until(page, lambda: len(held) == 16)
    assert set(given_up) == {f"9~{n}.png" for n in range(1, 9)}
    slow = []
    page.route("**/v1/faces/8.png", lambda route: slow.append(route))
    put(page, "8")
    wait_until(page, lambda: bool(slow))
    assert set(given_up) == {f"9~{n}.png" for n in range(1, 17)}
    page.unroute("**/v1/faces/8.png")  # its <img> will ask the browser's cache
    slow[0].continue_()
    assert seeds_around(page)[0] == "8~1"


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
