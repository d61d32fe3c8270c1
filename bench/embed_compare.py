#!/usr/bin/env python3
"""JPEG in, vector out: the server against Python, the same network, pictures and machine, in one run.

    server      POST /v1/embed from 16 connections, as the server is asked in the other programs here
    (a)         Pillow, NumPy and onnxruntime in Python, f32
    (b)         Pillow, timm's transform and PyTorch, eager, f32
    whole way   the preset `reference` (letter-boxed, background removed by U2-Net, ResNet50) of the server, against U2-Net in onnxruntime
                with rembg's arithmetic, then timm and PyTorch
    tool        `lookalike model bench` against OpenVINO's own benchmark_app: the same file, precision, batch and threads

In turns, several rounds; ratios are of medians. The network is timm's ResNet50 with random weights; int8 is made of it by scripts/quantize.
Needs the environments of scripts/check-reference (its Python runs this) and scripts/quantize, models/u2net (scripts/get-u2net), and a
build. Use: embed_compare.py [--rounds 3] [--pictures 256] [--precision f32,bf16,int8] [--only python|whole|tool]
"""
import argparse
import concurrent.futures
import contextlib
import io
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests" / "acceptance"), str(ROOT / "tests" / "reference"), str(ROOT / "bench")]

import numpy  # noqa: E402
import onnxruntime  # noqa: E402
import torch  # noqa: E402
from PIL import Image  # noqa: E402

from check_reference import cut, export, letterboxed, network, python_mask, saved  # noqa: E402
from hostile_bench import CLIENTS, Connection  # noqa: E402
from serve_bench import machine  # noqa: E402
from support import HOST, Api, Server, run_program, shared_pictures  # noqa: E402

U2NET = ROOT / "models" / "u2net"


def must(done):
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return done


def quantize(model, pictures):
    """Of random weights nothing is lost that there was: the limit is none here."""
    must(subprocess.run([str(ROOT / "scripts" / "quantize"), str(model), str(pictures), "--calibrate", "60", "--measure", "30", "--max-loss", "100"],
                        capture_output=True, text=True, check=False))


def rate(work, count):
    started = time.perf_counter()
    work()
    return count / (time.perf_counter() - started)


def compare(ways, count, rounds):
    """{name: median} of pictures a second; all ways in turn."""
    for work in ways.values():
        work()
    rates = {name: [] for name in ways}
    for _ in range(rounds):
        for name, work in ways.items():
            rates[name].append(rate(work, count))
    middle = {name: statistics.median(values) for name, values in rates.items()}
    ours = next(iter(middle.values()))
    for name, values in rates.items():
        print(f"  {name:12} {middle[name]:6.1f} pictures/s   ({', '.join(f'{v:.1f}' for v in values)})   the first is {ours / middle[name]:.2f} times that")
    return middle


class Ours:
    """A server with one model, asked from many connections at once, over bare sockets: the client works on the server's CPUs."""

    def __init__(self, top, model, precision):
        self.server = Server(top / "data", "--models", top / "models", "--model", model, "--precision", precision)
        self.server.start()
        self.pool = concurrent.futures.ThreadPoolExecutor(CLIENTS)
        self.mine = threading.local()

    def one(self, body):
        if not hasattr(self.mine, "connection"):
            self.mine.connection = Connection(self.server.port)
        status, _, _ = self.mine.connection.ask((f"POST /v1/embed HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: image/jpeg\r\n"
                                                 f"Content-Length: {len(body)}\r\n\r\n").encode() + body)
        if status != 200:
            sys.exit(f"the server answered with {status}:\n{self.server.tail()}")

    def all(self, data):
        return list(self.pool.map(self.one, data))

    def stop(self):
        with contextlib.closing(Api(self.server.url)) as client:
            loaded = client.http.get("/v1/models").json()["models"]
        self.server.stop_cleanly()
        return ", ".join(f"{m['name']} in {m['precision']} on {m['device']}" for m in loaded if m.get("precision"))


def against_python(top, precision, data, model, transform, rounds):
    session = onnxruntime.InferenceSession(str(top / "r.onnx"), providers=["CPUExecutionProvider"])
    ours = Ours(top, "r", precision)

    def pixels(body):
        return transform(Image.open(io.BytesIO(body)).convert("RGB"))

    def by_torch():
        with torch.no_grad():
            for at in range(0, len(data), 8):
                model(torch.stack([pixels(body) for body in data[at: at + 8]]))

    def by_onnxruntime():
        for at in range(0, len(data), 8):
            session.run(None, {"image": numpy.stack([pixels(body).numpy() for body in data[at: at + 8]])})

    print(f"{precision}:")
    compare({"server": lambda: ours.all(data), "onnxruntime": by_onnxruntime, "pytorch": by_torch}, len(data), rounds)
    print(f"  ({ours.stop()})")


