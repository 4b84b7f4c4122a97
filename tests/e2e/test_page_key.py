"""The page in a real browser where pictures need a key."""

import re

import pytest
from browsing import DESKTOP, face, neighbours_drawn
from playwright.sync_api import expect

pytestmark = pytest.mark.e2e


def test_a_key_is_asked_for_kept_for_the_session_and_sent_along(browser, start):
    server = start(api_keys="sesame", api_key_required="true").wait_ready()
    context = browser.new_context(base_url=server.url, viewport=DESKTOP)
    page = context.new_page()
    violations = []
    page.on("console", lambda said: violations.append(said.text))
    page.goto("/?seed=7#morph=7,11,8")
    expect(page.get_by_role("alert")).to_contain_text("Pictures need an API key here")
    page.get_by_label("API key").fill("“sesame”")  # which no header can hold
    page.get_by_role("button", name="Use this key").click()
    expect(page.get_by_role("alert")).to_contain_text("only plain letters, digits and signs")
    page.get_by_label("API key").fill("wrong")
    page.get_by_role("button", name="Use this key").click()
    expect(page.get_by_role("alert")).to_contain_text("none of those that count here")
    page.get_by_label("API key").fill("sesame")
    page.get_by_role("button", name="Use this key").click()
    expect(face(page)).to_have_attribute("src", re.compile("^blob:"))
    expect(page.get_by_role("alert")).to_be_hidden()
    expect(page.get_by_label("API key")).to_be_hidden()
    neighbours_drawn(page)

    page.reload()
    expect(face(page)).to_be_visible()
    neighbours_drawn(page)
    key = {"X-API-Key": "sesame"}
    with page.expect_download() as saved:
        page.get_by_role("link", name="Save", exact=True).click()
    assert saved.value.suggested_filename == "face-7.png"
    picture = server.client.get("/v1/faces/7.png", headers=key).content
    assert saved.value.path().read_bytes() == picture
    page.get_by_role("button", name="Play").click()
    expect(page.locator("#film")).to_have_attribute("src", re.compile("^blob:"))
    assert not [said for said in violations if "401" not in said]
    assert "sesame" not in page.url

    another = context.new_page()  # of the same browser, but not of the same session
    another.goto("/?seed=8")  # which the browser has not
    expect(another.get_by_label("API key")).to_be_visible()
    context.close()
