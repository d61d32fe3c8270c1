"""Several models in one server: each collection has its own, and a model that is broken is nobody else's problem."""
import contextlib
import hashlib
import io
import json
import shutil
import sqlite3

import numpy
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image, ImageDraw

import support
from support import OK, ON_MILVUS, Api, picture
from test_v1 import problem

MODELS = support.BUILD.parent / "models"


def small_model(path, side=32, dimension=8, shape=("n", 3, None, None), text=False):
    """An ONNX file: a convolution and the mean over the picture; with `text` the output is of strings."""
    shape = [side if part is None and side else part for part in shape]
    weights = numpy.random.default_rng(5).standard_normal((dimension, 3, 3, 3)).astype(numpy.float32)
    nodes = [helper.make_node("Conv", ["image", "w"], ["c"]), helper.make_node("GlobalAveragePool", ["c"], ["p"]),
             helper.make_node("Flatten", ["p"], ["flat"])]
    kind = TensorProto.STRING if text else TensorProto.FLOAT
    nodes.append(helper.make_node("Cast", ["flat"], ["embedding"], to=kind))
    graph = helper.make_graph(nodes, "small", [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
                              [helper.make_tensor_value_info("embedding", kind, [shape[0], dimension])], [numpy_helper.from_array(weights, "w")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def write_manifest(folder, data, side=32, dimension=8, **changes):
    manifest = {
        "format": 1, "name": folder.name, "file": "model.onnx", "sha256": hashlib.sha256(data).hexdigest(),
        "input": {"name": "image", "width": side, "height": side, "resize": "stretch", "channels": "rgb",
                  "mean": [127, 127, 127], "std": [128, 128, 128]},
        "output": {"name": "embedding", "pooling": "none", "normalisation": "l2", "dimension": dimension},
        "background": "none", "licence": "test", "source": "a test", **changes}
    (folder / "model.onnx").write_bytes(data)
    (folder / "model.json").write_text(json.dumps(manifest))


def broken_models(top):
    """Name of a folder → words that the error must have."""
    scratch = top / "scratch.onnx"
    small_model(scratch)
    good = scratch.read_bytes()

    def make(folder, data, **changes):
        (top / folder).mkdir()
        write_manifest(top / folder, data, **changes)

    make("small", good)
    make("truncated", good[:-40])
    make("noise", b"this is no model at all " * 50)
    make("wrong-sum", good, sha256="0" * 64)
    make("misnamed", good, name="another")
    small_model(scratch, text=True)
    make("words", scratch.read_bytes())
    small_model(scratch, shape=("n", "c", "h", "w"))
    make("dynamic", scratch.read_bytes())
    scratch.unlink()
    return {"truncated": "truncated/model.onnx", "noise": "noise/model.onnx", "wrong-sum": "sum", "misnamed": "another",
            "words": "numbers", "dynamic": "fixed"}


@pytest.fixture(scope="module", name="place")
def fixture_place(servers, tmp_path_factory):
    for name in ("efficientnet-lite0", "efficientnet-lite2"):
        if not (MODELS / name / "model.json").exists():
            pytest.skip(f"no model in {MODELS / name}")
    top = tmp_path_factory.mktemp("models")
    words = broken_models(top)
    server = servers("--models", top, "--mask-model", "nowhere")
    client = Api(server.url)
    yield server, client, words
    client.close()


def embedded(client, **query):
    response = client.http.post("/v1/embed", content=picture(3), headers={"Content-Type": "image/jpeg"}, params=query)
    assert response.status_code == 200, response.text[:500]
    return response.json()


def test_list(place):
    _, client, words = place
    models = {m["name"]: m for m in client.http.get("/v1/models").json()["models"]}
    assert {"efficientnet-lite2", "efficientnet-lite0", "small", *words} <= set(models)
    assert models["efficientnet-lite2"]["default"] and models["efficientnet-lite2"]["loaded"]
    assert not models["small"]["default"]
    assert models["efficientnet-lite0"]["input"] == [224, 224]
    assert "another" in models["misnamed"]["problem"]


def test_two_collections_two_models(place):
    _, client, _ = place
    for name, model, dimension in (("two_a", "efficientnet-lite0", 1280), ("two_b", "small", 8), ("two_c", None, 1280)):
        made = client.http.put(f"/v1/collections/{name}", json={"model": model} if model else None)
        assert made.status_code == 201, made.text
        assert made.json()["model"] == (model or "efficientnet-lite2")
        assert made.json()["dimension"] == dimension
        for fileid in range(1, 6):
            client.add(name, fileid, picture(fileid)).data
        hits = client.search(name, picture(3)).data
        assert hits[0]["fileid"] == 3 and hits[0]["distance"] < 1e-3
        assert len(client.fetch(name, fileid=3).data[0]["vectors"]) == dimension
        mine = embedded(client, **({"model": model} if model else {}))
        assert len(mine["vector"]) == dimension and mine["model"] == (model or "efficientnet-lite2")
    models = {m["name"]: m for m in client.http.get("/v1/models").json()["models"]}
    assert models["efficientnet-lite0"]["loaded"] and models["small"]["loaded"]


def test_broken_models_say_what_is_wrong_and_others_go_on(place):
    server, client, words = place
    for name, word in words.items():
        response = client.http.put(f"/v1/collections/broken_{name.replace('-', '_')}", json={"model": name})
        assert response.status_code in (400, 404, 500), response.text
        body = response.json()
        assert word in body["detail"], body
        assert name in body["detail"], body
        assert embedded(client)["dimension"] == 1280
        assert server.alive()
    assert not [c for c in client.http.get("/v1/collections").json()["collections"] if c["name"].startswith("broken")]


def test_unknown_model(place):
    _, client, _ = place
    for name in ("nothing", "../small", "/etc", ".", "", "x" * 300):
        response = client.http.put("/v1/collections/unknown", json={"model": name})
        if name == "":
            assert response.status_code == 201  # empty: the default
            client.drop("unknown")
            continue
        assert response.status_code in (400, 404) and response.json()["field"] == "model", response.text


def test_a_model_that_went_away_and_came_back(servers, tmp_path):
    """The collection says what is missing, and works again, without a restart, when it is there."""
    if not (MODELS / "efficientnet-lite0" / "model.json").exists():
        pytest.skip("no lite0")
    broken_models(tmp_path)
    data = tmp_path / "data"
    server = servers("--models", tmp_path, "--model", "efficientnet-lite0", data=data)
    client = Api(server.url)
    assert client.http.put("/v1/collections/away", json={"model": "small"}).status_code == 201
    client.add("away", 1, picture(1)).data
    server.stop_cleanly()
    shutil.move(tmp_path / "small", tmp_path / "away")
    server.start()
    client = Api(server.url)
    reply = client.search("away", picture(1))
    assert reply.code != OK and "small" in reply.message and "model add" in reply.message
    problem(client.http.post("/v1/collections/away/search", content=picture(1), headers={"Content-Type": "image/jpeg"}), 404, "model", "small")
    assert client.http.put("/v1/collections/stays").status_code == 201
    client.add("stays", 1, picture(1)).data
    shutil.move(tmp_path / "away", tmp_path / "small")
    assert client.search("away", picture(1)).data[0]["distance"] < 1e-3
    client.close()


def change_input(folder, **changes):
    manifest = json.loads((folder / "model.json").read_text())
    manifest["input"] |= changes
    (folder / "model.json").write_text(json.dumps(manifest))


def test_a_collection_is_refused_to_a_model_that_sees_otherwise(servers, tmp_path):
    """The same name, another size or preprocessing: vectors of the two are not mixed. A collection from before that was written down goes on."""
    if not (MODELS / "efficientnet-lite0" / "model.json").exists():
        pytest.skip("no lite0")
    broken_models(tmp_path)
    small_model(tmp_path / "open.onnx", shape=("n", 3, "h", "w"))
    write_manifest(tmp_path / "small", (tmp_path / "open.onnx").read_bytes())
    data = tmp_path / "data"
    server = servers("--models", tmp_path, "--model", "efficientnet-lite0", data=data)
    client = Api(server.url)
    for name in ("new", "old"):
        assert client.http.put(f"/v1/collections/{name}", json={"model": "small"}).status_code == 201
        client.add(name, 1, picture(1)).data
    seen = client.http.get("/v1/collections/new").json()["input"]
    assert seen.startswith("32x32 stretch rgb mean 127 127 127 std 128"), seen
    for changes in ({"width": 40, "height": 40}, {"resize": "fit-white"}, {"mean": [126, 127, 127]}):
        client.close()
        server.stop_cleanly()
        kept = (tmp_path / "small" / "model.json").read_text()
        change_input(tmp_path / "small", **changes)
        for path in data.rglob("meta.db"):
            with contextlib.closing(sqlite3.connect(path)) as db:
                if path.parent.name.startswith("old"):
                    db.execute("DELETE FROM settings WHERE key = 'input'")
                    db.commit()
        server.start()
        client = Api(server.url)
        body = {"content": picture(2), "headers": {"Content-Type": "image/jpeg"}}
        problem(client.http.post("/v1/collections/new/search", **body), 400, "model", "cannot be compared")
        reply = client.add("new", 2, picture(2))
        assert reply.code != OK and seen in reply.message and "as it was" in reply.message, reply.message
        assert client.http.get("/v1/collections/new").json()["count"] == 1
        assert ON_MILVUS or client.http.get("/v1/collections/old").json()["input"] is None  # a Milvus has no meta.db to be changed above
        assert ON_MILVUS or client.search("old", picture(1)).code == OK
        (tmp_path / "small" / "model.json").write_text(kept)
    client.close()
    server.stop_cleanly()
    server.start()
    client = Api(server.url)
    assert client.search("new", picture(1)).data[0]["distance"] < 1e-3
    client.close()


# --- background -------------------------------------------------------------------------------------------------

def mask_model(folder):
    """What is bright is the subject: the mean of the channels, as a model of kind "mask"."""
    folder.mkdir()
    weights = numpy.ones((1, 3, 1, 1), numpy.float32)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["image", "w"], ["mask"])], "bright",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 32, 32])],
        [helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["n", 1, 32, 32])], [numpy_helper.from_array(weights, "w")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "model.onnx")
    data = (folder / "model.onnx").read_bytes()
    write_manifest(folder, data, kind="mask", output={"name": "mask"})


