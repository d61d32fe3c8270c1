"""What a service manager is told (Type=notify): READY when requests are answered, RELOADING is not needed, STOPPING at the end."""
import os
import socket
import signal

import httpx
import pytest

from support import SLOW, Server


@pytest.mark.parametrize("abstract", [False, True])
def test_ready_and_stopping(tmp_path, abstract):
    path = f"\0lookalike-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        manager.settimeout(60 * SLOW)
        server = Server(tmp_path / "data", log=tmp_path / "log.txt", environment={"NOTIFY_SOCKET": path.replace("\0", "@")})
        server.start()
        try:
            first = manager.recv(4096).decode()
            assert "READY=1" in first.split("\n"), first
            assert httpx.get(server.url + "/readyz", trust_env=False).status_code == 200
            server.process.send_signal(signal.SIGTERM)
            assert "STOPPING=1" in manager.recv(4096).decode().split("\n")
            assert server.process.wait(30 * SLOW) == 0  # and not by a second signal, which ends it at once
        finally:
            server.kill()


def test_ready_is_not_said_too_early(tmp_path):
    """A server that cannot start says nothing."""
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        manager.settimeout(0.2)
        server = Server(tmp_path / "data", "--model", "no-such-model", log=tmp_path / "log.txt", environment={"NOTIFY_SOCKET": path})
        with pytest.raises(RuntimeError, match="ended with"):
            server.start()
        with pytest.raises(TimeoutError):
            manager.recv(4096)


@pytest.mark.parametrize("place", ["", "relative", "/nowhere/there", "/" + "x" * 200])
def test_a_socket_that_is_none_harms_nothing(tmp_path, place):
    server = Server(tmp_path / "data", log=tmp_path / "log.txt", environment={"NOTIFY_SOCKET": place})
    server.start()
    server.stop_cleanly()
