"""Milvus ended, and paused, in the middle of 32 concurrent requests."""
import collections
import concurrent.futures
import logging
import os
import pathlib
import subprocess
import threading
import time

import httpx
import pytest
from pymilvus import MilvusClient
from support import PROGRAM, Server, b64, free_port, picture, program_environment

from conftest import KIND, listens, wait_for

logging.getLogger("pymilvus").setLevel(logging.CRITICAL)  # not a page of it for every question to a Milvus that is not back yet
NAME = "outage"
LONG = "LOOKALIKE_TEST_LONG" in os.environ  # a pause of a minute instead of ten seconds
CLIENTS = 32
TIMEOUT = 8  # seconds, the --milvus-timeout of conftest.server
# As many of the clients send pictures. With no more than four a CPU inside, src/http/overload.h never sees too many, so that each
# answer that failed has to name Milvus.
HEAVY = min(8, 4 * len(os.sched_getaffinity(0)))
ON_LITE = "milvus-lite, one Python process, answered for seconds what was asked before it was stopped, and was not back 150 s after SIGKILL"
on_a_server = pytest.mark.skipif(KIND == "lite", reason=ON_LITE)


@pytest.fixture(scope="module")
def filled(api):
    api.create(NAME)
    for fileid in range(20):
        assert api.add(NAME, fileid, picture(fileid)).data == fileid
    assert len(api.search(NAME, picture(3), limit=5).data) == 5


def requests():
    """What the clients ask, each one of these again and again: with pictures, by fileid, and what costs no model. All need Milvus."""
    native = f"/v1/collections/{NAME}"
    heavy = [("POST", "/milvus/img/search", {"json": {"collection": NAME, "image": b64(picture(3)), "limit": 5}}),
             ("POST", native + "/search", {"json": {"fileid": 3, "limit": 5}})]
    light = [("GET", "/milvus/img/get", {"params": {"collection": NAME, "fileid": "3"}}),
             ("GET", "/milvus/img/count", {"params": {"collection": NAME}}),
             ("GET", native + "/images/3", {}),
             ("GET", native + "/images", {"params": {"limit": 5}})]
    return [heavy[n % 2] if n < HEAVY else light[n % 4] for n in range(CLIENTS)]


Answer = collections.namedtuple("Answer", "seconds status path body")


class Load:
    """The clients, without a pause, for as long as the block lasts."""

    def __init__(self, server):
        self.stop, self.answers = threading.Event(), []
        self.clients = [httpx.Client(base_url=server.url, timeout=70, trust_env=False) for _ in range(CLIENTS)]

    def one(self, http, method, path, options):
        with http:
            while not self.stop.is_set():
                start = time.monotonic()
                reply = http.request(method, path, **options)
                self.answers.append(Answer(time.monotonic() - start, reply.status_code, path, reply.json()))
                if reply.status_code == 503:
                    time.sleep(0.2)

    def __enter__(self):
        self.pool = concurrent.futures.ThreadPoolExecutor(CLIENTS)
        self.runs = [self.pool.submit(self.one, http, *request) for http, request in zip(self.clients, requests())]
        return self

    def __exit__(self, *_):
        self.stop.set()
        for run in self.runs:
            run.result(timeout=60)  # an answer each, and none hangs
        self.pool.shutdown()

    @property
    def failed(self):
        return [a for a in self.answers if a.status != 200]

    def check(self, slowest):
        """What failed says so with 503, in the form of its route, and that it was Milvus; nobody waited longer than `slowest`."""
        for a in self.failed:
            told = a.body["message"] if a.path.startswith("/milvus/") else a.body["detail"]
            assert a.status == 503 and "Milvus" in told and a.body.get("code", 10100) == 10100, a
        assert {a.path for a in self.failed} == {path for _, path, _ in requests()}, "each kind of request has met the outage"
        assert len(self.failed) >= CLIENTS
        assert max(a.seconds for a in self.answers) < slowest, max(self.answers)


# The threads that gRPC 1.51 starts for itself, by the names it gives them. They are pools that grow where all of a pool's threads are at
# work at one moment, as when the deadlines of 32 calls pass at once, and they do not shrink: the timers' (timer_manager.cc starts one
# where none is left to wait for the next timer), two executors' (up to two a CPU each) and the event engine's. So their number
# goes up by one now and then, by an accident of scheduling, and no more. All other threads are ours, or work for us.
GRPC = ("grpc_global_tim", "default-executo", "resolver-execut", "event_engine", "timer_manager")
State = collections.namedtuple("State", "ours grpc memory")


def state(server):
    names = [(task / "comm").read_text().strip() for task in pathlib.Path(f"/proc/{server.pid}/task").iterdir()]
    grpc = sum(name in GRPC for name in names)
    return State(len(names) - grpc, grpc, round(server.memory("VmRSS") / 2 ** 20))


def answers_a_query(milvus):
    try:
        client = MilvusClient(milvus.address, timeout=5)
        try:
            return bool(client.query(NAME, filter="fileid >= 0", output_fields=["fileid"], limit=1, consistency_level="Strong"))
        finally:
            client.close()
    except Exception:
        return False


