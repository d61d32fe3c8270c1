"""The administration, as the person who runs the server uses it, against the real server."""

import contextlib
import json
import re
import urllib.error

import pytest

import page_server

pytest.importorskip("selenium", reason="selenium is not installed (PyPI)")
import browser  # noqa: E402  (needs selenium)
from selenium.common.exceptions import StaleElementReferenceException  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402

BIG = page_server.BEYOND_DOUBLE + 1
WORDS = {
    "en": {"drop": "Drop", "delete": "Delete", "save": "Save", "cancel": "Cancel", "retry": "Try these again",
           "tune": "Tune", "again": "Tune again", "untune": "Undo tuning", "eval": "What would tuning bring?", "tuned": "Tuned",
           "cancelled": "Cancelled", "reembed": "Re-embed"},
    "zh-CN": {"drop": "删除", "delete": "删除", "save": "保存", "cancel": "取消", "retry": "重试这些图片",
              "tune": "学习", "again": "重新学习", "untune": "撤销学习", "eval": "学习能带来什么？", "tuned": "已学习",
              "cancelled": "已取消", "reembed": "重新计算"},
}


@pytest.fixture
def shelf(server):
    """A small collection of its own for each test."""
    name = "shelf"
    try:
        server.send("DELETE", f"/v1/collections/{name}")
    except urllib.error.HTTPError as error:
        assert error.code == 404
    server.create(name)
    for number, (unused, file) in enumerate(page_server.gallery()[:4], 1):
        server.add(name, number, file, [file.parent.name], {"number": number, "big": BIG})
    return name


def record(server, collection, fileid):
    return json.loads(server.send("GET", f"/v1/collections/{collection}/images/{fileid}")[2])


def count(server, collection):
    return json.loads(server.send("GET", f"/v1/collections/{collection}/count")[2])["count"]


def words(page, key):
    return WORDS[page.language][key]


def dialog(page):
    page.wait(lambda: page.all("dialog[open]"))
    return page.all("dialog[open]")[-1]


def press(page, word):
    """The button with that word in the dialog on top."""
    def found():  # a dialog that is just opening has no text yet
        return next((one for one in dialog(page).find_elements(By.CSS_SELECTOR, "button") if one.text == word), None)
    page.wait(found).click()


def test_from_searching_to_managing_and_back(page, server):
    page.open(server, "/?collection=clothing")
    page.one("#manage-link").click()
    page.wait(lambda: page.view() == "manage" and page.all(".manage-menu [aria-current]"))
    assert "page=overview" in page.driver.current_url
    page.wait(lambda: page.all("tbody tr"))
    page.one("[data-page=jobs]").click()
    page.wait(lambda: page.run("return document.getElementById('manage-page').dataset.shown") == "jobs")
    page.driver.back()
    page.wait(lambda: page.run("return document.getElementById('manage-page').dataset.shown") == "overview")
    page.one("#home").click()
    page.wait(lambda: page.view() == "start")


CHART = "return [...document.querySelectorAll('.chart-line')].map((line) => line.getAttribute('points') ?? line.getAttribute('d')).join()"


def test_the_overview_shows_how_the_server_is(page, server):
    page.expect_console("/metrics")
    page.open_manage(server, "overview")
    page.wait(lambda: re.search(r"\d", page.text(".tile-value")))
    page.wait(lambda: len(page.all("tbody tr")) >= 4)
    rows = {row.find_element(By.CSS_SELECTOR, "th").text: row.text for row in page.all("tbody tr")}
    assert str(page_server.PICTURE_COUNT) in rows["clothing"]
    page.wait(lambda: page.all(".panels .panel"))
    assert "1280" in page.text(".panels")
    assert len(page.all(".tile .chart")) == 4  # requests, latency, errors, memory
    before = page.run(CHART)
    search = json.dumps({"fileid": 1, "limit": 3}).encode()
    for unused in range(20):
        server.send("POST", "/v1/collections/clothing/search", search)
    page.wait(lambda: page.run(CHART) != before and float(page.text(".tile:nth-child(2) .tile-value").replace(",", "")) > 0)
    page.screenshot("overview")
    assert page.fits()


