"""Driving the explorer page as visitors do."""

from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import Locator, Page, expect

expect.set_options(timeout=30_000)  # the machine may be busy with other things

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


def face(page: Page) -> Locator:
    return page.locator("#face")


def seed_box(page: Page) -> Locator:
    return page.get_by_role("textbox", name="Seed")


def asked(page: Page, attribute: str) -> Locator:
    """The control that asks for a value of the attribute."""
    return page.locator("#attributes").get_by_label(attribute)


def put(page: Page, seed: str) -> None:
    """Ask for a seed as somebody who types it."""
    seed_box(page).fill(seed)
    seed_box(page).press("Enter")


def shown(page: Page) -> str:
    """Wait until the face that is asked for is there; its address."""
    expect(page.locator("#frame.busy")).to_have_count(0, timeout=60_000)
    expect(face(page)).to_be_visible()
    assert face(page).evaluate("image => image.complete && image.naturalWidth") > 0
    return face(page).get_attribute("src")


def query(page: Page) -> dict[str, list[str]]:
    return parse_qs(urlsplit(page.url).query)


def fragment(page: Page) -> str:
    return urlsplit(page.url).fragment


def neighbours_drawn(page: Page) -> None:
    """Wait until all nine cells of the grid, once they are in view, show what they stand for."""
    page.locator("#grid").scroll_into_view_if_needed()
    expect(page.locator("#grid button .face")).to_have_count(9)
    expect(page.locator("#grid button.old")).to_have_count(0)


def wait_until(page: Page, true: Callable[[], bool]) -> None:
    """Like the browser's own waiting, which this page's policy does not let in."""
    for _ in range(600):
        if true():
            return
        page.wait_for_timeout(50)
    raise AssertionError("it never came true")


def of_fine_pictures(page: Page, server) -> None:
    """The page takes the server's model for one of 128 pixels."""
    model = server.client.get("/v1/models").json()["models"][0] | {"resolution": 128}
    page.route("**/v1/models", lambda route: route.fulfill(json={"models": [model]}))


def asked_for(page: Page) -> list[str]:
    """Pictures that the page asks for from now on, in their order, without `/v1/faces/`."""
    asked: list[str] = []
    part = "/v1/faces/"
    page.on("request", lambda r: asked.append(r.url.split(part)[1]) if part in r.url else None)
    return asked


def seeds_around(page: Page) -> list[str]:
    """Seeds of the grid, row by row, from its pictures' addresses."""
    neighbours_drawn(page)
    sources = page.locator("#grid img").evaluate_all("all => all.map(i => i.getAttribute('src'))")
    return [source.removeprefix("/v1/faces/").split(".png")[0] for source in sources]
