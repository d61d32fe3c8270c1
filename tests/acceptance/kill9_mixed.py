"""kill -9 under mixed writes: everything that changes what is kept, at once. `kill9.py --mixed` runs it.

A round: WRITERS clients add, replace, update, delete, delete by filter and send bulk requests, each on fileids of its own; others tune and
untune the collection, make and drop a second one, back up, make and revoke API keys. At a random moment the server is killed, now and
then a second time while it starts, and started again on the same folder. Then everything is compared with the book:

- each record is there as the last acknowledged write left it, or as the one in flight would have: picture, vector, tags, itemid, brief and thumbnail
  all of one write; browse, count, filter and search agree
- the collection is tuned or not, as was acknowledged; the second one is there or not, with its records
- a key that was made opens the door, one that was revoked does not
- the backup is whole (every sum is compared), and, every so often, is restored under another name: each record as it was at some moment
  of the last complete backup or later
- every so often `lookalike doctor` reads all of it while the server is away, and finds nothing

The model is tiny, made here, so that the store works and not the network. STEADY records that nobody changes make the collection large
enough to have an index.
"""
import hashlib
import http.client
import json
import pathlib
import random
import socket
import subprocess
import threading
import time
import urllib.parse

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper

from support import HOST, OK, PROGRAM, SLOW, Server, b64, picture, program_environment, run_program

COLLECTION, SECOND, RESTORED = "killed", "dropped", "restored"
WRITERS, OWN, PICTURES, STEADY, FIRST_STEADY = 6, 40, 24, 2300, 1_000_000
SIDE, DIMENSION = 32, 24


class Lost(AssertionError):
    pass


class Gone(Exception):
    """The server was killed in the middle."""


