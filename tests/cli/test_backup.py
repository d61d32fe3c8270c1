"""backup, restore and doctor --repair as a user meets them: over a running server, and with --data."""
import json
import shutil
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


def files_of(folder):
    return {p.name for p in folder.iterdir()}


def test_export_and_import_over_a_server(run, server, name, pictures, backups):
    run("import", name, pictures, "--create", "--server", server.url)
    place = backups / f"export-{name}"
    done = summary(run("export", name, place, "--json", "--server", server.url))
    assert done["records"] == 6 and files_of(place) == {"collection.json", "records.jsonl", "vectors.f32", "thumbnails.bin"}
    about = json.loads((place / "collection.json").read_text())
    lines = [json.loads(line) for line in (place / "records.jsonl").read_text().splitlines()]
    assert about["collection"] == name and about["records"] == len(lines) == 6
    assert [r["fileid"] for r in lines] == sorted(r["fileid"] for r in lines)
    rows = (place / "vectors.f32").read_bytes()
    assert len(rows) == 6 * 4 * about["descriptor"] and about["descriptor"] >= about["dimension"]
    thumbnails = (place / "thumbnails.bin").read_bytes()
    for record in lines:
        at, size = record["thumbnail"]
        assert thumbnails[at:at + 2] == b"\xff\xd8" and at + size <= len(thumbnails)
    # The same place only on request; then what came of it is the same.
    again = run("export", name, place, "--server", server.url)
    assert again.returncode == 3 and "--replace" in again.stderr
    assert run("export", name, place, "--replace", "--server", server.url).returncode == 0
    assert (place / "vectors.f32").read_bytes() == rows

    copy = name + "_carried"
    assert summary(run("import", copy, place, "--json", "--server", server.url))["records"] == 6
    for query in ("a.png", ):
        hits = [json.loads(run("search", c, pictures / query, "--json", "--server", server.url).stdout)["hits"] for c in (name, copy)]
        assert hits[0] == hits[1] != []
    taken = run("import", copy, place, "--server", server.url)
    assert taken.returncode == 3 and "exists already" in taken.stderr
    # An export of the copy is the same, byte by byte, but for the name.
    second = backups / f"export-{copy}"
    summary(run("export", copy, second, "--json", "--server", server.url))
    for file in ("records.jsonl", "vectors.f32", "thumbnails.bin"):
        assert (second / file).read_bytes() == (place / file).read_bytes()


def test_an_export_has_the_originals_where_they_are_kept(run, tmp_path, pictures):
    place = tmp_path / "x"
    for command in (["collection", "create", "shop", "--originals"], ["import", "shop", pictures], ["export", "shop", place],
                    ["import", "copy", place], ["export", "copy", tmp_path / "y"]):
        done = run(*command, "--data", tmp_path / "data")
        assert done.returncode == 0, done.stderr
    assert files_of(place) == {"collection.json", "records.jsonl", "vectors.f32", "thumbnails.bin", "originals.bin"}
    about = json.loads((place / "collection.json").read_text())
    originals = (place / "originals.bin").read_bytes()
    assert about["originals"] is True and about["bytes"]["originals.bin"] == len(originals)
    for line in (place / "records.jsonl").read_text().splitlines():
        record = json.loads(line)
        at, size = record["original"]
        assert originals[at:at + size] == (pictures / record["brief"]["path"]).read_bytes()
    for file in ("records.jsonl", "originals.bin"):
        assert (tmp_path / "y" / file).read_bytes() == (place / file).read_bytes()
    (place / "originals.bin").write_bytes(originals[:-1])
    done = run("import", "broken", place, "--data", tmp_path / "data")
    assert done.returncode == 3 and "originals.bin" in done.stderr


@pytest.fixture
def exported(run, tmp_path, pictures):
    """A small export made without a server: tmp/x, and its store in tmp/data."""
    for command in (["import", "shop", pictures, "--create"], ["export", "shop", tmp_path / "x"]):
        done = run(*command, "--data", tmp_path / "data")
        assert done.returncode == 0, done.stderr
    return tmp_path


def damage(place, file, change):
    data = (place / file).read_bytes()
    (place / file).write_bytes(change(data))


def resized(place):
    """Let collection.json say how large the files are now."""
    about = json.loads((place / "collection.json").read_text())
    about["bytes"] = {f: (place / f).stat().st_size for f in about["bytes"]}
    (place / "collection.json").write_text(json.dumps(about))


