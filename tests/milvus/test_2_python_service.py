"""A collection as the Python service makes it, with 5,000 records, served; and pymilvus reads what our server wrote."""
import numpy
import pytest
from pymilvus import DataType
from support import b64, picture, run_program

from conftest import KIND

NAME, DIMENSION, ROWS = "python_service", 1280, 5000


def make(client, name, dimension=DIMENSION, index=True, metric="L2", without=None):
    schema = client.create_schema()
    schema.add_field("fileid", DataType.INT64, is_primary=True)
    schema.add_field("vectors", DataType.FLOAT_VECTOR, dim=dimension)
    schema.add_field("itemid", DataType.INT64)
    schema.add_field("tags", DataType.ARRAY, element_type=DataType.VARCHAR, max_capacity=10, max_length=240)
    if without != "brief":
        schema.add_field("brief", DataType.JSON)
    client.create_collection(name, schema=schema)
    if index:
        params = client.prepare_index_params()
        params.add_index("vectors", index_type="IVF_SQ8", metric_type=metric, params={"nlist": 16384 if KIND == "milvus" else 64})
        client.create_index(name, params)


@pytest.fixture(scope="module")
def served(api, client):
    make(client, NAME)
    vectors = numpy.random.default_rng(7).normal(size=(ROWS, DIMENSION)).astype(numpy.float32)
    vectors /= numpy.linalg.norm(vectors, axis=1, keepdims=True)
    for start in range(0, ROWS, 500):
        client.insert(NAME, [{"fileid": i, "vectors": vectors[i].tolist(), "itemid": i // 2, "tags": [f"t{i % 3}", "ü漢"],
                              "brief": {"n": i, "name": f"article {i}"}} for i in range(start, start + 500)])
    client.load_collection(NAME)
    yield vectors
    client.drop_collection(NAME)


def test_get(api, served):
    [record] = api.fetch(NAME, fileid=4321).data
    assert (record["fileid"], record["itemid"], record["tags"], record["brief"]) == (4321, 2160, ["t1", "ü漢"], {"n": 4321, "name": "article 4321"})
    assert numpy.abs(numpy.array(record["vectors"], numpy.float32) - served[4321]).max() < 1e-6
    assert [r["fileid"] for r in api.fetch(NAME, itemid=2160).data] == [4320, 4321]
    assert api.fetch(NAME, fileid=ROWS).data == []


def test_count_and_search(api, served):
    assert api.count(NAME).data == ROWS
    hits = api.search(NAME, picture(1), limit=10).data
    assert len(hits) == 10 and len({h["itemid"] for h in hits}) == 10
    assert [h["distance"] for h in hits] == sorted(h["distance"] for h in hits)
    few = api.search(NAME, picture(1), limit=10, filter="fileid in [3, 5, 4999]").data
    assert {h["fileid"] for h in few} == {3, 5, 4999}


def test_what_our_server_writes_pymilvus_reads(api, client, served):
    assert api.add(NAME, 9001, picture(2), itemid=77, tags=["a", "ü"], brief={"k": [1, 2.5, None], "s": "漢"}).data == 9001
    [row] = client.query(NAME, filter="fileid == 9001", output_fields=["*"], consistency_level="Strong")
    assert (row["itemid"], list(row["tags"]), row["brief"]) == (77, ["a", "ü"], {"k": [1, 2.5, None], "s": "漢"})
    ours = api.fetch(NAME, fileid=9001).data[0]["vectors"]
    assert numpy.array_equal(numpy.array(row["vectors"], numpy.float32), numpy.array(ours, numpy.float32))
    assert api.search(NAME, picture(2), limit=1).data[0]["fileid"] == 9001


def test_update_keeps_what_is_not_given(api, client, served):
    assert api.update(NAME, 10, tags=["changed"]).data == 10
    [row] = client.query(NAME, filter="fileid == 10", output_fields=["*"], consistency_level="Strong")
    assert (row["itemid"], list(row["tags"]), row["brief"]) == (5, ["changed"], {"n": 10, "name": "article 10"})
    assert numpy.abs(numpy.array(row["vectors"], numpy.float32) - served[10]).max() < 1e-6
    assert api.update(NAME, 123456, tags=["x"]).data == 0


