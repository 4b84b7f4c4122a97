"""The page's tools in a real browser: neighbours, kept faces, morph, check."""

import io
import re
from urllib.parse import parse_qs, urlsplit

import pytest
from browsing import asked, face, fragment, put, query, seeds_around, shown
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.e2e


def go(page: Page, seed: str) -> None:
    """Ask for a seed and wait until it is shown."""
    put(page, seed)
    expect(face(page)).to_have_attribute("src", re.compile(re.escape(f"/{seed}.png")))
    shown(page)


def test_eight_neighbours_stand_around_the_face(page):
    page.goto("/?seed=7")
    shown(page)
    assert seeds_around(page) == ["7~1", "7~2", "7~3", "7~4", "7", "7~5", "7~6", "7~7", "7~8"]
    page.get_by_role("button", name="Eight more", exact=True).click()
    expect(page.locator("#grid img").first).to_have_attribute("src", "/v1/faces/7~9.png")
    assert seeds_around(page)[-1] == "7~16"


def test_a_picked_neighbour_becomes_the_face_with_its_own_neighbours(page):
    page.goto("/?seed=7&gender=female")
    shown(page)
    seeds_around(page)
    page.get_by_role("button", name="Variation 3 of 8, seed 7~3").click()
    expect(face(page)).to_have_attribute("src", "/v1/faces/7~3.png?gender=female")
    assert query(page) == {"seed": ["7~3"], "gender": ["female"]}
    expect(page.locator("#grid img").first).to_have_attribute("src", re.compile(r"/7~3~1\.png"))
    seeds_around(page)
    page.get_by_role("button", name="Back to 7").click()
    expect(face(page)).to_have_attribute("src", "/v1/faces/7.png?gender=female")
    expect(page.get_by_role("button", name="Back to")).to_be_hidden()


def test_a_seed_too_long_for_neighbours_has_none(page):
    page.goto(f"/?seed={'x' * 127}")
    shown(page)
    expect(page.locator("#grid button:disabled")).to_have_count(8)
    expect(page.get_by_role("button", name="Eight more", exact=True)).to_be_disabled()


def test_kept_faces_survive_reload_sharing_and_history(page, browser, server):
    page.goto("/?seed=anna&gender=female")
    shown(page)
    page.get_by_role("button", name="Keep").click()
    go(page, "7")
    asked(page, "gender").select_option("any")
    expect(face(page)).to_have_attribute("src", "/v1/faces/7.png")
    page.get_by_role("button", name="Keep").click()
    assert fragment(page) == "kept=anna?gender=female,7"

    strip = page.locator("#strip li")
    expect(strip).to_have_count(2)
    page.go_back()
    expect(strip).to_have_count(2)
    assert fragment(page) == "kept=anna?gender=female,7"
    page.reload()
    shown(page)
    expect(strip).to_have_count(2)

    other = browser.new_page()
    other.goto(page.url)
    other.locator("#strip").scroll_into_view_if_needed()
    expect(other.locator("#strip .face")).to_have_count(2)
    other.get_by_role("button", name="Seed anna:").last.click()
    expect(face(other)).to_have_attribute("src", "/v1/faces/anna.png?gender=female")
    other.close()


def test_a_kept_face_can_be_removed(page):
    page.goto("/?seed=7#kept=7,11,anna")
    shown(page)
    page.get_by_role("button", name="Remove", exact=True).click()
    assert fragment(page) == "kept=11,anna"
    page.get_by_role("button", name="Remove seed anna").click()
    expect(page.locator("#strip li")).to_have_count(1)
    page.get_by_role("button", name="Remove seed 11").click()
    expect(page.get_by_text("Nothing yet.")).to_be_visible()
    assert fragment(page) == ""


def test_an_address_typed_over_the_present_one_is_followed(page):
    page.goto("/?seed=7#kept=7")
    shown(page)
    page.goto("/?seed=7#kept=11,%zz,,11,a%2Cb")
    expect(page.locator("#strip li span")).to_have_text(["11", "a,b"])


