#!/usr/bin/env python3
"""What the rich descriptor, from which a collection learns, costs an import: the same pictures into two collections of one server, in
turns, one with the model as it is and one with the same model without its descriptor. Goal: at most 10 % more time.

Use: descriptor_bench.py [--rounds 3] [--pictures 1000] [--model efficientnet-lite2] [--json]
The program is $LOOKALIKE_BUILD/lookalike (default: build); models are those beside it, or $LOOKALIKE_MODELS.
"""
import argparse
import json
import os
import pathlib
import shutil
import statistics
import sys
import tempfile
import time

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[1] / "tests" / "acceptance"), str(pathlib.Path(__file__).resolve().parent)]

import httpx  # noqa: E402

from serve_bench import machine  # noqa: E402
from support import BUILD, Server, run_program, shared_pictures  # noqa: E402

GOAL = 1.10


def two_models(top, name):
    """A folder of models with `rich` and `plain`."""
    source = pathlib.Path(os.environ.get("LOOKALIKE_MODELS") or BUILD.parent / "models") / name
    for kind in ("rich", "plain"):
        shutil.copytree(source, top / kind)
        manifest = json.loads((source / "model.json").read_text())
        manifest["name"] = kind
        if not manifest["output"].get("descriptor"):
            sys.exit(f"{name} has no descriptor")
        if kind == "plain":
            del manifest["output"]["descriptor"]
        (top / kind / "model.json").write_text(json.dumps(manifest))


def import_into(server, kind, folder, count):
    http = httpx.Client(base_url=server.url, trust_env=False, timeout=60)
    http.put(f"/v1/collections/{kind}", json={"model": kind}).raise_for_status()
    started = time.monotonic()
    done = run_program("import", kind, folder, "--server", server.url)
    took = time.monotonic() - started
    there = http.get(f"/v1/collections/{kind}").json()
    if done.returncode or there["count"] != count:
        sys.exit(f"import ended with {done.returncode}, {there}:\n{done.stderr[-2000:]}")
    http.delete(f"/v1/collections/{kind}").raise_for_status()
    return took


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pictures", type=int, default=1000)
    parser.add_argument("--model", default="efficientnet-lite2")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    paths = (shared_pictures("clothing/train") or [])[: options.pictures]
    if not paths:
        sys.exit("needs ../shared/data")
    top = pathlib.Path(tempfile.mkdtemp(prefix="lookalike-descriptor-"))
    two_models(top / "models", options.model)
    (top / "pictures").mkdir()
    for n, path in enumerate(paths):
        os.symlink(path, top / "pictures" / f"{n:05}.jpg")
    server = Server(top / "data", "--models", top / "models", "--model", "rich").start()
    times = {"rich": [], "plain": []}
    for kind in times:  # once unmeasured, for models that are loaded then
        import_into(server, kind, top / "pictures", len(paths))
    for number in range(options.rounds):
        for kind in sorted(times, reverse=number % 2):
            times[kind].append(import_into(server, kind, top / "pictures", len(paths)))
    server.stop_cleanly()
    shutil.rmtree(top)
    ratio = statistics.median(times["rich"]) / statistics.median(times["plain"])
    if options.json:
        print(json.dumps({"machine": machine(), "pictures": len(paths), "seconds": times, "ratio": ratio, "goal": GOAL, "met": ratio <= GOAL}))
    else:
        print(machine())
        print(f"{len(paths)} pictures, {options.rounds} rounds; rich {', '.join(f'{t:.1f}' for t in times['rich'])} s, plain "
              f"{', '.join(f'{t:.1f}' for t in times['plain'])} s")
        print(f"with the descriptor {ratio:.2f} times the time; goal {GOAL} or less: {'met' if ratio <= GOAL else 'MISSED'}")
    sys.exit(0 if ratio <= GOAL else 1)


if __name__ == "__main__":
    main()
