#!/usr/bin/env python3
"""Makes the vectors that bench/ann measures with, once, and keeps them on disk.

    bench/ann/vectors.py --model models/efficientnet-lite2 --pictures ../shared/data --out DIR [--count 100000] [--jobs 1]

Each row is the embedding of a random crop of a random picture, by the real model; queries are further crops of the
same pictures, none of which is a row. Sets, each `base` rows and `queries` rows of 16-bit floats, unit length:

    DIR/crops-COUNT/{base,queries}.f16     the embeddings. A picture has several crops, so near-copies are many
    DIR/hard-COUNT/{base,queries}.f16      the same mixed with a random direction of half its length: no near-copies
    DIR/small-COUNT/{base,queries}.f16     with --project D: projected to D dimensions at random, for long sets

A set also has `shape.json`, and the first two have `tags.u32`: for each base row the number of its picture's folder (a kind of
clothes, a product), folders of one name being one tag. The rows depend on the arguments alone. Work that was interrupted goes on where it was; a
hundred thousand embeddings are an hour of one core or so, and --jobs N uses N of them.
With --grow N the projected set is made N rows long: weighted means of two embeddings each, for there are not so many
pictures. With --so-far nothing is embedded: DIR/mixed-COUNT has the embeddings that are done, and weighted means of two
for the rows that are missing; it prints how many are which.
"""

import argparse
import json
import multiprocessing
import pathlib

import numpy as np

SEED = 20240229
BATCH = 8
PICTURES_A_STEP = 100


def pictures_in(folder):
    kinds = {".jpg", ".jpeg", ".png", ".webp"}
    found = sorted(p for p in pathlib.Path(folder).rglob("*") if p.suffix.lower() in kinds)
    if not found:
        raise SystemExit(f"There is no picture in {folder}: give --pictures a folder that has some.")
    return found


class Model:
    """One thread: the machine has other work."""

    def __init__(self, folder):
        import openvino

        self.manifest = json.loads((pathlib.Path(folder) / "model.json").read_text(encoding="utf-8"))
        core = openvino.Core()
        net = core.read_model(pathlib.Path(folder) / self.manifest["file"])
        size = self.manifest["input"]
        net.reshape({size["name"]: [BATCH, 3, size["height"], size["width"]]})
        self.compiled = core.compile_model(
            net, "CPU", {"INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY"})
        self.width, self.height = size["width"], size["height"]
        self.mean = np.array(size["mean"], np.float32).reshape(1, 3, 1, 1)
        self.std = np.array(size["std"], np.float32).reshape(1, 3, 1, 1)
        self.dimension = self.manifest["output"]["dimension"]

    def run(self, crops):
        """Unit-length rows for a list of H×W×3 arrays."""
        out = np.empty((len(crops), self.dimension), np.float32)
        for i in range(0, len(crops), BATCH):
            part = crops[i : i + BATCH]
            pixels = np.stack(part + [part[-1]] * (BATCH - len(part))).transpose(0, 3, 1, 2).astype(np.float32)
            result = next(iter(self.compiled([(pixels - self.mean) / self.std]).values()))
            out[i : i + len(part)] = result.reshape(BATCH, -1)[: len(part)]
        return out / np.linalg.norm(out, axis=1, keepdims=True)


def random_crop(picture, rng, model):
    """Between a fifth and all of the area, sides between 3:4 and 4:3, mirrored half of the time."""
    from PIL import Image

    width, height = picture.size
    area, ratio = rng.uniform(0.2, 1.0) * width * height, np.exp(rng.uniform(-0.288, 0.288))
    w = min(width, max(32, int((area * ratio) ** 0.5)))
    h = min(height, max(32, int((area / ratio) ** 0.5)))
    x, y = int(rng.integers(0, width - w + 1)), int(rng.integers(0, height - h + 1))
    crop = picture.crop((x, y, x + w, y + h)).resize((model.width, model.height), Image.BILINEAR)
    if rng.random() < 0.5:
        crop = crop.transpose(Image.FLIP_LEFT_RIGHT)
    return np.asarray(crop, np.uint8)


def owners(files, rows):
    """The picture that each row is a crop of."""
    return np.random.default_rng(SEED).integers(0, len(files), rows)


def embed_part(args, rows, files, job):
    """Each of the steps that is this job's and not yet done; DIR/embeddings-N.done has a byte for each step."""
    from PIL import Image

    owner = owners(files, rows)
    order = np.argsort(owner, kind="stable")
    starts = np.searchsorted(owner[order], np.arange(len(files) + 1))
    model = Model(args.model)
    out = np.memmap(args.out / f"embeddings-{rows}.f16", np.float16, "r+", shape=(rows, model.dimension))
    done = np.memmap(args.out / f"embeddings-{rows}.done", np.uint8, "r+")
    for step in range(job, len(done), args.jobs):
        begin, end = step * PICTURES_A_STEP, min((step + 1) * PICTURES_A_STEP, len(files))
        if done[step]:
            continue
        crops = []
        for p in range(begin, end):
            with Image.open(files[p]) as opened:
                picture = opened.convert("RGB")
            for i in order[starts[p] : starts[p + 1]]:
                crops.append(random_crop(picture, np.random.default_rng((SEED, int(i))), model))
        if crops:
            out[order[starts[begin] : starts[end]]] = model.run(crops)
        out.flush()
        done[step] = 1
        print(f"{int(done.sum())} of {len(done)} steps", flush=True)


