"""Whether the first hit is the right one, on real photographs, through the API and with the default model.

The yardstick on groceries is a reference of the same pipeline that shares no code with the product: Pillow decodes and resizes, ONNX
Runtime runs the model's file, NumPy searches exactly. Nothing of it is kept between runs.
"""
import concurrent.futures
import json
import os
import pathlib

import numpy
import pytest
from PIL import Image, ImageOps

from support import BUILD, SHARED, SOURCE, drawing, encode, run_program

CLOTHING_GOAL = 80.0  # R@1 by class, in %
ALLOWANCE = 0.5        # points that the product may lose against the reference
COSINE = 0.995        # between the product's vector and the reference's, of a file
COSINE_PIXELS = 0.999  # the same where both get the same pixels


def percent(right, of):
    return 100.0 * right / of


def first_hits(api, collection, paths):
    """{path: brief.path of the first hit}, eight at a time."""
    def ask(path):
        return path, api.search(collection, path.read_bytes(), limit=1).data[0]["brief"]["path"]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        return dict(pool.map(ask, paths))


def folder_of(relative):
    return str(relative).split("/")[0]


# --- the reference -------------------------------------------------------------------------------------------------

class Reference:
    def __init__(self, name):
        onnxruntime = pytest.importorskip("onnxruntime")
        places = [pathlib.Path(p) for p in (os.environ.get("LOOKALIKE_MODELS"),) if p]
        places += [BUILD.parent / "models", BUILD / "models", SOURCE / "models"]
        folder = next((p / name for p in places if (p / name / "model.json").exists()), None)
        if folder is None:
            pytest.skip(f"no folder {name} with model.json in {', '.join(map(str, places))}")
        self.manifest = json.loads((folder / "model.json").read_text())
        file = folder / "model.onnx"  # the manifest may name another format of the same network
        if not file.exists():
            pytest.skip(f"no {file}: ONNX Runtime reads nothing else")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # vectors() has one thread for each CPU
        self.session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        given = self.manifest["input"]
        self.size = (given["width"], given["height"])
        assert given["resize"] == "short-side-crop", "the reference knows this way only"
        self.mean, self.std = (numpy.array(given[k], dtype=numpy.float32) for k in ("mean", "std"))

    def pixels(self, image):
        """Upright, RGB, the short side to the target, then the centre."""
        image = ImageOps.exif_transpose(image).convert("RGB")
        width, height = self.size
        scale = max(width / image.width, height / image.height)
        size = max(width, round(image.width * scale)), max(height, round(image.height * scale))
        image = image.resize(size, Image.Resampling.BICUBIC)
        left, top = (size[0] - width) // 2, (size[1] - height) // 2
        return numpy.asarray(image.crop((left, top, left + width, top + height)))

    def vector(self, image):
        pixels = self.pixels(image)
        if self.manifest["input"]["channels"] == "bgr":
            pixels = pixels[..., ::-1]
        data = ((pixels.astype(numpy.float32) - self.mean) / self.std).transpose(2, 0, 1)[None]
        out = self.session.run([self.manifest["output"]["name"]], {self.manifest["input"]["name"]: data})[0]
        if self.manifest["output"]["pooling"] == "mean":
            out = out.mean(axis=(2, 3))
        vector = out.reshape(-1)
        assert len(vector) == self.manifest["output"]["dimension"]
        return vector / numpy.linalg.norm(vector)

    def vectors(self, paths):
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            return numpy.stack(list(pool.map(lambda p: self.vector(Image.open(p)), paths)))


@pytest.fixture(scope="module")
def reference(api):
    """Of the model that the server itself says a new collection gets."""
    api.http.put("/v1/collections/which_model")
    name = api.http.get("/v1/collections/which_model").json()["model"]
    api.http.delete("/v1/collections/which_model")
    return Reference(name)


def embed(api, data):
    response = api.http.post("/v1/embed", content=data, headers={"Content-Type": "image/jpeg"})
    assert response.status_code == 200, response.text[:300]
    return numpy.array(response.json()["vector"])


# --- tests ---------------------------------------------------------------------------------------------------------

def test_vectors_agree_with_the_reference(api, reference, real_pictures):
    """20 photographs of both sources as files, and the same as pixels that need no resizing."""
    paths = (real_pictures("clothing/test") + real_pictures("groceries/test"))
    paths = paths[::max(1, len(paths) // 20)][:20]
    of_files, of_pixels = [], []
    for path in paths:
        image = Image.open(path)
        expected = reference.vector(image)
        of_files.append(float(embed(api, path.read_bytes()) @ expected))
        of_pixels.append(float(embed(api, encode(Image.fromarray(reference.pixels(image)), "PNG")) @ expected))
    print(f"cosine: files {min(of_files):.5f} at least, pixels {min(of_pixels):.5f} at least")
    assert min(of_files) >= COSINE, of_files
    assert min(of_pixels) >= COSINE_PIXELS, of_pixels


def test_a_made_picture_agrees_with_the_reference(api, reference):
    """So that there is a comparison also where the photographs are not."""
    image = drawing(1, reference.size)
    assert float(embed(api, encode(image, "PNG")) @ reference.vector(image)) >= COSINE_PIXELS


def test_clothing_by_class(api, clothing, real_pictures):
    queries = real_pictures("clothing/test")
    hits = first_hits(api, "clothing", queries)
    right = sum(folder_of(hit) == path.parent.name for path, hit in hits.items())
    print(f"clothing: R@1 by class {percent(right, len(queries)):.1f} of {len(queries)} queries, {clothing['files']} pictures, "
          f"imported in {clothing['took']:.1f} s ({clothing['files'] / clothing['took']:.0f} a second)")
    assert percent(right, len(queries)) >= CLOTHING_GOAL


def test_groceries_by_item(server, api, reference, real_pictures):
    gallery, queries = real_pictures("groceries/train"), real_pictures("groceries/test")
    done = run_program("import", "groceries", SHARED / "groceries/train", "--create", "--server", server.url)
    assert done.returncode == 0, done.stderr[-2000:]
    assert api.count("groceries").data == len(gallery)
    hits = first_hits(api, "groceries", queries)
    product = percent(sum(folder_of(hit) == path.parent.name for path, hit in hits.items()), len(queries))
    api.drop("groceries")

    nearest = (reference.vectors(queries) @ reference.vectors(gallery).T).argmax(axis=1)
    expected = percent(sum(gallery[n].parent.name == q.parent.name for n, q in zip(nearest, queries)), len(queries))
    print(f"groceries: R@1 by item {product:.2f}, the reference {expected:.2f}, {len(queries)} queries, {len(gallery)} pictures")
    assert product >= expected - ALLOWANCE
