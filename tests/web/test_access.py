"""Whether everybody can use the page: axe-core on each view, both languages, both sizes, light and dark; and what the
page costs: its size, its first paint, its memory with ten thousand results."""

import gzip
import http.client
import zipfile

import pytest

import page_server

pytest.importorskip("selenium", reason="selenium is not installed (PyPI)")
import browser  # noqa: E402  (needs selenium)

AXE = page_server.ROOT / ".deps" / "axe"
PAGES = ("overview", "collections", "browse", "upload", "jobs", "lab", "keys", "api")
COMPRESSED_LIMIT = 150 * 1024


@pytest.fixture(scope="session")
def axe():
    """The source of axe-core; scripts/check downloads it."""
    wheels = sorted(AXE.glob("*.whl"))
    if not wheels:
        pytest.skip(f"axe-core is not in {AXE}; scripts/check puts it there")
    with zipfile.ZipFile(wheels[0]) as wheel:
        name = next(one for one in wheel.namelist() if one.endswith("/axe.min.js"))
        return wheel.read(name).decode()


def violations(page, axe):
    page.cdp("Runtime.evaluate", expression=axe)  # the page's own policy would refuse a script element
    found = page.run_async("""
        const {violations} = await axe.run(document, {resultTypes: ['violations'],
            runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']});
        return violations.map(({id, help, nodes}) => [id, help, nodes.slice(0, 4).map(({target, failureSummary}) =>
            `${target.join(' ')}: ${failureSummary}`)]);""")
    return found


def check_search_views(page, server, axe):
    page.open(server, "/?collection=clothing")
    page.wait(lambda: page.all(".sample img"))
    assert violations(page, axe) == []
    page.choose(page_server.query_picture())
    browser.check_hits(page)
    assert violations(page, axe) == []
    if page.one("#filters-open").is_displayed():
        page.one("#filters-open").click()
        assert violations(page, axe) == []
        page.one("#filters-close").click()
    page.one(".card").click()
    page.wait(lambda: page.one("#details").is_displayed())
    assert violations(page, axe) == []


@pytest.fixture
def themed(page):
    """Light in English at a desk and in Chinese on a phone, else dark: each of the two with each language and size."""
    page.dark(page.is_phone == (page.language == "en"))
    return page


def test_axe_finds_nothing_in_searching(themed, server, axe):
    check_search_views(themed, server, axe)


def test_axe_finds_nothing_in_messages(themed, server, bare_server, axe, tmp_path):
    themed.expect_console("/search")
    themed.expect_console("/v1/thumbnail")
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 and then nothing")
    themed.open(server, "/?collection=clothing")
    themed.choose(tmp_path / "broken.jpg")
    themed.wait_for_notice()
    assert violations(themed, axe) == []
    for other, path in ((server, "/?collection=nothing"), (server, "/?collection=unknown"), (bare_server, "/")):
        themed.open(other, path)
        themed.wait_for_notice()
        assert violations(themed, axe) == []


def test_axe_finds_nothing_in_the_administration(themed, server, axe):
    themed.expect_console("404")
    found = {}
    for name in PAGES:
        themed.open_manage(server, name, "clothing")
        themed.screenshot(f"{themed.scheme}-{name}")
        assert themed.fits(), name
        found[name] = violations(themed, axe)
    assert {name: what for name, what in found.items() if what} == {}


