"""A server that asks for a key: the page asks the person, uses it for pictures as well, and manages the keys there are."""

import json

import pytest

import page_server

pytest.importorskip("selenium", reason="selenium is not installed (PyPI)")
import browser  # noqa: E402  (needs selenium)
from selenium.webdriver.common.by import By  # noqa: E402

REFUSED = "401"


@pytest.fixture(scope="module")
def locked(needed):
    server = page_server.Server(rights="admin")
    try:
        server.create("clothing")
        for fileid, file in page_server.gallery()[:12]:
            server.add("clothing", fileid, file)
        yield server
    finally:
        server.stop()


def give(page, key, keep=False):
    page.wait(lambda: page.one("#key-dialog").is_displayed())
    page.one("#key-input").send_keys(key)
    if keep:
        page.one("#key-keep").click()
    page.one("#key-dialog button[type=submit]").click()


def test_the_page_asks_for_the_key_and_shows_pictures_with_it(page, locked):
    page.expect_console(REFUSED)
    page.comes_to(locked)
    page.driver.get(locked.base + "/?collection=clothing")
    page.wait(lambda: page.one("#key-dialog").is_displayed())
    assert not page.one("#key-wrong").is_displayed()
    page.screenshot("key")
    give(page, "lk_nonsense")
    page.wait(lambda: page.one("#key-wrong").is_displayed())
    give(page, locked.key)
    page.wait(lambda: page.view() == "start")
    page.choose(page_server.query_picture())
    browser.check_hits(page)  # the thumbnails have loaded, though an <img> cannot send a key
    assert page.run("return document.querySelector('.card img').src").startswith("blob:")
    assert locked.key not in page.driver.current_url
    page.driver.refresh()  # the key lasts as long as the tab
    page.wait(lambda: page.view() in ("start", "results"))
    assert not page.one("#key-dialog").is_displayed()
    assert page.run("return localStorage.getItem('lookalike.key')") is None


def test_the_key_can_be_remembered(english, locked):
    english.expect_console(REFUSED)
    english.comes_to(locked)
    english.driver.get(locked.base + "/?collection=clothing")
    give(english, locked.key, keep=True)
    english.wait(lambda: english.view() == "start")
    assert english.run("return localStorage.getItem('lookalike.key')") == locked.key


def test_without_a_key_the_page_says_so(english, locked):
    english.expect_console(REFUSED)
    english.comes_to(locked)
    english.driver.get(locked.base + "/?collection=clothing")
    english.wait(lambda: english.one("#key-dialog").is_displayed())
    english.one("#key-cancel").click()
    assert english.wait_for_notice().find_element(By.CSS_SELECTOR, ".notice-title").text == "This needs permission"


def test_a_key_is_made_shown_once_and_revoked(page, locked):
    page.expect_console(REFUSED)
    name = f"<b>shop</b> {page.language}"
    page.comes_to(locked)
    page.driver.get(locked.base + "/?page=keys")
    give(page, locked.key)
    page.wait(lambda: page.all(".key"))
    page.one(".page-actions .primary").click()
    box = page.one("dialog.ask[open]")
    page.wait(lambda: box.find_element(By.CSS_SELECTOR, "input[type=text]").is_displayed())
    box.find_element(By.CSS_SELECTOR, "input[type=text]").send_keys(name)
    box.find_element(By.CSS_SELECTOR, 'input[value="clothing"]').click()
    box.find_element(By.CSS_SELECTOR, "button[type=submit]").click()
    page.wait(lambda: page.all(".secret"))
    key = page.text(".secret")
    assert key.startswith("lk_")
    listed = {one["name"]: one for one in json.loads(locked.send("GET", "/v1/keys")[2])["keys"]}
    assert listed[name]["rights"] == ["search"] and listed[name]["collections"] == ["clothing"]
    page.one("dialog.ask[open] button[type=submit]").click()
    page.wait(lambda: not page.all(".secret") and len(page.all(".key")) == 2)  # gone, not only closed: that comes a moment later
    assert key not in page.run("return document.documentElement.outerHTML")
    assert name in page.text(".keys")
    page.screenshot("keys")
    row = next(one for one in page.all(".key") if name in one.text)
    row.find_element(By.CSS_SELECTOR, "button").click()
    page.wait(lambda: page.all("dialog.ask[open] button[type=submit]"))
    page.one("dialog.ask[open] button[type=submit]").click()
    page.wait(lambda: len(page.all(".key")) == 1)
    assert len(json.loads(locked.send("GET", "/v1/keys")[2])["keys"]) == 1


def test_a_key_for_searching_does_not_manage(english, locked):
    english.expect_console("403")
    english.expect_console(REFUSED)
    english.comes_to(locked)
    english.driver.get(locked.base + "/?page=keys")
    give(english, locked.make_key("visitor", "search"))
    notice = english.wait_for_notice()
    assert notice.find_element(By.CSS_SELECTOR, ".notice-title").text == "This needs permission"
    assert any(one.text == "Use another key" for one in notice.find_elements(By.CSS_SELECTOR, "button"))
