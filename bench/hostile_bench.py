#!/usr/bin/env python3
"""How searches fare beside clients that are slow, idle, or simply too many. Everything in one run, on loopback.

(a) slow: 16 clients search, in turns without and with 1,000 idle connections and 200 that send a request byte by byte, half of them
    in the headers and half in the body. Goal: the 99th percentile less than twice as long; the idle ones still open.
(b) overload: the capacity is what 16 clients get; the unloaded 99th percentile that of one client alone. Then requests come at
    twice the capacity, whether or not the ones before are answered, at the same server, which is set up as it comes. It needs a second
    or two to tell a crowd from a burst (src/http/overload.h); what is answered in the first 3 s is reported by itself. Goal: accepted
    ones within twice the unloaded 99th percentile; the others get 503 with Retry-After, their median within 50 ms; no other answer.
    Afterwards 16 clients get their answers as before, without a refusal. --max-active N measures a server with that limit instead.

Use: hostile_bench.py [slow|overload] [--seconds 8] [--rounds 2] [--overload-seconds 40] [--max-active N] [--json]
Needs httpx, numpy, pillow. The program is $LOOKALIKE_BUILD/lookalike (default: build). Exit status 0: the goals are met.
"""
import argparse
import json
import pathlib
import socket
import sys
import tempfile
import threading
import time

SOURCE = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(SOURCE / "tests" / "acceptance"))

import httpx  # noqa: E402

from support import HOST, Server, picture, shared_pictures  # noqa: E402

CLIENTS, IDLE, SLOW = 16, 1000, 200


def percentile(values, part):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else float("nan")


