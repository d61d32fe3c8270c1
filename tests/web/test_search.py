"""Narrowing and refining a search, as a person does it, against the real server."""

import json
import re

import pytest

import page_server

pytest.importorskip("selenium", reason="selenium is not installed (PyPI)")
import browser  # noqa: E402  (needs selenium)
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402

SENT = """
    window.sent = [];
    const real = window.fetch;
    window.fetch = (address, options) => {
        if (String(address).includes('/search')) {
            window.sent.push({address: String(address), body: typeof options.body === 'string' ? options.body : ''});
        }
        return real(address, options);
    };"""


def search(page, server, path="/?collection=clothing"):
    page.open(server, path)
    page.run(SENT)
    page.choose(page_server.query_picture())
    browser.check_hits(page)


def last_sent(page):
    """What the last first page of a search was asked for with: the query string and the JSON body as one."""
    sent = [one for one in page.run("return window.sent") if "offset=0" in one["address"] or '"offset":0' in one["body"]]
    query = dict(pair.split("=", 1) for pair in sent[-1]["address"].partition("?")[2].split("&") if pair)
    return {**query, **(json.loads(sent[-1]["body"]) if sent[-1]["body"] else {})}


def show_filters(page):
    if page.one("#filters-open").is_displayed():
        page.one("#filters-open").click()


def hide_filters(page):
    if page.one("#filters-done").is_displayed():
        page.one("#filters-done").click()


# --- filters -----------------------------------------------------------------------------------------------------


def test_an_expression_narrows_the_search(page, server):
    search(page, server)
    show_filters(page)
    page.searched(lambda: page.one("#expression-input").send_keys('array_contains(tags, "dress")', Keys.ENTER))
    assert "6" in page.text("#expression-status")
    page.screenshot("filter")
    hide_filters(page)
    dresses = {str(fileid) for fileid, file in page_server.gallery() if file.parent.name == "dress"}
    assert page.hit_count() == len(dresses) == 6
    assert set(page.fileids()) == dresses
    assert "filter=array_contains" in page.driver.current_url
    assert page.text("#filter-chips code") == 'array_contains(tags, "dress")'
    page.searched(lambda: page.one("#filter-chips button").click())
    assert page.hit_count() > 6
    assert page.fits()


WRONG = [("fileid > and 3", 10), ("fileid >", 9), ("(fileid > 1", 12), ("nofield == 1", 1)]


def test_a_wrong_expression_is_marked_where_it_is_wrong(page, server):
    page.expect_console("/count?")
    search(page, server)
    found = page.fileids()
    show_filters(page)
    for typed, column in WRONG:
        page.fill("#expression-input", typed)
        said = re.compile(rf"column {column}\b")  # the server's own sentence
        page.wait(lambda: page.one("#expression-error").is_displayed() and said.search(page.text("#expression-error")))
        before, mark = page.run("""
            const excerpt = document.querySelector('.expression-excerpt');
            return [excerpt.firstChild.textContent, excerpt.querySelector('mark').textContent];""")
        assert len(before) == column - 1 and typed.startswith(before)
        assert mark == (typed[column - 1] if column <= len(typed) else "\u00a0")
        assert page.one("#expression-input").get_attribute("aria-invalid") == "true"
    page.screenshot("wrong-expression")
    assert page.fits()
    hide_filters(page)
    assert page.fileids() == found  # nothing was lost


def test_a_link_with_a_filter_repeats_it(page, server):
    page.open(server, "/?collection=clothing&like=1&filter=itemid%20%3C%2040")
    browser.check_hits(page)
    assert page.one("#expression-input").get_attribute("value") == "itemid < 40"
    assert 0 < page.hit_count() < 40


def test_values_with_counts_narrow_the_search(page, server):
    search(page, server)
    show_filters(page)
    page.wait(lambda: page.all(".facet-value"))
    page.screenshot("facets")

    def value(name):
        return next(one for one in page.all(".facet-value") if one.find_element(By.CSS_SELECTOR, ".facet-name").text == name)
    assert value("hat").find_element(By.CSS_SELECTOR, ".facet-count").text == "6"
    page.searched(lambda: value("hat").click())
    page.wait(lambda: value("hat").find_element(By.CSS_SELECTOR, "input").is_selected())
    page.searched(lambda: value("dress").click())  # an alternative of the same field
    page.wait(lambda: page.text("#filters-count") == "2")
    hide_filters(page)
    assert page.hit_count() == 12
    kinds = {str(fileid): file.parent.name for fileid, file in page_server.gallery()}
    assert {kinds[fileid] for fileid in page.fileids()} == {"hat", "dress"}
    assert len(page.all(".filter-chip")) == 2
    link = page.driver.current_url
    page.driver.get("about:blank")
    page.driver.get(link.replace("file=", "like=1&gone="))
    browser.check_hits(page)
    assert page.hit_count() == 12