def serves(milvus, seconds=300):
    """Until Milvus itself answers a query of pymilvus: it needs a while after it was started."""
    start = time.monotonic()
    assert wait_for(lambda: answers_a_query(milvus), seconds), "Milvus did not come back"
    return time.monotonic() - start


def come_back(milvus, how):
    """After a pause of a minute Milvus 2.3.5 goes on for seconds, more where the machine is busy, and then ends itself: its components'
    sessions in etcd have run out (common.session.ttl, 30 s; its log: "requested lease not found", "disconnected from etcd, process will
    exit"). Whoever runs one has something that starts it again, as here. Our server stays as it is."""
    if how == "ended":
        milvus.start()
        return f"back {serves(milvus):.0f} s after its start"
    milvus.resume()
    if LONG and wait_for(lambda: not listens(milvus.port), 60):
        milvus.kill()
        milvus.start()
        return f"ended itself after the pause, back {serves(milvus):.0f} s after its start"
    return f"back {serves(milvus):.1f} s after the pause"


def works(api, server):
    """The first requests after it, without a restart of ours."""
    reply = api.search(NAME, picture(3), limit=5)
    assert reply.code == 10000 and len(reply.data) == 5, reply
    assert httpx.get(server.url + "/readyz", timeout=10, trust_env=False).status_code == 200
    with Load(server) as load:
        time.sleep(3)
    assert not load.failed, load.failed[:3]
    assert {a.path for a in load.answers} == {path for _, path, _ in requests()}
    return len(load.answers)


def outage(server, milvus, how):
    """One, in the middle of the load."""
    with Load(server) as load:
        time.sleep(3)
        milvus.pause() if how == "paused" else milvus.kill()
        time.sleep(3)
        ready = httpx.get(server.url + "/readyz", timeout=10, trust_env=False)
        assert ready.status_code == 503 and "Milvus" in ready.text, ready.text
        assert httpx.get(server.url + "/healthz", timeout=10, trust_env=False).status_code == 200
        time.sleep(60 if LONG and how == "paused" else 9)
    load.check(slowest=TIMEOUT + 6)  # and a second for the sign of life, on a machine that has other work as well
    return load


@on_a_server
@pytest.mark.parametrize("how", ["paused", "ended"])
def test_outage(api, server, milvus, client, filled, how):
    works(api, server)
    states = [state(server)]
    for round in range(2):
        load = outage(server, milvus, how)
        back = come_back(milvus, how)
        orderly = works(api, server)
        states.append(state(server))
        print(f"{how}, round {round + 1}: {len(load.answers)} answers, {len(load.failed)} of them 503, the slowest after "
              f"{max(a.seconds for a in load.answers):.1f} s; {back}; then {orderly} of 3 s in order; {states[-1]}")
    assert len({s.ours for s in states}) == 1, states
    assert states[2].grpc < states[0].grpc + CLIENTS / 2, states
    assert states[2].memory < states[1].memory + 24, states


@on_a_server
def test_many_outages_leave_nothing(api, milvus, client, filled, tmp_path):
    """Twelve short ones, with hundreds of requests that fail: a thread for each, or for each outage, would be seen."""
    server = Server(tmp_path / "data", "--milvus-uri", milvus.address, "--milvus-timeout", "700").start(120)
    api = type(api)(server.url)
    states, refused = [], 0
    try:
        works(api, server)
        for _ in range(12):
            with Load(server) as load:
                time.sleep(0.3)
                milvus.pause()
                time.sleep(2.2)
            milvus.resume()
            load.check(slowest=8)
            refused += len(load.failed)
            serves(milvus)
            assert len(api.search(NAME, picture(3), limit=5).data) == 5
            states.append(state(server))
    finally:
        milvus.resume()
        api.close()
    server.stop_cleanly()
    print(f"12 short outages, {refused} requests that failed: after the first {states[0]}, the fourth {states[3]}, the last {states[-1]}")
    assert len({s.ours for s in states}) == 1, states
    assert states[-1].grpc < states[3].grpc + 8, states  # eight outages lie between
    assert states[-1].memory < states[3].memory + 12, states


@pytest.mark.parametrize("flags, words", [
    (["--milvus-uri", "http://127.0.0.1:{free}"], ["127.0.0.1:{free}", "MILVUS_PORT"]),
    (["--milvus-uri", "http://no-such-host.invalid:19530"], ["no-such-host.invalid", "MILVUS_HOST"]),
    (["--milvus-uri", "http://a b"], ["--milvus-uri"]),
    (["--backend", "milvus"], ["MILVUS_HOST"]),
    (["--milvus-uri", "http://127.0.0.1:1", "--milvus-ca", "/nowhere"], ["https://"]),
    (["--milvus-uri", "http://127.0.0.1:1", "--milvus-index", "TREE"], ["HNSW"]),
])
def test_wrong_settings_are_named(tmp_path, flags, words):
    free = free_port()
    flags = [f.format(free=free) for f in flags]
    done = subprocess.run([PROGRAM, "serve", "--data", tmp_path / "d", "--listen", f"127.0.0.1:{free_port()}", "--milvus-timeout", "1500", *flags],
                          env=program_environment(), text=True, capture_output=True, timeout=60)
    assert done.returncode in (2, 3)
    assert all(w.format(free=free) in done.stderr for w in words), done.stderr