def embed_all(args, rows):
    """`rows` embeddings, row i of picture owners()[i]; kept in DIR/embeddings-N.f16 with the steps that are done. And their tags."""
    files = pictures_in(args.pictures)
    folders = [p.parent.name for p in files]
    tag_of = {name: tag for tag, name in enumerate(sorted(set(folders)))}
    tags = np.array([tag_of[name] for name in folders], np.uint32)[owners(files, rows)]
    dimension = json.loads((args.model / "model.json").read_text(encoding="utf-8"))["output"]["dimension"]
    path, state = args.out / f"embeddings-{rows}.f16", args.out / f"embeddings-{rows}.done"
    if not path.exists() or not state.exists():
        np.memmap(path, np.float16, "w+", shape=(rows, dimension)).flush()
        np.zeros((len(files) + PICTURES_A_STEP - 1) // PICTURES_A_STEP, np.uint8).tofile(state)
    jobs = [multiprocessing.Process(target=embed_part, args=(args, rows, files, j)) for j in range(args.jobs)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    if any(job.exitcode for job in jobs):
        raise SystemExit("A job ended early; start this again, and it goes on where it was.")
    return np.memmap(path, np.float16, "r", shape=(rows, dimension)), tags


def write_set(folder, base, queries, tags=None):
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in (("base", base), ("queries", queries)):
        rows.astype(np.float16).tofile(folder / f"{name}.f16")
    if tags is not None:
        tags.tofile(folder / "tags.u32")
    shape = {"dimension": int(base.shape[1]), "base": int(base.shape[0]), "queries": int(queries.shape[0])}
    (folder / "shape.json").write_text(json.dumps(shape) + "\n", encoding="utf-8")
    print(folder)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def harder(rows, share, rng):
    noise = rng.standard_normal(rows.shape, np.float32)
    return unit(rows + share * unit(noise))


def projected(rows, dimension, count, rng):
    matrix = rng.standard_normal((rows.shape[1], dimension), np.float32)
    small = unit(rows @ matrix)
    if count <= len(small):
        return small[:count]
    extra = count - len(small)
    a, b = rng.integers(0, len(small), extra), rng.integers(0, len(small), extra)
    w = rng.uniform(0.2, 0.8, (extra, 1)).astype(np.float32)
    return np.concatenate([small, unit(w * small[a] + (1 - w) * small[b])])


def mixed(args, rows):
    """Of what is done: the last --queries are the queries, and no base row is made of them."""
    dimension = json.loads((args.model / "model.json").read_text(encoding="utf-8"))["output"]["dimension"]
    all_rows = np.memmap(args.out / f"embeddings-{rows}.f16", np.float16, "r", shape=(rows, dimension))
    real = unit(all_rows[np.any(all_rows, axis=1)].astype(np.float32))
    rng = np.random.default_rng(SEED + 3)
    rng.shuffle(real)
    base, queries = real[: -args.queries][: args.count], real[-args.queries :]
    extra = args.count - len(base)
    a, b = rng.integers(0, len(base), extra), rng.integers(0, len(base), extra)
    w = rng.uniform(0.2, 0.8, (extra, 1)).astype(np.float32)
    print(f"{len(base)} embeddings and {extra} means of two, {len(queries)} queries that are embeddings")
    write_set(args.out / f"mixed-{args.count}", np.concatenate([base, unit(w * base[a] + (1 - w) * base[b])]), queries)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, type=pathlib.Path)
    parser.add_argument("--pictures", required=True)
    parser.add_argument("--out", required=True, type=pathlib.Path)
    parser.add_argument("--count", type=int, default=100000)
    parser.add_argument("--jobs", type=int, default=1, help="processes that embed, one thread each")
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--mix", type=float, default=0.5, help="length of the random direction in the hard set")
    parser.add_argument("--project", type=int, help="also a set of this dimension")
    parser.add_argument("--grow", type=int, help="rows of the projected set")
    parser.add_argument("--so-far", action="store_true", help="a set of the embeddings that are done, without making more")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    if args.so_far:
        return mixed(args, args.count + args.queries)

    rows, tags = embed_all(args, args.count + args.queries)
    rows, tags = rows.astype(np.float32), tags[: args.count]
    base, queries = unit(rows[: args.count]), unit(rows[args.count :])
    write_set(args.out / f"crops-{args.count}", base, queries, tags)
    rng = np.random.default_rng(SEED + 1)
    write_set(args.out / f"hard-{args.count}", harder(base, args.mix, rng), harder(queries, args.mix, rng), tags)
    if args.project:
        count = args.grow or args.count
        matrix_seed = SEED + 2
        small = projected(base, args.project, count, np.random.default_rng(matrix_seed))
        ask = projected(queries, args.project, len(queries), np.random.default_rng(matrix_seed))
        write_set(args.out / f"small-{count}", small, ask)


if __name__ == "__main__":
    main()