def test_a_collection_is_made_and_dropped(page, server):
    name = f"made_{page.language[:2]}"
    page.open_manage(server, "collections")
    page.one(".page-actions .primary").click()
    field = dialog(page).find_element(By.CSS_SELECTOR, "input[type=text]")
    field.send_keys("no blanks please\n")
    page.wait(lambda: dialog(page).find_element(By.CSS_SELECTOR, ".field-error").is_displayed())
    page.fill(field, name + "\n")
    page.wait(lambda: page.all(f"[data-name={name}]"))
    assert count(server, name) == 0
    page.button(f"[data-name={name}]", words(page, "drop")).click()
    confirm = dialog(page)
    go = confirm.find_element(By.CSS_SELECTOR, "button[type=submit]")
    assert not go.is_enabled()
    confirm.find_element(By.CSS_SELECTOR, "input").send_keys(name)
    assert go.is_enabled()
    go.click()
    page.wait(lambda: not page.all(f"[data-name={name}]"))
    page.expect_console(name)
    with pytest.raises(urllib.error.HTTPError) as refused:
        count(server, name)
    assert refused.value.code == 404


def options_of(select):
    return [one.get_attribute("value") for one in select.find_elements(By.CSS_SELECTOR, "option")]


def choose(select, value):
    next(one for one in select.find_elements(By.CSS_SELECTOR, "option") if one.get_attribute("value") == value).click()


def test_a_collection_is_made_with_a_model_and_options(page, server):
    """What is offered is what the server's own description says it takes, and what is chosen is what it then says."""
    name = f"chosen_{page.name.replace('-', '_')}"
    known = [one["name"] for one in json.loads(server.send("GET", "/v1/models")[2])["models"] if one.get("kind") != "mask"]
    page.open_manage(server, "collections")
    page.one(".page-actions .primary").click()
    box = dialog(page)
    selects = {tuple(options_of(one)): one for one in box.find_elements(By.CSS_SELECTOR, "select")}
    model = next(one for values, one in selects.items() if set(values) == {"", *known})
    background = next(one for values, one in selects.items() if "subject" in values)
    other = next((one for one in known if one != "efficientnet-lite2"), known[0])
    box.find_element(By.CSS_SELECTOR, "input[type=text]").send_keys(name)
    choose(model, other)
    choose(background, "none")
    page.screenshot("new-collection")
    box.find_element(By.CSS_SELECTOR, "button[type=submit]").click()
    page.wait(lambda: page.all(f"[data-name={name}]"))
    made = json.loads(server.send("GET", f"/v1/collections/{name}")[2])
    assert (made["model"], made["background"]) == (other, "none")
    assert other in page.text(f"[data-name={name}] .facts-row")
    server.send("DELETE", f"/v1/collections/{name}")


@pytest.fixture
def lessons(server):
    """Items with several pictures, to learn from; not tuned."""
    name = "lessons"
    if count_or_none(server, name) is None:
        server.create(name)
        for number, (unused, file) in enumerate(page_server.gallery()[:36], 1):
            server.add(name, number, file, itemid=100 + number % 12)
    server.send("DELETE", f"/v1/collections/{name}/tune")
    return name


def count_or_none(server, collection):
    try:
        return count(server, collection)
    except urllib.error.HTTPError:
        return None


def statistics(server, collection):
    return json.loads(server.send("GET", f"/v1/collections/{collection}")[2])


LEARNING = 120  # seconds at most, on a busy machine; alone it is one or two


def wait_for_result(page, name):
    """The words at the card of a collection about what came of its job."""
    done = f'[data-name={name}] .job[data-state="done"]'
    page.wait(lambda: page.texts(done), LEARNING)
    return page.texts(done)[0]


