#!/usr/bin/env python3
"""Damaged pictures, many thousands of them, sent to a running server: it must not end, and its memory must stay flat.

The pictures are those of ../shared/data, and drawings where that is absent, in every format that the server reads: JPEG (baseline, progressive,
grey, CMYK), PNG (8 and 16 bits, palette, alpha, interlaced), WebP, GIF, AVIF, HEIC, and the odd ones of tests/image/fixtures. Each is changed in one
of the ways below and sent to /v1/thumbnail, every fourth to /v1/embed and every twentieth as an add in base64.

Wanted: each answer is a picture or a clear refusal (200, 400, 413, 415 or 422; code 10000 or 10100), never 500 and never silence; one process from
the first to the last; the memory of the server and of its decoders together grows by less than 32 MiB after the first fifth.
Decoders may die, that is what they are for: how many did is reported.

Use: mutated.py [--pictures 200000] [--clients 8] [--seed N] [--sandbox yes|no]        Exit status 0: all as wanted.
The program is $LOOKALIKE_BUILD/lookalike (default: build).
"""
import argparse
import collections
import http.client
import io
import json
import pathlib
import random
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from PIL import Image  # noqa: E402

import kill9_mixed  # noqa: E402
from support import HOST, OK, FAILED, SLOW, SOURCE, Server, b64, drawing, shared_pictures  # noqa: E402

GROWTH = 32 << 20