def test_nothing_passes_the_filter(page, server):
    search(page, server)
    show_filters(page)
    page.searched(lambda: page.one("#expression-input").send_keys("itemid == 123456789", Keys.ENTER))
    hide_filters(page)
    page.screenshot("nothing-passes")
    assert page.one("#outcome .notice").is_displayed()
    page.searched(lambda: page.one("#outcome .notice button").click())
    browser.check_hits(page)


# --- one picture an item -----------------------------------------------------------------------------------------


def test_items_are_one_card_with_their_views(page, server):
    page.open(server, "/?collection=views")
    page.choose(page_server.gallery()[0][1])
    page.wait_for_hits(3)
    assert page.hit_count() == 3
    page.wait(lambda: len(page.all(".views")) == 3)
    assert {one.text for one in page.all(".views")} == ({"+3 views"} if page.language == "en" else {"另有 3 张"})
    page.one(".card").click()
    page.wait(lambda: len(page.all(".view")) == 4)
    shown = page.run("return document.querySelector('#details-picture img').src")
    page.all(".view")[-1].click()
    assert page.run("return document.querySelector('#details-picture img').src") != shown
    page.screenshot("views")
    page.one("#details-close").click()
    page.searched(lambda: page.run("document.getElementById('group').click()"))
    assert page.hit_count() == 12
    assert "group=0" in page.driver.current_url


# --- many results ------------------------------------------------------------------------------------------------

MANY = """
    const real = window.fetch;
    const [total] = arguments;
    window.fetch = async (address, options) => {
        if (!String(address).includes('/search')) {
            return real(address, options);
        }
        const asked = new URL(address, location.href).searchParams;
        const [limit, offset] = [Number(asked.get('limit')), Number(asked.get('offset'))];
        const count = Math.max(0, Math.min(limit, total - offset));
        const hits = Array.from({length: count}, (unused, index) => ({
            fileid: offset + index + 1, itemid: offset + index + 1, tags: [], brief: {}, distance: (offset + index) / 10000,
            similarity: 100 - (offset + index) / 200, thumbnail: '/v1/collections/clothing/images/1/thumbnail'}));
        return new Response(JSON.stringify({hits, took_ms: 1}), {headers: {'Content-Type': 'application/json'}});
    };"""
TOTAL = 10000
CARDS_LIMIT = 160


@pytest.mark.parametrize("look", ["desktop", "phone"])
def test_ten_thousand_results_do_not_make_the_page_grow(english, server, look):
    """The server's replies are stood in for: ten thousand pictures would take minutes to import."""
    english.look(look)
    english.open(server, "/?collection=clothing")
    english.run(MANY, TOTAL)
    english.choose(page_server.query_picture())
    english.wait_for_hits(10)
    nodes = english.run("return document.getElementsByTagName('*').length")
    most = 0

    def scrolled():
        nonlocal most
        most = max(most, len(english.all(".hits > li")))
        english.run("scrollTo(0, document.body.scrollHeight)")
        return english.hit_count() == TOTAL and english.one("#end").is_displayed()
    english.wait(scrolled, 60)
    assert most < CARDS_LIMIT
    assert english.run("return document.getElementsByTagName('*').length") < nodes + CARDS_LIMIT * 20
    english.run("scrollTo(0, document.body.scrollHeight)")
    english.wait(lambda: str(TOTAL) in english.fileids())
    english.run("scrollTo(0, 0)")
    english.wait(lambda: english.fileids()[0] == "1")
    english.one(".card").send_keys(Keys.END)
    english.wait(lambda: english.run("return document.activeElement.dataset.fileid") == str(TOTAL))