def test_delete(api, client, served):
    before = api.count(NAME).data
    assert api.delete(NAME, 11).code == 10000
    assert api.count(NAME).data == before - 1 and api.fetch(NAME, fileid=11).data == []
    assert list(client.query(NAME, filter="fileid == 11", output_fields=["fileid"], consistency_level="Strong")) == []


def browse(api, name, limit):
    """Every fileid of a collection, in pages of so many."""
    found, after = [], None
    while True:
        page = api.http.get(f"/v1/collections/{name}/images", params={"limit": limit, **({} if after is None else {"after": after})}).json()
        found += [record["fileid"] for record in page["images"]]
        after = page["next"]
        if after is None:
            return found


def test_records_in_several_segments(api, client):
    """A page must not end where one segment does: a read of more than one gives all of both."""
    name = "segments"
    make(client, name, index=False)
    params = client.prepare_index_params()
    params.add_index("vectors", index_type="HNSW", metric_type="L2", params={"M": 16, "efConstruction": 64})
    client.create_index(name, params)
    vectors = numpy.random.default_rng(8).normal(size=(700, DIMENSION)).astype(numpy.float32)
    parts = [range(0, 250), range(250, 600), range(600, 700)]  # one behind the other, and items that lie in two
    for part in parts:
        client.insert(name, [{"fileid": i, "vectors": vectors[i].tolist(), "itemid": i % 350, "tags": [f"t{i % 2}"], "brief": {"n": i}} for i in part])
        client.flush(name)
    client.load_collection(name)
    assert api.count(name).data == 700
    for limit in (64, 100, 700):
        found = browse(api, name, limit)
        assert found == list(range(700)), (limit, len(found))
    for itemid in (0, 249, 349):
        assert [r["fileid"] for r in api.fetch(name, itemid=itemid).data] == [itemid, itemid + 350]
    facets = api.http.get(f"/v1/collections/{name}/facets", params={"field": "tags"}).json()["facets"]
    assert {v["value"]: v["count"] for v in facets[0]["values"]} == {"t0": 350, "t1": 350}
    client.drop_collection(name)


@pytest.mark.parametrize("where", ["growing", "one_segment", "two_segments"])
def test_keys_that_were_inserted_twice(api, client, where):
    """Milvus takes them. A page of it is then shorter than asked for, and not the last one: nothing is missing all the same."""
    make(client, where, index=False)
    params = client.prepare_index_params()
    params.add_index("vectors", index_type="HNSW", metric_type="L2", params={"M": 16, "efConstruction": 64})
    client.create_index(where, params)
    vectors = numpy.random.default_rng(9).normal(size=(300, DIMENSION)).astype(numpy.float32)
    for _ in range(2):
        client.insert(where, [{"fileid": i, "vectors": vectors[i].tolist(), "itemid": i % 3, "tags": ["t"], "brief": {"n": i}} for i in range(300)])
        if where == "two_segments":
            client.flush(where)
    if where == "one_segment":
        client.flush(where)
    client.load_collection(where)
    for limit in (3, 100, 300, 301, 450):
        assert browse(api, where, limit) == list(range(300)), limit
    assert [r["fileid"] for r in api.fetch(where, itemid=1).data] == list(range(1, 300, 3))
    assert len(api.fetch(where, fileid=7).data) == 1
    assert api.http.get(f"/v1/collections/{where}").json()["items"] == 3
    client.drop_collection(where)


def test_another_metric_is_named(milvus, client, tmp_path):
    make(client, "by_product", metric="IP")
    done = run_program("collection", "stats", "by_product", "--data", tmp_path, "--milvus-uri", milvus.address, "--metric", "L2")
    assert done.returncode == 3 and all(w in done.stderr for w in ("metric IP", "METRIC_TYPE", "set it to IP")), done.stderr
    print(done.stderr.strip())
    client.drop_collection("by_product")


def test_what_cannot_be_served_is_named(api, client):
    make(client, "no_index", index=False)
    make(client, "short_vectors", dimension=8)
    make(client, "no_brief", without="brief")
    for name, words in (("no_index", "has no index on \"vectors\""), ("short_vectors", "vectors of 8 dimensions"), ("no_brief", "has no field \"brief\"")):
        reply = api.add(name, 1, b64(picture(1)))
        assert reply.code == 10100 and words in reply.message, reply
        print(reply.message)
        client.drop_collection(name)