def test_a_damaged_export_is_refused_whole(run, exported, tmp_path):
    assert run("import", "copy", exported / "x", "--data", exported / "data").returncode == 0
    first_line = (exported / "x" / "records.jsonl").read_text().splitlines()[0]

    def swap_line(text, new):
        return lambda data: data.replace(text.encode(), new.encode(), 1)

    broken = {
        "collection.json": [("a member is missing", lambda d: d.replace(b'"metric"', b'"metrik"'), "metric"), ("no JSON", lambda d: d[:40], "JSON"),
                            ("another version", lambda d: d.replace(b'"lookalike_export":1', b'"lookalike_export":2'), "lookalike_export"),
                            ("too many", lambda d: d.replace(b'"records":6', b'"records":7'), "row for each"), ("dimension", lambda d: d.replace(b'"dimension":', b'"dimension":-'), "dimension"),
                            ("input", lambda d: d.replace(b'"input":"', b'"input":7,"was":"'), "input")],
        "records.jsonl": [("shorter", lambda d: d[:-20], "bytes"), ("no JSON", swap_line('{"fileid":', '{"fileid";'), "line 1"), ("no fileid", swap_line('"fileid"', '"filex"'), "fileid"),
                          ("tags", swap_line('"tags":[', '"tags":[1'), "line 1"), ("brief", swap_line('"brief":{', '"brief":[{'), "line 1"),
                          ("twice", lambda d: d.replace(d.splitlines()[1], first_line.encode(), 1), "fileids"), ("a line less", lambda d: d.split(b"\n", 1)[1], "records")],
        "vectors.f32": [("shorter", lambda d: d[:-4], "bytes"), ("not finite", lambda d: b"\0\0\xc0\x7f" + d[4:], "")],
        "thumbnails.bin": [("shorter", lambda d: d[:10], "bytes")],
    }
    for file, ways in broken.items():
        for what, change, word in ways:
            place = tmp_path / "broken"
            shutil.rmtree(place, ignore_errors=True)
            shutil.copytree(exported / "x", place)
            damage(place, file, change)
            if file == "records.jsonl" and what != "shorter":
                resized(place)
            done = run("import", "broken", place, "--data", exported / "data")
            assert done.returncode == 3 and word in done.stderr, (file, what, done.stderr)
            assert "broken" not in run("collection", "list", "--data", exported / "data").stdout, (file, what)
    done = run("import", "broken", exported / "x", tmp_path, "--data", exported / "data")
    assert done.returncode == 2 and "by itself" in done.stderr


def test_an_export_only_into_the_servers_folder(run, server, name, pictures, tmp_path):
    run("import", name, pictures, "--create", "--server", server.url)
    done = run("export", name, tmp_path / "x", "--server", server.url)
    assert done.returncode == 3 and "may use for backups" in done.stderr and not (tmp_path / "x").exists()
    done = run("export", "nosuch", tmp_path / "x", "--data", tmp_path / "data")
    assert done.returncode == 3 and "nosuch" in done.stderr


def test_keys_are_in_a_backup(run, name, pictures, tmp_path):
    data, place, fresh = tmp_path / "data", tmp_path / "b", tmp_path / "s" / "data"
    assert run("import", name, pictures, "--create", "--data", data).returncode == 0
    assert summary(run("backup", place, "--json", "--data", data))["keys"] == 0 and not (place / "keys.json").exists()
    key = json.loads(run("key", "create", "operator", "--rights", "admin", "--json", "--data", data).stdout)["key"]
    assert summary(run("backup", place, "--json", "--data", data))["keys"] == 1
    assert (place / "keys.json").stat().st_mode & 0o777 == 0o600 and key not in (place / "keys.json").read_text()
    assert summary(run("backup", place, "--verify", "--json"))["keys"] == 1
    # Not without being asked, and only where there are none
    assert run("restore", place, "--data", fresh).returncode == 0 and not (fresh / "keys.json").exists()
    shutil.rmtree(fresh)
    assert summary(run("restore", place, "--keys", "--json", "--data", fresh))["keys"] == 1
    assert "operator" in run("key", "list", "--data", fresh).stdout
    done = run("restore", place, "--keys", "--replace", "--data", fresh)
    assert done.returncode == 3 and "API keys already" in done.stderr
    assert run("restore", place, "--keys", "--server", "http://127.0.0.1:1").returncode == 2
    # A key that works: a server on the restored store
    server = Server(tmp_path / "s")
    try:
        assert run("search", name, pictures / "a.png", "--server", server.url).returncode == 3
        assert run("search", name, pictures / "a.png", "--server", server.url, env={"LOOKALIKE_API_KEY": key}).returncode == 0
    finally:
        server.stop()
    # Damaged keys are named by --verify; keys that are gone leave the next backup
    (place / "keys.json").write_text("{")
    done = run("backup", place, "--verify")
    assert done.returncode == 3 and "keys" in done.stderr
    (data / "keys.json").unlink()
    assert summary(run("backup", place, "--json", "--data", data))["keys"] == 0 and not (place / "keys.json").exists()
