"""The first page, as a person uses it, in a real browser against the real server. conftest.py says what it needs."""

import base64
import hashlib
import json
import re

import pytest

import page_server

pytest.importorskip("selenium", reason="selenium is not installed (PyPI)")
import browser  # noqa: E402  (needs selenium)
from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402

WORDS = {
    "en": {"title": "Find it by how it looks", "results": "Most similar pictures", "none": "No pictures yet",
           "broken": "This picture could not be read", "offline": "The server does not answer"},
    "zh-CN": {"title": "以图找图，一眼就像", "results": "最相似的图片", "none": "还没有图片",
              "broken": "无法读取这张图片", "offline": "服务器没有响应"},
}


# --- ways in -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_choose_a_file_and_see_hits(page, server, dark):
    theme = "dark" if dark else "light"
    page.dark(dark)
    page.open(server, "/?collection=clothing")
    assert page.text("#start-title") == WORDS[page.language]["title"]
    page.wait(lambda: page.all(".sample img"))
    page.screenshot(f"{theme}-start")
    assert page.fits()
    page.choose(page_server.query_picture())
    browser.check_hits(page)
    assert page.text("#results-title") == WORDS[page.language]["results"]
    assert page.one("#query-picture img").is_displayed()
    assert page.run("return document.querySelector('#query-picture img').naturalWidth") > 0
    page.screenshot(f"{theme}-results")
    assert page.fits()
    page.one(".card").click()
    page.wait(lambda: page.one("#details").is_displayed())
    page.screenshot(f"{theme}-details")
    assert page.fits()


def test_the_picture_that_was_added_comes_first_with_all_its_digits(english, server):
    english.open(server, "/?collection=clothing")
    fileid, file = next((fileid, file) for fileid, file in page_server.gallery() if fileid > page_server.BEYOND_DOUBLE)
    english.choose(file)
    browser.check_hits(english)
    assert english.fileids()[0] == str(fileid)
    assert english.distances()[0] == 0
    assert english.one(".hit .same").is_displayed()
    known = {str(fileid) for fileid, unused in page_server.gallery()}
    assert set(english.fileids()) <= known
    assert file.parent.name in english.text(".card .tags")


def test_a_photo_is_taken_on_a_phone(page, server):
    """The button is there where there is a touch screen; the camera itself is the phone's, which gives a file."""
    page.open(server, "/?collection=clothing")
    button = page.one("button.camera")
    assert button.is_displayed() == page.is_phone
    if page.is_phone:
        page.run("document.getElementById('camera').addEventListener('click', (event) => { window.asked = event.isTrusted || true; event.preventDefault(); })")
        button.click()
        assert page.run("return window.asked") is True
    camera = page.one("#camera")
    assert camera.get_attribute("capture") == "environment" and camera.get_attribute("accept") == "image/*"
    camera.send_keys(str(page_server.query_picture()))
    browser.check_hits(page)