def film(page: Page) -> dict[str, list[str]]:
    """What the morph being played asks of the server."""
    expect(page.locator("#film")).to_be_visible(timeout=60_000)
    address = urlsplit(page.locator("#film").get_attribute("src"))
    assert address.path == "/v1/morph"
    return parse_qs(address.query)


def test_a_morph_between_two_picked_faces(page):
    page.goto("/?seed=7&gender=female")
    shown(page)
    page.get_by_role("slider", name="Frames").fill("8")
    page.get_by_role("button", name="Morph from this").click()
    expect(page.locator("#notice")).to_contain_text("The morph starts at seed 7.")
    asked(page, "gender").select_option("male")
    go(page, "11")
    page.get_by_role("button", name="Morph to this").click()
    assert film(page) == {
        "from": ["7"],
        "to": ["11"],
        "frames": ["8"],
        "from_gender": ["female"],
        "to_gender": ["male"],
    }
    expect(page.locator("#film")).to_have_attribute(
        "alt", re.compile("From seed 7 to seed 11.*none of these people exists")
    )
    with page.expect_download() as saved:
        page.get_by_role("link", name="Save the animation").click()
    assert saved.value.suggested_filename == "morph-7-11.webp"
    assert saved.value.path().read_bytes()[8:12] == b"WEBP"

    page.get_by_role("button", name="Swap the ends").click()
    expect(page.locator("#film")).to_have_attribute("src", re.compile("from=11&to=7"))
    assert fragment(page) == "morph=11?gender=male,7?gender=female,8"
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#film")).to_have_count(0)
    expect(page.get_by_role("link", name="Save the animation")).to_be_hidden()


def test_a_shared_morph_is_ready_to_play(page):
    page.goto("/?seed=7#morph=11,anna?gender=female,8")
    shown(page)
    page.locator("#screen").scroll_into_view_if_needed()
    expect(page.locator("#screen .face")).to_have_attribute("src", "/v1/faces/11.png")
    expect(page.get_by_role("combobox", name="From")).to_have_value("11")
    expect(page.get_by_role("combobox", name="To")).to_have_value("anna?gender=female")
    page.get_by_role("button", name="Play").click()
    assert film(page)["to_gender"] == ["female"]


def test_an_address_may_ask_for_more_frames_than_there_are(page):
    page.goto("/?seed=7#morph=11,anna,999")
    shown(page)
    expect(page.get_by_role("slider", name="Frames")).to_have_value("48")
    expect(page.locator("#count")).to_have_text("48")


def test_a_morph_of_kept_faces_and_one_to_anybody(page):
    page.goto("/?seed=7#kept=11,anna")
    shown(page)
    page.get_by_role("slider", name="Frames").fill("8")
    page.get_by_role("button", name="Play").click()
    assert film(page)["from"] == ["7"]
    page.get_by_role("combobox", name="From").select_option("seed 11")
    expect(page.get_by_role("button", name="Play")).to_be_visible()
    page.get_by_role("combobox", name="To").select_option("seed anna")
    page.get_by_role("button", name="Play").click()
    assert (film(page)["from"], film(page)["to"]) == (["11"], ["anna"])


def check(page: Page, name: str, content: bytes) -> None:
    page.get_by_label("Drop a picture here").set_input_files(
        {"name": name, "mimeType": "image/png", "buffer": content}
    )


