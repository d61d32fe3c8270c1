#!/usr/bin/env python3
"""How often the right product comes first, without and with `tune`, through the server: what a shop would see.

    tune_bench.py [--learn FOLDER] [--test FOLDER] [--halves 5] [--limit N] [--unlabelled] [--model NAME] [--models DIR] [--json]

A folder has catalogue/ITEM.jpg, the shop's own pictures, and train/ITEM/… and test/ITEM/…, customers' photos of them. With --learn
alone (default: ../shared/data/groceries) its items are halved at random, --halves times: learned on one half, tested on the other.
With --test the items of that folder are tested, and nothing of them is learned from but what searches show. Each time:

1. A collection gets the catalogue pictures of all items, and the photos in train/ of those to learn from. An item's pictures have
   its itemid; `brief.kind` says what each is.
2. The photos in train/ of all items are searched for, without a word on what they show: they become the past queries.
3. `POST …/tune`.
4. Each photo in test/ of the tested items is searched for among the pictures of the catalogue (`brief["kind"] == "catalogue"`), and
   among everything that the collection has.
5. The photos in train/ of the tested items are added, and each photo in test/ is searched for among those.

Untuned is the same in another collection, which is not tuned. --unlabelled gives each picture an itemid of its own, so that nothing says
which show the same, and asks two collections: one of catalogue pictures alone, with searches, and one of photos alone, without. --limit N takes only every so many photos, so that about N of each
kind are left. Needs httpx. The program is $LOOKALIKE_BUILD/lookalike (default: build).
"""
import argparse
import concurrent.futures
import json
import pathlib
import random
import sys
import tempfile
import time

SOURCE = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(SOURCE / "tests" / "acceptance"))

from support import SHARED, Api, Server  # noqa: E402

CATALOGUE = 'brief["kind"] == "catalogue"'


def pictures_of(folder):
    """{item: {"catalogue": [path], "train": [paths], "test": [paths]}}"""
    folder, items = pathlib.Path(folder), {}
    for path in sorted((folder / "catalogue").iterdir()):
        items.setdefault(path.stem, {"catalogue": [], "train": [], "test": []})["catalogue"].append(path)
    for part in ("train", "test"):
        for item in sorted((folder / part).iterdir()):
            if item.name in items:
                items[item.name][part] = sorted(item.iterdir())
    return items


class Shop:
    """One collection and what is asked of it. `items`: as pictures_of(); their order gives the itemids."""

    def __init__(self, api, name, items, labelled=True):
        self.api, self.name, self.items, self.labelled = api, name, items, labelled
        self.number = {item: i + 1 for i, item in enumerate(items)}
        self.next = 1
        self.pool = concurrent.futures.ThreadPoolExecutor(4)

    def create(self):
        self.api.drop(self.name)
        assert self.api.create(self.name).data is None

    def add(self, part, items):
        jobs = [(self.number[item], path) for item in items for path in self.items[item][part]]
        first, self.next = self.next, self.next + len(jobs)
        kind = "catalogue" if part == "catalogue" else "photo"

        def put(job):
            fileid, (itemid, path) = job
            itemid, brief = itemid if self.labelled else fileid, {"kind": kind, "item": itemid}
            self.api.add(self.name, fileid, path.read_bytes(), itemid=itemid, brief=brief).data
        list(self.pool.map(put, enumerate(jobs, first)))

    def search(self, part, items, expression=None, limit=1):
        """[(itemid wanted, hits)]"""
        def ask(job):
            itemid, path = job
            return itemid, self.api.search(self.name, path.read_bytes(), limit=limit, **({"filter": expression} if expression else {})).data
        return list(self.pool.map(ask, [(self.number[i], p) for i in items for p in self.items[i][part]]))

    def right(self, items, expression=None):
        found = self.search("test", items, expression)
        return 100 * sum(bool(hits) and hits[0]["brief"]["item"] == wanted for wanted, hits in found) / len(found)

    def among_photos(self, items):
        """Photo → photo among the tested items alone."""
        numbers = ", ".join(str(self.number[i]) for i in items)
        return self.right(items, f'brief["kind"] == "photo" and brief["item"] in [{numbers}]')

    def tune(self):
        job = self.api.http.post(f"/v1/collections/{self.name}/tune", json={}).json()["job"]
        while True:
            state = self.api.http.get(f"/v1/jobs/{job}").json()
            if state["state"] not in ("running", "waiting", "queued"):
                assert state["state"] == "done", state
                return state["result"]
            time.sleep(0.2)