def test_the_slider_cuts_the_hits_and_counts_them(page, server):
    page.open(server, "/?collection=clothing")
    page.run(MANY, 400)
    page.choose(page_server.query_picture())
    page.wait_for_hits(10)
    page.wait(lambda: page.hit_count() == 400)
    assert "400" in page.text("#likeness-count")
    page.one("#least").send_keys(Keys.PAGE_UP * 9, Keys.ARROW_RIGHT * 9)
    least = int(page.one("#least").get_attribute("value"))
    page.run("const range = document.getElementById('least'); range.value = 99; "
             "range.dispatchEvent(new Event('input', {bubbles: true})); range.dispatchEvent(new Event('change', {bubbles: true}));")
    assert least > 90
    assert page.hit_count() == 201
    assert "201" in page.text("#likeness-count") and "99" in page.text("#likeness-value")
    assert "least=99" in page.driver.current_url


def test_no_good_match_is_said(page, server):
    page.open(server, "/?collection=clothing")
    page.run(MANY.replace("100 - (offset + index) / 200", "3 - (offset + index) / 200"), 100)
    page.choose(page_server.query_picture())
    page.wait(lambda: page.one("#outcome .notice").is_displayed())
    assert page.text("#outcome .notice-title") == {"en": "No good match", "zh-CN": "没有足够相似的图片"}[page.language]
    assert not page.one("#hits").is_displayed()
    page.screenshot("no-good-match")
    page.click("#outcome .notice button")
    assert page.one("#hits").is_displayed() and page.all(".card") and page.hit_count() > 10


# --- part of a picture, several pictures -------------------------------------------------------------------------


def drag(page, start, end):
    """From one point of the large picture to another; both in parts of it."""
    box = page.run("const {left, top, width, height} = document.getElementById('crop').getBoundingClientRect(); "
                   "return [left, top, width, height];")
    points = [(box[0] + x * box[2], box[1] + y * box[3]) for x, y in (start, end)]
    move = {"type": "mouseMoved", "button": "left", "buttons": 1}
    page.cdp("Input.dispatchMouseEvent", type="mousePressed", x=points[0][0], y=points[0][1], button="left", clickCount=1)
    for part in (0.3, 0.7, 1):
        page.cdp("Input.dispatchMouseEvent", **move, x=points[0][0] + (points[1][0] - points[0][0]) * part,
                 y=points[0][1] + (points[1][1] - points[0][1]) * part)
    page.cdp("Input.dispatchMouseEvent", type="mouseReleased", x=points[1][0], y=points[1][1], button="left", clickCount=1)


def near(found, wanted):
    return all(abs(a - b) < 0.02 for a, b in zip(found, wanted, strict=True))


def open_stage(page):
    if page.one("#stage-open").is_displayed():
        page.one("#stage-open").click()
        page.run("scrollTo(0, 0)")


def test_a_box_is_drawn_moved_and_removed(page, server):
    search(page, server)
    whole = page.fileids()
    open_stage(page)
    page.searched(lambda: drag(page, (0.2, 0.3), (0.7, 0.8)))
    page.wait(lambda: near(last_sent(page).get("region", [9] * 4), [0.2, 0.3, 0.5, 0.5]))
    page.wait(lambda: page.run("return document.getElementById('hits').getAttribute('aria-busy')") == "false")
    assert page.one(".crop-box").is_displayed()
    assert page.fileids()[:4] != whole[:4]
    assert "region=0.2" in page.driver.current_url
    page.screenshot("crop")
    page.searched(lambda: drag(page, (0.4, 0.5), (0.5, 0.4)))
    page.wait(lambda: near(last_sent(page)["region"], [0.3, 0.2, 0.5, 0.5]))
    page.searched(lambda: drag(page, (0.8, 0.7), (0.9, 0.9)))  # the lower right corner
    page.wait(lambda: near(last_sent(page)["region"], [0.3, 0.2, 0.6, 0.7]))
    page.searched(lambda: page.one("#crop-remove").click())
    assert "region" not in last_sent(page)
    assert page.fileids()[:4] == whole[:4]


def test_a_box_by_keyboard(page, server):
    search(page, server)
    open_stage(page)
    page.searched(lambda: page.one("#crop-start").send_keys(Keys.ENTER))
    assert near(last_sent(page)["region"], [0.15, 0.15, 0.7, 0.7])
    assert page.run("return document.activeElement.className") == "crop-box"
    page.searched(lambda: ActionChains(page.driver).send_keys(Keys.ARROW_RIGHT).perform())
    assert near(last_sent(page)["region"], [0.17, 0.15, 0.7, 0.7])
    page.searched(lambda: ActionChains(page.driver).key_down(Keys.SHIFT).send_keys(Keys.ARROW_UP).key_up(Keys.SHIFT).perform())
    assert near(last_sent(page)["region"], [0.17, 0.15, 0.7, 0.68])
    page.searched(lambda: ActionChains(page.driver).send_keys(Keys.DELETE).perform())
    assert "region" not in last_sent(page)


