"""lookalike migrate: from a data folder into Milvus and back, as a user runs it. The copying itself is tests/store/test_migrate.c."""
import json
import signal
import subprocess
import time

import pytest
from support import PROGRAM, picture, program_environment, run_program

from test_2_python_service import make

NAME = "moved"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A data folder with a collection of 12 pictures, made by import."""
    folder = tmp_path_factory.mktemp("migrate")
    (folder / "pictures").mkdir()
    for seed in range(12):
        (folder / "pictures" / f"{seed}.jpg").write_bytes(picture(seed))
    done = run_program("import", NAME, folder / "pictures", "--create", "--data", folder / "data")
    assert done.returncode == 0, done.stderr
    return folder / "data"


def migrate(milvus, data, *arguments):
    done = run_program("migrate", "--data", data, "--milvus-uri", milvus.address, "--json", *arguments)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def test_there_verified_and_back(milvus, client, data, tmp_path):
    status, events, error = migrate(milvus, data, "--to", "milvus")
    assert status == 0, error
    assert events[-1]["collection"] == NAME and events[-1]["written"] == events[-1]["target"] == events[-1]["sampled"] == 12 and events[-1]["equal"]
    assert migrate(milvus, data, "--to", "milvus")[1][-1]["written"] == 0
    rows = client.query(NAME, filter="fileid > -1", output_fields=["*"], consistency_level="Strong", limit=100)
    assert len(rows) == 12 and {r["brief"]["path"] for r in rows} == {f"{n}.jpg" for n in range(12)}
    # What is missing there is named, and mended by the next run.
    client.delete(NAME, ids=[rows[0]["fileid"]])
    status, events, _ = migrate(milvus, data, "--to", "milvus", "--verify", "--milvus-consistency", "strong")
    assert status == 1 and events[-1]["different"] == 1 and not events[-1]["equal"] and events[-1]["target"] == 11
    status, events, _ = migrate(milvus, data, NAME, "--to", "milvus", "--milvus-consistency", "strong")
    assert status == 0 and events[-1]["written"] == 1 and events[-1]["equal"]
    # And back, into another folder.
    status, events, error = migrate(milvus, tmp_path / "back", NAME, "--to", "embedded", "--thumbnails", "no")
    assert status == 0 and events[-1]["written"] == 12 and events[-1]["equal"], error
    for folder in (data, tmp_path / "back"):
        done = run_program("search", NAME, data.parent / "pictures" / "3.jpg", "--data", folder, "--json")
        hit = json.loads(done.stdout)["hits"][0]
        assert hit["brief"]["path"] == "3.jpg" and hit["distance"] < 1e-4
    client.drop_collection(NAME)


def test_the_python_services_collection(milvus, client, tmp_path):
    """2,000 records of another program, into a data folder; interrupted, and gone on with."""
    make(client, "theirs")
    for start in range(0, 2000, 500):
        client.insert("theirs", [{"fileid": i, "vectors": [(i * j % 13) / 13 for j in range(1280)], "itemid": i // 2, "tags": [f"t{i % 3}"],
                                  "brief": {"n": i}} for i in range(start, start + 500)])
    arguments = ["migrate", "theirs", "--to", "embedded", "--data", tmp_path / "data", "--milvus-uri", milvus.address, "--milvus-consistency", "strong"]
    process = subprocess.Popen([PROGRAM, *map(str, arguments)], env=program_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 60
    while not (tmp_path / "data" / "collections" / "theirs" / "vectors.f16").exists() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode in (0, 130) and (process.returncode == 0 or "goes on" in error), error
    done = run_program(*arguments, "--json")
    event = json.loads(done.stdout.splitlines()[-1])
    assert done.returncode == 0 and event["target"] == 2000 and event["equal"], done.stderr
    done = run_program(*arguments, "--verify", "--json")
    assert done.returncode == 0 and json.loads(done.stdout.splitlines()[-1])["equal"], done.stdout
    client.drop_collection("theirs")


@pytest.mark.parametrize("arguments, status, words", [
    ([], 2, "--to milvus"),
    (["--to", "moon"], 2, "--to milvus"),
    (["--to", "milvus", "nowhere"], 3, "nowhere"),
])
def test_what_cannot_be_done_is_named(milvus, client, data, arguments, status, words):
    done = run_program("migrate", "--data", data, "--milvus-uri", milvus.address, *arguments)
    assert done.returncode == status and words in done.stderr, done.stderr


def test_without_an_address(data):
    done = run_program("migrate", "--to", "milvus", "--data", data)
    assert done.returncode == 3 and "--milvus-uri" in done.stderr
    done = run_program("migrate", "--to", "milvus", "--milvus-uri", "http://127.0.0.1:1")
    assert done.returncode == 2 and "--data" in done.stderr