def fill(server, count=100):
    """A collection, and the bytes of search requests."""
    pictures = shared_pictures("clothing/train") or []
    files = [p.read_bytes() for p in pictures[:: max(1, len(pictures) // count)][:count]] or [picture(n, (400, 300)) for n in range(count)]
    with httpx.Client(base_url=server.url, trust_env=False, timeout=60) as client:
        assert client.put("/v1/collections/bench").status_code == 201
        for n, data in enumerate(files):
            reply = client.put(f"/v1/collections/bench/images/{n}", content=data, headers={"Content-Type": "image/jpeg"})
            assert reply.is_success, reply.text
    return [(f"POST /v1/collections/bench/search?limit=10 HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: image/jpeg\r\n"
             f"Content-Length: {len(data)}\r\n\r\n").encode() + data for data in files[:64]]


class Connection:
    """One kept-alive connection; ask() returns (status, seconds, whether Retry-After was there)."""

    def __init__(self, port):
        self.port, self.socket = port, None

    def ask(self, request):
        start = time.monotonic()
        if self.socket is None:
            self.socket = socket.create_connection((HOST, self.port), timeout=60)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(request)
        got = b""
        while b"\r\n\r\n" not in got:
            piece = self.socket.recv(65536)
            if not piece:
                self.socket = None
                return 0, time.monotonic() - start, False
            got += piece
        head, body = got.split(b"\r\n\r\n", 1)
        lower = head.lower()
        length = int(lower.split(b"content-length:")[1].split(b"\r\n")[0])
        while len(body) < length:
            body += self.socket.recv(65536)
        if b"connection: close" in lower:
            self.socket.close()
            self.socket = None
        return int(head[9:12]), time.monotonic() - start, b"retry-after:" in lower


def closed_loop(port, requests, clients, seconds):
    """`clients` that each ask again when they have their answer; [(status, seconds, retry)] and the rate."""
    results, end = [], time.monotonic() + seconds

    def work(k):
        connection = Connection(port)
        n = k
        while time.monotonic() < end:
            results.append(connection.ask(requests[n % len(requests)]))
            n += 1

    threads = [threading.Thread(target=work, args=(k,)) for k in range(clients)]
    start = time.monotonic()
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return results, len(results) / (time.monotonic() - start)


def open_loop(port, requests, rate, seconds, threads=96):
    """Requests at fixed times, whatever became of the ones before."""
    results, lock, start = [], threading.Lock(), time.monotonic() + 0.2
    count, taken, late = int(rate * seconds), [0], [0]

    def work():
        connection = Connection(port)
        while True:
            with lock:
                n = taken[0]
                taken[0] += 1
            if n >= count:
                return
            wait = start + n / rate - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            elif wait < -0.1:
                late[0] += 1
            results.append((*connection.ask(requests[n % len(requests)]), n / rate))

    pool = [threading.Thread(target=work) for _ in range(threads)]
    for t in pool:
        t.start()
    for t in pool:
        t.join()
    return results, late[0] / max(1, count)


class Crowd:
    """IDLE connections that say nothing and SLOW ones that send a byte now and then."""

    def __init__(self, port):
        self.idle = [socket.create_connection((HOST, port), timeout=10) for _ in range(IDLE)]
        self.slow = [socket.create_connection((HOST, port), timeout=10) for _ in range(SLOW)]
        for k, s in enumerate(self.slow):
            head = b"POST /v1/collections/bench/search HTTP/1.1\r\nHost: x\r\n"
            s.sendall(head + b"X-Slow: " if k % 2 else head + b"Content-Type: image/jpeg\r\nContent-Length: 100000\r\n\r\n")
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.drip)
        self.thread.start()

    def drip(self):
        while not self.stop.wait(0.5):
            for s in self.slow:
                try:
                    s.send(b"x")
                except OSError:
                    pass

    def close(self):
        self.stop.set()
        self.thread.join()
        open_still = 0
        for s in self.idle:
            s.setblocking(False)
            try:
                s.recv(1)
            except BlockingIOError:
                open_still += 1
            except OSError:
                pass
        for s in self.idle + self.slow:
            s.close()
        return open_still


def slow(folder, options):
    server = Server(folder / "slow").start()
    requests = fill(server)
    closed_loop(server.port, requests, CLIENTS, 2)
    alone, beside, idle_open, bad = [], [], IDLE, 0
    for _ in range(options.rounds):
        results, _ = closed_loop(server.port, requests, CLIENTS, options.seconds)
        alone += [r[1] for r in results if r[0] == 200]
        bad += sum(r[0] != 200 for r in results)
        crowd = Crowd(server.port)
        results, _ = closed_loop(server.port, requests, CLIENTS, options.seconds)
        idle_open = min(idle_open, crowd.close())
        beside += [r[1] for r in results if r[0] == 200]
        bad += sum(r[0] != 200 for r in results)
        time.sleep(1)
    server.stop_cleanly()
    a, b = percentile(alone, 0.99), percentile(beside, 0.99)
    return {"searches": len(alone) + len(beside), "not answered": bad, "p99 alone ms": 1000 * a, "p99 beside ms": 1000 * b,
            "ratio": b / a, "idle still open": idle_open, "met": b < 2 * a and bad == 0 and idle_open == IDLE}


SETTLE = 3


def overload(folder, options):
    flags = ["--max-active", options.max_active] if options.max_active else []
    server = Server(folder / "overload", *flags).start()
    requests = fill(server)
    closed_loop(server.port, requests, CLIENTS, 2)
    _, capacity = closed_loop(server.port, requests, CLIENTS, options.seconds)
    alone, _ = closed_loop(server.port, requests, 1, options.seconds)
    unloaded = percentile([r[1] for r in alone], 0.99)
    everything, late = open_loop(server.port, requests, 2 * capacity, options.overload_seconds + SETTLE)
    time.sleep(6)
    after, _ = closed_loop(server.port, requests, CLIENTS, 3)
    server.stop_cleanly()
    results = [r for r in everything if r[3] >= SETTLE]
    first = [r[1] for r in everything if r[0] == 200 and r[3] < SETTLE]
    accepted = [r[1] for r in results if r[0] == 200]
    refused = [r[1] for r in results if r[0] == 503]
    other = len(results) - len(accepted) - len(refused) + sum(r[0] == 503 and not r[2] for r in results)
    p99 = percentile(accepted, 0.99)
    refused_after = sum(r[0] != 200 for r in after) if not options.max_active else 0
    return {"capacity/s": capacity, "offered/s": 2 * capacity, "sent late": late, "unloaded p50 ms": 1000 * percentile([r[1] for r in alone], 0.5),
            "unloaded p99 ms": 1000 * unloaded,
            "first 3 s: accepted": len(first), "first 3 s: p99 ms": 1000 * percentile(first, 0.99),
            "accepted": len(accepted), "accepted/s": len(accepted) / options.overload_seconds, "accepted p50 ms": 1000 * percentile(accepted, 0.5),
            "accepted p99 ms": 1000 * p99, "ratio": p99 / unloaded, "refused": len(refused), "refused median ms": 1000 * percentile(refused, 0.5),
            "refused p99 ms": 1000 * percentile(refused, 0.99), "other answers": other, "refused afterwards": refused_after,
            "met": p99 <= 2 * unloaded and other == 0 and bool(refused) and percentile(refused, 0.5) <= 0.05 and refused_after == 0}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=["slow", "overload"])
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--overload-seconds", type=float, default=40)
    parser.add_argument("--max-active", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    report = {}
    with tempfile.TemporaryDirectory() as name:
        for what, run in (("slow", slow), ("overload", overload)):
            if options.what in (None, what):
                report[what] = run(pathlib.Path(name), options)
    if options.json:
        print(json.dumps(report))
    else:
        for what, values in report.items():
            print(what)
            for key, value in values.items():
                print(f"  {key:20} {value:.2f}" if isinstance(value, float) else f"  {key:20} {value}")
    sys.exit(0 if all(v["met"] for v in report.values()) else 1)


if __name__ == "__main__":
    main()