def test_what_tuning_would_bring_is_said_without_doing_it(english, server, lessons):
    english.open_manage(server, "collections")
    english.wait(lambda: english.all(f"[data-name={lessons}]"))
    english.button(f"[data-name={lessons}]", words(english, "eval")).click()
    assert re.search(r"first for \d+ of 100 pictures now, for \d+ when tuned", wait_for_result(english, lessons))
    assert statistics(server, lessons)["tuned"] is False
    english.open_manage(server, "jobs")
    english.wait(lambda: any("of 100 pictures" in one for one in english.texts(".job-result")))


def test_a_collection_is_tuned_and_back(page, server, lessons):
    page.open_manage(server, "collections")
    card = f"[data-name={lessons}]"
    page.wait(lambda: page.all(card))
    page.button(card, words(page, "tune")).click()
    page.wait(lambda: page.all(f"{card} .job [role=progressbar]"))
    page.screenshot("tuning")
    page.wait(lambda: words(page, "tuned") in page.texts(f"{card} .state"), LEARNING)
    assert statistics(server, lessons)["tuned"] is True
    assert "12" in wait_for_result(page, lessons) and words(page, "again") in page.texts(f"{card} button")
    page.screenshot("tuned")
    assert page.fits()
    page.button(card, words(page, "untune")).click()
    page.wait(lambda: words(page, "tune") in page.texts(f"{card} button"))
    assert statistics(server, lessons)["tuned"] is False


def test_a_collection_gets_another_model(page, server, shelf):
    """By the button at its card; no originals are kept here, so from the thumbnails."""
    known = [one["name"] for one in json.loads(server.send("GET", "/v1/models")[2])["models"] if one.get("kind") != "mask"]
    before = statistics(server, shelf)["model"]
    other = next((one for one in known if one != before), None)
    if other is None:
        pytest.skip("one model only")
    page.open_manage(server, "collections")
    card = f"[data-name={shelf}]"
    page.wait(lambda: page.all(card))
    page.button(card, words(page, "reembed")).click()
    box = dialog(page)
    select, thumbnails = box.find_element(By.CSS_SELECTOR, "select"), box.find_element(By.CSS_SELECTOR, "input[type=checkbox]")
    assert select.get_attribute("value") != before and options_of(select) == known
    assert thumbnails.is_selected(), "no originals are kept here"
    page.screenshot("reembed")
    choose(select, other)
    box.find_element(By.CSS_SELECTOR, "button[type=submit]").click()
    page.wait(lambda: any(re.search(r"\b4\b", one) for one in page.texts(f"{card} .job-result")), LEARNING)
    assert statistics(server, shelf)["model"] == other
    page.wait(lambda: any(other in one for one in page.texts(f"{card} .facts-row")))  # the card is drawn anew
    assert record(server, shelf, 2)["brief"]["big"] == BIG and page.fits()


def test_a_job_is_cancelled(page, server, lessons):
    """Learning takes a second or so: it is stopped in the list of jobs while it runs. One that was over before is begun again."""
    page.open_manage(server, "jobs")

    def state():
        return page.one(row).get_attribute("data-state")
    for unused in range(6):
        job = json.loads(server.send("POST", f"/v1/collections/{lessons}/tune", b"{}")[2])["job"]
        row = f'[data-job="{job}"]'
        page.wait(lambda: page.all(row))
        with contextlib.suppress(StopIteration, StaleElementReferenceException):
            page.button(row, words(page, "cancel")).click()
        page.wait(lambda: state() in ("cancelled", "done"), LEARNING)
        if state() == "cancelled":
            break
        server.send("DELETE", f"/v1/collections/{lessons}/tune")
    assert state() == "cancelled"
    assert words(page, "cancelled") in page.text(f'[data-job="{job}"] .state')
    page.screenshot("jobs")
    assert json.loads(server.send("GET", f"/v1/jobs/{job}")[2])["state"] == "cancelled"
    assert statistics(server, lessons)["tuned"] is False


