"""`lookalike import`, from a folder, CSV and JSON lines, into a running server; and a few words of the other commands."""
import csv
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import time

import pytest

from support import PROGRAM, SHARED, SLOW, failed, picture, program_environment, run_program, tiny

BAD = {"page.jpg": b"<!doctype html><title>Not found</title>", "cut.jpg": picture(900)[:1500], "empty.jpg": b"", "zeros.png": b"\0" * 5000}


def names_in(text, names):
    return {n for n in names if n in text}


# --- the real folder; test_accuracy.py goes on with what was imported ----------------------------------------------

def test_the_clothing_folder_is_imported_without_loss(api, clothing):
    done = clothing["import"]
    assert clothing["files"] >= 2900
    assert api.count("clothing").data == clothing["files"], "pictures were lost"
    assert done.returncode == 1, f"exit status 1: some items failed\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    assert names_in(done.stdout + done.stderr, BAD) == set(BAD), "each file that could not be read is named"
    listed = {r["brief"]["path"] for r in clothing["records"]}
    assert len(listed) == clothing["files"]
    assert listed == {str(p.relative_to(SHARED / "clothing/train")) for p in clothing["paths"]}


def test_a_picture_that_was_imported_comes_back_first(api, clothing):
    for path in clothing["paths"][::61]:
        hits = api.search("clothing", path.read_bytes(), limit=3, group=False).data
        at_zero = [h["brief"]["path"] for h in hits if 0 <= h["distance"] < 1e-4]
        assert str(path.relative_to(SHARED / "clothing/train")) in at_zero, hits


def test_a_picture_of_the_tests_gets_an_answer(api, clothing, real_pictures):
    for path in real_pictures("clothing/test")[::40]:
        hits = api.search("clothing", path.read_bytes(), group=False).data
        assert len(hits) == 10
        assert [h["distance"] for h in hits] == sorted(h["distance"] for h in hits)


def test_importing_again_changes_nothing(server, api, clothing):
    """`fileid` is stable across runs; --resume goes over what is there in no time."""
    before = {r["brief"]["path"]: r["fileid"] for r in clothing["records"]}
    started = time.monotonic()
    done = run_program("import", "clothing", clothing["folder"], "--resume", "--server", server.url)
    took = time.monotonic() - started
    assert done.returncode in (0, 1), done.stderr[-2000:]
    assert api.count("clothing").data == clothing["files"]
    path = clothing["paths"][5]
    [hit] = [h for h in api.search("clothing", path.read_bytes(), limit=5, group=False).data
             if h["brief"]["path"] == str(path.relative_to(SHARED / "clothing/train"))]
    assert hit["fileid"] == before[hit["brief"]["path"]]
    assert took < max(3, clothing["took"] / 3), f"--resume took {took:.1f} s, the import {clothing['took']:.1f} s"


# --- small folders, CSV, JSON lines --------------------------------------------------------------------------------

@pytest.fixture
def folder(tmp_path):
    """tmp/pictures with red/, blue/ and pictures at the top; 7 good ones."""
    top = tmp_path / "pictures"
    for n, name in enumerate(["a.jpg", "red/b.jpg", "red/c.png", "blue/d.webp", "blue/deep/e.JPG", "blue/größe 漢.jpeg", "red/f.gif"]):
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        kind = {".png": "PNG", ".webp": "WEBP", ".gif": "GIF"}.get(path.suffix, "JPEG")
        path.write_bytes(picture(n, kind=kind))
    (top / "notes.txt").write_text("no picture, and not called one")
    return top


def by_path(api, collection, count):
    """All records of a small collection, found through the API."""
    hits = api.search(collection, tiny(), limit=1000, group=False).data
    assert len(hits) == count
    return {h["brief"].get("path"): h for h in hits}


def test_a_small_folder(server, api, collection, folder):
    done = run_program("import", collection, folder, "--server", server.url)
    assert done.returncode == 0, done.stderr
    records = by_path(api, collection, 7)
    assert set(records) == {"a.jpg", "red/b.jpg", "red/c.png", "blue/d.webp", "blue/deep/e.JPG", "blue/größe 漢.jpeg", "red/f.gif"}
    assert len({r["fileid"] for r in records.values()}) == 7


