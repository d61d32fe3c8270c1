"""Milvus ended, and paused, in the middle of 32 concurrent requests."""
import concurrent.futures
import subprocess
import threading
import time

import httpx
import pytest
from support import PROGRAM, free_port, b64, picture, program_environment

NAME = "outage"


@pytest.fixture(scope="module")
def filled(api):
    api.create(NAME)
    for fileid in range(20):
        assert api.add(NAME, fileid, picture(fileid)).data == fileid
    assert len(api.search(NAME, picture(3), limit=5).data) == 5


def one(url, stop, answers):
    body = {"collection": NAME, "image": b64(picture(3)), "limit": 5}
    with httpx.Client(timeout=70, trust_env=False) as http:
        while not stop.is_set():
            start = time.monotonic()
            reply = http.post(url + "/milvus/img/search", json=body)
            answers.append((time.monotonic() - start, reply.status_code, reply.json()))


def threads_of(server):
    return len(list((__import__("pathlib").Path(f"/proc/{server.pid}/task")).iterdir()))


@pytest.mark.parametrize("how", ["paused", "ended"])
def test_outage(api, server, milvus, client, filled, how):
    stop, answers = threading.Event(), []
    memory, threads = server.memory("VmRSS"), threads_of(server)
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        runs = [pool.submit(one, server.url, stop, answers) for _ in range(32)]
        time.sleep(3)
        milvus.pause() if how == "paused" else milvus.kill()
        time.sleep(3)
        ready = httpx.get(server.url + "/readyz", timeout=10, trust_env=False)
        assert ready.status_code == 503 and "Milvus" in ready.text, ready.text
        time.sleep(12)
        stop.set()
        for run in runs:
            run.result(timeout=60)  # an answer each, and none hangs
    failed = [a for a in answers if a[1] != 200]
    assert failed and all(a[1] == 503 and a[2]["code"] == 10100 and "Milvus" in a[2]["message"] for a in failed), failed[:3]
    assert max(a[0] for a in answers) < 20
    milvus.resume() if how == "paused" else milvus.start()
    end = time.monotonic() + 120  # Milvus itself needs a while before it serves
    while True:
        reply = api.search(NAME, picture(3), limit=5)
        print(f"{120 - end + time.monotonic():.1f} s after: {reply}")
        if reply.code == 10000 or time.monotonic() > end:
            break
        time.sleep(0.5)
    assert reply.code == 10000 and len(reply.data) == 5, reply
    assert httpx.get(server.url + "/readyz", timeout=10, trust_env=False).status_code == 200
    assert threads_of(server) <= threads + 4
    assert server.memory("VmRSS") < memory + 200 * 1024 * 1024


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
