"""Learning from a collection's own items, and what a similarity says: through the server, on real photographs.

Short forms of bench/tune_bench.py and bench/likeness_bench.py, which measure the same on all pictures; what is expected here is
less, because fewer pictures say less.
"""
import random
import sys

import pytest

from support import SHARED, SOURCE, b64, picture

sys.path.insert(0, str(SOURCE / "bench"))

import likeness_bench  # noqa: E402
import tune_bench  # noqa: E402


@pytest.fixture(scope="module")
def groceries(real_pictures):
    real_pictures("groceries/train")
    items = tune_bench.pictures_of(SHARED / "groceries")
    tune_bench.thin(items, 260)
    order = list(items)
    random.Random(0).shuffle(order)
    return items, order[:20], order[20:]


def test_tune_finds_products_it_did_not_learn_from(api, groceries):
    """Learned on 20 products, with photos of all as searches; tested on the 20 others."""
    result = tune_bench.measure(api, *groceries)
    print(result)
    assert result["tune"]["items"] == 20
    assert result["tune"]["queries"] > 200
    assert result["tuned"]["catalogue"] >= result["untuned"]["catalogue"] + 16
    assert result["tuned"]["photos"] >= result["untuned"]["photos"] + 1
    assert result["tuned"]["everything"] >= result["untuned"]["everything"] + 8


def test_a_changed_copy_is_found(api, clothing):
    """Among some three thousand photos."""
    cases = random.Random(1).sample([(record["fileid"], clothing["folder"] / record["brief"]["path"]) for record in clothing["records"]], 40)
    result = likeness_bench.copies(api, "clothing", cases)
    print(result)
    assert result["the same file"]["first"] == 100 and result["the same file"]["least"] == 100
    for change in ("quality 60", "half", "cropped by 5 %"):
        assert result[change]["first"] >= 95, change
        assert result[change]["least"] < 100, change


@pytest.fixture
def tuned(api, collection):
    """48 drawn pictures, three changed forms of each of 16, tuned. → (name, {fileid: picture})"""
    pictures = {}
    for seed in range(16):
        for form in range(3):
            pictures[3 * seed + form + 1] = picture(seed, size=((160, 120), (128, 96), (200, 150))[form], quality=(90, 60, 75)[form])
    for fileid, data in pictures.items():
        api.add(collection, fileid, data, itemid=(fileid - 1) // 3 + 1).data
    shop = tune_bench.Shop(api, collection, {})
    result = shop.tune()
    assert result["items"] == 16
    scale = likeness_bench.settle(api, collection)
    assert scale and 0 < scale["near"] < scale["far"]
    return collection, pictures


def search(api, collection, **body):
    response = api.http.post(f"/v1/collections/{collection}/search", json=body)
    assert response.status_code == 200, response.text[:300]
    return response.json()["hits"]


def test_a_tuned_collection_answers_every_kind_of_query(api, tuned):
    collection, pictures = tuned
    vector = api.http.get(f"/v1/collections/{collection}/images/7", params={"fields": "vector"}).json()["vector"]
    other = b64(pictures[22])
    for query in ({"image": b64(pictures[7])}, {"fileid": 7}, {"vector": vector}, {"queries": [{"fileid": 7, "weight": 0.5}]}):
        hits = search(api, collection, group=False, limit=5, **query)
        assert (hits[0]["fileid"], hits[0]["distance"], hits[0]["similarity"]) == (7, 0, 100), query
        assert {hit["itemid"] for hit in hits[:3]} == {3}, query
        assert [hit["similarity"] for hit in hits] == sorted((hit["similarity"] for hit in hits), reverse=True)
        assert all(hit["similarity"] < 100 for hit in hits[1:])
    both = search(api, collection, limit=2, queries=[{"fileid": 7}, {"image": other}])
    assert {hit["itemid"] for hit in both} == {3, 8}
    away = search(api, collection, limit=16, queries=[{"fileid": 7}, {"image": other, "weight": -0.7}])
    assert away[0]["itemid"] == 3 and away[-1]["itemid"] == 8


def test_min_similarity_keeps_what_is_over_it(api, tuned):
    collection, pictures = tuned
    whole = search(api, collection, image=b64(pictures[7]), group=False, limit=48)
    assert len(whole) == 48
    line = whole[3]["similarity"]
    kept = search(api, collection, image=b64(pictures[7]), group=False, limit=48, min_similarity=line)
    assert [hit["fileid"] for hit in kept] == [hit["fileid"] for hit in whole if hit["similarity"] >= line]


def test_tune_without_labels_learns_from_changed_copies(api, collection):
    """Each picture is its own item: copies are made of the thumbnails."""
    for fileid in range(1, 41):
        api.add(collection, fileid, picture(fileid)).data
    result = tune_bench.Shop(api, collection, {}).tune()
    assert (result["items"], result["copied"]) == (0, 40)
    hits = search(api, collection, image=b64(picture(7)), limit=3)
    assert (hits[0]["fileid"], hits[0]["similarity"]) == (7, 100)
    changed = search(api, collection, image=b64(picture(7, quality=40)), limit=3)
    assert changed[0]["fileid"] == 7
