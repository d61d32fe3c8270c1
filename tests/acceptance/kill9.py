#!/usr/bin/env python3
"""kill -9 in the middle of an import, again and again: what was acknowledged must be there.

Each round 16 clients add pictures (every tenth request replaces or deletes one of the client's own), the server is killed at a
random moment and started again on the same folder. Then, for every fileid that any client ever named, in this round or before:

- acknowledged as added: `get` finds it, with the tags and the vector of the last acknowledged write, or of the one that was in flight
- acknowledged as deleted: `get` does not find it, unless a later write of it was in flight
- in flight at the kill: there as a whole or not at all
- count = the number of fileids that `get` finds = the number that browsing lists; thus between what was acknowledged and that
  plus what was in flight.

At the end the server is stopped and `lookalike doctor` must find nothing wrong.

Use: kill9.py [--mixed] [--rounds 50] [--clients 16] [--seed N] [--data DIR]        Exit status 0: all rounds passed.
With --mixed everything that changes what is kept happens at once: see kill9_mixed.py. It can be left running: 2,000 rounds take about an hour.
The program is $LOOKALIKE_BUILD/lookalike (default: build).
"""
import argparse
import concurrent.futures
import pathlib
import random
import shutil
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import httpx  # noqa: E402
import numpy  # noqa: E402

import kill9_mixed  # noqa: E402
from kill9_mixed import Lost  # noqa: E402
from support import FAILED, OK, SLOW, Api, Server, picture, run_program  # noqa: E402

COLLECTION = "killed"
PICTURES = 24


class Fileid:
    """What one fileid may be. `certain` is its state by the last acknowledged write: a token, or None where there is no record.
    `possible` is the state that a write in flight would make; UNKNOWN where none was in flight."""
    UNKNOWN = object()

    def __init__(self):
        self.certain, self.possible = None, self.UNKNOWN

    def states(self):
        return {self.certain} if self.possible is self.UNKNOWN else {self.certain, self.possible}


class Round:
    """One server life: clients that write until the server is gone."""

    def __init__(self, server, book, pictures, options):
        self.server, self.book, self.pictures, self.options = server, book, pictures, options
        self.lock = threading.Lock()
        self.acknowledged = 0
        self.problems = []

    def client(self, number, rng):
        api = Api(self.server.url, timeout=30)
        own = []
        try:
            while True:
                if own and rng.random() < 0.1:
                    fileid = rng.choice(own)
                    deleting = rng.random() < 0.5
                else:
                    with self.lock:
                        fileid = len(self.book) + 1
                        self.book[fileid] = Fileid()
                    own.append(fileid)
                    deleting = False
                entry = self.book[fileid]
                token = None if deleting else f"{rng.randrange(PICTURES)}/{rng.getrandbits(60)}"
                entry.possible = token

                def send(fileid=fileid, token=token):
                    if token is None:
                        return api.delete(COLLECTION, fileid)
                    return api.add(COLLECTION, fileid, self.pictures[int(token.split("/")[0])], itemid=fileid // 3, tags=[token])

                reply = send()
                while reply.status == 503 and "retry-after" in reply.headers:  # a busy machine: nothing was done, as it says
                    time.sleep(0.2)
                    reply = send()
                if reply.code != OK:
                    if reply.code == FAILED and not self.server.alive():
                        return
                    self.problems.append(f"refused: {reply}")
                    return
                entry.certain, entry.possible = token, Fileid.UNKNOWN
                with self.lock:
                    self.acknowledged += 1
        except httpx.TransportError:
            return  # the kill; the write stays in flight
        finally:
            api.close()

    def run(self, rng):
        """Write, kill, and return when every client has seen its end."""
        threads = [threading.Thread(target=self.client, args=(n, random.Random(rng.getrandbits(60)))) for n in range(self.options.clients)]
        for t in threads:
            t.start()
        # At a random moment in the middle: on a slow machine a fixed time would end before anything was acknowledged.
        wanted, late = rng.randrange(1, 150), time.monotonic() + 20 * SLOW
        while self.acknowledged < wanted and time.monotonic() < late:
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 0.05))
        self.server.kill()
        for t in threads:
            t.join()
        if self.problems:
            raise Lost("\n".join(self.problems[:5]))
        if self.acknowledged == 0:
            raise Lost("nothing was acknowledged before the kill, so this round shows nothing")


