#!/usr/bin/env python3
"""hnswlib, usearch and faiss on a set of vectors made by vectors.py, for comparison with ann_bench.

    bench/ann/peers.py SET --out FILE [--only NAME,…] [--threads N] [--rounds N]

They are installed as bench/ann/requirements.txt says. Builds with N threads, asks with one, through the libraries' own batch calls, so that no interpreter time counts. Times
are of the process's CPU, the median of the rounds. Appends JSON lines to FILE, as ann_bench --out does. Memory is what
the library says it holds, or the length of the file it saves. SET/truth.u32 is made by ann_bench.
"""

import argparse
import json
import pathlib
import statistics
import tempfile
import time

import numpy as np

K = 10
EFS = [10, 14, 20, 28, 40, 56, 80, 112, 160, 226, 320, 452, 640]


def load(folder):
    shape = json.loads((folder / "shape.json").read_text(encoding="utf-8"))
    base, queries = (
        np.fromfile(folder / f"{name}.f16", np.float16).reshape(-1, shape["dimension"]).astype(np.float32)
        for name in ("base", "queries"))
    truth = np.fromfile(folder / "truth.u32", np.uint32).reshape(len(queries), 100)[:, :K]
    return base, queries, truth


def recall_of(found, truth):
    return float(np.mean([len(np.intersect1d(f[:K], t)) for f, t in zip(found, truth)]) / K)


class Hnswlib:
    def __init__(self, base, threads):
        import hnswlib

        self.index = hnswlib.Index(space="l2", dim=base.shape[1])
        self.index.init_index(max_elements=len(base), M=16, ef_construction=200)
        self.index.add_items(base, num_threads=threads)
        self.index.set_num_threads(1)

    def search(self, queries, ef):
        self.index.set_ef(ef)
        return self.index.knn_query(queries, k=K, num_threads=1)[0]

    def save(self, path):
        self.index.save_index(path)


class Usearch:
    def __init__(self, base, threads, dtype):
        from usearch.index import Index

        self.index = Index(ndim=base.shape[1], metric="cos", dtype=dtype, connectivity=16, expansion_add=200)
        self.index.add(np.arange(len(base)), base, threads=threads)

    def search(self, queries, ef):
        self.index.expansion_search = ef
        return self.index.search(queries, K, threads=1).keys

    def save(self, path):
        self.index.save(path)


class Faiss:
    def __init__(self, base, threads, factory, parameter):
        import faiss

        self.faiss, self.parameter = faiss, parameter
        faiss.omp_set_num_threads(threads)
        self.index = faiss.index_factory(base.shape[1], factory)
        if "HNSW" in factory:
            faiss.downcast_index(self.index).hnsw.efConstruction = 200
        self.index.train(base)
        self.index.add(base)
        faiss.omp_set_num_threads(1)

    def search(self, queries, ef):
        if self.parameter == "efSearch":
            self.index.hnsw.efSearch = ef
        elif self.parameter == "nprobe":
            self.index.nprobe = max(1, ef // 5)
        return self.index.search(queries, K)[1]

    def save(self, path):
        self.faiss.write_index(self.index, path)


def peers(count):
    lists = max(16, int(4 * count**0.5))
    return {
        "hnswlib": lambda b, t: Hnswlib(b, t),
        "usearch f16": lambda b, t: Usearch(b, t, "f16"),
        "usearch i8": lambda b, t: Usearch(b, t, "i8"),
        "faiss HNSW-SQ8": lambda b, t: Faiss(b, t, "HNSW16_SQ8", "efSearch"),
        "faiss IVF-SQ8": lambda b, t: Faiss(b, t, f"IVF{lists},SQ8", "nprobe"),
        "faiss flat": lambda b, t: Faiss(b, t, "Flat", None),
    }


def measure(name, make, data, args, out):
    base, queries, truth = data
    wall, cpu = time.perf_counter(), time.process_time()
    peer = make(base, args.threads)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    with tempfile.TemporaryDirectory(dir=args.set) as folder:
        path = pathlib.Path(folder) / "index"
        peer.save(str(path))
        mib = path.stat().st_size / 2**20
    report(out, {"what": "build", "name": name, "seconds": round(wall, 2), "cpu": round(cpu, 2),
                 "threads": args.threads, "mib": round(mib, 2)})
    for ef in [10] if name == "faiss flat" else args.efs:
        times = []
        for _ in range(1 if name == "faiss flat" else args.rounds):
            start = time.process_time()
            found = peer.search(queries, ef)
            times.append(time.process_time() - start)
        report(out, {"what": "search", "name": name, "ef": ef, "recall": round(recall_of(found, truth), 5),
                     "qps": round(len(queries) / statistics.median(times), 1)})


def report(out, line):
    print(json.dumps(line), flush=True)
    with open(out, "a", encoding="utf-8") as f:
        f.write(json.dumps(line) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", type=pathlib.Path)
    parser.add_argument("--out", required=True)
    parser.add_argument("--only", default="", help="names, separated by commas")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--efs", type=lambda s: [int(x) for x in s.split(",")], default=EFS)
    args = parser.parse_args()
    data = load(args.set)
    for name, make in peers(len(data[0])).items():
        if not args.only or name in args.only.split(","):
            measure(name, make, data, args, args.out)


if __name__ == "__main__":
    main()