def test_paste_a_picture(page, server):
    page.open(server, "/?collection=clothing")
    page.cdp("Browser.grantPermissions", origin=server.base,
                permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
    page.run_async("""
        const bitmap = await createImageBitmap(await (await fetch(given[0])).blob());
        const canvas = document.createElement('canvas');
        [canvas.width, canvas.height] = [bitmap.width, bitmap.height];
        canvas.getContext('2d').drawImage(bitmap, 0, 0);
        const blob = await new Promise((resolve) => canvas.toBlob(resolve, 'image/png'));
        await navigator.clipboard.write([new ClipboardItem({'image/png': blob})]);""",
        f"/v1/collections/clothing/images/{page_server.gallery()[0][0]}/thumbnail")
    ActionChains(page.driver).key_down(Keys.CONTROL).send_keys("v").key_up(Keys.CONTROL).perform()
    browser.check_hits(page)
    assert page.fileids()[0] == str(page_server.gallery()[0][0])


def test_drop_a_file_anywhere(page, server):
    page.open(server, "/?collection=clothing")
    data = {"items": [], "files": [str(page_server.query_picture())], "dragOperationsMask": 1}
    page.cdp("Input.dispatchDragEvent", type="dragEnter", x=30, y=800, data=data)
    page.wait(lambda: page.one("#drop-curtain").is_displayed())
    page.screenshot("drop")
    page.cdp("Input.dispatchDragEvent", type="dragOver", x=300, y=400, data=data)
    page.cdp("Input.dispatchDragEvent", type="drop", x=300, y=400, data=data)
    browser.check_hits(page)
    assert not page.one("#drop-curtain").is_displayed()
    assert page_server.query_picture().name in page.text("#query-name")


def test_an_address_and_the_link_that_repeats_the_search(page, server, pictures_on_the_web):
    page.open(server, "/?collection=clothing")
    file = page_server.query_picture()
    url = f"{pictures_on_the_web}/{file.parent.name}/{file.name}"
    field = page.one(".start .address input")
    field.send_keys(url, Keys.ENTER)
    browser.check_hits(page)
    found, link = page.fileids(), page.driver.current_url
    assert file.name in page.text("#query-name")
    page.wait(lambda: page.run("return document.querySelector('#query-picture img')?.naturalWidth") or 0 > 0)  # fetched by the server
    assert page.one("#copy-link").is_displayed()
    page.driver.get("about:blank")
    page.driver.get(link)
    browser.check_hits(page)
    assert page.fileids() == found


def test_start_from_a_picture_of_the_collection_and_go_on_from_a_hit(page, server):
    page.open(server, "/?collection=clothing")
    page.wait(lambda: page.all(".sample img"))
    page.one(".sample").click()
    browser.check_hits(page)
    first_link = page.driver.current_url
    assert "like=" in first_link
    page.all(".card")[4].click()
    wanted = page.fileids()[4]
    page.one("#details-only").click()
    page.wait(lambda: f"like={wanted}" in page.driver.current_url)
    browser.check_hits(page)
    assert page.fileids()[0] == wanted
    page.driver.back()
    page.wait(lambda: page.driver.current_url == first_link)
    page.driver.back()
    page.wait(lambda: page.view() == "start")


def test_a_file_is_still_there_after_back(english, server):
    english.open(server, "/?collection=clothing")
    english.choose(page_server.query_picture())
    browser.check_hits(english)
    found = english.fileids()
    english.one("#new-search").click()
    english.wait(lambda: english.view() == "start")
    english.driver.back()
    browser.check_hits(english)
    assert english.fileids() == found


def test_more_on_scrolling_until_the_end(page, server):
    page.open(server, "/?collection=clothing")
    page.choose(page_server.query_picture())
    browser.check_hits(page)

    def at_the_end():
        page.run("scrollTo(0, document.body.scrollHeight)")
        return page.one("#end").is_displayed()
    page.wait(at_the_end)
    assert page.hit_count() == page_server.PICTURE_COUNT
    browser.check_hits(page)


# --- nothing to show, and what goes wrong ------------------------------------------------------------------------


def test_without_a_collection_it_says_how_to_begin(page, bare_server):
    page.open(bare_server)
    assert page.one(".notice-title").text == WORDS[page.language]["none"]
    assert page.one(".command code").text == (
        f"build/lookalike import products /path/to/pictures --create --server {bare_server.base}")
    page.screenshot("none")
    assert page.fits()
    page.one(".notice-actions .primary").click()  # or from here: make a collection, upload into it
    page.wait(lambda: page.all(".none-yet .primary"))
    page.screenshot("none-upload")
    page.one(".none-yet .primary").click()
    page.wait(lambda: page.all("dialog[open] input[type=text]"))
    page.one("dialog[open] input[type=text]").send_keys("products\n")
    try:
        page.wait(lambda: page.all("#upload-files"))
        page.one("#upload-files").send_keys(str(page_server.query_picture()))
        page.wait(lambda: page.all(".upload-progress button[hidden]") and "1" in page.text(".upload-progress .page-status"))
        page.one("#home").click()
        page.wait(lambda: page.view() == "start")
        page.choose(page_server.query_picture())
        browser.check_hits(page, 1)
    finally:
        page.driver.get("about:blank")  # so that nothing of the collection is asked for any more
        bare_server.send("DELETE", "/v1/collections/products")


def test_an_empty_collection_says_so(page, server):
    page.open(server, "/?collection=nothing")
    assert "nothing" in page.one(".notice-title").text
    assert "import nothing" in page.one(".command code").text


def test_an_unknown_collection_is_named_as_text(english, server):
    english.open(server, "/?collection=" + "%3Cscript%3Ealert(1)%3C/script%3E" + "y" * 10000)
    assert "<script>alert(1)</script>" in english.one(".notice-title").text
    english.one(".notice button").click()
    english.wait(lambda: english.view() == "start")


def test_a_file_that_is_no_picture_is_not_sent(english, server, tmp_path):
    english.open(server, "/?collection=clothing")
    (tmp_path / "notes.txt").write_text("not a picture")
    english.choose(tmp_path / "notes.txt")
    assert english.wait_for_notice().find_element("css selector", ".notice-title").text == "This is not a picture"


def test_a_broken_picture_gets_the_servers_sentence(page, server, tmp_path):
    page.expect_console("/search")
    page.expect_console("/v1/thumbnail")
    page.open(server, "/?collection=clothing")
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 and then nothing")
    page.choose(tmp_path / "broken.jpg")
    notice = page.wait_for_notice()
    assert notice.find_element("css selector", ".notice-title").text == WORDS[page.language]["broken"]
    assert notice.find_element("css selector", ".notice-detail").text != ""
    page.screenshot("broken")
    page.choose(page_server.query_picture())
    browser.check_hits(page)
    assert not any(one.is_displayed() for one in page.all(".notice"))


def test_an_address_without_an_answer_gets_the_servers_sentence(english, server, pictures_on_the_web):
    english.expect_console("/search")
    english.expect_console("/v1/thumbnail")
    english.open(server, "/?collection=clothing&url=" + pictures_on_the_web + "/there-is-none.jpg")
    assert english.wait_for_notice().find_element("css selector", ".notice-detail").text != ""
    assert english.one(".notice button").text == "Try again"


def test_what_is_no_address_is_said_at_the_field(page, server):
    page.open(server, "/?collection=clothing")
    for wrong in ("shoe", "javascript:alert(1)", "ftp://example.com/a.jpg", "two words.com"):
        field = page.one(".start .address input")
        field.clear()
        field.send_keys(wrong, Keys.ENTER)
        assert page.one("#start-address-error").is_displayed(), wrong
        assert field.get_attribute("aria-invalid") == "true"
    page.open(server, "/?collection=clothing&url=javascript:alert(1)")
    assert page.view() == "start"


def test_a_server_that_went_away_and_came_back(page, server):
    page.expect_console("Failed to load resource")
    page.open(server, "/?collection=clothing")
    offline = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    page.cdp("Network.emulateNetworkConditions", offline=True, **offline)
    try:
        page.choose(page_server.query_picture())
        assert page.wait_for_notice().find_element("css selector", ".notice-title").text == WORDS[page.language]["offline"]
    finally:
        page.cdp("Network.emulateNetworkConditions", offline=False, **offline)
    page.one(".notice button").click()
    browser.check_hits(page)


# --- hostile data ------------------------------------------------------------------------------------------------


INJECTED = """
    return document.title.includes('bad') || document.querySelectorAll('main script, dialog script, [onerror], main b').length > 0;"""

# What a person's file may be called; the names of files on a disk are shorter, those of dropped ones need not be.
CHOOSE_NAMED = """
    const bytes = Uint8Array.from(atob(arguments[1]), (one) => one.charCodeAt(0));
    const files = new DataTransfer();
    files.items.add(new File([bytes], arguments[0], {type: 'image/jpeg'}));
    const input = document.querySelector(arguments[2]);
    input.files = files.files;
    input.dispatchEvent(new Event('change', {bubbles: true}));"""


def choose_named(page, name, selector="#file"):
    page.run(CHOOSE_NAMED, name, base64.b64encode(page_server.query_picture().read_bytes()).decode(), selector)


def test_data_is_shown_as_text(page, server):
    page.open(server, "/?collection=hostile")
    page.choose(page_server.gallery()[0][1])
    browser.check_hits(page, 3)
    tags = page.text(".card .tags")
    assert page_server.HOSTILE in tags
    assert page.text(".card .caption") == page_server.HOSTILE[:200]
    assert page.fits()
    page.screenshot("hostile")
    page.one(".card").click()
    page.wait(lambda: page.one("#details").is_displayed())
    facts = page.text("#details-facts")
    for part in (page_server.HOSTILE, page_server.RIGHT_TO_LEFT, "x" * 10000, "k" * 10000, "t" * 240, str(page_server.BEYOND_DOUBLE + 1)):
        assert part in facts
    assert page.run("return document.title") == "lookalike · hostile"
    assert not page.run(INJECTED)
    assert page.fits()
    page.screenshot("hostile-details")
    page.one("#details-close").click()
    if page.is_phone:
        page.one("#filters-open").click()
    page.wait(lambda: page.all(".facet-value"))  # the facets are made of the same names and values
    page.screenshot("hostile-facets")
    assert page.fits() and not page.run(INJECTED)


@pytest.mark.parametrize("name", [page_server.HOSTILE, page_server.RIGHT_TO_LEFT, "n" * 10000], ids=["script", "quotes", "long"])
def test_the_name_of_a_file_is_shown_as_text(english, server, name):
    english.open(server, "/?collection=clothing")
    choose_named(english, name + ".jpg")
    browser.check_hits(english)
    assert name in english.text("#query-name")
    for look in ("desktop", "phone"):
        english.look(look)
        assert english.fits() and not english.run(INJECTED)


def test_the_longest_name_of_a_collection_fits(page, server):
    name = page_server.LONGEST_NAME
    page.open(server, f"/?collection={name}")
    assert name in page.text("#lead") and page.fits()
    page.choose(page_server.gallery()[0][1])
    browser.check_hits(page, 3)
    assert name in page.text("#summary") and page.fits()
    page.screenshot("longest-name")
    for place in ("overview", "collections", "browse", "upload", "lab"):
        page.open_manage(server, place, name)
        page.wait(lambda: name in page.text("#manage-page"))
        assert page.fits(), place


def test_nothing_inline_is_allowed(english, server):
    unused, headers, unused = server.send("GET", "/")
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    unused, unused, html = server.send("GET", "/")
    assert not re.search(rb"\sstyle=|\son\w+=", html)
    for tag in ("style", "script"):  # of what is inline, the policy names the hash
        inline = re.findall(rf"<{tag}>(.*?)</{tag}>".encode(), html, re.S)
        assert len(inline) == 1
        assert f"'sha256-{base64.b64encode(hashlib.sha256(inline[0]).digest()).decode()}'" in policy
    english.open(server, "/?collection=clothing")
    refused = english.run("""
        try { document.body.innerHTML = '<b>x</b>'; return 'taken'; } catch (error) { return error.name; }""")
    assert refused == "TypeError"
    english.expect_console("TrustedHTML")
    english.run("const style = document.createElement('style'); style.textContent = 'body { display: none }'; document.head.append(style);")
    assert english.one("#start-title").is_displayed()
    english.expect_console("Content Security Policy")


# --- language, colours, keyboard ---------------------------------------------------------------------------------


def test_the_language_switches_in_place_and_stays(page, server):
    page.open(server, "/?collection=clothing")
    page.choose(page_server.query_picture())
    browser.check_hits(page)
    other = "en" if page.language != "en" else "zh-CN"
    assert page.run("return document.documentElement.lang") == page.language
    page.one("#language").click()
    assert page.run("return document.documentElement.lang") == other
    assert page.text("#results-title") == WORDS[other]["results"]
    label = {"en": "Item", "zh-CN": "商品"}
    assert page.text(".identifier .label") == label[other]
    page.driver.refresh()
    page.wait(lambda: page.view() == "start")
    assert page.text("#start-title") == WORDS[other]["title"]


@pytest.mark.parametrize("folder", ["/js", "/js/manage"])
def test_both_languages_say_the_same_things(english, server, folder):
    english.open(server)
    texts = english.run_async("""
        const load = async (code) => (await import(`${given[0]}/text.${code}.js`)).default;
        return [await load('en'), await load('zh')];""", folder)

    def holes(value):
        return sorted(set(re.findall(r"\{(\w+)\}", json.dumps(value, ensure_ascii=False))))
    assert {key: holes(value) for key, value in texts[0].items()} == {key: holes(value) for key, value in texts[1].items()}
    for language in texts:
        assert all(value for value in language.values())
        assert all("other" in value for value in language.values() if not isinstance(value, str))
    assert [key for key in texts[0] if texts[0][key] == texts[1][key] and key != "manage.api"] == []


def test_every_text_that_is_used_exists():
    """Keys are written out in the scripts and in index.html; those put together from parts are listed here."""
    root = page_server.ROOT / "web"
    known = set(re.findall(r"^  '([^']+)':", "".join(
        (root / path).read_text() for path in ("js/text.en.js", "js/manage/text.en.js")), re.M))
    scripts = [file for file in root.rglob("*.js") if not file.name.startswith("text.")]
    html = (root / "index.html").read_text()
    source = "".join(file.read_text() for file in scripts) + html
    used = set(re.findall(r"'([a-z]+(?:\.[a-z]+)+)'", source)) | set(re.findall(r'data-t="([^"]+)"', html))
    used |= {pair.split(":")[1] for group in re.findall(r'data-t-attr="([^"]+)"', html) for pair in group.split()}
    families = {key.split(".")[0] for key in known}
    stored = {"lookalike.language", "lookalike.theme", "lookalike.key", "lookalike.collection"}
    assert sorted(key for key in used - known - stored if key.split(".")[0] in families) == []
    parts = ("failure.", "manage.", "overview.index.", "jobs.state.", "jobs.kind.", "keys.right.", "edit.brief.", "collection.background.")
    assert sorted(key for key in known - used if f"'{key}'" not in source and not key.startswith(parts)) == []


def test_dark_follows_the_system_and_the_button(page, server):
    ground = "return getComputedStyle(document.body).backgroundColor"
    page.open(server, "/?collection=clothing")
    light = page.run(ground)
    page.dark(True)
    dark = page.run(ground)
    assert light != dark
    page.one("#theme").click()
    assert page.run(ground) == light
    page.driver.refresh()
    page.wait(lambda: page.view() == "start")
    assert page.run(ground) == light


CONTRAST = """
    const probe = document.body.appendChild(document.createElement('i'));
    const rgb = (name) => {
        probe.style.color = `var(${name})`;
        return getComputedStyle(probe).color.match(/[\\d.]+/g).slice(0, 3).map(Number);
    };
    const light = (name) => rgb(name).map((part) => part / 255)
        .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
        .reduce((sum, part, at) => sum + part * [0.2126, 0.7152, 0.0722][at], 0);
    const found = arguments[0].map(([a, b]) => {
        const [x, y] = [light(a), light(b)].sort((p, q) => q - p);
        return (x + 0.05) / (y + 0.05);
    });
    probe.remove();
    return found;"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_contrast(english, server, dark):
    english.dark(dark)
    english.open(server)
    text = [(ink, ground) for ink in ("--ink", "--soft", "--wrong") for ground in ("--ground", "--surface", "--sunken")]
    text += [("--button-ink", "--button"), ("--ground", "--accent"),
             ("--ink", "--accent-ground"), ("--soft", "--accent-ground")]
    marks = [("--accent", "--ground"), ("--accent", "--accent-ground"), ("--accent", "--surface"),
             ("--edge", "--ground")]
    for pairs, enough in ((text, 4.5), (marks, 3)):
        assert [(pair, ratio) for pair, ratio in zip(pairs, english.run(CONTRAST, pairs)) if ratio < enough] == []


def test_without_a_mouse(page, server):
    def press(*keys):
        ActionChains(page.driver).send_keys(*keys).perform()

    def focused():
        return page.run("return document.activeElement.className || document.activeElement.id")
    page.open(server, "/?collection=clothing")
    page.wait(lambda: page.all(".sample img"))
    press(Keys.TAB)
    assert focused() == "skip"
    seen = []
    for unused in range(10):
        press(Keys.TAB)
        seen.append(focused())
    assert "drop-zone" in seen and "sample" in seen
    press(Keys.ENTER)
    browser.check_hits(page)
    page.run("document.querySelector('.card').focus()")
    press(Keys.ARROW_RIGHT)
    second = page.fileids()[1]
    assert second in page.run("return document.activeElement.textContent")
    press(Keys.ENTER)
    page.wait(lambda: page.one("#details").is_displayed())
    assert second in page.text("#details-facts")
    press(Keys.ARROW_RIGHT)
    assert page.fileids()[2] in page.text("#details-facts")
    press(Keys.ESCAPE)
    page.wait(lambda: not page.one("#details").is_displayed())
    assert page.fileids()[2] in page.run("return document.activeElement.textContent")
    press("/")
    assert page.run("return document.activeElement.id") == "expression-input"


def test_every_control_has_a_name(page, server):
    page.open(server, "/?collection=clothing")
    page.choose(page_server.query_picture())
    browser.check_hits(page)
    page.one(".card").click()
    nameless = page.run("""
        return [...document.querySelectorAll('button, input:not([type=file]), select, a')].filter((one) =>
            !one.textContent.trim() && !one.getAttribute('aria-label') && !one.labels?.length).map((one) => one.outerHTML);""")
    assert nameless == []


# --- the reader of 64-bit numbers --------------------------------------------------------------------------------

NUMBERS = [
    ("9007199254740991", 9007199254740991), ("9007199254740993", "9007199254740993"),
    ("-9223372036854775808", "-9223372036854775808"), ("18446744073709551615", "18446744073709551615"),
    ("[1, 2.5, -0.25, 1e3]", [1, 2.5, -0.25, 1000]), ("1e300", 1e300),
    ('"9007199254740993"', "9007199254740993"), ('"a\\\\"', "a\\"),
    ('{"9007199254740993": 9007199254740993}', {"9007199254740993": "9007199254740993"}),
    ('{"a": "\\"9007199254740993,", "b": [9007199254740993,-9007199254740993]}',
     {"a": '"9007199254740993,', "b": ["9007199254740993", "-9007199254740993"]}),
    ('"\\\\" ', "\\"), ("null", None), ("true", True),
]
NOT_JSON = ["", "{", "[1,]", "00000000000000000000001", "9007199254740993 9007199254740993", "+9007199254740993", '"open']


@pytest.mark.parametrize("reader", ["parse", "parseWithReviver", "parseWithScanner"])
def test_numbers_of_64_bits(english, server, reader):
    english.open(server)
    read = "const {[given[0]]: read} = await import('/js/json64.js');"
    for source, value in NUMBERS:
        assert english.run_async(read + "return read(given[1]);", reader, source) == value, source
    for source in NOT_JSON:
        refused = read + "try { read(given[1]); return false; } catch (error) { return error instanceof SyntaxError; }"
        assert english.run_async(refused, reader, source), source
    long = json.dumps({"text": "\\\"9007199254740993" * 200000, "number": 9007199254740993})
    assert english.run_async(read + "return read(given[1]).number;", reader, long) == "9007199254740993"


def test_a_very_large_picture_is_made_smaller_first(english, server):
    """12 MB of noise: what is sent is a JPEG of at most 2048 pixels a side."""
    english.open(server, "/?collection=clothing")
    sent = english.run_async("""
        const {prepare} = await import('/js/picture.js');
        const canvas = document.createElement('canvas');
        [canvas.width, canvas.height] = [2400, 1600];
        const pixels = new ImageData(2400, 1600);
        for (let at = 0; at < pixels.data.length; at += 65536) {
            crypto.getRandomValues(pixels.data.subarray(at, at + 65536));
        }
        canvas.getContext('2d').putImageData(pixels, 0, 0);
        const blob = await new Promise((resolve) => canvas.toBlob(resolve, 'image/png'));
        const result = await prepare(new File([blob], 'noise.png', {type: 'image/png'}));
        const bitmap = await createImageBitmap(result);
        return [blob.size, result.type, bitmap.width, bitmap.height];""")
    assert sent[0] > 8 * 1024 * 1024
    assert sent[1:] == ["image/jpeg", 2048, 1365]


def test_a_picture_of_usual_size_is_sent_as_it_is(english, server):
    english.open(server)
    data = base64.b64encode(page_server.query_picture().read_bytes()).decode()
    same = english.run_async("""
        const {prepare} = await import('/js/picture.js');
        const bytes = Uint8Array.from(atob(given[0]), (one) => one.charCodeAt(0));
        const heic = await prepare(new File([bytes], 'photo.HEIC', {type: ''}));
        const result = await prepare(new File([bytes], 'photo.jpg', {type: 'image/jpeg'}));
        const sent = new Uint8Array(await result.arrayBuffer());
        return [heic.type, result.type, sent.length === bytes.length && sent.every((one, at) => one === bytes[at])];""", data)
    assert same == ["image/heic", "image/jpeg", True]