def check(api, book, vectors):
    """Compare the server with the book. Afterwards the book says what is there. → number of records"""
    def look(fileid):
        records = api.fetch(COLLECTION, fileid=fileid).data
        if len(records) > 1:
            raise Lost(f"fileid {fileid} is there {len(records)} times")
        return fileid, records[0] if records else None
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        found = dict(pool.map(look, list(book)))
    for fileid, stored in found.items():
        entry = book[fileid]
        token = stored["tags"][0] if stored else None
        if token not in entry.states():
            raise Lost(f"fileid {fileid} is {token or 'not there'}; acknowledged: {entry.certain or 'not there'}, "
                       f"in flight: {'nothing' if entry.possible is Fileid.UNKNOWN else entry.possible or 'a delete'}")
        if stored:
            vector = vectors[int(token.split("/")[0])]
            if stored["itemid"] != fileid // 3 or ((numpy.array(stored["vectors"]) - vector) ** 2).sum() > 1e-3:
                raise Lost(f"fileid {fileid} has the tags of one write and the vector or itemid of another")
        entry.certain, entry.possible = token, Fileid.UNKNOWN
    there = sum(stored is not None for stored in found.values())
    count = api.count(COLLECTION).data
    if count != there:
        raise Lost(f"count says {count}, {there} can be got")
    listed = browse(api)
    if listed != sorted(f for f, stored in found.items() if stored):
        raise Lost(f"browsing lists {len(listed)} records, {there} can be got")
    return there


def browse(api):
    listed, after = [], None
    while True:
        page = api.http.get(f"/v1/collections/{COLLECTION}/images",
                            params={"limit": 1000} | ({} if after is None else {"after": after})).json()
        listed += [r["fileid"] for r in page["images"]]
        after = page["next"]
        if after is None:
            return listed


def check_search(api, book, pictures):
    """A picture that is there is found at distance 0, by a search over everything."""
    present = {}
    for fileid, entry in book.items():
        if entry.certain:
            present.setdefault(int(entry.certain.split("/")[0]), set()).add(fileid)
    for number in list(present)[:3]:
        hits = api.search(COLLECTION, pictures[number], limit=16384, group=False).data
        near = {h["fileid"] for h in hits if h["distance"] < 1e-4}
        if not present[number] <= near:
            raise Lost(f"{len(present[number] - near)} of {len(present[number])} equal pictures are not found by search")
        if len(hits) != min(16384, sum(e.certain is not None for e in book.values())):
            raise Lost(f"a search over everything has {len(hits)} hits")


def rounds(options, data, say):
    """All rounds. Raises Lost on the first failure."""
    rng = random.Random(options.seed)
    pictures = [picture(n, (64, 64), quality=80) for n in range(PICTURES)]
    book, total = {}, 0
    server = Server(data).start()
    try:
        api = Api(server.url)
        api.create(COLLECTION).data
        vectors = [numpy.array(api.http.post("/v1/embed", content=p, headers={"Content-Type": "image/jpeg"}).json()["vector"])
                   for p in pictures]
        for number in range(1, options.rounds + 1):
            round_ = Round(server, book, pictures, options)
            round_.run(rng)
            in_flight = sum(e.possible is not Fileid.UNKNOWN for e in book.values())
            before = time.monotonic()
            server.start()
            took = time.monotonic() - before
            api.close()
            api = Api(server.url)
            there = check(api, book, vectors)
            check_search(api, book, pictures)
            total += round_.acknowledged
            say(f"round {number}: {round_.acknowledged} acknowledged, {in_flight} in flight at the kill, ready again after {took:.2f} s, "
                f"{there} records, all as they should be")
        api.close()
        server.stop_cleanly()
    finally:
        server.kill()
    doctor = run_program("doctor", "--data", data)
    if doctor.returncode != 0:
        raise Lost(f"doctor: status {doctor.returncode}\n{doctor.stdout[-2000:]}{doctor.stderr[-2000:]}")
    if total == 0:
        raise Lost("not one write was acknowledged: nothing was tested")
    return total


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mixed", action="store_true", help="adds, updates, deletes, bulk, tune, drop, backup and keys at once")
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(30))
    parser.add_argument("--data", help="folder to work in (default: a temporary one)")
    options = parser.parse_args()
    print(f"{options.rounds} rounds, {options.clients} clients, seed {options.seed}")
    top = pathlib.Path(options.data or tempfile.mkdtemp(prefix="lookalike-kill9-"))
    try:
        work = kill9_mixed.rounds if options.mixed else rounds
        total = work(options, top if options.mixed else top / "data", lambda line: print(line, flush=True))
    except Lost as lost:
        print(f"FAILED (the folder {top} is kept): {lost}")
        return 1
    if not options.data:
        shutil.rmtree(top, ignore_errors=True)
    print(f"passed: {options.rounds} rounds, {total} acknowledged writes, none lost")
    return 0


if __name__ == "__main__":
    sys.exit(main())
