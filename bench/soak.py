#!/usr/bin/env python3
"""A server under steady load for as long as one likes: does its memory stay, does it ever fail, do its answers stay quick?

The capacity is measured first (16 clients that ask as fast as they can); then requests come at 80 % of it, at times that do not depend on the
answers: searches with a picture, one in ten an add (which replaces records of a fixed set, so that the store does not grow), one in a hundred each a
delete, a count, a page of records, a filter, a record's thumbnail, a broken picture, /metrics. Memory is that of the server and its decoders together
(Pss): what they allocated (anonymous and shared memory), which is judged, and all that is resident, with the pages of files. Those come and go: the
store's files grow until they are compacted, and a kernel with DAMON takes back pages that were not touched for some minutes.

Goal, of an hour: a slope under 1 MB/h after the first quarter, no error, no refusal. A line a minute; the last one is the judgement.

Use: soak.py [--minutes 60] [--load 0.8] [--model NAME] [--records 2000] [--json]
The program is $LOOKALIKE_BUILD/lookalike (default: build). Exit status 0: the goals are met.
"""
import argparse
import json
import pathlib
import random
import socket
import sys
import tempfile
import threading
import time

SOURCE = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(SOURCE / "tests" / "acceptance"))
sys.path.insert(0, str(SOURCE / "bench"))

from hostile_bench import CLIENTS, Connection, closed_loop, fill, percentile  # noqa: E402
from mutated import family_memory  # noqa: E402
from support import HOST, Server, picture, shared_pictures  # noqa: E402

MB = 1e6
ALLOCATED = ("Pss_Anon:", "Pss_Shmem:", "SwapPss:")


def request(method, path, body=b"", kind="image/jpeg"):
    return f"{method} {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