def test_a_part_of_a_picture_on_the_web(english, server, pictures_on_the_web):
    file = page_server.query_picture()
    english.open(server, f"/?collection=clothing&url={pictures_on_the_web}/{file.parent.name}/{file.name}")
    browser.check_hits(english)
    english.run(SENT)
    english.wait(lambda: english.one("#crop-start").is_displayed())
    english.searched(lambda: english.one("#crop-start").click())
    assert near(last_sent(english)["region"], [0.15, 0.15, 0.7, 0.7]) and last_sent(english)["url"].endswith(file.name)


def test_a_picture_that_the_browser_cannot_read_is_shown_by_the_server(english, server):
    photo = page_server.ROOT / "tests" / "image" / "fixtures" / "rgb.heic"
    english.open(server, "/?collection=clothing")
    english.searched(lambda: english.choose(photo))
    english.wait(lambda: english.run("return document.querySelector('#query-picture img')?.naturalWidth ?? 0") > 0)
    assert english.one("#crop-start").is_displayed()


def test_more_and_less_like_a_hit(page, server):
    search(page, server)
    plain = page.fileids()
    page.searched(lambda: page.all(".card")[3].send_keys("+"))
    assert len(page.all(".chip.plus")) == 2
    added = last_sent(page)["queries"]
    assert len(added) == 2 and str(added[1]["fileid"]) == plain[3] and "weight" not in added[1]
    page.searched(lambda: page.all(".chip-sign")[1].click())
    assert last_sent(page)["queries"][1]["weight"] == -1
    assert len(page.all(".chip.minus")) == 1
    assert plain[3] not in page.fileids()[:4]
    page.screenshot("plus-minus")
    link = page.driver.current_url
    assert f"like={plain[3]}" in link and "sign=-1" in link
    page.searched(lambda: page.all(".chip-remove")[1].click())
    assert page.fileids() == plain
    page.driver.back()
    page.wait(lambda: len(page.all(".chip.minus")) == 1)


def test_less_like_a_hit_by_its_button(page, server):
    """With a mouse, buttons come over the card; with a finger, they are in the details."""
    search(page, server)
    third = page.fileids()[2]
    card = page.all(".hits .hit")[2]
    if page.run("return matchMedia('(hover: none)').matches"):
        card.find_element(By.CSS_SELECTOR, ".card").click()
        page.wait(lambda: page.one("#details").is_displayed())
        page.searched(lambda: page.one("#details-less").click())
    else:
        ActionChains(page.driver).move_to_element(card).perform()
        page.wait(lambda: page.run("return getComputedStyle(arguments[0].querySelector('.card-actions')).opacity", card) == "1")
        less = card.find_elements(By.CSS_SELECTOR, ".card-action")[1]
        page.searched(lambda: ActionChains(page.driver).move_to_element(less).click().perform())
    sent = last_sent(page)["queries"]
    assert str(sent[1]["fileid"]) == third and sent[1]["weight"] == -1
    assert third not in page.fileids()[:3]


def test_several_files_at_once(page, server):
    page.open(server, "/?collection=clothing")
    files = [file for unused, file in page_server.gallery()[:3]]
    page.searched(lambda: page.one("#file").send_keys("\n".join(map(str, files))))
    assert len(page.all(".chip")) == 3
    assert page.fits()


def test_the_link_of_a_file_holds_a_small_copy(page, server):
    search(page, server)
    found = page.fileids()
    page.cdp("Browser.grantPermissions", origin=server.base, permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
    page.one("#copy-link").click()
    page.wait(lambda: page.text("#copy-link-text") == {"en": "Copied", "zh-CN": "已复制"}[page.language])
    link = page.run_async("return navigator.clipboard.readText();")
    assert len(link) < 40000 and re.search(r"file=copy0#[\w-]+$", link)
    page.driver.get("about:blank")
    page.driver.get(link)
    browser.check_hits(page)
    assert page.one("#query-picture img").is_displayed()
    assert len(set(page.fileids()[:10]) & set(found[:10])) >= 7