def tiny_model(folder):
    """A model that costs nothing: one convolution and the mean over the picture."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = numpy.random.default_rng(5).standard_normal((DIMENSION, 3, 5, 5)).astype(numpy.float32)
    nodes = [helper.make_node("Conv", ["image", "w"], ["c"], strides=[3, 3]), helper.make_node("Relu", ["c"], ["r"]),
             helper.make_node("GlobalAveragePool", ["r"], ["p"]), helper.make_node("Flatten", ["p"], ["embedding"])]
    graph = helper.make_graph(nodes, "tiny", [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])],
                              [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", DIMENSION])],
                              [numpy_helper.from_array(weights, "w")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "model.onnx")
    data = (folder / "model.onnx").read_bytes()
    (folder / "model.json").write_text(json.dumps({
        "format": 1, "name": folder.name, "file": "model.onnx", "sha256": hashlib.sha256(data).hexdigest(),
        "input": {"name": "image", "width": SIDE, "height": SIDE, "resize": "stretch", "channels": "rgb",
                  "mean": [127, 127, 127], "std": [128, 128, 128]},
        "output": {"name": "embedding", "pooling": "none", "normalisation": "l2", "dimension": DIMENSION},
        "background": "none", "licence": "test", "source": "a test"}))


class Client:
    """One kept-alive connection. Raises Gone where the server does not answer."""

    def __init__(self, port, key):
        self.connection = http.client.HTTPConnection(HOST, port, timeout=60 * SLOW)
        self.headers = {"Authorization": f"Bearer {key}"}

    def raw(self, method, path, body=None, kind=None, query=None):
        if query:
            path += "?" + urllib.parse.urlencode(query)
        try:
            while True:
                self.connection.request(method, path, body, self.headers | ({"Content-Type": kind} if kind else {}))
                reply = self.connection.getresponse()
                data = reply.read()
                if reply.status != 503 or not reply.getheader("Retry-After"):
                    return reply.status, data
                time.sleep(0.2)  # a busy machine: nothing was done, as it says
        except (http.client.HTTPException, OSError) as gone:
            self.connection.close()
            raise Gone(f"{method} {path}: {gone!r}") from gone

    def json(self, method, path, body=None, query=None):
        status, data = self.raw(method, path, None if body is None else json.dumps(body), None if body is None else "application/json", query)
        return status, json.loads(data) if data else None

    def must(self, method, path, body=None, query=None, status=(200, 201, 202, 204)):
        got, data = self.json(method, path, body, query)
        if got not in status or (isinstance(data, dict) and data.get("code", OK) != OK):
            raise Lost(f"refused: {method} {path} {query or ''}: {got} {str(data)[:400]}")
        return data

    def job(self, path, body=None):
        """Start a job and wait for its end. → the view of it"""
        name = self.must("POST", path, body)["job"]
        while True:
            view = self.must("GET", f"/v1/jobs/{name}")
            if view["state"] != "running":
                return view
            time.sleep(0.004)


class Thing:
    """What one record, collection, key or the tuning may be: `certain` by the last acknowledged write, and what the one in flight would
    make of it. `since` has every state since the last complete backup began, `next` since the one under way did."""
    NOTHING = object()

    def __init__(self, state=None):
        self.certain, self.possible = state, Thing.NOTHING
        self.since, self.next = {state}, None

    def states(self):
        return {self.certain} if self.possible is Thing.NOTHING else {self.certain, self.possible}


class Book:
    def __init__(self):
        self.lock = threading.Lock()
        self.records = {w * 1000 + k: Thing() for w in range(WRITERS) for k in range(1, OWN + 1)}
        self.second = {fileid: Thing() for fileid in (1, 2, 3)}
        self.second_is, self.tuned = Thing(False), Thing(False)
        self.keys = {}  # text → Thing(True: opens)
        self.key_ids = {}
        self.backup_acknowledged = False
        self.counts = {}

    def begin(self, thing, state):
        with self.lock:
            thing.possible = state
            thing.since.add(state)
            if thing.next is not None:
                thing.next.add(state)

    def end(self, thing, what):
        with self.lock:
            thing.certain, thing.possible = thing.possible, Thing.NOTHING
            self.counts[what] = self.counts.get(what, 0) + 1

    def backup_begins(self):
        with self.lock:
            for thing in self.records.values():
                thing.next = thing.states()

    def backup_ends(self):
        with self.lock:
            for thing in self.records.values():
                thing.since, thing.next = thing.next, None
            self.backup_acknowledged = True
            self.counts["backup"] = self.counts.get("backup", 0) + 1

    def total(self):
        return sum(self.counts.values())


class Life:
    """The clients of one life of the server."""

    def __init__(self, world, rng):
        self.world, self.book, self.rng = world, world.book, rng
        self.problems, self.quit = [], threading.Event()
        self.before = self.book.total()
        self.threads = [threading.Thread(target=self.guarded, args=(work, random.Random(rng.getrandbits(60)), *more))
                        for work, *more in [*((self.write, n) for n in range(WRITERS)), (self.tune,), (self.make_and_drop,), (self.back_up,), (self.keys,)]]

    def guarded(self, work, rng, *more):
        client = Client(self.world.server.port, self.world.key)
        try:
            while not self.quit.is_set():
                work(client, rng, *more)
        except Gone as gone:
            if not self.quit.is_set() and self.world.server.alive():
                self.problems.append(f"no answer, and the server lives: {gone}")
        except Exception as problem:  # noqa: BLE001  (a thread's end must be seen)
            if self.world.server.alive():
                self.problems.append(f"{type(problem).__name__}: {problem}")
        finally:
            client.connection.close()

    def acknowledged(self):
        return self.book.total() - self.before

    # --- records

    def token(self, rng, n=None):
        return (rng.randrange(PICTURES) if n is None else n, f"t{rng.getrandbits(48):x}")

    def fields(self, fileid, state):
        return {"fileid": fileid, "itemid": fileid // 3, "image": self.world.encoded[state[0]], "tags": [state[1]], "brief": {"of": state[1]}}

    def write(self, client, rng, writer):
        fileid = writer * 1000 + rng.randrange(1, OWN + 1)
        thing, what = self.book.records[fileid], rng.random()
        if what < 0.45:
            self.add(client, rng, COLLECTION, fileid, thing)
        elif what < 0.7:
            self.update(client, rng, fileid, thing)
        elif what < 0.84:
            self.book.begin(thing, None)
            if rng.random() < 0.5:
                client.must("POST", "/milvus/img/delete", query={"collection": COLLECTION, "fileid": fileid})
            else:
                client.must("DELETE", f"/v1/collections/{COLLECTION}/images/{fileid}")
            self.book.end(thing, "delete")
        elif what < 0.92:
            self.bulk(client, rng, writer)
        elif what < 0.96:
            self.delete_some(client, rng, writer)
        else:
            self.read(client, fileid, thing)

    def add(self, client, rng, collection, fileid, thing):
        state = self.token(rng)
        self.book.begin(thing, state)
        if rng.random() < 0.5:
            client.must("POST", "/milvus/img/add", {"collection": collection, **self.fields(fileid, state)})
        else:
            query = {"itemid": fileid // 3, "tags": json.dumps([state[1]]), "brief": json.dumps({"of": state[1]})}
            status, data = client.raw("PUT", f"/v1/collections/{collection}/images/{fileid}", self.world.pictures[state[0]], "image/jpeg", query)
            if status not in (200, 201, 204):
                raise Lost(f"refused: PUT of {fileid}: {status} {data[:400]!r}")
        self.book.end(thing, "add")

    def update(self, client, rng, fileid, thing):
        """Of the tags, the picture, or both. What is not there stays away, and the reply says so."""
        old, new = thing.certain, self.token(rng)
        picture_too = rng.random() < 0.4
        state = None if old is None else new if picture_too else (old[0], new[1])
        body = {"tags": [new[1]], "brief": {"of": new[1]}} | ({"image": self.world.encoded[new[0]]} if picture_too else {})
        self.book.begin(thing, state)
        if rng.random() < 0.5:
            found = client.must("POST", "/milvus/img/update", {"collection": COLLECTION, "fileid": fileid, **body})["data"] == fileid
        else:
            status, data = client.json("PATCH", f"/v1/collections/{COLLECTION}/images/{fileid}", body)
            if status not in (200, 204, 404):
                raise Lost(f"refused: PATCH of {fileid}: {status} {data}")
            found = status != 404
        if found != (old is not None):
            raise Lost(f"an update of {fileid} says it is {'there' if found else 'not there'}; acknowledged: {old}")
        self.book.end(thing, "update")

    def bulk(self, client, rng, writer):
        chosen = rng.sample(range(1, OWN + 1), 5)
        wanted = [(writer * 1000 + k, self.token(rng)) for k in chosen]
        for fileid, state in wanted:
            self.book.begin(self.book.records[fileid], state)
        lines = "\n".join(json.dumps(self.fields(fileid, state)) for fileid, state in wanted)
        status, data = client.raw("POST", f"/v1/collections/{COLLECTION}/images", lines, "application/x-ndjson")
        results = [json.loads(line) for line in data.splitlines()] if status == 200 else []
        if len(results) != len(wanted) or any(r["status"] != 200 for r in results):
            raise Lost(f"refused: bulk: {status} {data[:400]!r}")
        for fileid, _ in wanted:
            self.book.end(self.book.records[fileid], "bulk")

    def delete_some(self, client, rng, writer):
        chosen = [writer * 1000 + k for k in rng.sample(range(1, OWN + 1), 4)]
        things = [self.book.records[f] for f in chosen]
        there = sum(t.certain is not None for t in things)
        for thing in things:
            self.book.begin(thing, None)
        got = client.must("DELETE", f"/v1/collections/{COLLECTION}/images", query={"filter": f"fileid in {chosen}"})
        if got["deleted"] != there:
            raise Lost(f"deleting by filter deleted {got['deleted']} of {there}")
        for thing in things:
            self.book.end(thing, "delete")

    def read(self, client, fileid, thing):
        """Nobody else writes it: what was acknowledged is seen at once."""
        status, data = client.json("GET", f"/v1/collections/{COLLECTION}/images/{fileid}")
        seen = data["tags"][0] if status == 200 else None
        if seen != (thing.certain and thing.certain[1]):
            raise Lost(f"fileid {fileid} reads as {seen}; acknowledged: {thing.certain}")

    # --- the rest

    def tune(self, client, rng):
        thing, on = self.book.tuned, rng.random() < 0.6
        self.book.begin(thing, on)
        if on:
            view = client.job(f"/v1/collections/{COLLECTION}/tune")
            if view["state"] != "done":
                raise Lost(f"tune: {view}")
        else:
            client.must("DELETE", f"/v1/collections/{COLLECTION}/tune")
        self.book.end(thing, "tune" if on else "untune")
        self.quit.wait(rng.uniform(0, 0.05))

    def make_and_drop(self, client, rng):
        there = self.book.second_is
        if not there.certain:
            self.book.begin(there, True)
            client.must("PUT", f"/v1/collections/{SECOND}")
            self.book.end(there, "create")
        for fileid, thing in self.book.second.items():
            self.add(client, rng, SECOND, fileid, thing)
        if rng.random() < 0.5:
            return
        for thing in self.book.second.values():
            self.book.begin(thing, None)
        self.book.begin(there, False)
        client.must("POST", "/milvus/collection/drop", query={"collection": SECOND})
        for thing in self.book.second.values():
            self.book.end(thing, "record dropped")
        self.book.end(there, "drop")

    def back_up(self, client, rng):
        self.book.backup_begins()
        view = client.job("/v1/backup", {"folder": "daily"})
        if view["state"] != "done":
            raise Lost(f"backup: {view}")
        self.book.backup_ends()
        self.quit.wait(rng.uniform(0, 0.1))

    def keys(self, client, rng):
        """A key that is being made is nobody's until the reply is there, so only its acknowledgement counts."""
        mine = [text for text, thing in self.book.keys.items() if thing.certain]
        if len(mine) < 3 or rng.random() < 0.5 and len(mine) < 20:
            made = client.must("POST", "/v1/keys", {"name": f"k{rng.getrandbits(30)}", "rights": ["search"]})
            with self.book.lock:
                self.book.keys[made["key"]] = Thing(True)
                self.book.key_ids[made["key"]] = made["id"]
                self.book.counts["key made"] = self.book.counts.get("key made", 0) + 1
        else:
            text = rng.choice(mine)
            thing = self.book.keys[text]
            self.book.begin(thing, False)
            client.must("DELETE", f"/v1/keys/{self.book.key_ids[text]}")
            self.book.end(thing, "key revoked")
        self.quit.wait(rng.uniform(0.01, 0.05))


