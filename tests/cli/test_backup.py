"""backup, restore and doctor --repair as a user meets them: over a running server, and with --data."""
import json
import threading

import pytest
from test_cli import Server, events, name, pictures, run, state  # noqa: F401 (fixtures)


@pytest.fixture(scope="module")
def backups(tmp_path_factory):
    return tmp_path_factory.mktemp("backups")


@pytest.fixture(scope="module")
def server(tmp_path_factory, backups):
    server = Server(tmp_path_factory.mktemp("server"), flags=("--backup-dir", str(backups)))
    yield server
    assert server.stop() == 0, server.log.read_text("utf-8", "replace")[-2000:]


def summary(done):
    assert done.returncode == 0, done.stderr + done.stdout
    return events(done)[-1]


def test_over_a_server(run, server, name, pictures, backups):
    run("import", name, pictures, "--create", "--server", server.url)
    first = summary(run("backup", backups / "a", "--json", "--server", server.url))
    again = summary(run("backup", backups / "a", "--json", "--server", server.url))
    assert first["records"] >= 6 and first["new_files"] == first["files"] > 0 and first["damaged"] == 0
    assert again["new_files"] == again["written"] == 0 and again["files"] == first["files"]
    assert summary(run("backup", backups / "a", "--verify", "--json"))["bytes"] == first["bytes"]
    restored = summary(run("restore", backups / "a", name, "--as", name + "_copy", "--json", "--server", server.url))
    assert restored["records"] == 6 and server.count(name + "_copy") == 6
    done = run("search", name + "_copy", pictures / "a.png", "--limit", "1", "--json", "--server", server.url)
    assert json.loads(done.stdout)["hits"][0]["distance"] < 1e-5
    # Taken names are refused, and replaced on request.
    done = run("restore", backups / "a", name, "--server", server.url)
    assert done.returncode == 3 and "exists already" in done.stderr
    assert run("restore", backups / "a", name, "--replace", "--server", server.url).returncode == 0
    assert server.count(name) == 6


def test_only_into_its_folder(run, server, backups, tmp_path):
    for place in [tmp_path, backups / ".." / "x", str(backups) + "x"]:
        done = run("backup", place, "--server", server.url)
        assert done.returncode == 3 and "may use for backups" in done.stderr
    assert not list(tmp_path.glob("MANIFEST"))
    done = run("restore", backups / "nothing", "--server", server.url)
    assert done.returncode == 3 and "holds no backup" in done.stderr


def test_a_server_without_a_folder_refuses(run, tmp_path):
    server = Server(tmp_path)
    try:
        done = run("backup", tmp_path / "b", "--server", server.url)
        assert done.returncode == 3 and "--backup-dir" in done.stderr
    finally:
        server.stop()


def test_while_writing(run, server, name, pictures, backups):
    """Backups while pictures are added; what is restored is whole, and has what was there when it began."""
    run("import", name, pictures, "--create", "--server", server.url)
    stop = threading.Event()

    def write():
        n = 0
        while not stop.is_set():
            run("import", name, pictures / "red", "--item-from", "none", "--server", server.url)
            n += 1

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for n in range(3):
            summary(run("backup", backups / "busy", "--json", "--server", server.url))
    finally:
        stop.set()
        thread.join()
    summary(run("restore", backups / "busy", name, "--as", name + "_r", "--json", "--server", server.url))
    assert server.count(name + "_r") >= 6


def test_with_data(run, name, pictures, tmp_path):
    data, kept, other = tmp_path / "data", tmp_path / "kept", tmp_path / "other"
    run("import", name, pictures, "--create", "--data", data)
    assert run("backup", kept, "--data", data).returncode == 0
    done = run("restore", kept, "--data", other)
    assert done.returncode == 0 and "6 records" in done.stdout
    assert run("doctor", "--data", other).returncode == 0
    piece = next((kept / "collections" / name).glob("vectors.f16.*"))
    whole = piece.read_bytes()
    piece.write_bytes(whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:])
    done = run("backup", kept, "--verify")
    assert done.returncode == 3 and piece.name in done.stderr
    done = run("restore", kept, "--data", tmp_path / "third")
    assert done.returncode == 3 and piece.name in done.stderr
    assert not [p for p in (tmp_path / "third" / "collections").iterdir()]
    done = run("backup", pictures, "--data", data)
    assert done.returncode == 3 and "not empty" in done.stderr


def test_repair(run, name, pictures, tmp_path):
    data = tmp_path / "data"
    run("import", name, pictures, "--create", "--data", data)
    vectors = data / "collections" / name / "vectors.f16"
    whole = bytearray(vectors.read_bytes())
    whole[4096 + 100] ^= 4  # slot 0
    whole[20] ^= 1          # the header
    vectors.write_bytes(whole)
    assert run("doctor", "--data", data).returncode == 1
    done = run("doctor", "--data", data, "--repair", "--json")
    assert done.returncode == 1
    texts = [e["text"] for e in events(done)]
    assert any("written anew" in t for t in texts) and any("is damaged" in t for t in texts)
    done = run("doctor", "--data", data, "--repair", "--drop-damaged", "--json")
    assert done.returncode == 0, done.stdout
    assert any("is dropped" in e["text"] for e in events(done))
    assert run("doctor", "--data", data).returncode == 0
    done = run("collection", "stats", name, "--data", data, "--json")
    assert json.loads(done.stdout)["count"] == 5