def test_fileids_are_stable_across_runs(server, api, collection, folder):
    run_program("import", collection, folder, "--server", server.url)
    before = {path: r["fileid"] for path, r in by_path(api, collection, 7).items()}
    (folder / "AAA first of all.jpg").write_bytes(picture(50))
    assert run_program("import", collection, folder, "--server", server.url).returncode == 0
    after = {path: r["fileid"] for path, r in by_path(api, collection, 8).items()}
    assert {p: f for p, f in after.items() if p in before} == before


@pytest.mark.parametrize("way", ["folder", "name", "none"])
def test_items(server, api, collection, folder, way):
    for n in range(2):
        (folder / f"red/shoe_{n}.jpg").write_bytes(picture(60 + n))
    assert run_program("import", collection, folder, "--item-from", way, "--server", server.url).returncode == 0
    records = by_path(api, collection, 9)
    items = {path: r["itemid"] for path, r in records.items()}
    if way == "folder":
        assert items["red/b.jpg"] == items["red/c.png"] == items["red/shoe_0.jpg"]
        assert items["blue/d.webp"] != items["red/b.jpg"]
    if way == "none":
        assert all(r["itemid"] == r["fileid"] for r in records.values())


def test_a_collection_must_exist_or_be_asked_for(server, api, folder):
    done = run_program("import", "import_made", folder, "--server", server.url)
    assert done.returncode == 3 and "import_made" in done.stdout + done.stderr
    done = run_program("import", "import_made", folder, "--create", "--server", server.url)
    assert done.returncode == 0, done.stderr
    assert api.count("import_made").data == 7
    done = run_program("import", "import_made", folder, "--create", "--server", server.url)
    assert done.returncode == 0 and api.count("import_made").data == 7
    api.drop("import_made")


def write_csv(path, rows):
    with open(path, "w", newline="", encoding="utf-8") as f:
        writer = csv.DictWriter(f, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_csv(server, api, collection, folder, site):
    url = site.put("/csv.jpg", picture(70))
    rows = [
        {"fileid": 2**53 + 1, "itemid": 5, "path": "a.jpg", "url": "", "tags": '["x","y, z"]', "brief": '{"price": 3}', "name": 'quoted "name", comma'},
        {"fileid": 2, "itemid": 5, "path": "red/b.jpg", "url": "", "tags": "red;summer", "brief": "", "name": "two\nlines"},
        {"fileid": 3, "itemid": "", "path": "blue/größe 漢.jpeg", "url": "", "tags": "", "brief": "", "name": "größe"},
        {"fileid": 4, "itemid": "", "path": "", "url": url, "tags": "", "brief": "", "name": ""}]
    table = folder / "table.csv"
    write_csv(table, rows)
    done = run_program("import", collection, table, "--server", server.url)
    assert done.returncode == 0, done.stderr
    assert api.count(collection).data == 4
    [one] = api.fetch(collection, fileid=2**53 + 1).data
    assert (one["itemid"], one["tags"]) == (5, ["x", "y, z"])
    assert one["brief"]["price"] == 3 and one["brief"]["name"] == 'quoted "name", comma'
    [two] = api.fetch(collection, fileid=2).data
    assert (two["itemid"], two["tags"], two["brief"]["name"]) == (5, ["red", "summer"], "two\nlines")
    [three] = api.fetch(collection, fileid=3).data
    assert (three["itemid"], three["tags"]) == (3, [])
    assert api.search(collection, picture(70)).data[0]["fileid"] == 4


def test_json_lines(server, api, collection, folder, site):
    url = site.put("/jsonl.jpg", picture(71))
    rows = [
        {"fileid": -(2**53) - 1, "itemid": 9, "path": "a.jpg", "tags": ["x"], "brief": {"k": [1]}, "color": "red", "stock": 12},
        {"fileid": 2, "path": str(folder / "red/b.jpg"), "tags": "a;b"},
        {"fileid": 3, "url": url}]
    lines = folder / "lines.jsonl"
    lines.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows), encoding="utf-8")
    done = run_program("import", collection, lines, "--server", server.url)
    assert done.returncode == 0, done.stderr
    [one] = api.fetch(collection, fileid=-(2**53) - 1).data
    assert (one["itemid"], one["tags"], one["brief"]["k"]) == (9, ["x"], [1])
    assert one["brief"]["color"] == "red" and one["brief"]["stock"] == 12
    assert api.fetch(collection, fileid=2).data[0]["tags"] == ["a", "b"]
    assert api.search(collection, picture(71)).data[0]["fileid"] == 3


