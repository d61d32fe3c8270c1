"""A real Milvus for the tests: started here, on this machine only, and ended here.

LOOKALIKE_MILVUS_KIND says which: "milvus" (2.3.5, the server in the wheel `milvus`) or "lite" (milvus-lite 3.x). Of the
first only one runs on a machine at a time: its etcd has a fixed port.
"""
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "acceptance"))
import support  # noqa: E402

KIND = os.environ.get("LOOKALIKE_MILVUS_KIND", "milvus")
BIN = pathlib.Path(sys.executable).parent


def listens(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


def is_free(port):
    """Whether milvus-server would take it: it looks without SO_REUSEADDR, and where that fails quietly takes the next port."""
    with socket.socket() as s:
        try:
            s.bind(("", port))
            return True
        except OSError:
            return False


def wait_for(holds, seconds):
    end = time.monotonic() + seconds
    while not holds() and time.monotonic() < end:
        time.sleep(0.1)
    return holds()


class Milvus:
    """start(), then .address; pause() and resume() by signals; kill() and start() again on the same data."""

    def __init__(self, folder, *flags):
        self.folder, self.port, self.flags = folder, support.free_port(), flags
        self.address = f"http://127.0.0.1:{self.port}"
        self.process = None

    def command(self):
        if KIND == "lite":
            return [BIN / "milvus-lite", "server", "--data-dir", self.folder / "data", "--host", "127.0.0.1", "--port", str(self.port)]
        return [BIN / "milvus-server", "--data", self.folder / "data", "--proxy-port", str(self.port), "--etcd-log-level", "error", *self.flags]

    def start(self, timeout=240):  # after a kill it waits for the sessions of the one before to run out
        if KIND == "milvus":
            assert wait_for(lambda: not listens(2379), 10), "another Milvus, or etcd, has port 2379 of this machine: end it first"
            assert wait_for(lambda: is_free(self.port), 120), "connections of the Milvus before still have its port"
        with open(self.folder / "log.txt", "ab") as log:
            self.process = subprocess.Popen(list(map(str, self.command())), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            start_new_session=True, cwd=self.folder)
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            assert self.process.poll() is None, (self.folder / "log.txt").read_text()[-3000:]
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return self
            except OSError:
                time.sleep(0.2)
        raise AssertionError("Milvus did not listen in time")

    def signal(self, number):  # to the server and what it started: they are a session of their own
        os.killpg(self.process.pid, number)

    def pause(self):
        self.signal(signal.SIGSTOP)

    def resume(self):
        self.signal(signal.SIGCONT)

    def kill(self):
        if self.process:
            self.signal(signal.SIGKILL)
            self.process.wait()
            self.process = None


@pytest.fixture(scope="session")
def milvus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("milvus")
    server = Milvus(folder)
    try:
        yield server.start()
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def client(milvus):
    """pymilvus: our look at what the server wrote, and the hand of other programs."""
    from pymilvus import MilvusClient
    end = time.monotonic() + 120
    while True:
        try:
            client = MilvusClient(milvus.address, timeout=20)
            client.list_collections()
            return client
        except Exception:
            if time.monotonic() > end:
                raise
            time.sleep(0.5)


@pytest.fixture(scope="session")
def server(milvus, client, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lookalike")
    server = support.Server(folder / "data", "--milvus-uri", milvus.address, "--milvus-timeout", "8000", log=folder / "log.txt")
    server.start(120)
    yield server
    server.stop_cleanly()


@pytest.fixture(scope="session")
def api(server):
    api = support.Api(server.url, timeout=90)
    yield api
    api.close()