def whole_way(top, precision, data, model, transform, rounds):
    session = onnxruntime.InferenceSession(str(U2NET / "model.onnx"), providers=["CPUExecutionProvider"])
    ours = Ours(top, "reference", precision)

    def by_python():
        for body in data:
            square = letterboxed(Image.open(io.BytesIO(body)).convert("RGB"))
            picture = saved(cut(square, python_mask(session, square)))
            with torch.no_grad():
                model(transform(picture.convert("RGB"))[None])

    print(f"whole way, {precision}:")
    compare({"server": lambda: ours.all(data), "rembg, timm": by_python}, len(data), rounds)
    print(f"  ({ours.stop()})")


def against_tool(top, precision, rounds):
    """Both in turn; benchmark_app is the OpenVINO package's own, of the environment that the models are made with."""
    def ours():
        return json.loads(must(run_program("model", "bench", "r", "--models", top / "models", "--precision", precision, "--seconds", 8, "--json")).stdout)

    said = ours()
    manifest = json.loads((top / "models" / "r" / "model.json").read_text())
    file = top / "models" / "r" / (manifest["int8"]["file"] if precision == "int8" else manifest["file"])
    command = [ROOT / ".deps" / "venv" / "bin" / "benchmark_app", "-m", file, "-d", "CPU", "-shape", f"[{said['batch']},3,224,224]", "-t", 8,
               "-infer_precision", "bf16" if precision == "bf16" else "f32"]
    ways = {"model bench": lambda: ours()["pictures_per_second"]}
    for name, more in (("throughput", ["-hint", "throughput"]), ("one stream", ["-hint", "none", "-nstreams", 1, "-nireq", 1])):
        def by_tool(more=more):
            done = must(subprocess.run([str(c) for c in command + more], capture_output=True, text=True, check=False))
            return float(re.search(r"Throughput:\s*([\d.]+)", done.stdout)[1])
        ways[f"benchmark_app, {name}"] = by_tool
    rates = {name: [] for name in ways}
    for _ in range(rounds):
        for name, work in ways.items():
            rates[name].append(work())
    middle = {name: statistics.median(values) for name, values in rates.items()}
    print(f"the model alone, {precision}, batch {said['batch']}:")
    for name, values in rates.items():
        print(f"  {name:26} {middle[name]:6.1f} pictures/s   ({', '.join(f'{v:.1f}' for v in values)})   ours is {middle['model bench'] / middle[name]:.2f} times that")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pictures", type=int, default=256)
    parser.add_argument("--precision", default="f32")
    parser.add_argument("--only", choices=["python", "whole", "tool"])
    options = parser.parse_args()
    paths = shared_pictures("clothing/test")[: options.pictures]
    if not paths:
        sys.exit("needs ../shared/data")
    data = [p.read_bytes() for p in paths]
    top = pathlib.Path(tempfile.mkdtemp(prefix="lookalike-embed-"))
    model, transform = network()
    export(model, top / "r.onnx")
    must(run_program("model", "add", "r", top / "r.onnx", "--preset", "resnet50-timm", "--models", top / "models"))
    precisions = options.precision.split(",")
    if "int8" in precisions and options.only != "whole":
        quantize(top / "models" / "r", paths[0].parents[1])
    print(machine())
    print(f"{len(data)} pictures, {options.rounds} rounds")
    for precision in precisions:
        if options.only in (None, "python"):
            against_python(top, precision, data, model, transform, options.rounds)
        if options.only in (None, "tool"):
            against_tool(top, precision, options.rounds)
    if options.only in (None, "whole"):
        must(run_program("model", "add", "reference", top / "r.onnx", "--preset", "reference", "--models", top / "models"))
        shutil.copytree(U2NET, top / "models" / "u2net")
        if "int8" in precisions:
            for name in ("reference", "u2net"):
                quantize(top / "models" / name, paths[0].parents[1])
        for precision in precisions:
            whole_way(top, precision, data[: max(4, len(data) // 4)], model, transform, options.rounds)


if __name__ == "__main__":
    main()