def test_a_saved_picture_is_recognised_and_an_altered_one_is_not(page):
    page.goto("/?seed=7&gender=female")
    shown(page)
    with page.expect_download() as saved:
        page.get_by_role("link", name="Save", exact=True).click()
    original = saved.value.path().read_bytes()
    verdict = page.locator("#verdict")
    go(page, "11")
    check(page, "mine.png", original)
    expect(verdict).to_contain_text("It was made here. This server makes the very same bytes.")
    expect(verdict).to_contain_text("mine.png")
    expect(verdict.locator("img")).to_have_attribute("alt", re.compile("Seed 7: female"))

    with Image.open(io.BytesIO(original)) as image:
        texts = PngInfo()
        for key, text in image.text.items():
            texts.add_itxt(key, text) if key.startswith("XML") else texts.add_text(key, text)
        red, green, blue = image.getpixel((3, 3))
        image.putpixel((3, 3), (red ^ 64, green, blue))
        altered, stranger = io.BytesIO(), io.BytesIO()
        image.save(altered, "PNG", pnginfo=texts)
        image.save(stranger, "PNG")
    check(page, "altered.png", altered.getvalue())
    expect(verdict).to_contain_text("but that cannot be confirmed. Its pixels are not those")
    check(page, "stranger.png", stranger.getvalue())
    expect(verdict).to_contain_text("Nothing in it says that it was made here.")
    expect(verdict.get_by_role("button")).to_have_count(0)

    check(page, "mine.png", original)
    verdict.get_by_role("button", name="Show seed 7").click()
    expect(face(page)).to_have_attribute("src", re.compile(r"/7\.png\?gender=female"))


def claims(page: Page, server, verdict: str, seed: str, model: str = "other@" + "0" * 12) -> None:
    """Two models are there, and a picture is checked that claims to be of one."""
    loaded = server.client.get("/v1/models").json()["models"][0]
    other = loaded | {"name": "other", "digest": "0" * 64, "default": False}
    page.route("**/v1/models", lambda route: route.fulfill(json={"models": [other, loaded]}))
    page.route(  # the same faces would do
        re.compile("model=other"),
        lambda route: route.continue_(url=re.sub("[?&]model=other", "", route.request.url)),
    )
    said = {"seed": seed, "model": model, "labels": {}}
    page.route(
        "**/v1/verify",
        lambda route: route.fulfill(json={"verdict": verdict, "claims": said, "detail": "So."}),
    )
    page.goto("/?seed=7")
    shown(page)
    check(page, "theirs.png", b"x")
    expect(page.locator("#verdict")).to_contain_text("theirs.png")


def test_beside_a_verdict_is_the_face_of_the_model_that_the_picture_names(page, server):
    claims(page, server, "reproduced", "11")
    verdict = page.locator("#verdict")
    expect(verdict.locator("img")).to_have_attribute("src", re.compile("/11.png.*model=other"))
    verdict.get_by_role("button", name="Show seed 11").click()
    expect(face(page)).to_have_attribute("src", "/v1/faces/11.png?model=other")
    assert query(page) == {"seed": ["11"], "model": ["other"]}


@pytest.mark.parametrize(
    ("seed", "model"),
    [
        ("1,2,3", "other@000000000000"),
        ("7..8", "other@000000000000"),
        ("latent-0123456789abcdef", "other@000000000000"),
        ("7", "gone@000000000000"),
        ("7", "other@111111111111"),
    ],
)
def test_beside_what_no_seed_makes_here_is_no_face(page, server, seed, model):
    claims(page, server, "claims_only", seed, model)
    page.wait_for_load_state("networkidle")
    expect(page.locator("#verdict").get_by_role("button")).to_have_count(0)
    expect(page.locator("#verdict img")).to_have_count(0)


def test_a_text_that_looks_like_no_seed_is_one_once_it_was_made_again(page, server):
    claims(page, server, "reproduced", "1,2,3")
    expect(page.locator("#verdict").get_by_role("button", name="Show seed 1,2,3")).to_be_visible()


@pytest.mark.parametrize(
    "event",
    [
        'new DragEvent("drop", { dataTransfer: given, bubbles: true })',
        'new ClipboardEvent("paste", { clipboardData: given, bubbles: true })',
    ],
    ids=["dropped", "pasted"],
)
def test_a_picture_may_be_dropped_anywhere_or_pasted(page, event):
    page.route(
        "**/v1/verify",
        lambda route: route.fulfill(json={"verdict": "unknown", "claims": None, "detail": "No."}),
    )
    page.goto("/?seed=7")
    shown(page)
    picture = 'new File(["x"], "given.png", { type: "image/png" })'
    given = f"const given = new DataTransfer(); given.items.add({picture});"
    page.evaluate(f"() => {{ {given} document.body.dispatchEvent({event}); }}")
    expect(page.locator("#verdict")).to_contain_text("given.png")