def saved(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def originals(rng, photos=24):
    """[(format, bytes)]: small, so that many can be sent, and a few as they are."""
    paths = [p for folder in ("clothing/train", "groceries") for p in (shared_pictures(folder) or [])]
    rng.shuffle(paths)
    images = [Image.open(p).convert("RGB") for p in paths[:photos]] or [drawing(n, (300, 200)) for n in range(photos)]
    found = [("jpeg as it is", p.read_bytes()) for p in paths[:6]]
    for n, image in enumerate(images):
        image.thumbnail((120 + 10 * n, 120 + 10 * n))
        alpha = image.copy()
        alpha.putalpha(image.convert("L"))
        found += [("jpeg", saved(image, "JPEG", quality=80)), ("jpeg progressive", saved(image, "JPEG", progressive=True)),
                  ("jpeg grey", saved(image.convert("L"), "JPEG")), ("jpeg cmyk", saved(image.convert("CMYK"), "JPEG")),
                  ("png", saved(image, "PNG")), ("png alpha", saved(alpha, "PNG")), ("png palette", saved(image.quantize(), "PNG")),
                  ("png 16 bits", saved(Image.new("I;16", (60, 40), 300 * n), "PNG")),
                  ("webp", saved(image, "WEBP")), ("webp lossless", saved(alpha, "WEBP", lossless=True)),
                  ("gif", saved(image.quantize(64), "GIF")), ("gif animated", saved(image.quantize(16), "GIF", save_all=True, append_images=[image.quantize(8)] * 3)),
                  ("avif", saved(image, "AVIF", speed=10))]
    for path in sorted((SOURCE / "tests" / "image" / "fixtures").iterdir()):
        if path.suffix in (".heic", ".avif", ".webp", ".gif", ".png", ".jpg") and path.stat().st_size < 200_000:
            found.append((f"{path.suffix[1:]} fixture", path.read_bytes()))
    return found


NUMBERS = [0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFFE]


def flip(rng, d, _):
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        d[rng.randrange(len(d))] ^= 1 << rng.randrange(8)


def noise(rng, d, _):
    at = rng.randrange(len(d))
    n = min(len(d) - at, rng.choice((1, 4, 32, 512)))
    d[at:at + n] = rng.randbytes(n)


def number(rng, d, _):
    """A length, a size or an offset that it cannot be; mostly in the headers."""
    size = rng.choice((1, 2, 4))
    at = rng.randrange(min(len(d), rng.choice((64, 700, len(d)))))
    d[at:at + size] = (rng.choice(NUMBERS) & (256 ** size - 1)).to_bytes(size, rng.choice(("big", "little")))


def cut(rng, d, _):
    del d[rng.randrange(len(d)):]


def drop(rng, d, _):
    at = rng.randrange(len(d))
    del d[at:at + rng.choice((1, 2, 16, 300))]


def repeat(rng, d, _):
    at = rng.randrange(len(d))
    d[at:at] = d[at:at + rng.choice((1, 8, 200, 2000))] * rng.choice((1, 2, 20))


def splice(rng, d, other):
    at = rng.randrange(len(d))
    d[at:] = other[rng.randrange(len(other)):]


def insert(rng, d, _):
    at = rng.randrange(len(d))
    d[at:at] = rng.randbytes(rng.choice((1, 3, 40)))


def empty(rng, d, _):
    at = rng.randrange(len(d))
    d[at:] = bytes(len(d) - at)


def swap(rng, d, _):
    n = rng.choice((4, 16, 128))
    a, b = rng.randrange(len(d)), rng.randrange(len(d))
    if abs(a - b) >= n and max(a, b) + n <= len(d):
        d[a:a + n], d[b:b + n] = d[b:b + n], d[a:a + n]


WAYS = (flip, flip, noise, number, number, number, cut, drop, repeat, splice, insert, empty, swap)


def mutate(rng, pictures):
    kind, data = rng.choice(pictures)
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        if out:
            rng.choice(WAYS)(rng, out, rng.choice(pictures)[1])
    return kind, bytes(out) or b"\0"


def family_memory(pid, kinds=("Pss:",)):
    """Resident bytes of the process and its children, whichever of its threads started them; kinds are the lines of smaps_rollup that count."""
    family = [pid]
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        try:
            family += map(int, (task / "children").read_text().split())
        except OSError:  # the thread has ended
            pass
    total = 0
    for p in family:
        try:
            for line in pathlib.Path(f"/proc/{p}/smaps_rollup").read_text().splitlines():
                if line.startswith(kinds):
                    total += int(line.split()[1]) * 1024
        except OSError:
            pass
    return total


class Sender:
    def __init__(self, server, pictures, count, seed):
        self.server, self.pictures, self.count, self.seed = server, pictures, count, seed
        self.lock, self.taken, self.problems = threading.Lock(), 0, []
        self.outcomes = collections.Counter()

    def next(self):
        with self.lock:
            self.taken += 1
            return self.taken if self.taken <= self.count and not self.problems else None

    def work(self):
        connection = http.client.HTTPConnection(HOST, self.server.port, timeout=60 * SLOW)
        while (n := self.next()) is not None:
            kind, data = mutate(random.Random(f"{self.seed} {n}"), self.pictures)
            add = n % 20 == 0
            path = "/milvus/img/add" if add else "/v1/embed" if n % 4 == 0 else "/v1/thumbnail"
            body = json.dumps({"collection": "c", "fileid": n % 500, "image": b64(data)}) if add else data
            try:
                connection.request("POST", path, body, {"Content-Type": "application/json" if add else "image/jpeg"})
                reply = connection.getresponse()
                text = reply.read()
            except (OSError, http.client.HTTPException) as problem:
                self.problems.append(f"picture {n} ({kind}) by {path}: {problem!r}")
                return
            good = reply.status == 200 and (not add or json.loads(text)["code"] in (OK, FAILED)) or reply.status in (400, 413, 415, 422)
            if not good:
                self.problems.append(f"picture {n} ({kind}) by {path}: {reply.status} {text[:300]!r}")
            picture = reply.status == 200 and (not add or json.loads(text)["code"] == OK)
            with self.lock:
                self.outcomes[kind, picture] += 1
        connection.close()


def number_of(server, name):
    connection = http.client.HTTPConnection(HOST, server.port, timeout=30)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    return sum(int(float(line.split()[-1])) for line in text.splitlines() if line.startswith(name))


def run(options, top, say):
    """→ what went wrong, or None."""
    rng = random.Random(options.seed)
    kill9_mixed.tiny_model(top / "models" / "tiny")
    server = Server(top / "data", "--models", top / "models", "--model", "tiny", "--sandbox", options.sandbox, log=top / "log.txt").start()
    connection = http.client.HTTPConnection(HOST, server.port)
    connection.request("PUT", "/v1/collections/c")
    connection.getresponse().read()
    pid, pictures = server.pid, originals(rng)
    sender = Sender(server, pictures, options.pictures, options.seed)
    threads = [threading.Thread(target=sender.work) for _ in range(options.clients)]
    memory, began, told = [], time.monotonic(), 0
    for t in threads:
        t.start()
    while any(t.is_alive() for t in threads):
        time.sleep(0.2)
        done = min(sender.taken, options.pictures)
        if server.alive() and done >= told + options.pictures // 20:
            told = done
            memory.append((done, family_memory(pid)))
            say(f"{done} pictures, {done / (time.monotonic() - began):.0f}/s, {memory[-1][1] >> 20} MiB, "
                f"decoders replaced: {number_of(server, 'lookalike_sandbox_restarts_total')}")
    if not server.alive() or server.pid != pid:
        return f"the server ended with {server.process.returncode}:\n{server.tail()}"
    memory.append((options.pictures, family_memory(pid)))  # whatever was missed: where the metrics are slow, all may be sent meanwhile
    if sender.problems:
        server.kill()
        return "\n".join(sender.problems[:5])
    restarts = number_of(server, "lookalike_sandbox_restarts_total")
    server.stop_cleanly()
    for kind in sorted({k for k, _ in sender.outcomes}):
        say(f"  {kind:18} {sender.outcomes[kind, True]:7} a picture all the same, {sender.outcomes[kind, False]:7} refused")
    settled = [m for done, m in memory if done >= options.pictures // 5]
    growth = settled[-1] - settled[0] if len(settled) > 1 else 0
    say(f"{options.pictures} pictures, seed {options.seed}: one process, {restarts} decoders replaced, memory after the first fifth {settled[0] >> 20} MiB, "
        f"at the end {settled[-1] >> 20} MiB, at most {max(settled) >> 20} MiB")
    if options.pictures >= 20000 and growth > GROWTH:
        return f"memory grew by {growth >> 20} MiB"
    if not all(any(sender.outcomes[k, good] for k, _ in sender.outcomes) for good in (True, False)):
        return "all were refused, or none: the mutations are no good"
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=200_000)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(30))
    parser.add_argument("--sandbox", default="auto", choices=["auto", "yes", "no"])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lookalike-mutated-") as name:
        problem = run(options, pathlib.Path(name), lambda line: print(line, flush=True))
    print(f"FAILED: {problem}" if problem else "passed")
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main())
