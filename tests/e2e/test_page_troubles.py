"""The page in a real browser when something is wrong: it waits, says so, and loses nothing."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from axe_playwright_python.sync_playwright import Axe
from browsing import face, fragment, neighbours_drawn, put, seeds_around, shown, wait_until
from playwright.sync_api import Page, expect
from running_server import FACES_64

pytestmark = pytest.mark.e2e


def test_an_error_can_be_read_in_light_and_dark(page, complaints):
    page.goto("/?seed=7&age=old")
    expect(page.get_by_role("alert")).to_be_visible()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        found = Axe().run(page, options={"runOnly": ["color-contrast"]})
        assert found.violations_count == 0, found.generate_report()
    complaints.clear()


@contextmanager
def answering(page: Page, pattern: str, status: int, detail: str) -> Iterator[None]:
    """Within it, the server's answer to `pattern` is this problem."""
    page.route(
        pattern,
        lambda route: route.fulfill(
            status=status,
            content_type="application/problem+json",
            headers={"Retry-After": "1"},
            body=json.dumps({"detail": detail}),
        ),
    )
    yield
    page.unroute(pattern)


def drop(complaints: list[str], word: str) -> None:
    """Forget what the browser itself logged about failed requests, and nothing else."""
    assert complaints
    assert all(word in complaint for complaint in complaints)
    complaints.clear()


def test_a_busy_server_is_waited_for(page, complaints):
    page.goto("/?seed=7")
    before = shown(page)
    neighbours_drawn(page)
    for status, seed in [(429, "8"), (503, "9")]:
        with answering(page, f"**/v1/faces/{seed}.png", status, "Not now."):
            put(page, seed)
            expect(page.locator("#notice")).to_have_text("Not now. Trying again in 1 second.")
            assert face(page).get_attribute("src") == before
        expect(face(page)).to_have_attribute("src", f"/v1/faces/{seed}.png")
        before = shown(page)
        expect(page.locator("#notice")).to_be_hidden()
        expect(page.get_by_role("alert")).to_be_hidden()
        drop(complaints, str(status))


def test_a_loading_server_is_waited_for(page, complaints):
    with answering(page, "**/v1/models", 503, "Loading."):
        page.goto("/?seed=7")
        expect(page.locator("#notice")).to_have_text("Loading. Trying again in 1 second.")
    expect(face(page)).to_have_attribute("src", "/v1/faces/7.png")
    drop(complaints, "503")


def test_being_offline_is_said_and_got_over(page, complaints):
    page.goto("/?seed=7")
    shown(page)
    neighbours_drawn(page)
    page.context.set_offline(True)
    expect(page.locator("#notice")).to_contain_text("You are offline.")
    put(page, "8")
    expect(page.locator("#notice")).to_contain_text("This goes on by itself")
    assert face(page).get_attribute("src") == "/v1/faces/7.png"
    page.context.set_offline(False)
    expect(face(page)).to_have_attribute("src", "/v1/faces/8.png")
    expect(page.locator("#notice")).to_be_hidden()
    drop(complaints, "ERR_INTERNET_DISCONNECTED")


def test_a_server_that_went_away_is_waited_for(page, complaints):
    page.goto("/?seed=7")
    shown(page)
    neighbours_drawn(page)
    page.route("**/v1/faces/8.png", lambda route: route.abort("connectionrefused"))
    put(page, "8")
    expect(page.locator("#notice")).to_contain_text("The server does not answer.")
    page.unroute("**/v1/faces/8.png")
    expect(face(page)).to_have_attribute("src", "/v1/faces/8.png")
    drop(complaints, "ERR_CONNECTION_REFUSED")


def test_a_refusal_is_told_in_the_servers_words(page, complaints):
    page.goto("/?seed=7")
    shown(page)
    with answering(page, "**/v1/faces/8.png", 422, "Not so."):
        put(page, "8")
        expect(page.get_by_role("alert")).to_have_text("Not so.")
    put(page, "9")
    expect(page.get_by_role("alert")).to_be_hidden()
    shown(page)
    drop(complaints, "422")  # last of all: the browser may log a failure after the page shows it


def test_a_failure_can_be_tried_again_or_closed_and_a_refusal_closed(page, complaints):
    page.goto("/?seed=7")
    shown(page)
    neighbours_drawn(page)
    again = page.get_by_role("button", name="Try again")
    with answering(page, "**/v1/faces/8.png", 500, "It broke."):
        put(page, "8")
        expect(page.get_by_role("alert")).to_have_text("It broke.")
        page.get_by_role("button", name="Close").click()
        expect(page.get_by_role("alert")).to_be_hidden()
        expect(again).to_be_hidden()
        put(page, "7")
        put(page, "8")
        expect(page.get_by_role("alert")).to_have_text("It broke.")
    again.click()
    expect(page.get_by_role("alert")).to_be_hidden()
    expect(face(page)).to_have_attribute("src", "/v1/faces/8.png")
    with answering(page, "**/v1/faces/9.png", 422, "Not so."):
        put(page, "9")
        expect(page.get_by_role("alert")).to_have_text("Not so.")
        expect(again).to_be_hidden()
    complaints.clear()


