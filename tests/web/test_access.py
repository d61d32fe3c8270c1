"""Whether everybody can use the page: axe-core on each view, both languages, both sizes, light and dark; and what the
page costs: its size, its first paint, its memory with ten thousand results."""

import gzip
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
        await Promise.allSettled(document.getAnimations().map((one) => one.finished.catch(() => {})).slice(0, 0));
        const {violations} = await axe.run(document, {resultTypes: ['violations'],
            runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']});
        return violations.map(({id, help, nodes}) => [id, help, nodes.slice(0, 4).map(({target, failureSummary}) =>
            `${target.join(' ')}: ${failureSummary}`)]);""")
    return found


def calm(page):
    """No animation under way: halfway through one, colours are neither the one nor the other."""
    page.cdp("Emulation.setEmulatedMedia", features=[
        {"name": "prefers-color-scheme", "value": page.scheme}, {"name": "prefers-reduced-motion", "value": "reduce"}])


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


@pytest.mark.parametrize("size,dark", [(browser.DESKTOP, False), (browser.PHONE, True)], ids=["desktop-light", "phone-dark"])
def test_axe_finds_nothing_in_searching(page, server, axe, size, dark):
    page.size(size)
    page.dark(dark)
    calm(page)
    check_search_views(page, server, axe)


@pytest.mark.parametrize("size,dark", [(browser.DESKTOP, True), (browser.PHONE, False)], ids=["desktop-dark", "phone-light"])
def test_axe_finds_nothing_in_the_administration(page, server, axe, size, dark):
    page.size(size)
    page.dark(dark)
    calm(page)
    page.expect_console("404")
    found = {}
    for name in PAGES:
        page.open_manage(server, name, "clothing")
        page.screenshot(f"{page.language}-{size[0]}-{'dark' if dark else 'light'}-{name}")
        assert page.fits(), name
        found[name] = violations(page, axe)
    assert {name: what for name, what in found.items() if what} == {}


def test_the_files_together_are_small():
    files = [file for file in (page_server.ROOT / "web").rglob("*") if file.suffix in (".html", ".css", ".js", ".svg")]
    assert len(files) > 30
    assert sum(len(gzip.compress(file.read_bytes())) for file in files) <= COMPRESSED_LIMIT


def test_the_first_paint_needs_the_page_alone(english, server):
    """What is painted first waits for one file of HTML, its styles and early.js, not for any module. The time itself is
    measured by bench/page_bench.py: a test that runs beside others on a busy machine measures the others."""
    english.open(server, "/?collection=clothing")
    blocking = english.run("""
        return performance.getEntriesByType('resource').filter((one) => one.renderBlockingStatus === 'blocking')
            .map((one) => new URL(one.name).pathname);""")
    assert blocking and all(path.startswith("/css/") or path == "/js/early.js" for path in blocking)
    assert english.run("return performance.getEntriesByType('resource').filter((one) => one.name.includes('/manage/')).length") == 0