def on_ground(seed, ground, size=(320, 240), at=(200, 100)):
    """The same bright thing of 80×80 on a dark ground of some colour."""
    image = Image.new("RGB", size, ground)
    thing = Image.new("RGB", (80, 80), (250, 250, 250))
    draw = ImageDraw.Draw(thing)
    draw.rectangle((10 + 5 * seed, 20, 30 + 5 * seed, 60), fill=(255, 200, 180))
    image.paste(thing, at)
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


@pytest.fixture(scope="module", name="cutter")
def fixture_cutter(servers, tmp_path_factory):
    if not (MODELS / "efficientnet-lite0" / "model.json").exists():
        pytest.skip("no lite0")
    top = tmp_path_factory.mktemp("masks")
    mask_model(top / "bright")
    server = servers("--models", top, "--mask-model", "bright", "--model", "efficientnet-lite0")
    client = Api(server.url)
    yield client
    client.close()


def seen(client, data, **query):
    response = client.http.post("/v1/mask", content=data, headers={"Content-Type": "image/png"}, params=query)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "image/jpeg"
    return response, numpy.asarray(Image.open(io.BytesIO(response.content)).convert("RGB"), int)


def test_mask_is_shown(cutter):
    data = on_ground(1, (20, 30, 60))
    response, mask = seen(cutter, data, background="subject")
    assert response.headers["x-subject"] == "found"
    assert mask.shape == (800, 800, 3)
    assert (mask[450, 600] > 200).all() or (mask[400, 590] > 200).all()  # the thing, on a canvas of 800
    assert (mask[300, 100] < 60).all()  # the ground
    _, cut = seen(cutter, data, background="black", show="input")
    assert cut.shape == (224, 224, 3) and (cut[100, 20] < 40).all()
    _, white = seen(cutter, data, background="white", show="input")
    assert (white[100, 20] > 230).all()
    _, crop = seen(cutter, data, background="subject", show="input")
    assert (crop[112, 112] > 150).all() and crop.mean() > 150  # the thing fills the crop
    response, _ = seen(cutter, on_ground(1, (0, 0, 0), at=(1000, 1000)), background="subject")
    assert response.headers["x-subject"] == "none"  # nothing there: the whole picture


def test_background_modes_of_collections(cutter):
    """The ground matters less the more of it is taken away; each collection goes its own way, and remembers it."""
    grounds = [(10, 10, 90), (10, 80, 10)]
    distance = {}
    for mode in ("none", "subject", "black", "white"):
        made = cutter.http.put(f"/v1/collections/bg_{mode}", json={"background": mode})
        assert made.status_code == 201 and made.json()["background"] == mode, made.text
        cutter.add(f"bg_{mode}", 1, on_ground(1, grounds[0])).data
        same = cutter.search(f"bg_{mode}", on_ground(1, grounds[0])).data[0]["distance"]
        assert same < 1e-4
        distance[mode] = cutter.search(f"bg_{mode}", on_ground(1, grounds[1])).data[0]["distance"]
    assert distance["black"] < distance["none"] / 2 and distance["white"] < distance["none"] / 2, distance
    assert distance["subject"] < distance["none"], distance
    problem(cutter.http.put("/v1/collections/bg_x", json={"background": "pink"}), 400, "background", "pink")


def test_no_mask_model(place):
    _, client, _ = place
    body = problem(client.http.put("/v1/collections/needs_mask", json={"background": "subject"}), 404, "background", "get-u2net")
    assert "nowhere" in body["detail"]