def test_a_record_is_edited_and_keeps_its_digits(page, server, shelf):
    page.open_manage(server, "browse", shelf)
    page.wait_for_cards(4)
    page.one('.card[data-fileid="2"]').click()
    box = dialog(page)
    item, = box.find_elements(By.CSS_SELECTOR, "input[inputmode=numeric]")
    tags, brief = box.find_elements(By.CSS_SELECTOR, "textarea")
    assert str(BIG) in brief.get_attribute("value")
    page.fill(item, str(BIG))
    page.fill(tags, "new\n<b>tag</b>")
    page.fill(brief, "{\"broken\": ")
    press(page, words(page, "save"))
    page.wait(lambda: box.find_element(By.CSS_SELECTOR, ".field-error").is_displayed())
    assert record(server, shelf, 2)["itemid"] == 2
    page.fill(brief, '{"big": %d, "text": "«quoted»"}' % BIG)
    press(page, words(page, "save"))
    page.wait(lambda: not page.all("dialog[open]"))
    saved = record(server, shelf, 2)
    assert (saved["itemid"], saved["tags"], saved["brief"]) == (BIG, ["new", "<b>tag</b>"], {"big": BIG, "text": "«quoted»"})


def test_pictures_are_deleted_one_by_one_and_by_filter(page, server, shelf):
    page.open_manage(server, "browse", shelf)
    page.wait_for_cards(4)
    page.one('.card[data-fileid="1"]').click()
    press(page, words(page, "delete"))
    press(page, words(page, "delete"))
    page.wait(lambda: len(page.all(".hits .card")) == 3)
    assert count(server, shelf) == 3
    page.one(".tools .expression input").send_keys('brief["number"] > 2\n')
    page.wait(lambda: len(page.all(".hits .card")) == 2)
    page.one(".tools > .danger").click()
    confirm = dialog(page)
    confirm.find_element(By.CSS_SELECTOR, "input").send_keys("2")
    confirm.find_element(By.CSS_SELECTOR, "button[type=submit]").click()
    page.wait(lambda: not page.all(".hits .card"))
    assert count(server, shelf) == 1


def test_many_files_are_uploaded_and_failures_named(page, server, shelf, tmp_path):
    page.expect_console("/images/")
    bad = tmp_path / "<img src=x> broken.jpg"
    bad.write_bytes(b"\xff\xd8\xff\xe0 and then nothing")
    page.open_manage(server, "upload", shelf)
    files = sorted((page_server.PICTURES / "test" / "hat").glob("*.jpg"))[:5]
    page.fill("#manage-page .form-grid input[type=text]", "winter, sale")
    page.one("#upload-files").send_keys("\n".join(map(str, [*files, bad])))
    page.wait(lambda: page.all(".failures li") and not page.all(".upload-progress button:not([hidden])"))
    assert count(server, shelf) == 4 + 5
    failure = page.one(".failures li").text
    assert bad.name in failure and len(failure) > len(bad.name) + 10
    page.screenshot("upload")
    images = json.loads(server.send("GET", f"/v1/collections/{shelf}/images?limit=20")[2])["images"]
    uploaded = {one["brief"]["path"]: one for one in images if "path" in one["brief"]}
    assert set(uploaded) == {file.name for file in files}
    assert all(one["tags"] == ["winter", "sale"] for one in uploaded.values())
    page.button("#manage-page", words(page, "retry")).click()
    page.wait(lambda: page.all(".failures li"))
    page.one("#upload-files").send_keys(str(files[0]))  # again: replaces
    page.wait(lambda: "1" in page.text(".upload-progress .page-status") and not page.all(".failures li"))
    assert count(server, shelf) == 9


