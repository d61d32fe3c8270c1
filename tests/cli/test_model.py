"""`lookalike model`: a file becomes a folder that works, or a sentence says why not and nothing is changed."""
import hashlib
import json
import os
import pathlib
import sys

import numpy
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "acceptance"))

import support  # noqa: E402
from support import PictureSite, run_program  # noqa: E402


def model(path, dimension=8, inputs=("n", 3, 32, 32), outputs=None, kind=TensorProto.FLOAT, constant=False, pooled=True):
    """A convolution, averaged over the picture where `pooled`."""
    weights = numpy.random.default_rng(5).standard_normal((dimension, 3, 3, 3)).astype(numpy.float32) * (0 if constant else 1)
    nodes = [helper.make_node("Conv", ["image", "w", "b"], ["map"])]
    if pooled:
        nodes += [helper.make_node("GlobalAveragePool", ["map"], ["p"]), helper.make_node("Flatten", ["p"], ["flat"]),
                  helper.make_node("Cast", ["flat"], ["vector"], to=kind)]
    shape = [inputs[0], dimension] if pooled else [inputs[0], dimension, None, None]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("image", TensorProto.FLOAT, inputs)],
        [helper.make_tensor_value_info("vector" if pooled else "map", kind, outputs or shape)],
        [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(numpy.ones(dimension, numpy.float32), "b")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def add(folder, name, file, *flags, status=0):
    done = run_program("model", "add", name, file, "--models", folder, *flags)
    assert done.returncode == status, done.stdout + done.stderr
    return done


@pytest.fixture(name="models")
def fixture_models(tmp_path):
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


def test_add_list_bench(models, tmp_path):
    file = model(tmp_path / "a.onnx")
    said = json.loads(add(models, "small", file, "--preset", "generic", "--licence", "MIT", "--json").stdout)
    assert said["dimension"] == 8 and said["input"] == [32, 32]
    assert said["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    manifest = json.loads((models / "small" / "model.json").read_text())
    assert manifest["licence"] == "MIT" and manifest["output"]["pooling"] == "none" and manifest["source"] == "a.onnx"
    listed = run_program("model", "list", "--models", models, "--json")
    mine = {m["name"]: m for m in json.loads(listed.stdout)["models"]}["small"]
    assert mine["sha256"] == said["sha256"] and "problem" not in mine
    bench = run_program("model", "bench", "small", "--models", models, "--seconds", "1", "--json")
    measured = json.loads(bench.stdout)
    assert measured["pictures_per_second"] > 1 and measured["alone_ms"]["p50"] > 0
    with open(models / "small" / "model.onnx", "ab") as f:
        f.write(b"\0")
    listed = run_program("model", "list", "--models", models)
    assert listed.returncode == 1 and "small" in listed.stdout and "cannot be used" in listed.stdout


def test_open_size_and_pooling(models, tmp_path):
    file = model(tmp_path / "a.onnx", inputs=("n", 3, None, None), pooled=False, dimension=16)
    add(models, "map", file, "--preset", "generic", "--side", "48")
    manifest = json.loads((models / "map" / "model.json").read_text())
    assert manifest["output"] == {"name": "map", "pooling": "mean", "normalisation": "l2", "dimension": 16}
    assert manifest["input"]["width"] == 48


def test_manifest_instead_of_preset(models, tmp_path):
    file = model(tmp_path / "a.onnx")
    given = tmp_path / "given.json"
    given.write_text(json.dumps({
        "format": 1, "name": "?", "file": "?", "sha256": "?", "licence": "MIT", "background": "none", "mine": [1],
        "input": {"name": "image", "width": 32, "height": 32, "resize": "stretch", "channels": "bgr", "mean": [0, 0, 0], "std": [1, 1, 1]},
        "output": {"name": "vector", "pooling": "none", "normalisation": "none", "dimension": 8}}))
    add(models, "own", file, "--manifest", given)
    manifest = json.loads((models / "own" / "model.json").read_text())
    assert manifest["name"] == "own" and manifest["mine"] == [1] and manifest["input"]["channels"] == "bgr"
    given.write_text(given.read_text().replace('"dimension": 8', '"dimension": 9'))
    done = add(models, "own2", file, "--manifest", given, status=3)
    assert "9" in done.stderr and sorted(os.listdir(models)) == ["own"]


WRONG = {
    "not a model": (lambda p: p.write_bytes(b"nothing of the kind" * 20) and p, (), "read the model"),
    "truncated": (lambda p: p.write_bytes(model(p).read_bytes()[:-100]) and p, (), "read the model"),
    "text": (lambda p: model(p, kind=TensorProto.STRING), (), "something else than numbers"),
    "dynamic": (lambda p: model(p, inputs=("n", "c", "h", "w")), (), "the 3 fixed"),
    "wrong sum": (model, ("--sha256", "0" * 64), "its sum is"),
    "constant": (lambda p: model(p, constant=True), (), "same vector for two different pictures"),
    "missing": (lambda p: p, (), "cannot read"),
    "another side": (model, ("--side", "64"), "64 pixels"),
    "no such preset": (model, ("--preset", "resnet51"), "resnet51"),
    "both": (model, ("--manifest", "x.json"), "one of"),
    "sum that is none": (model, ("--sha256", "12"), "64 hexadecimal"),
    "reference": (model, ("--preset", "reference"), "2048"),
    "mask": (model, ("--preset", "u2net"), "mask"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_changes_nothing(models, tmp_path, case):
    make, flags, word = WRONG[case]
    file = make(tmp_path / "a.onnx")
    if "--preset" not in flags:
        flags = ("--preset", "generic", *flags)
    done = add(models, "x", file, *flags, status=3)
    assert word in done.stderr, done.stderr
    assert os.listdir(models) == []


def test_names(models, tmp_path):
    file = model(tmp_path / "a.onnx")
    for name in ("../x", "a/b", ".x", "", "x" * 120, "a b"):
        done = run_program("model", "add", name, file, "--models", models, "--preset", "generic")
        assert done.returncode in (2, 3) and "name" in done.stderr, done.stderr
    assert os.listdir(models) == []
    assert run_program("model").returncode == 2
    assert run_program("model", "paint").returncode == 2
    assert run_program("model", "add", "x").returncode == 2
    done = run_program("model", "quantize", "absent", "--models", models)
    assert done.returncode == 3 and "absent" in done.stderr
    assert "reference" in run_program("model", "--help").stdout


def test_replace(models, tmp_path):
    add(models, "x", model(tmp_path / "a.onnx"), "--preset", "generic")
    before = (models / "x" / "model.json").read_text()
    wider = model(tmp_path / "b.onnx", dimension=12)
    assert "--replace" in add(models, "x", wider, "--preset", "generic", status=3).stderr
    add(models, "x", model(tmp_path / "c.onnx", constant=True), "--preset", "generic", "--replace", status=3)
    assert (models / "x" / "model.json").read_text() == before
    add(models, "x", wider, "--preset", "generic", "--replace")
    assert json.loads((models / "x" / "model.json").read_text())["output"]["dimension"] == 12
    assert os.listdir(models) == ["x"]


def test_from_a_url(models, tmp_path):
    data = model(tmp_path / "a.onnx").read_bytes()
    site = PictureSite()
    try:
        url = site.put("/a.onnx", data, "application/octet-stream")
        sum_ = hashlib.sha256(data).hexdigest()
        flags = ("--preset", "generic", "--fetch-allow", "127.0.0.1")
        assert "--sha256" in add(models, "x", url, *flags, status=3).stderr
        assert "https" in add(models, "x", url, "--preset", "generic", "--sha256", sum_, status=3).stderr
        assert "its sum is" in add(models, "x", url, *flags, "--sha256", "1" * 64, status=3).stderr
        assert os.listdir(models) == []
        add(models, "x", url, *flags, "--sha256", sum_)
        assert (models / "x" / "model.onnx").read_bytes() == data
        refused = add(models, "y", url.replace("http:", "https:"), "--preset", "generic", "--sha256", sum_, status=3).stderr
        assert "127.0.0.1" in refused or "address" in refused
    finally:
        site.close()