def untuned_and_tuned(api, items, prepare, past, ask):
    """prepare() fills a collection, ask() gives figures. → {"untuned": …, "tuned": …, "tune": what it says}"""
    out = {}
    for kind in ("untuned", "tuned"):
        shop = Shop(api, f"bench_{kind}", items, prepare.labelled)
        shop.create()
        prepare(shop)
        if kind == "tuned":
            if past:
                shop.search("train", past)
            out["tune"] = shop.tune()
        out[kind] = ask(shop)
        api.drop(shop.name)
    return out


def measure(api, items, known, tested):
    """{"untuned": {figure: R@1}, "tuned": …, "tune": what it says}"""
    def prepare(shop):
        shop.add("catalogue", list(items))
        shop.add("train", known)

    def ask(shop):
        figures = {"catalogue": shop.right(tested, CATALOGUE), "everything": shop.right(tested)}
        shop.add("train", tested)
        return figures | {"photos": shop.among_photos(tested)}
    prepare.labelled = True
    return untuned_and_tuned(api, items, prepare, list(items), ask)


def measure_unlabelled(api, items, known, tested):
    """The shop's own pictures alone, with searches; and photos alone, without."""
    def catalogue(shop):
        shop.add("catalogue", list(items))

    def photos(shop):
        shop.add("train", tested)
    catalogue.labelled = photos.labelled = False
    one = untuned_and_tuned(api, items, catalogue, list(items), lambda shop: {"catalogue": shop.right(tested, CATALOGUE)})
    two = untuned_and_tuned(api, items, photos, [], lambda shop: {"photos": shop.among_photos(tested)})
    return {kind: {**one[kind], **two[kind]} for kind in ("untuned", "tuned")} | {"tune": [one["tune"], two["tune"]]}


def thin(items, count):
    """Every so many photos, so that about `count` of each kind are left."""
    for part in ("train", "test"):
        step = max(1, sum(len(pictures[part]) for pictures in items.values()) // count)
        at = 0
        for pictures in items.values():
            kept = [path for i, path in enumerate(pictures[part], at) if i % step == 0]
            at += len(pictures[part])
            pictures[part] = kept or pictures[part][:1]


def divisions(options):
    """[(items, those to learn from, those to test on)]"""
    items = pictures_of(options.learn)
    known = list(items)
    if options.test:
        tested = {f"{name} (test)": parts for name, parts in pictures_of(options.test).items()}
        items |= tested
    if options.limit:
        thin(items, options.limit)
    if options.test:
        return [(items, known, list(tested))]
    out = []
    for half in range(options.halves):
        order = list(items)
        random.Random(half).shuffle(order)
        out.append((items, order[:len(order) // 2], order[len(order) // 2:]))
    return out


def run(api, options):
    results = []
    for items, known, tested in divisions(options):
        results.append((measure_unlabelled if options.unlabelled else measure)(api, items, known, tested))
        if not options.json:
            print(json.dumps(results[-1]), flush=True)
    mean = {kind: {figure: sum(r[kind][figure] for r in results) / len(results) for figure in results[0]["tuned"]} for kind in ("untuned", "tuned")}
    return {"runs": results, "mean": mean}


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--learn", default=SHARED / "groceries")
    parser.add_argument("--test")
    parser.add_argument("--halves", type=int, default=5)
    parser.add_argument("--limit", type=int, default=0)
    parser.add_argument("--unlabelled", action="store_true")
    parser.add_argument("--model")
    parser.add_argument("--models")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args(arguments)


def main():
    options = parse(None)
    flags = [x for name in ("model", "models") if getattr(options, name) for x in (f"--{name}", getattr(options, name))]
    with tempfile.TemporaryDirectory() as folder:
        server = Server(pathlib.Path(folder) / "data", *flags).start()
        api = Api(server.url)
        try:
            result = run(api, options)
        finally:
            api.close()
            server.stop()
    if options.json:
        print(json.dumps(result, indent=1))
        return
    print(f"\nR@1 in %, mean of {len(result['runs'])}{'':8}untuned   tuned")
    for figure in result["mean"]["tuned"]:
        print(f"photo → {figure:<24}{result['mean']['untuned'][figure]:8.1f}{result['mean']['tuned'][figure]:8.1f}")


if __name__ == "__main__":
    main()
