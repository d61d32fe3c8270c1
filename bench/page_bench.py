#!/usr/bin/env python3
"""How long the page takes until something is painted, in Chromium, with nothing cached, against a real server.

    nice -n -10 .deps/venv-test/bin/python bench/page_bench.py [--runs 9]

needs what tests/web needs. Prints, in milliseconds: when the first pixels and the first text were painted, when the page
could be used (its scripts had run), and what went over the wire.
"""

import argparse
import pathlib
import statistics
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "web"))

import browser  # noqa: E402
import page_server  # noqa: E402

READ = """
    const paint = Object.fromEntries(performance.getEntriesByType('paint').map(({name, startTime}) => [name, startTime]));
    const [page] = performance.getEntriesByType('navigation');
    const own = performance.getEntriesByType('resource').filter(({name}) => !name.includes('/v1/'));
    return {pixels: paint['first-paint'], text: paint['first-contentful-paint'], loaded: page.domContentLoadedEventEnd,
            bytes: page.transferSize + own.reduce((sum, {transferSize}) => sum + transferSize, 0), files: own.length + 1};"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=9)
    runs = parser.parse_args().runs
    server = page_server.Server()
    page = browser.Page("en")
    try:
        server.create("clothing")
        for fileid, file in page_server.gallery()[:20]:
            server.add("clothing", fileid, file)
        page.look("desktop")
        page.cdp("Network.setCacheDisabled", cacheDisabled=True)
        found = []
        for unused in range(runs + 1):  # the first is the browser's own start
            page.open(server, "/?collection=clothing")
            page.wait(lambda: page.run("return performance.getEntriesByName('first-contentful-paint').length") > 0)
            found.append(page.run(READ))
        for name in ("pixels", "text", "loaded"):
            values = sorted(one[name] for one in found[1:])
            print(f"{name:8} median {statistics.median(values):6.0f} ms   {values[0]:.0f} to {values[-1]:.0f}")
        print(f"{found[-1]['files']} files, {found[-1]['bytes'] / 1024:.0f} KiB over the wire")
    finally:
        page.quit()
        server.stop()


if __name__ == "__main__":
    main()
