#!/usr/bin/env python3
"""JPEG in, vector out: the server against Python, the same network, pictures and machine, in one run.

    server      POST /v1/embed from as many connections as it has threads twice over
    (a)         Pillow, NumPy and onnxruntime in Python, f32
    (b)         Pillow, timm's transform and PyTorch, eager, f32

In turns, several rounds; ratios are of medians. The network is timm's ResNet50 with random weights. Needs the environment of
scripts/check-reference, and a build. Use: embed_compare.py [--rounds 3] [--pictures 64] [--precision NAME]
"""
import argparse
import concurrent.futures
import io
import os
import pathlib
import statistics
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests" / "acceptance"), str(ROOT / "bench")]

import numpy  # noqa: E402
import onnxruntime  # noqa: E402
import timm  # noqa: E402
import torch  # noqa: E402
from PIL import Image  # noqa: E402

from serve_bench import machine  # noqa: E402
from support import Api, Server, run_program, shared_pictures  # noqa: E402


def rate(work, count):
    started = time.perf_counter()
    work()
    return count / (time.perf_counter() - started)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pictures", type=int, default=64)
    parser.add_argument("--precision")
    options = parser.parse_args()
    paths = shared_pictures("clothing/test")[: options.pictures]
    if not paths:
        sys.exit("needs ../shared/data")
    data = [p.read_bytes() for p in paths]
    top = pathlib.Path(tempfile.mkdtemp(prefix="lookalike-embed-"))
    torch.manual_seed(7)
    model = timm.create_model("resnet50", pretrained=False, num_classes=0).eval()
    transform = timm.data.create_transform(**timm.data.resolve_data_config({}, model=model))
    torch.onnx.export(model, torch.zeros(1, 3, 224, 224), str(top / "r.onnx"), input_names=["image"], output_names=["embedding"],
                      dynamic_axes={"image": {0: "n"}, "embedding": {0: "n"}}, dynamo=False)
    done = run_program("model", "add", "r", top / "r.onnx", "--preset", "resnet50-timm", "--models", top / "models")
    if done.returncode:
        sys.exit(done.stderr)
    session = onnxruntime.InferenceSession(str(top / "r.onnx"), providers=["CPUExecutionProvider"])
    server = Server(top / "data", "--models", top / "models", "--model", "r", *(["--precision", options.precision] if options.precision else []))
    server.start()
    client = Api(server.url)
    clients = concurrent.futures.ThreadPoolExecutor(2 * len(os.sched_getaffinity(0)))

    def one(body):
        client.http.post("/v1/embed", content=body, headers={"Content-Type": "image/jpeg"}).raise_for_status()

    def pixels(body):
        return transform(Image.open(io.BytesIO(body)).convert("RGB"))

    def by_torch():
        with torch.no_grad():
            for at in range(0, len(data), 8):
                model(torch.stack([pixels(body) for body in data[at: at + 8]]))

    def by_onnxruntime():
        for at in range(0, len(data), 8):
            session.run(None, {"image": numpy.stack([pixels(body).numpy() for body in data[at: at + 8]])})

    ways = {"server": lambda: list(clients.map(one, data)), "onnxruntime": by_onnxruntime, "pytorch": by_torch}
    print(machine())
    rates = {name: [] for name in ways}
    for work in ways.values():
        work()
    for _ in range(options.rounds):
        for name, work in ways.items():
            rates[name].append(rate(work, len(data)))
    loaded = client.http.get("/v1/models").json()["models"][0]
    server.stop_cleanly()
    middle = {name: statistics.median(values) for name, values in rates.items()}
    for name, values in rates.items():
        print(f"{name:12} {middle[name]:6.1f} pictures/s   ({', '.join(f'{v:.1f}' for v in values)})   server is {middle['server'] / middle[name]:.2f} times that")
    print(f"server in {loaded['precision']} on {loaded['device']}, {len(data)} pictures, {options.rounds} rounds")


if __name__ == "__main__":
    main()
