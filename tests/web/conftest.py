"""A real server with real pictures and a real browser, for test_page.py.

    LOOKALIKE_BUILD=build python3 -m pytest tests/web

needs pytest and selenium (PyPI), Debian's chromium and chromium-driver, the built server, and the shared pictures
beside the source tree; what is missing is named in the skip. Screenshots go to $LOOKALIKE_BUILD/screenshots.
"""

import http.server
import pathlib
import shutil
import sys
import threading

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import page_server  # noqa: E402


@pytest.fixture(scope="session")
def needed():
    if not (page_server.BUILD / "lookalike").exists():
        pytest.skip(f"there is no server at {page_server.BUILD}/lookalike; build it, or set LOOKALIKE_BUILD")
    if not page_server.PICTURES.is_dir():
        pytest.skip(f"the shared pictures are not at {page_server.PICTURES}")
    for program in ("chromium", "chromedriver"):
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed (Debian packages chromium and chromium-driver)")
    pytest.importorskip("selenium", reason="selenium is not installed (PyPI)")


@pytest.fixture(scope="session")
def pages(needed):
    """A browser a language, started when first asked for."""
    import browser  # needs selenium
    started = {}

    def get(language):
        if language not in started:
            started[language] = browser.Page(language)
        return started[language]
    yield get
    for page in started.values():
        page.quit()


def checked(page, look):
    """Every test also checks that the console stayed empty and that nobody else was asked for anything."""
    page.start_clean(look)
    yield page
    assert page.complaints() == []
    assert page.foreign_requests() == []


@pytest.fixture(params=[("en", "desktop"), ("en", "phone"), ("zh-CN", "desktop"), ("zh-CN", "phone")], ids="-".join)
def page(request, pages):
    """Everything that a person does is done in both languages, at a desk and on a phone."""
    language, look = request.param
    yield from checked(pages(language), look)


@pytest.fixture
def english(pages):
    """For what depends neither on the language nor on the size."""
    yield from checked(pages("en"), "desktop")


@pytest.fixture(scope="session")
def server(needed):
    server = page_server.Server("--fetch-allow", "127.0.0.1/32")
    try:
        for name in ("clothing", "hostile", "nothing", "views", page_server.LONGEST_NAME):
            server.create(name)
        for fileid, file in page_server.gallery():
            server.add("clothing", fileid, file, [file.parent.name], {"path": f"{file.parent.name}/{file.name}"})
        for fileid, file in page_server.gallery()[:3]:
            bad = page_server.HOSTILE
            brief = {"title": bad, bad: [bad], "long": "x" * 10000, "big": page_server.BEYOND_DOUBLE + 1,
                     page_server.RIGHT_TO_LEFT: page_server.RIGHT_TO_LEFT, "k" * 10000: "long name"}
            server.add("hostile", fileid, file, [bad, page_server.RIGHT_TO_LEFT, "t" * 240], brief)
            server.add(page_server.LONGEST_NAME, fileid, file)
        for number, (unused, file) in enumerate(page_server.gallery()[:12]):  # three items with four views each
            server.add("views", number + 1, file, itemid=100 + number % 3)
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def bare_server(needed):
    """A server without any collection."""
    server = page_server.Server()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def pictures_on_the_web():
    """The address of an HTTP server with the test pictures."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(page_server.PICTURES / "test"))

        def log_message(self, *unused):
            pass

    web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{web.server_port}"
    web.shutdown()
    web.server_close()
