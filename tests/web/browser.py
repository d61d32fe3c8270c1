"""A page in headless Chromium, driven as a person would, with what it asked for and what it complained about."""

import base64
import contextlib
import json
import shutil
import tempfile
import urllib.parse

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

import page_server

DESKTOP = (1440, 900)
PHONE = (390, 844)
LOOKS = {"desktop": DESKTOP, "phone": PHONE}
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync")


class Page:
    def __init__(self, language):
        self.language = language
        self.profile = tempfile.mkdtemp(prefix="lookalike-profile-")
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium")
        for flag in (*FLAGS, f"--user-data-dir={self.profile}", f"--lang={language}"):
            options.add_argument(flag)
        options.add_experimental_option("prefs", {"intl.accept_languages": language})
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
        self.driver.execute_cdp_cmd("Network.enable", {})
        self.base = None
        self.own = set()
        self.expected = []

    def quit(self):
        self.driver.quit()
        shutil.rmtree(self.profile, ignore_errors=True)

    # --- what it looks like -------------------------------------------------------------------------------------

    def look(self, look):
        """'desktop' or 'phone', which has a touch screen as well."""
        self.is_phone = look == "phone"
        width, height = LOOKS[look]
        self.name = f"{self.language}-{width}"  # begins the names of screenshots
        self.cdp("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=self.is_phone)
        self.cdp("Emulation.setTouchEmulationEnabled", enabled=self.is_phone)

    def dark(self, dark):
        """Also without motion: halfway through an animation, colours and places are neither the one nor the other."""
        self.scheme = "dark" if dark else "light"
        self.cdp("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": self.scheme}, {"name": "prefers-reduced-motion", "value": "reduce"}])

    def screenshot(self, what):
        """What the screen shows, for people to look at: build/screenshots/LANGUAGE-WIDTH-WHAT.png."""
        page_server.SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        shot = self.cdp("Page.captureScreenshot", format="png", optimizeForSpeed=True)
        (page_server.SCREENSHOTS / f"{self.name}-{what}.png").write_bytes(base64.b64decode(shot["data"]))

    # --- doing --------------------------------------------------------------------------------------------------

    def comes_to(self, server):
        """From here on this server is one of those that a test may ask."""
        self.base = server.base
        self.own.add(urllib.parse.urlsplit(server.base).netloc)

    def open(self, server, path="/"):
        self.comes_to(server)
        self.driver.get(server.base + path)
        self.wait(lambda: self.view() != "loading")

    def open_manage(self, server, page, collection=None):
        """A page of the administration, once it has filled itself."""
        self.comes_to(server)
        tail = f"&collection={collection}" if collection else ""
        self.driver.get(f"{server.base}/?page={page}{tail}")
        self.wait(lambda: self.run("return document.getElementById('manage-page')?.dataset.shown") == page)
        self.wait(lambda: self.run("return document.querySelectorAll('#manage-page > *').length") > 1)

    def fill(self, selector, text):
        """Type over what is there."""
        field = self.one(selector) if isinstance(selector, str) else selector
        field.clear()
        field.send_keys(text)

    def button(self, within, text):
        """The visible button with this text."""
        return next(one for one in self.all(f"{within} button, {within} a") if one.is_displayed() and one.text == text)

    def cdp(self, command, **arguments):
        return self.driver.execute_cdp_cmd(command, arguments)

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def run_async(self, body, *arguments):
        """The result of the body of an async function."""
        script = ("const done = arguments[arguments.length - 1]; const given = [...arguments].slice(0, -1);"
                  f"(async () => {{{body}}})().then((value) => done({{value}}), (error) => done({{error: String(error)}}));")
        answer = self.driver.execute_async_script(script, *arguments)
        assert "error" not in answer, answer["error"]
        return answer.get("value")

    def wait(self, condition, seconds=20):
        """What is drawn anew between finding it and asking it is looked for again."""
        patient = WebDriverWait(self.driver, seconds, 0.05, ignored_exceptions=[StaleElementReferenceException])
        return patient.until(lambda unused: condition())

    def click(self, selector):
        self.wait(lambda: self.one(selector).click() or True)

    def all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def choose(self, file):
        self.one("#file").send_keys(str(file))

    # --- what it shows ------------------------------------------------------------------------------------------

    def view(self):
        return self.run("return document.body.dataset.view")

    def text(self, selector):
        return self.run("return document.querySelector(arguments[0]).textContent", selector)

    def texts(self, selector):
        """Of all at one moment: elements may be replaced while somebody looks at them."""
        return self.run("return [...document.querySelectorAll(arguments[0])].map((one) => one.textContent.trim())", selector)

    def fileids(self):
        """Of the cards near the screen, in their order; cards further away do not exist."""
        return self.run("return [...document.querySelectorAll('.hits .card')].map((card) => card.dataset.fileid)")

    def distances(self):
        return self.run("return [...document.querySelectorAll('.hits .card')].map((card) => Number(card.dataset.distance))")

    def hit_count(self):
        """How many hits the grid has, of which only some have a card."""
        return int(self.run("return document.querySelector('.hits > [aria-setsize]:last-child')?.getAttribute('aria-setsize') ?? 0"))

    def wait_for_hits(self, at_least=1):
        self.wait(lambda: len(self.all(".card")) >= at_least)
        self.wait(lambda: self.run("return document.getElementById('hits').getAttribute('aria-busy')") == "false")

    def wait_for_cards(self, number):
        self.wait(lambda: len(self.all(".hits .card")) == number)

    def searched(self, act):
        """Do `act()`, and wait until the hits of the search that it starts are on show."""
        shown = "return document.getElementById('hits').dataset.search ?? '0'"
        before = self.run(shown)
        act()
        self.wait(lambda: self.run(shown) != before)
        self.wait(lambda: self.run("return document.getElementById('hits').getAttribute('aria-busy')") == "false")

    def pictures_visible(self):
        """Whether every picture on the screen has loaded; those below load when they come near."""
        return self.run("""
            const seen = [...document.querySelectorAll('.hits .card img')].filter((image) =>
                image.getBoundingClientRect().top < innerHeight && image.getBoundingClientRect().bottom > 0);
            return seen.length > 0 && seen.every((image) => image.complete && image.naturalWidth > 0);""")

    def wait_for_notice(self):
        self.wait(lambda: any(one.is_displayed() for one in self.all(".notice")))
        return next(one for one in self.all(".notice") if one.is_displayed())

    def fits(self):
        return self.run("return document.documentElement.scrollWidth <= innerWidth")

    # --- what it did --------------------------------------------------------------------------------------------

    def start_clean(self, look):
        """Forget logs, stored choices and emulation of the test before."""
        self.expected = []
        self.own = set()
        self.look(look)
        self.dark(False)
        if self.base:
            with contextlib.suppress(Exception):
                self.run("localStorage.clear(); sessionStorage.clear()")
        self.driver.get("about:blank")
        self.driver.get_log("browser")
        self.driver.get_log("performance")

    def expect_console(self, part):
        """A console message with this text belongs to the test (the browser logs every reply that is an error)."""
        self.expected.append(part)

    def complaints(self):
        return [entry["message"] for entry in self.driver.get_log("browser")
                if not any(part in entry["message"] for part in self.expected)]

    def foreign_requests(self):
        asked = []
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                asked.append(message["params"]["request"]["url"])
        return [url for url in asked if url.startswith(("http:", "https:", "ws:", "wss:"))
                and urllib.parse.urlsplit(url).netloc not in self.own]


def check_hits(page, at_least=10):
    """Hits are on show: nearest first, none twice, their pictures loaded."""
    page.wait_for_hits(at_least)
    page.wait(page.pictures_visible)
    distances = page.distances()
    assert distances == sorted(distances)
    assert len(set(page.fileids())) == len(page.fileids())