DRAG = """([kind, selector, text]) => {
  const dataTransfer = new DataTransfer();
  if (text) dataTransfer.setData("text/plain", text);
  else dataTransfer.items.add(new File(["x"], "face.png", { type: "image/png" }));
  const event = new DragEvent(kind, { dataTransfer, bubbles: true, cancelable: true });
  return !document.querySelector(selector).dispatchEvent(event);
}"""


def test_a_text_may_be_dropped_into_the_seed_and_is_no_picture(page):
    page.goto("/?seed=7")
    shown(page)
    assert not page.evaluate(DRAG, ["dragover", "#seed", "anna"])
    assert not page.evaluate(DRAG, ["drop", "#seed", "anna"])
    assert page.evaluate(DRAG, ["dragover", "#seed", ""])
    expect(page.locator("#verdict")).to_have_text("")
    assert page.evaluate(DRAG, ["drop", "#drop", "anna"])
    expect(page.locator("#verdict")).to_contain_text("That was no file")
    expect(page.locator("#drop.over")).to_have_count(0)


def test_a_pasted_text_is_no_picture_whatever_comes_with_it(page):
    """Office puts a picture of the text beside it."""
    page.route("**/v1/verify", lambda route: route.abort())
    page.goto("/?seed=7")
    shown(page)
    page.evaluate(
        """() => {
          const clipboardData = new DataTransfer();
          clipboardData.items.add("a seed", "text/plain");
          clipboardData.items.add(new File(["x"], "text.png", { type: "image/png" }));
          const event = new ClipboardEvent("paste", { clipboardData, bubbles: true });
          document.body.dispatchEvent(event);
        }"""
    )
    expect(page.locator("#finding")).to_be_empty()


def test_an_upload_that_is_not_answered_is_given_up(page, complaints):
    tries = []
    page.route("**/v1/verify", lambda route: (tries.append(1), route.abort("connectionreset")))
    page.goto("/?seed=7")
    shown(page)
    check(page, "slow.png", b"x")
    expect(page.locator("#verdict")).to_contain_text(
        "It could not be checked. The server did not answer, or took too long. slow.png"
    )
    expect(page.locator("#notice")).to_be_hidden()
    assert len(tries) == 2
    complaints.clear()


def test_what_is_too_large_is_not_sent(page):
    page.route("**/v1/verify", lambda route: route.abort())
    page.goto("/?seed=7")
    shown(page)
    check(page, "huge.png", bytes(9 * 2**20))
    expect(page.locator("#verdict")).to_contain_text("It has 9.0 MiB, and 8 are the most")


def test_of_a_verdict_only_the_words_are_read_out(page, server):
    claims(page, server, "reproduced", "11")
    verdict = page.locator("#verdict")
    expect(verdict.get_by_role("button", name="Show seed 11")).to_be_visible()
    expect(verdict.locator("img")).to_be_visible()
    status = verdict.get_by_role("status")
    expect(status).to_contain_text("It was made here.")
    expect(status.locator("button, img")).to_have_count(0)


def test_what_cannot_be_checked_is_told_in_the_servers_words(page, complaints):
    page.route(
        "**/v1/verify",
        lambda route: route.fulfill(
            status=413, content_type="application/problem+json", body='{"detail": "Too large."}'
        ),
    )
    page.goto("/?seed=7")
    shown(page)
    check(page, "large.png", b"x")
    expect(page.locator("#verdict")).to_contain_text("It could not be checked. Too large.")
    assert ["413" in complaint for complaint in complaints] == [True]
    complaints.clear()