def test_the_lab_compares_two_settings(page, server):
    page.open_manage(server, "lab", "clothing")
    page.one("#lab-file").send_keys(str(page_server.query_picture()))
    page.wait(lambda: len(page.all(".lab-hits li")) == 40)
    page.wait(lambda: "20" in page.text(".lab-summary"))
    limit = page.all(".lab-side input[type=number]")[0]
    page.fill(limit, "5\n")
    page.wait(lambda: len(page.all(".lab-hits li")) == 25)
    assert "5" in page.text(".lab-summary")
    assert len(page.all(".lab-hits li.only")) == 15
    page.screenshot("lab")


def test_the_api_is_described_and_can_be_tried(page, server):
    page.open_manage(server, "api")
    page.wait(lambda: len(page.all(".operation")) > 10)
    box = page.one('[data-operation="get /v1/collections"]')
    box.find_element(By.CSS_SELECTOR, "summary").click()
    page.wait(lambda: box.find_elements(By.CSS_SELECTOR, "form"))
    assert f"{server.base}/v1/collections" in box.find_element(By.CSS_SELECTOR, ".api-curl").text
    box.find_element(By.CSS_SELECTOR, "form button[type=submit]").click()
    page.wait(lambda: box.find_elements(By.CSS_SELECTOR, ".api-status"))
    assert box.find_element(By.CSS_SELECTOR, ".api-status").text.startswith("200")
    assert '"clothing"' in box.find_element(By.CSS_SELECTOR, ".api-reply pre").text
    page.screenshot("api")
    box = next(one for one in page.all(".operation") if re.fullmatch(r"get /v1/collections/\{\w+\}/count", one.get_attribute("data-operation")))
    box.find_element(By.CSS_SELECTOR, "summary").click()
    page.wait(lambda: box.find_elements(By.CSS_SELECTOR, "form"))
    collection, *others = box.find_elements(By.CSS_SELECTOR, "form input")
    collection.send_keys("clothing")
    others[0].send_keys("fileid > <script>")
    page.expect_console("/count?")
    box.find_element(By.CSS_SELECTOR, "form button[type=submit]").click()
    page.wait(lambda: box.find_elements(By.CSS_SELECTOR, ".api-status.bad"))
    assert "column" in box.find_element(By.CSS_SELECTOR, ".api-reply pre").text


def test_jobs_say_that_there_are_none(page, bare_server):
    page.open_manage(bare_server, "jobs")
    note = {"en": "Nothing long has run", "zh-CN": "没有耗时任务"}[page.language]
    page.wait(lambda: page.all(".page-note") and note in page.text(".page-note"))


# --- hostile data ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("look", ["desktop", "phone"])
def test_hostile_data_is_text_everywhere(english, server, look):
    english.look(look)
    english.open_manage(server, "browse", "hostile")
    english.wait_for_cards(3)
    assert english.text(".card .caption") == page_server.HOSTILE[:200]
    assert english.fits()
    english.one(".card").click()
    box = dialog(english)
    tags, brief = box.find_elements(By.CSS_SELECTOR, "textarea")
    assert page_server.HOSTILE in tags.get_attribute("value")
    assert "x" * 10000 in brief.get_attribute("value")
    assert english.fits()
    press(english, "Cancel")
    english.open_manage(server, "upload", "hostile")
    name = page_server.HOSTILE + page_server.RIGHT_TO_LEFT + "n" * 10000 + ".jpg"
    english.run("""
        const files = new DataTransfer();
        files.items.add(new File(['no picture'], arguments[0], {type: 'image/jpeg'}));
        const input = document.getElementById('upload-files');
        input.files = files.files;
        input.dispatchEvent(new Event('change', {bubbles: true}));""", name)
    english.expect_console("/images/")
    english.wait(lambda: english.all(".failures li"))
    assert name[-300:] in english.text(".failures li") or name in english.text(".failures li")
    assert english.fits()
    english.driver.get(server.base + "/?page=browse&collection=" + "%3Cscript%3E" + "y" * 10000)
    english.wait(lambda: english.all("#manage-page select"))
    assert english.fits()
    assert english.run("return document.title.includes('bad')") is False
    assert english.run("return document.querySelectorAll('main script, dialog script, [onerror], main b').length") == 0