class QuickServer(Server):
    """Asks every few milliseconds whether it is ready: thousands of starts."""

    def launch(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=program_environment())

    def start(self, timeout=60):
        self.launch()
        deadline = time.monotonic() + timeout * SLOW
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise Lost(f"the server ended with {self.process.returncode} at its start:\n{self.tail()}")
            try:
                with socket.create_connection((HOST, self.port), timeout=5 * SLOW) as s:
                    s.sendall(b"GET /readyz HTTP/1.0\r\n\r\n")
                    if s.recv(16)[9:12] == b"200":
                        return self
            except OSError:
                pass
            time.sleep(0.004)
        raise Lost(f"the server was not ready within {timeout * SLOW:.0f} s:\n{self.tail()}")


class World:
    def __init__(self, top, rng):
        self.book, self.rng = Book(), rng
        tiny_model(top / "models" / "tiny")
        self.backups = top / "backups"
        self.backups.mkdir(exist_ok=True)
        self.data = top / "data"
        made = run_program("key", "create", "operator", "--rights", "admin", "--data", self.data, "--json")
        if made.returncode != 0:
            raise Lost(f"no first key: {made.stderr}")
        self.key = json.loads(made.stdout.splitlines()[0])["key"]
        self.server = QuickServer(self.data, "--models", top / "models", "--model", "tiny", "--backup-dir", self.backups, log=top / "log.txt")
        self.pictures = [picture(n, (40, 40), quality=85) for n in range(PICTURES)]
        self.encoded = [b64(p) for p in self.pictures]
        self.twice_killed = 0

    def fill(self):
        client = Client(self.server.port, self.key)
        client.must("PUT", f"/v1/collections/{COLLECTION}")
        for first in range(0, STEADY, 500):
            lines = "\n".join(json.dumps({"fileid": FIRST_STEADY + n, "itemid": n // 5, "image": self.encoded[n % PICTURES], "tags": ["steady"]})
                              for n in range(first, min(first + 500, STEADY)))
            status, data = client.raw("POST", f"/v1/collections/{COLLECTION}/images", lines, "application/x-ndjson")
            if status != 200 or b'"status":4' in data or b'"status":5' in data:
                raise Lost(f"filling: {status} {data[:300]!r}")
        self.vectors = []
        for data in self.pictures:
            status, reply = client.raw("POST", "/v1/embed", data, "image/jpeg")
            self.vectors.append(numpy.array(json.loads(reply)["vector"]))
        client.connection.close()

    # --- one life and its end

    def live(self):
        life = Life(self, self.rng)
        for t in life.threads:
            t.start()
        wanted, late = self.rng.randrange(1, 160), time.monotonic() + 10 * SLOW
        while life.acknowledged() < wanted and time.monotonic() < late and not life.problems:
            time.sleep(0.002)
        time.sleep(self.rng.uniform(0, 0.03))
        self.server.process.kill()
        life.quit.set()
        self.server.process.wait()
        for t in life.threads:
            t.join()
        if life.problems:
            raise Lost("\n".join(life.problems[:5]) + "\n" + self.server.tail())
        return life.acknowledged()

    def restart(self):
        while self.rng.random() < 0.08:
            self.server.launch()
            time.sleep(self.rng.uniform(0, 0.25))
            self.server.kill()
            self.twice_killed += 1
        began = time.monotonic()
        self.server.start()
        return time.monotonic() - began

    # --- what is there?

    def check(self, deep):
        client = Client(self.server.port, self.key)
        self.check_second(client)
        there = self.check_records(client, COLLECTION, self.book.records, lambda thing: thing.states(), STEADY)
        for thing, stored in there:
            thing.certain, thing.possible = stored, Thing.NOTHING
            thing.since.add(stored)
            thing.next = None
        self.check_search(client)
        self.check_tuned(client)
        self.check_keys()
        if self.book.backup_acknowledged:
            self.check_backup(client, deep)
        client.connection.close()

    def browse(self, client, collection):
        found, after = {}, None
        while True:
            page = client.must("GET", f"/v1/collections/{collection}/images",
                               query={"limit": 1000, "fields": "fileid,itemid,tags,brief,vector"} | ({} if after is None else {"after": after}))
            for record in page["images"]:
                if record["fileid"] in found:
                    raise Lost(f"fileid {record['fileid']} is listed twice")
                found[record["fileid"]] = record
            after = page["next"]
            if after is None:
                return found

    def state_of(self, record):
        """(picture, tag) of a record, all of whose members must be of one write."""
        tag, vector = record["tags"][0], numpy.array(record["vector"])
        near = ((numpy.array(self.vectors) - vector) ** 2).sum(1)
        number = int(near.argmin())
        if near[number] > 1e-3 or record["brief"] != {"of": tag} or record["itemid"] != record["fileid"] // 3:
            raise Lost(f"fileid {record['fileid']} is of no single write: {str(record)[:300]}, nearest picture at {near[number]}")
        return number, tag

    def check_records(self, client, collection, things, allowed, steady):
        found = self.browse(client, collection)
        kept = sum(f >= FIRST_STEADY for f in found)
        if kept != steady:
            raise Lost(f"{collection}: {kept} of {steady} records that nobody changes are there")
        strangers = [f for f in found if f < FIRST_STEADY and f not in things]
        if strangers:
            raise Lost(f"{collection}: records that nobody wrote: {strangers[:5]}")
        states = []
        for fileid, thing in things.items():
            stored = self.state_of(found[fileid]) if fileid in found else None
            if stored not in allowed(thing):
                raise Lost(f"{collection}: fileid {fileid} is {stored}; acknowledged: {thing.certain}, in flight: "
                           f"{'nothing' if thing.possible is Thing.NOTHING else thing.possible}; allowed {allowed(thing)}")
            states.append((thing, stored))
        count = client.must("GET", f"/v1/collections/{collection}/count")["count"]
        if count != len(found):
            raise Lost(f"{collection}: count says {count}, browsing lists {len(found)}")
        for fileid in self.rng.sample(sorted(found), min(5, len(found))):
            status, data = client.raw("GET", f"/v1/collections/{collection}/images/{fileid}/thumbnail")
            if status != 200 or data[:2] != b"\xff\xd8":
                raise Lost(f"{collection}: the thumbnail of {fileid}: {status} {data[:200]!r}")
        return states

    def check_second(self, client):
        status, _ = client.json("GET", f"/v1/collections/{SECOND}")
        there = status == 200
        if there not in self.book.second_is.states():
            raise Lost(f"the second collection is {'there' if there else 'not there'}; acknowledged: {self.book.second_is.certain}")
        dropping = self.book.second_is.possible is False  # which takes all records or none
        if there:
            states = self.check_records(client, SECOND, self.book.second, lambda thing: {thing.certain} if dropping else thing.states(), 0)
        else:
            states = [(thing, None) for thing in self.book.second.values()]
        self.book.second_is.certain, self.book.second_is.possible = there, Thing.NOTHING
        for thing, stored in states:
            thing.certain, thing.possible = stored, Thing.NOTHING

    def check_search(self, client):
        """A picture that is there is found by it, and by a filter; a search over everything finds everything."""
        present = {f: t.certain for f, t in self.book.records.items() if t.certain}
        for fileid in self.rng.sample(sorted(present), min(3, len(present))):
            number, tag = present[fileid]
            path, one = f"/v1/collections/{COLLECTION}/search", {"image": self.encoded[number], "group": False, "fields": ["fileid", "distance"]}
            hits = client.must("POST", path, {**one, "limit": 16384})["hits"]
            near = {h["fileid"] for h in hits if h["distance"] < 1e-3}
            equal = {f for f, (n, _) in present.items() if n == number}
            if not equal <= near or len(hits) != len(present) + STEADY:
                raise Lost(f"a search finds {len(hits)} of {len(present) + STEADY}, and {len(equal - near)} of {len(equal)} equal pictures not")
            hits = client.must("POST", path, {**one, "filter": f'array_contains(tags, "{tag}")'})["hits"]
            if [h["fileid"] for h in hits] != [fileid]:
                raise Lost(f"a search with the filter for {fileid} finds {hits}")

    def check_tuned(self, client):
        """In the learned space two pictures are not as far from each other as their vectors are."""
        thing = self.book.tuned
        hits = client.must("POST", f"/v1/collections/{COLLECTION}/search",
                           {"image": self.encoded[0], "group": False, "limit": 16384, "exact": True, "fields": ["fileid", "distance"], "filter": f"fileid >= {FIRST_STEADY}"})["hits"]
        plain = [float(((self.vectors[(h["fileid"] - FIRST_STEADY) % PICTURES] - self.vectors[0]) ** 2).sum()) for h in hits]
        tuned = max(abs(h["distance"] - p) for h, p in zip(hits, plain)) > 0.01
        if tuned not in thing.states():
            raise Lost(f"the collection is {'' if tuned else 'not '}tuned; acknowledged: {thing.certain}")
        thing.certain, thing.possible = tuned, Thing.NOTHING

    def check_keys(self):
        """Those that are certain to open, and those revoked last."""
        path = f"/v1/collections/{COLLECTION}/count"
        for text, thing in list(self.book.keys.items()):
            client = Client(self.server.port, text)
            status, _ = client.json("GET", path)
            client.connection.close()
            if (status == 200) not in thing.states() or status not in (200, 401):
                raise Lost(f"a key that should {'' if thing.certain else 'not '}open gets {status}")
            thing.certain, thing.possible = status == 200, Thing.NOTHING
        revoked = [text for text, thing in self.book.keys.items() if not thing.certain]
        for text in revoked[:-5]:
            del self.book.keys[text], self.book.key_ids[text]

    def check_backup(self, client, deep):
        done = run_program("backup", self.backups / "daily", "--verify")
        if done.returncode != 0:
            raise Lost(f"the backup is damaged: {done.stdout[-1000:]}{done.stderr[-1000:]}")
        if not deep:
            return
        view = client.job("/v1/restore", {"folder": "daily", "collection": COLLECTION, "as": RESTORED, "replace": True})
        if view["state"] != "done":
            raise Lost(f"restore: {view}")
        self.check_records(client, RESTORED, self.book.records, lambda thing: thing.since | {thing.certain}, STEADY)
        client.must("DELETE", f"/v1/collections/{RESTORED}")

    def doctor(self):
        done = run_program("doctor", "--data", self.data)
        if done.returncode != 0:
            raise Lost(f"doctor: status {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


def rounds(options, top, say):
    """All rounds. Raises Lost on the first failure. → acknowledged writes"""
    rng = random.Random(options.seed)
    world = World(pathlib.Path(top), rng)
    began, slowest, life = time.monotonic(), 0, 0
    world.server.start()
    try:
        world.fill()
        for number in range(1, options.rounds + 1):
            life = world.live()
            if number % 50 == 0:
                world.doctor()
            took = world.restart()
            slowest = max(slowest, took)
            world.check(deep=number % 10 == 0)
            say(f"round {number}: {life} acknowledged, ready again after {took:.2f} s, all as it should be "
                f"({(time.monotonic() - began) / number:.2f} s a round)")
        world.server.stop_cleanly()
    finally:
        world.server.kill()
    world.doctor()
    counts = world.book.counts
    say(", ".join(f"{counts[what]} {what}" for what in sorted(counts)))
    say(f"{world.twice_killed} more kills while it started; slowest start {slowest:.2f} s")
    missing = {"add", "update", "delete", "bulk", "tune", "untune", "create", "drop", "backup", "key made", "key revoked"} - set(counts)
    if missing and options.rounds >= 10:
        raise Lost(f"never acknowledged, so not tested: {', '.join(sorted(missing))}")
    return world.book.total()
