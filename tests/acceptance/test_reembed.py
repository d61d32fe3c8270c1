"""Another model for a collection, from the originals it keeps: through the server, with the real models."""
import contextlib
import json
import threading
import time

import pytest

from support import OK, BUILD, Api, Server, picture, run_program
from test_models import change_input, small_model, write_manifest
from test_v1 import problem

MODELS = BUILD.parent / "models"
COUNT = 60
JPEG = {"Content-Type": "image/jpeg"}


@pytest.fixture(autouse=True, scope="module")
def two_models():
    for name in ("efficientnet-lite0", "efficientnet-lite2"):
        if not (MODELS / name / "model.json").exists():
            pytest.skip(f"no model in {MODELS / name}")


def fill(api, name, count=COUNT, **options):
    assert api.http.put(f"/v1/collections/{name}", json=options).status_code == 201
    for fileid in range(1, count + 1):
        api.add(name, fileid, picture(fileid), itemid=fileid // 2, tags=["a"], brief={"n": fileid}).data


def wait(api, job, seconds=120):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        view = api.http.get(f"/v1/jobs/{job}").json()
        if view["state"] != "running":
            return view
        time.sleep(0.05)
    pytest.fail(f"the job did not end: {view}")


def start(api, name, **body):
    response = api.http.post(f"/v1/collections/{name}/reembed", json=body)
    assert response.status_code == 202, response.text
    return response.json()["job"]


def vectors(api, name):
    page = api.http.get(f"/v1/collections/{name}/images", params={"limit": 1000, "fields": "fileid,vector"}).json()["images"]
    return {record["fileid"]: record["vector"] for record in page}


def expected(api, fileid, model):
    return api.http.post("/v1/embed", params={"model": model}, content=picture(fileid), headers=JPEG).json()["vector"]


def near(a, b):
    """Batches round a little differently than single pictures."""
    return max(abs(x - y) for x, y in zip(a, b, strict=True)) < 5e-3


def test_originals_are_kept_as_they_came(api, collection):
    assert api.drop(collection).code == OK
    made = api.http.put(f"/v1/collections/{collection}", json={"originals": True})
    assert made.status_code == 201 and made.json()["originals"] is True
    png = picture(2, kind="PNG")
    api.add(collection, 1, picture(1)).data
    api.add(collection, 2, png).data
    for fileid, data, kind in ((1, picture(1), "image/jpeg"), (2, png, "image/png")):
        reply = api.http.get(f"/v1/collections/{collection}/images/{fileid}/original")
        assert reply.status_code == 200 and reply.content == data and reply.headers["content-type"] == kind
        assert "sandbox" in reply.headers["content-security-policy"] and reply.headers["x-content-type-options"] == "nosniff"
    api.update(collection, 1, picture(9)).data
    assert api.http.get(f"/v1/collections/{collection}/images/1/original").content == picture(9)
    api.update(collection, 1, tags=["new"]).data
    assert api.http.get(f"/v1/collections/{collection}/images/1/original").content == picture(9)
    problem(api.http.get(f"/v1/collections/{collection}/images/77/original"), 404, None, "77")


def test_without_originals_none_are_there(api, collection):
    api.add(collection, 1, picture(1)).data
    assert api.http.get(f"/v1/collections/{collection}").json()["originals"] is False
    problem(api.http.get(f"/v1/collections/{collection}/images/1/original"), 404, None, "no original")


def test_the_new_models_vectors_take_the_place_of_the_old(api, collection):
    api.drop(collection)
    fill(api, collection, model="efficientnet-lite0", originals=True)
    before = vectors(api, collection)
    assert near(before[7], expected(api, 7, "efficientnet-lite0"))
    done = wait(api, start(api, collection, model="efficientnet-lite2"))
    assert done["state"] == "done", done
    assert done["result"] == {"records": COUNT, "made": COUNT}
    after = vectors(api, collection)
    assert set(after) == set(range(1, COUNT + 1))
    for fileid in (1, 7, COUNT):
        assert near(after[fileid], expected(api, fileid, "efficientnet-lite2")) and not near(after[fileid], before[fileid])
    facts = api.http.get(f"/v1/collections/{collection}").json()
    assert facts["model"] == "efficientnet-lite2" and facts["count"] == COUNT and facts["originals"] is True
    for fileid in (3, 40):
        hits = api.search(collection, picture(fileid)).data
        assert hits[0]["fileid"] == fileid and hits[0]["distance"] < 1e-3
        assert hits[0]["brief"] == {"n": fileid} and hits[0]["tags"] == ["a"] and hits[0]["itemid"] == fileid // 2
        assert api.http.get(f"/v1/collections/{collection}/images/{fileid}/original").content == picture(fileid)
        assert api.http.get(f"/v1/collections/{collection}/images/{fileid}/thumbnail").status_code == 200


def test_searched_and_written_to_meanwhile(api, collection):
    """No request fails while the model changes, and none is answered by the wrong one."""
    api.drop(collection)
    fill(api, collection, model="efficientnet-lite0", originals=True)
    stop, wrong, done = threading.Event(), [], {"searches": 0, "writes": 0}

    def search():
        own = Api(api.url)
        while not stop.is_set():
            fileid = done["searches"] % 30 + 1
            reply = own.search(collection, picture(fileid))
            if reply.code != OK or reply.data[0]["fileid"] != fileid or reply.data[0]["distance"] > 1e-2:
                wrong.append(reply.text[:400])
            done["searches"] += 1
        own.close()

    def write():
        own = Api(api.url)
        while not stop.is_set():
            fileid = 1000 + done["writes"]
            reply = own.add(collection, fileid, picture(500 + done["writes"]))
            if reply.code != OK:
                wrong.append(reply.text[:400])
            done["writes"] += 1
        own.close()

    threads = [threading.Thread(target=work) for work in (search, write)]
    for thread in threads:
        thread.start()
    view = wait(api, start(api, collection, model="efficientnet-lite2"))
    time.sleep(0.5)
    stop.set()
    for thread in threads:
        thread.join()
    assert view["state"] == "done", view
    assert not wrong, wrong[:3]
    assert done["searches"] > 5 and done["writes"] > 5
    after = vectors(api, collection)
    assert set(after) == set(range(1, COUNT + 1)) | set(range(1000, 1000 + done["writes"]))
    for k in {0, done["writes"] // 2, done["writes"] - 1}:
        assert near(after[1000 + k], expected(api, 500 + k, "efficientnet-lite2")), k


def test_it_says_what_cannot_be_done(api, collection):
    api.add(collection, 1, picture(1)).data
    at = f"/v1/collections/{collection}/reembed"
    problem(api.http.post(at, json={"model": "nothing"}), 404, "model", "nothing")
    problem(api.http.post(at, json={"background": "pink"}), 400, "background", "pink")
    problem(api.http.post("/v1/collections/nothing_here/reembed", json={}), 404, "collection", "nothing_here")
    view = wait(api, start(api, collection, model="efficientnet-lite0"))
    assert view["state"] == "failed" and "its original is not kept" in view["message"], view
    assert api.http.get(f"/v1/collections/{collection}").json()["model"] == "efficientnet-lite2"
    assert api.search(collection, picture(1)).data[0]["fileid"] == 1
    assert api.http.delete(at).status_code == 204
    problem(api.http.delete("/v1/collections/nothing_here/reembed"), 404, "collection", "nothing_here")


def test_thumbnails_do_where_that_is_asked_for(api, collection):
    api.drop(collection)
    fill(api, collection, count=12, model="efficientnet-lite0")
    view = wait(api, start(api, collection, model="efficientnet-lite2", thumbnails=True))
    assert view["state"] == "done", view
    for fileid in (1, 12):
        assert api.search(collection, picture(fileid)).data[0]["fileid"] == fileid


def test_originals_of_downloaded_pictures(servers, tmp_path, site):
    server = servers("--fetch-allow", "127.0.0.0/8", data=tmp_path / "data")
    api = Api(server.url)
    assert api.http.put("/v1/collections/c", json={"originals": True}).status_code == 201
    api.add("c", 1, url=site.put("/first.jpg", picture(1))).data
    assert api.http.get("/v1/collections/c/images/1/original").content == picture(1)
    reply = api.add("c", 2, url=site.put("/second.jpg", b"no picture"))
    assert reply.code != OK and "url" in reply.message, reply


def test_from_the_address_in_brief(servers, tmp_path, site):
    """Where only the shop's own site has the pictures."""
    server = servers("--fetch-allow", "127.0.0.0/8", data=tmp_path / "data")
    api = Api(server.url)
    assert api.http.put("/v1/collections/c", json={"model": "efficientnet-lite0"}).status_code == 201
    for fileid in (1, 2):
        address = site.put(f"/{fileid}.jpg", picture(fileid))
        api.add("c", fileid, picture(fileid), brief={"photo": address}).data
    api.add("c", 3, picture(3), brief={}).data
    view = wait(api, start(api, "c", model="efficientnet-lite2", url_field="photo"))
    assert view["state"] == "failed" and 'brief has no "photo"' in view["message"], view
    api.delete("c", 3)
    view = wait(api, start(api, "c", model="efficientnet-lite2", url_field="photo"))
    assert view["state"] == "done" and view["result"]["records"] == 2, view
    assert near(vectors(api, "c")[2], expected(api, 2, "efficientnet-lite2"))


def test_goes_on_after_kill_9(tmp_path):
    server = Server(tmp_path / "data")
    server.start()
    api = Api(server.url)
    fill(api, "c", count=150, model="efficientnet-lite0", originals=True)
    job = start(api, "c", model="efficientnet-lite2")
    deadline = time.monotonic() + 60
    while api.http.get(f"/v1/jobs/{job}").json()["done"] < 40:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    server.kill()
    server.start()
    assert api.http.get("/v1/collections/c").json()["model"] == "efficientnet-lite0"
    assert api.search("c", picture(5)).data[0]["fileid"] == 5
    view = wait(api, start(api, "c", model="efficientnet-lite2"))
    assert view["state"] == "done" and view["result"]["records"] == 150, view
    assert view["result"]["made"] < 150, "what was made before is made use of"
    after = vectors(api, "c")
    for fileid in (1, 60, 150):
        assert near(after[fileid], expected(api, fileid, "efficientnet-lite2"))
    api.close()
    server.stop_cleanly()
    done = run_program("doctor", "--data", tmp_path / "data")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_job_that_is_cancelled(api, collection):
    api.drop(collection)
    fill(api, collection, count=150, model="efficientnet-lite0", originals=True)
    job = start(api, collection, model="efficientnet-lite2")
    again = api.http.post(f"/v1/collections/{collection}/reembed", json={})
    problem(again, 409, None, "reembed")
    assert api.http.delete(f"/v1/jobs/{job}").status_code in (202, 204)
    view = wait(api, job)
    if view["state"] != "done":  # it may have been quicker
        assert view["state"] == "cancelled"
        assert api.http.get(f"/v1/collections/{collection}").json()["model"] == "efficientnet-lite0"
    assert wait(api, start(api, collection, model="efficientnet-lite2"))["state"] == "done"


def test_from_the_command_line(server, api, collection, tmp_path):
    api.drop(collection)
    made = run_program("collection", "create", collection, "--model", "efficientnet-lite0", "--originals", "--server", server.url)
    assert made.returncode == 0, made.stderr
    for fileid in range(1, 6):
        api.add(collection, fileid, picture(fileid)).data
    done = run_program("reembed", collection, "--model", "efficientnet-lite2", "--json", "--server", server.url)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"event": "summary", "records": 5, "made": 5}
    assert "originals    yes" in run_program("collection", "stats", collection, "--server", server.url).stdout
    nothing = run_program("reembed", collection, "--model", "nothing", "--server", server.url)
    assert nothing.returncode == 3 and "nothing" in nothing.stderr and not nothing.stdout
    assert run_program("reembed", collection, "--forget", "--server", server.url).returncode == 0


def test_without_a_server(tmp_path):
    data = tmp_path / "data"
    folder = tmp_path / "pictures"
    folder.mkdir()
    for fileid in range(1, 6):
        (folder / f"{fileid}.jpg").write_bytes(picture(fileid))
    for arguments in (["collection", "create", "c", "--model", "efficientnet-lite0", "--originals"], ["import", "c", folder],
                      ["reembed", "c", "--model", "efficientnet-lite2"], ["doctor"]):
        done = run_program(*arguments, "--data", data)
        assert done.returncode == 0, done.stdout + done.stderr
    stats = json.loads(run_program("collection", "stats", "c", "--json", "--data", data).stdout)
    assert stats["model"] == "efficientnet-lite2" and stats["count"] == 5 and stats["originals"] is True


def test_vectors_of_a_model_that_was_given_something_else(servers, tmp_path):
    """The model of the same name sees pictures at another size now: the collection is refused, the sentence says the way out, and it is one."""
    small_model(tmp_path / "open.onnx", shape=("n", 3, "h", "w"))
    (tmp_path / "models" / "small").mkdir(parents=True)
    write_manifest(tmp_path / "models" / "small", (tmp_path / "open.onnx").read_bytes())
    server = servers("--models", tmp_path / "models", "--model", "small")
    with contextlib.closing(Api(server.url)) as client:
        fill(client, "shop", 8, model="small", originals=True)
    server.stop_cleanly()
    change_input(tmp_path / "models" / "small", width=40, height=40)
    server.start()
    with contextlib.closing(Api(server.url)) as client:
        problem(client.http.post("/v1/collections/shop/search", content=picture(2), headers=JPEG), 400, "model", "lookalike reembed")
        assert wait(client, start(client, "shop"))["state"] == "done"
        assert client.http.get("/v1/collections/shop").json()["input"].startswith("40x40 ")
        assert client.search("shop", picture(2)).data[0]["fileid"] == 2