def open_dialogs(page, server):
    """Each dialog of the administration in turn, open."""
    page.open_manage(server, "collections")
    page.wait(lambda: page.all("[data-name=clothing]"))
    page.one(".page-actions .primary").click()
    yield "new-collection"
    close_dialogs(page)
    page.one("[data-name=clothing] .danger").click()
    yield "drop-collection"
    close_dialogs(page)
    page.open_manage(server, "browse", "clothing")
    page.wait(lambda: page.all(".hits .card"))
    page.one(".hits .card").click()
    page.wait(lambda: page.all("dialog[open] textarea"))
    yield "edit"
    page.one("dialog[open] .danger").click()
    page.wait(lambda: len(page.all("dialog[open]")) == 2)
    yield "delete"
    close_dialogs(page)
    page.one(".tools .expression input").send_keys("fileid > 0\n")
    page.wait(lambda: page.one(".tools > .danger").is_displayed())
    page.one(".tools > .danger").click()
    page.wait(lambda: page.all("dialog[open]"))
    yield "delete-many"
    close_dialogs(page)
    page.open_manage(server, "keys")
    page.one(".page-actions .primary").click()
    yield "new-key"
    close_dialogs(page)
    page.run("document.getElementById('key-dialog').showModal(); document.getElementById('key-wrong').hidden = false")
    yield "key"
    close_dialogs(page)


def close_dialogs(page):
    page.run("[...document.querySelectorAll('dialog[open]')].reverse().forEach((one) => one.close())")


def test_axe_finds_nothing_in_open_dialogs(themed, server, axe):
    found = {}
    for name in open_dialogs(themed, server):
        themed.wait(lambda: themed.all("dialog[open]"))
        themed.screenshot(f"{themed.scheme}-dialog-{name}")
        assert themed.fits(), name
        found[name] = violations(themed, axe)
    assert len(found) == 7
    assert {name: what for name, what in found.items() if what} == {}


def test_the_files_together_are_small():
    files = [file for file in (page_server.ROOT / "web").rglob("*") if file.suffix in (".html", ".css", ".js", ".svg")]
    assert len(files) > 30
    assert sum(len(gzip.compress(file.read_bytes())) for file in files) <= COMPRESSED_LIMIT


def test_the_first_paint_needs_the_page_alone(english, server):
    """What is painted first waits for one file. The time itself is measured by bench/page_bench.py: a test that runs
    beside others on a busy machine measures the others."""
    english.open(server, "/?collection=clothing")
    blocking = english.run("""
        return performance.getEntriesByType('resource').filter((one) => one.renderBlockingStatus === 'blocking')
            .map((one) => new URL(one.name).pathname);""")
    assert blocking == []
    assert english.run("return performance.getEntriesByType('resource').filter((one) => one.name.includes('/manage/')).length") == 0


def fetch(server, path, **headers):
    """Status, headers and body as they come over the wire."""
    connection = http.client.HTTPConnection(server.base.removeprefix("http://"), timeout=10)
    try:
        connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        reply = connection.getresponse()
        return reply.status, reply.headers, reply.read()
    finally:
        connection.close()


def test_files_come_compressed_where_the_browser_takes_it(needed, server):
    for path in ("/", "/js/main.js", "/css/manage.css", "/icons.svg"):
        plain_status, plain, text = fetch(server, path)
        status, headers, body = fetch(server, path, Accept_Encoding="br, gzip;q=0.5")
        assert plain_status == status == 200 and "Content-Encoding" not in plain
        assert headers["Content-Encoding"] == "gzip" and "Accept-Encoding" in headers["Vary"] and "Accept-Encoding" in plain["Vary"]
        assert len(body) < len(text) / 2 and gzip.decompress(body) == text
        for refused in ("identity", "gzip;q=0", "x-gzipped", "br"):
            assert "Content-Encoding" not in fetch(server, path, Accept_Encoding=refused)[1]
        status, headers, body = fetch(server, path, Accept_Encoding="gzip", If_None_Match=plain["ETag"])
        assert (status, body) == (304, b"") and headers["ETag"] == plain["ETag"]


def test_what_goes_over_the_wire_is_small(needed, server):
    files = [file for file in (page_server.ROOT / "web").rglob("*") if file.suffix in (".html", ".css", ".js", ".svg")]
    paths = ["/" if file.name == "index.html" else "/" + file.relative_to(page_server.ROOT / "web").as_posix() for file in files]
    assert sum(len(fetch(server, path, Accept_Encoding="gzip")[2]) for path in paths) <= COMPRESSED_LIMIT