def test_a_cell_that_failed_shows_nobody_until_it_is_tried_again(page, complaints):
    page.goto("/?seed=7")
    shown(page)
    neighbours_drawn(page)
    cell = page.get_by_role("button", name="Variation 3 of 8, seed 8~3")
    with answering(page, "**/v1/faces/8~3.png", 500, "It broke."):
        put(page, "8")
        expect(page.get_by_role("alert")).to_have_text("It broke.")
        expect(cell.locator("img")).to_have_count(0)
        expect(page.locator("#grid .old")).to_have_count(0)
    page.get_by_role("button", name="Try again").click()
    expect(cell.locator("img")).to_have_attribute("src", "/v1/faces/8~3.png")
    drop(complaints, "500")


def test_around_a_face_that_stays_the_variations_stay(page, complaints):
    page.goto("/?seed=7")
    shown(page)
    neighbours_drawn(page)
    held = []
    page.route("**/v1/faces/7~*.png", lambda route: held.append(route))
    page.get_by_role("button", name="Eight more", exact=True).click()
    wait_until(page, lambda: len(held) == 8)
    page.unroute("**/v1/faces/7~*.png")
    with answering(page, "**/v1/faces/8.png", 422, "Not so."):
        put(page, "8")
        expect(page.get_by_role("alert")).to_have_text("Not so.")
    assert seeds_around(page)[0] == "7~9"
    drop(complaints, "422")


def test_before_the_first_face_there_is_nowhere_to_walk(page, complaints):
    page.goto("/?seed=7&gender=x")
    expect(page.get_by_role("alert")).to_contain_text("gender=x is not known")
    drop(complaints, "422")
    expect(page.locator("#grid button:disabled")).to_have_count(9)
    expect(page.locator("#others")).to_be_disabled()
    expect(page.locator("#back")).to_be_hidden()
    page.locator("#grid button").first.click(force=True)
    for key in ("o", "b", "g", "ArrowUp", "Enter"):
        page.keyboard.press(key)
    page.get_by_role("button", name="New face").click()
    shown(page)
    neighbours_drawn(page)


PIXELS = """image => {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
    canvas.getContext("2d").drawImage(image, 0, 0);
    return canvas.toDataURL();
}"""


@pytest.mark.skipif(not FACES_64.is_dir(), reason="needs a second model")
def test_faces_by_weights_that_were_replaced_are_fetched_anew(
    browser, start, random_checkpoint, tmp_path
):
    folder = shutil.copytree(random_checkpoint, tmp_path / "faces")
    server = start(checkpoints=folder, admin_token="secret").wait_ready()
    context = browser.new_context(base_url=server.url)

    def visit():
        """What the face looks like, and how many answers the server itself gave to that."""
        page, fetched = context.new_page(), []
        page.on("response", lambda answer: "/7.png" in answer.url and fetched.append(answer))
        page.goto("/?seed=7")
        shown(page)
        neighbours_drawn(page)
        looks = face(page).evaluate(PIXELS)
        anew = sum(answer.request.sizes()["responseBodySize"] > 0 for answer in fetched)
        page.close()
        return looks, anew

    before, _ = visit()
    assert visit() == (before, 0)
    shutil.copytree(FACES_64, folder, dirs_exist_ok=True)
    admin = {"Authorization": "Bearer secret"}
    server.client.post("/v1/admin/models/faces/load", headers=admin).raise_for_status()
    after, anew = visit()
    assert after != before
    assert anew > 0
    assert visit() == (after, 0)
    context.close()


def test_a_cell_that_failed_is_told_while_others_are_out_of_view(page, complaints):
    page.set_viewport_size({"width": 390, "height": 240})
    page.goto("/?seed=7#wall=1000")
    shown(page)
    with answering(page, "**/v1/faces/1000.png", 500, "It broke."):
        page.locator("#faces li").first.scroll_into_view_if_needed()
        expect(page.get_by_role("alert")).to_have_text("It broke.")
    complaints.clear()


def test_what_is_kept_or_removed_is_what_is_seen(page, complaints):
    page.goto("/?seed=7#kept=7,8")
    shown(page)
    held = []
    page.route("**/v1/faces/9.png*", lambda route: held.append(route), times=1)
    put(page, "9")
    wait_until(page, lambda: bool(held))
    page.get_by_role("button", name="Remove", exact=True).click()
    assert fragment(page) == "kept=8"
    page.get_by_role("button", name="Keep", exact=True).click()
    assert fragment(page) == "kept=8,7"
    held[0].continue_()
    expect(face(page)).to_have_attribute("src", "/v1/faces/9.png")
    expect(page.get_by_role("button", name="Keep", exact=True)).to_be_visible()