def test_bad_rows_are_named_and_skipped(server, api, collection, folder):
    for name, data in BAD.items():
        (folder / name).write_bytes(data)
    rows = [{"fileid": 1, "path": "a.jpg"}, {"fileid": "x", "path": "red/b.jpg"}, {"fileid": 3, "path": "missing-file.jpg"},
            *({"fileid": 10 + n, "path": name} for n, name in enumerate(BAD)), {"fileid": 99, "path": "red/c.png"}]
    table = folder / "table.csv"
    write_csv(table, rows)
    done = run_program("import", collection, table, "--server", server.url)
    assert done.returncode == 1
    said = done.stdout + done.stderr
    assert names_in(said, ["missing-file.jpg", *BAD]) == {"missing-file.jpg", *BAD}, said
    assert api.count(collection).data == 2
    lines = folder / "lines.jsonl"
    lines.write_text('{"fileid": 50, "path": "a.jpg"}\n{"fileid": \n\n{"fileid": 51}\n{"fileid": 52, "path": "red/b.jpg"}\n')
    done = run_program("import", collection, lines, "--server", server.url)
    assert done.returncode == 1
    assert re.search(r"\b2\b", done.stdout + done.stderr), "the line at fault is named by its number"
    assert api.count(collection).data == 4


def test_json_lines_from_standard_input(server, api, collection, folder):
    text = "".join(json.dumps({"fileid": n, "path": str(folder / p)}) + "\n" for n, p in enumerate(["a.jpg", "red/b.jpg"]))
    done = subprocess.run([PROGRAM, "import", collection, "-", "--server", server.url], input=text, text=True, capture_output=True,
                          env=program_environment(), timeout=60 * SLOW)
    assert done.returncode == 0, done.stderr
    assert api.count(collection).data == 2


def test_json_output(server, collection, folder):
    (folder / "page.jpg").write_bytes(BAD["page.jpg"])
    done = run_program("import", collection, folder, "--json", "--server", server.url)
    assert done.returncode == 1
    values = [json.loads(line) for line in done.stdout.splitlines() if line.strip()]
    assert values and "page.jpg" in done.stdout + done.stderr


def test_an_import_that_was_interrupted_goes_on(server, api, collection, real_pictures, tmp_path):
    """Ctrl-C in the middle, then --resume: everything is there once, and not all is done again."""
    folder = tmp_path / "many"
    for n, path in enumerate(real_pictures("groceries/train")[:600]):
        target = folder / f"{n:04}.jpg"
        target.parent.mkdir(exist_ok=True)
        os.symlink(path, target) if n % 2 else shutil.copy(path, target)
    process = subprocess.Popen([PROGRAM, "import", collection, folder, "--server", server.url], env=program_environment(),
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    deadline = time.monotonic() + 60 * SLOW
    while time.monotonic() < deadline and api.count(collection).data < 100 and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=30 * SLOW)[0]
    between = api.count(collection).data
    assert 100 <= between < 600, said
    assert process.returncode != 0
    done = run_program("import", collection, folder, "--resume", "--server", server.url)
    assert done.returncode == 0, done.stderr
    assert api.count(collection).data == 600
    assert len(by_path(api, collection, 600)) == 600


# --- other commands ------------------------------------------------------------------------------------------------

