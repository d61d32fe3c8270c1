#!/usr/bin/env python3
"""The preset `reference` against the Python service's own steps, picture by picture.

    scripts/check-reference [PICTURES]

A ResNet50 as timm initialises it, with a fixed seed, is exported to ONNX and added with `lookalike model add --preset reference`. Each picture then goes two ways: through the
server (POST /v1/embed), and through Pillow, U2-Net in ONNX Runtime with rembg's arithmetic, timm's transform and PyTorch.

  given equal masks   Python composes with the mask that the server found: cosine at least 0.999
  end to end          Python finds its own mask, and saves the cut-out as JPEG as the service did: at least 0.99

A random network maps all pictures to similar vectors, so the same figures are printed for vectors less their mean, and for
pairs of different pictures, to show that the comparison can fail. (With random batch norms and no zero in the residual branches the
network is chaotic: pixels that differ by 0.0007 of a deviation then give cosines of 0.998, which says nothing of the pipeline.) Needs the packages of requirements.txt beside this
file, U2-Net (scripts/get-u2net) and ../shared/data.
"""
import io
import pathlib
import sys
import tempfile

import numpy
import onnxruntime
import timm
import torch
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "acceptance"))

import support  # noqa: E402

MODELS = ROOT / "models"
CANVAS = 800


def network():
    torch.manual_seed(7)
    model = timm.create_model("resnet50", pretrained=False, num_classes=0).eval()
    return model, timm.data.create_transform(**timm.data.resolve_data_config({}, model=model))


def export(model, path):
    torch.onnx.export(model, torch.zeros(1, 3, 224, 224), str(path), input_names=["image"], output_names=["embedding"],
                      dynamic_axes={"image": {0: "n"}, "embedding": {0: "n"}}, dynamo=False)


def letterboxed(picture):
    scale = min(CANVAS / picture.width, CANVAS / picture.height)
    small = picture.resize((int(picture.width * scale), int(picture.height * scale)))
    left, top = (small.width - CANVAS) / 2, (small.height - CANVAS) / 2
    return small.crop((left, top, left + CANVAS, top + CANVAS))


def python_mask(session, picture):
    """As rembg's session for U2-Net computes it."""
    a = numpy.asarray(picture.resize((320, 320), Image.Resampling.LANCZOS), numpy.float64)
    a = (a / a.max() - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    out = session.run(None, {session.get_inputs()[0].name: a.transpose(2, 0, 1)[None].astype(numpy.float32)})[0][0, 0]
    out = (out - out.min()) / (out.max() - out.min())
    return Image.fromarray((out * 255).astype("uint8"), "L").resize(picture.size, Image.Resampling.LANCZOS)


def cut(picture, mask):
    return Image.composite(picture.convert("RGBA"), Image.new("RGBA", picture.size, 0), mask).convert("RGB")


def saved(picture):
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=95)
    return Image.open(io.BytesIO(out.getvalue()))


def vector(model, transform, picture):
    with torch.no_grad():
        return model(transform(picture.convert("RGB"))[None])[0].numpy().astype(numpy.float64)


def ask(server, route, data, **query):
    response = server.http.post(route, content=data, headers={"Content-Type": "image/jpeg"}, params=query)
    response.raise_for_status()
    return response


def cosines(a, b):
    return (a * b).sum(1) / numpy.linalg.norm(a, axis=1) / numpy.linalg.norm(b, axis=1)


def report(name, ours, theirs, goal):
    mean = theirs.mean(0)
    c, centred, other = cosines(ours, theirs), cosines(ours - mean, theirs - mean), cosines(ours, numpy.roll(theirs, 1, 0))
    other_centred = cosines(ours - mean, numpy.roll(theirs, 1, 0) - mean)
    print(f"{name}: cosine at least {c.min():.5f}, median {numpy.median(c):.5f} (goal {goal}); less their mean {centred.min():.4f}, "
          f"{numpy.median(centred):.4f}; different pictures: {numpy.median(other):.4f}, less their mean {numpy.median(other_centred):.4f}; "
          f"length ratio {numpy.median(numpy.linalg.norm(ours, axis=1) / numpy.linalg.norm(theirs, axis=1)):.4f}")
    return c.min() >= goal


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    found = support.shared_pictures("groceries/test") + support.shared_pictures("clothing/test")
    if not found or not (MODELS / "u2net" / "model.json").exists():
        sys.exit("needs ../shared/data and models/u2net (scripts/get-u2net)")
    pictures = found[:: max(1, len(found) // count)][:count]
    top = pathlib.Path(tempfile.mkdtemp(prefix="lookalike-reference-"))
    model, transform = network()
    export(model, top / "resnet50.onnx")
    done = support.run_program("model", "add", "reference", top / "resnet50.onnx", "--preset", "reference", "--models", top / "models")
    if done.returncode:
        sys.exit(done.stderr)
    print(done.stdout.strip())
    session = onnxruntime.InferenceSession(str(MODELS / "u2net" / "model.onnx"), providers=["CPUExecutionProvider"])
    server = support.Server(top / "data", "--models", top / "models", "--model", "reference").start()
    client = support.Api(server.url, timeout=600)
    ours, equal, whole, masks = [], [], [], []
    for path in pictures:
        data = path.read_bytes()
        ours.append(ask(client, "/v1/embed", data).json()["vector"])
        mask = Image.open(io.BytesIO(ask(client, "/v1/mask", data, background="black", format="pnm").content)).convert("L")
        square = letterboxed(Image.open(path).convert("RGB"))
        own = python_mask(session, square)
        equal.append(vector(model, transform, cut(square, mask)))
        whole.append(vector(model, transform, saved(cut(square, own))))
        masks.append(numpy.abs(numpy.asarray(mask, int) - numpy.asarray(own, int)).mean() / 255)
    server.stop_cleanly()
    ours, equal, whole = (numpy.array(v, numpy.float64) for v in (ours, equal, whole))
    print(f"{len(pictures)} pictures; masks differ by {100 * numpy.mean(masks):.2f} % on average, {100 * numpy.max(masks):.2f} % at most")
    good = report("given equal masks", ours, equal, 0.999)
    good = report("end to end", ours, whole, 0.99) and good
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