class Mix:
    """Requests by kind, and what each may be answered with."""

    def __init__(self, records):
        paths = shared_pictures("clothing/train") or []
        self.files = [p.read_bytes() for p in paths[::max(1, len(paths) // 200)][:200]] or [picture(n, (400, 300)) for n in range(200)]
        self.records, self.home = records, "/v1/collections/bench"

    def next(self, n):
        rng = random.Random(n)
        file, fileid, what = rng.choice(self.files), rng.randrange(self.records), rng.random()
        if what < 0.1:
            return request("PUT", f"{self.home}/images/{fileid}?itemid={fileid // 3}&tags=t{fileid % 7}&brief=%7B%22n%22%3A{fileid}%7D", file), {200, 201, 204}
        if what < 0.11:
            return request("DELETE", f"{self.home}/images/{fileid}"), {204}
        if what < 0.12:
            return request("GET", f"{self.home}/count"), {200}
        if what < 0.13:
            return request("GET", f"{self.home}/images?limit=100&after={fileid}"), {200}
        if what < 0.14:
            return request("POST", f"{self.home}/search?limit=10&filter=brief%5B%22n%22%5D%20%3C%20{fileid}", file), {200}
        if what < 0.15:
            return request("GET", f"{self.home}/images/{fileid}/thumbnail"), {200, 404}
        if what < 0.16:
            return request("POST", f"{self.home}/search", file[:len(file) // 2]), {422, 400}
        if what < 0.17:
            return request("GET", "/metrics"), {200}
        return request("POST", f"{self.home}/search?limit=10", file), {200}


class Load:
    def __init__(self, server, mix, rate, threads=64):
        self.server, self.mix, self.rate = server, mix, rate
        self.lock, self.taken, self.start = threading.Lock(), 0, time.monotonic() + 0.2
        self.minute, self.errors, self.refused, self.late, self.stop = [], [], 0, 0, threading.Event()
        self.threads = [threading.Thread(target=self.work) for _ in range(threads)]
        for t in self.threads:
            t.start()

    def work(self):
        connection = Connection(self.server.port)
        while not self.stop.is_set():
            with self.lock:
                n = self.taken
                self.taken += 1
            wait = self.start + n / self.rate - time.monotonic()
            if wait > 0:
                self.stop.wait(wait)
            text, good = self.mix.next(n)
            try:
                status, seconds, _ = connection.ask(text) if not text.startswith(b"DELETE") else self.ask_without_body(connection, text)
            except (OSError, IndexError, ValueError) as problem:
                status, seconds = repr(problem), 0
                connection = Connection(self.server.port)
            with self.lock:
                self.late += wait < -0.5
                if status in good:
                    self.minute.append(seconds)
                elif status in (503, 429):
                    self.refused += 1
                else:
                    self.errors.append(f"{text[:80]!r}: {status}")

    @staticmethod
    def ask_without_body(connection, text):
        """A 204 has no Content-Length, which Connection.ask() wants."""
        fresh = Connection(connection.port)
        began = time.monotonic()
        with socket.create_connection((HOST, fresh.port), timeout=60) as s:
            s.sendall(text.replace(b"\r\nHost", b"\r\nConnection: close\r\nHost", 1))
            got = s.recv(4096)
        return int(got[9:12]), time.monotonic() - began, False

    def end(self):
        self.stop.set()
        for t in self.threads:
            t.join()


def slope(points):
    """Least squares, bytes an hour."""
    n = len(points)
    if n < 2:
        return 0.0
    mean_t, mean_m = sum(t for t, _ in points) / n, sum(m for _, m in points) / n
    over = sum((t - mean_t) ** 2 for t, _ in points)
    return 3600 * sum((t - mean_t) * (m - mean_m) for t, m in points) / over if over else 0.0


def soak(options, top):
    flags = ["--model", options.model] if options.model else []
    server = Server(top / "data", *flags).start()
    requests = fill(server)
    closed_loop(server.port, requests, CLIENTS, 3)
    _, capacity = closed_loop(server.port, requests, CLIENTS, 10)
    rate = options.load * capacity
    print(f"capacity {capacity:.1f}/s, load {rate:.1f}/s for {options.minutes:g} minutes", flush=True)
    load, points, worst, began = Load(server, Mix(options.records), rate), [], 0.0, time.monotonic()
    answered = 0
    while time.monotonic() < began + 60 * options.minutes:
        end = min(began + 60 * options.minutes, time.monotonic() + 60)
        while time.monotonic() < end:
            time.sleep(5)
            points.append((time.monotonic() - began, family_memory(server.pid, ALLOCATED)))
        with load.lock:
            minute, load.minute = load.minute, []
        answered += len(minute)
        p99 = percentile(minute, 0.99)
        worst = max(worst, p99)
        settled = [p for p in points if p[0] > 15 * options.minutes]
        print(f"{(time.monotonic() - began) / 60:6.1f} min: {len(minute) / 60:6.1f}/s, p50 {1000 * percentile(minute, 0.5):.0f} ms, p99 {1000 * p99:.0f} ms, "
              f"{points[-1][1] / MB:.1f} MB of {family_memory(server.pid) / MB:.1f}, slope so far {slope(settled) / MB:+.2f} MB/h, errors {len(load.errors)}, refused {load.refused}", flush=True)
        if not server.alive():
            break
    load.end()
    alive = server.alive()
    if alive:
        server.stop_cleanly()
    settled = [p for p in points if p[0] > 15 * options.minutes]
    grows = slope(settled) / MB
    return {"minutes": options.minutes, "capacity/s": capacity, "load/s": rate, "answered": answered, "errors": len(load.errors), "first errors": load.errors[:3],
            "refused": load.refused, "sent late": load.late, "worst p99 of a minute ms": 1000 * worst, "memory at a quarter MB": settled[0][1] / MB if settled else 0,
            "memory at the end MB": points[-1][1] / MB, "slope MB/h": grows, "met": alive and grows < 1 and not load.errors and not load.refused}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--load", type=float, default=0.8)
    parser.add_argument("--model")
    parser.add_argument("--records", type=int, default=2000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lookalike-soak-") as name:
        report = soak(options, pathlib.Path(name))
    print(json.dumps(report) if options.json else "\n".join(f"  {k:26} {v:.2f}" if isinstance(v, float) else f"  {k:26} {v}" for k, v in report.items()))
    sys.exit(0 if report["met"] else 1)


if __name__ == "__main__":
    main()