def test_search_from_the_command_line(server, api, collection, folder):
    run_program("import", collection, folder, "--server", server.url)
    done = run_program("search", collection, folder / "red/b.jpg", "--json", "--limit", "3", "--server", server.url)
    assert done.returncode == 0, done.stderr
    wanted = by_path(api, collection, 7)["red/b.jpg"]["fileid"]
    assert str(wanted) in done.stdout
    plain = run_program("search", collection, folder / "red/b.jpg", "--server", server.url)
    assert plain.returncode == 0 and str(wanted) in plain.stdout
    assert run_program("search", collection, folder / "notes.txt", "--server", server.url).returncode == 3
    assert run_program("search", "never_made", folder / "a.jpg", "--server", server.url).returncode == 3


def test_collections_from_the_command_line(server, api):
    assert run_program("collection", "create", "by_command", "--server", server.url).returncode == 0
    assert api.count("by_command").data == 0
    assert run_program("collection", "create", "by_command", "--server", server.url).returncode == 3
    listed = run_program("collection", "list", "--server", server.url)
    assert listed.returncode == 0 and "by_command" in listed.stdout
    stats = run_program("collection", "stats", "by_command", "--json", "--server", server.url)
    assert stats.returncode == 0 and json.loads(stats.stdout)["count"] == 0
    assert run_program("collection", "drop", "by_command", "--server", server.url).returncode == 0
    failed(api.count("by_command"))
    assert run_program("collection", "drop", "by_command", "--server", server.url).returncode == 3


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["import"], ["serve", "--nonsense"], ["import", "c", ".", "--item-from", "moon"],
                                       ["search", "c"], ["collection", "paint"], ["search", "c", "a.jpg", "--limit", "x"]], ids=str)
def test_wrong_usage(arguments):
    done = run_program(*arguments, timeout=20)
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr.strip()


def test_nobody_listens(folder):
    done = run_program("import", "c", folder, "--server", "http://127.0.0.1:1", timeout=60)
    assert done.returncode == 3 and "127.0.0.1:1" in done.stdout + done.stderr


@pytest.mark.parametrize("variable,value", [("VECTOR_DIMENSION", "7"), ("LOOKALIKE_LISTEN", "nonsense"), ("METRIC_TYPE", "MANHATTAN")])
def test_an_environment_that_cannot_be(tmp_path, variable, value):
    done = subprocess.run([PROGRAM, "serve", "--data", tmp_path / "data"], env=program_environment(**{variable: value}), text=True,
                          capture_output=True, timeout=60 * SLOW)
    assert done.returncode not in (0, -11, -6)
    said = done.stdout + done.stderr
    assert value in said and (variable != "VECTOR_DIMENSION" or "1280" in said), said


def test_a_server_for_everybody_must_be_asked_for(tmp_path):
    """Beyond loopback without keys only with --insecure."""
    done = subprocess.run([PROGRAM, "serve", "--data", tmp_path / "data", "--listen", "0.0.0.0:0"], env=program_environment(), text=True,
                          capture_output=True, timeout=60 * SLOW)
    assert done.returncode not in (0, -11, -6)
    assert "--insecure" in done.stdout + done.stderr


def test_doctor_finds_nothing_wrong(servers, folder):
    server = servers()
    assert run_program("import", "healthy", folder, "--create", "--server", server.url).returncode == 0
    busy = run_program("doctor", "--data", server.data)
    assert busy.returncode != 0, "another process has the folder open"
    server.stop_cleanly()
    done = run_program("doctor", "--data", server.data)
    assert done.returncode == 0, done.stdout + done.stderr
    vectors = next(pathlib.Path(server.data).rglob("vectors.f16"))
    data = bytearray(vectors.read_bytes())
    used = [at for at, byte in enumerate(data) if byte]  # the file may be longer than what is in it
    for at in used[len(used) // 4:len(used) // 2]:
        data[at] ^= 0x55
    vectors.write_bytes(data)
    done = run_program("doctor", "--data", server.data)
    assert done.returncode != 0 and "healthy" in done.stdout + done.stderr

