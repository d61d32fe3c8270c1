"""The eight compatible routes, as a client sees them that was written from the interface description alone.

This file: what each route does, and how its parameters may travel. test_compatible_rules.py has the rules of the single
fields, test_url.py pictures by URL. Every reply of every test is also checked for the common shape (support.Api).
"""
import concurrent.futures
import json
import urllib.parse

import numpy
import pytest

from support import FAILED, INT64_MAX, INT64_MIN, LARGEST_FILEID, OK, b64, failed, picture, tiny

# --- how parameters travel: as a query, as JSON, as a form of either kind ------------------------------------------


def as_text(value):
    return value if isinstance(value, str) else json.dumps(value)


def send_query(api, method, route, fields):
    return api.request(method, route, params={k: as_text(v) for k, v in fields.items()})


def send_json(api, method, route, fields):
    return api.request(method, route, json=fields)


def send_urlencoded(api, method, route, fields):
    return api.request(method, route, data={k: as_text(v) for k, v in fields.items()})


def send_multipart(api, method, route, fields):
    return api.request(method, route, files={k: (None, as_text(v)) for k, v in fields.items()})


def send_mixed(api, method, route, fields):
    """The collection in the query, the rest in a JSON body."""
    rest = {k: v for k, v in fields.items() if k != "collection"}
    return api.request(method, route, params={"collection": fields["collection"]}, json=rest)


WAYS = [send_query, send_json, send_urlencoded, send_multipart, send_mixed]
BODY_ONLY = pytest.mark.parametrize("send", WAYS, ids=lambda f: f.__name__[5:])
GET_AND_POST = pytest.mark.parametrize(
    "method,send", [("GET", send_query)] + [("POST", way) for way in WAYS],
    ids=lambda v: v if isinstance(v, str) else v.__name__[5:])


@BODY_ONLY
def test_create_and_drop(api, send):
    name = f"made_{send.__name__}"
    reply = send(api, "POST", "/milvus/collection/create", {"collection": name})
    assert reply.code == OK
    assert "data" in reply.body and reply.body["data"] is None
    assert api.count(name).data == 0
    failed(send(api, "POST", "/milvus/collection/create", {"collection": name}))  # it exists
    reply = send(api, "POST", "/milvus/collection/drop", {"collection": name})
    assert reply.code == OK
    assert "data" not in reply.body
    failed(api.count(name))
    failed(send(api, "POST", "/milvus/collection/drop", {"collection": name}))  # it is gone


@BODY_ONLY
def test_add(api, collection, send):
    reply = send(api, "POST", "/milvus/img/add", {
        "collection": collection, "fileid": 7, "itemid": 70, "image": b64(tiny()), "tags": ["a", "b c"],
        "brief": {"name": "Schuh größe 42", "price": 3}})
    assert reply.data == 7 and type(reply.data) is int
    [stored] = api.fetch(collection, fileid=7).data
    assert (stored["fileid"], stored["itemid"]) == (7, 70)
    assert stored["tags"] == ["a", "b c"]
    assert stored["brief"] == {"name": "Schuh größe 42", "price": 3}


@BODY_ONLY
def test_update(api, collection, send):
    api.add(collection, 7, tiny(1), itemid=70, tags=["a"], brief={"k": 1}).data
    reply = send(api, "POST", "/milvus/img/update", {
        "collection": collection, "fileid": 7, "itemid": 71, "image": b64(tiny(2)), "tags": ["x"], "brief": {"k": 2}})
    assert reply.data == 7
    [stored] = api.fetch(collection, fileid=7).data
    assert (stored["itemid"], stored["tags"], stored["brief"]) == (71, ["x"], {"k": 2})
    assert api.search(collection, tiny(2)).data[0]["distance"] < 1e-4
    assert api.search(collection, tiny(1)).data[0]["distance"] > 1e-3


@BODY_ONLY
def test_search(api, catalogue, send):
    name, _ = catalogue
    full = api.search(name, tiny(3), limit=9).data
    reply = send(api, "POST", "/milvus/img/search", {
        "collection": name, "image": b64(tiny(3)), "limit": 4, "offset": 2, "group": True})
    assert reply.data == full[2:6]


@BODY_ONLY
def test_search_without_grouping(api, catalogue, send):
    name, pictures = catalogue
    reply = send(api, "POST", "/milvus/img/search", {
        "collection": name, "image": b64(tiny(3)), "limit": 30, "group": False})
    assert sorted(hit["fileid"] for hit in reply.data) == sorted(pictures)


@GET_AND_POST
def test_count(api, catalogue, method, send):
    assert send(api, method, "/milvus/img/count", {"collection": catalogue[0]}).data == 30


@GET_AND_POST
def test_delete(api, collection, method, send):
    api.add(collection, 5, tiny()).data
    for _ in range(2):  # deleting what is not there succeeds
        reply = send(api, method, "/milvus/img/delete", {"collection": collection, "fileid": 5})
        assert reply.code == OK
        assert "data" not in reply.body
        assert api.count(collection).data == 0
    assert api.fetch(collection, fileid=5).data == []


@GET_AND_POST
def test_get(api, catalogue, method, send):
    name, _ = catalogue
    [by_file] = send(api, method, "/milvus/img/get", {"collection": name, "fileid": 3}).data
    assert by_file["itemid"] == 1001 and by_file["brief"] == {"n": 3}
    by_item = send(api, method, "/milvus/img/get", {"collection": name, "itemid": 1001}).data
    assert sorted(r["fileid"] for r in by_item) == [3, 4]
    assert send(api, method, "/milvus/img/get", {"collection": name, "fileid": 999}).data == []
    assert send(api, method, "/milvus/img/get", {"collection": name, "itemid": 999}).data == []


@BODY_ONLY
def test_int64_beyond_2_to_53_by_every_way(api, collection, send):
    for fileid, itemid in ((2**53 + 1, -(2**53) - 1), (LARGEST_FILEID, INT64_MIN), (INT64_MIN, INT64_MAX - 1)):
        reply = send(api, "POST", "/milvus/img/add", {
            "collection": collection, "fileid": fileid, "itemid": itemid, "image": b64(tiny())})
        assert reply.data == fileid
        [stored] = send(api, "POST", "/milvus/img/get", {"collection": collection, "fileid": fileid}).data
        assert (stored["fileid"], stored["itemid"]) == (fileid, itemid)
        [stored] = send(api, "POST", "/milvus/img/get", {"collection": collection, "itemid": itemid}).data
        assert stored["fileid"] == fileid
    assert {h["fileid"] for h in api.search(collection, tiny()).data} == {2**53 + 1, LARGEST_FILEID, INT64_MIN}
    for fileid in (2**53 + 1, LARGEST_FILEID, INT64_MIN):
        assert send(api, "POST", "/milvus/img/delete", {"collection": collection, "fileid": fileid}).code == OK
    assert api.count(collection).data == 0


def test_every_byte_of_a_query_survives_its_encoding(api, collection):
    brief = {"text": "a+b c%20d&e=f;g#h/ü漢😀\"\\\n"}
    query = urllib.parse.urlencode({"collection": collection, "fileid": 1, "image": b64(tiny()),
                                    "brief": json.dumps(brief, ensure_ascii=False)})
    api.post("/milvus/img/add?" + query).data
    assert api.fetch(collection, fileid=1).data[0]["brief"] == brief


def test_a_chunked_body(api, collection):
    body = json.dumps({"collection": collection, "fileid": 1, "image": b64(tiny())}).encode()
    pieces = (body[i:i + 300] for i in range(0, len(body), 300))
    api.post("/milvus/img/add", content=pieces, headers={"Content-Type": "application/json"}).data
    assert api.count(collection).data == 1


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "Application/JSON", "application/json;charset=UTF-8"])
def test_spellings_of_the_json_type(api, collection, kind):
    body = json.dumps({"collection": collection, "fileid": 1, "image": b64(tiny())}).encode()
    api.post("/milvus/img/add", content=body, headers={"Content-Type": kind}).data


# --- what the routes do --------------------------------------------------------------------------------------------

def test_the_shape_of_a_record_and_of_a_hit(api, collection):
    api.add(collection, 1, picture(1)).data
    [stored] = api.fetch(collection, fileid=1).data
    assert set(stored) == {"fileid", "itemid", "tags", "brief", "vectors"}
    vector = numpy.array(stored["vectors"], dtype=float)
    assert vector.ndim == 1 and len(vector) >= 64
    assert abs(numpy.linalg.norm(vector) - 1) < 1e-2
    [hit] = api.search(collection, picture(1)).data
    assert set(hit) == {"fileid", "itemid", "tags", "brief", "distance"}
    assert type(hit["distance"]) in (float, int)


def test_defaults_of_add(api, collection):
    api.add(collection, 123, tiny()).data
    [stored] = api.fetch(collection, fileid=123).data
    assert (stored["itemid"], stored["tags"], stored["brief"]) == (123, [], {})


def test_add_replaces_the_whole_record(api, collection):
    api.add(collection, 1, tiny(1), itemid=50, tags=["a"], brief={"k": 1}).data
    assert api.add(collection, 1, tiny(2)).data == 1
    assert api.count(collection).data == 1
    [stored] = api.fetch(collection, fileid=1).data
    assert (stored["itemid"], stored["tags"], stored["brief"]) == (1, [], {})
    assert api.fetch(collection, itemid=50).data == []
    assert api.search(collection, tiny(2)).data[0]["distance"] < 1e-4
    assert api.search(collection, tiny(1)).data[0]["distance"] > 1e-3


@pytest.mark.parametrize("changed", [
    {"itemid": 51}, {"tags": ["x", "y"]}, {"tags": []}, {"brief": {"other": True}}, {"brief": {}}, {"brief": '{"a": 1}'}, {}],
    ids=lambda c: json.dumps(c))
def test_update_keeps_what_is_absent(api, collection, changed):
    before = {"itemid": 50, "tags": ["a", "b"], "brief": {"k": {"deep": [1, 2]}}}
    api.add(collection, 1, picture(1), **before).data
    vector = api.fetch(collection, fileid=1).data[0]["vectors"]
    assert api.update(collection, 1, **changed).data == 1
    [stored] = api.fetch(collection, fileid=1).data
    expected = {**before, **changed}
    if expected["brief"] == '{"a": 1}':
        expected["brief"] = {"a": 1}
    assert {k: stored[k] for k in expected} == expected
    assert stored["vectors"] == vector


def test_update_of_the_picture_alone(api, collection):
    api.add(collection, 1, picture(1), itemid=50, tags=["a"], brief={"k": 1}).data
    assert api.update(collection, 1, picture(2)).data == 1
    [stored] = api.fetch(collection, fileid=1).data
    assert (stored["itemid"], stored["tags"], stored["brief"]) == (50, ["a"], {"k": 1})
    assert api.search(collection, picture(2)).data[0]["distance"] < 1e-4


def test_update_of_nothing_that_exists(api, collection):
    api.add(collection, 1, tiny()).data
    reply = api.update(collection, 2, tags=["a"])
    assert reply.data == 0 and type(reply.data) is int
    assert api.update(collection, 2, picture(2)).data == 0
    assert api.count(collection).data == 1
    assert api.fetch(collection, fileid=2).data == []


def test_an_update_moves_a_picture_to_another_item(api, collection):
    api.add(collection, 1, tiny(1), itemid=10).data
    api.add(collection, 2, tiny(2), itemid=10).data
    api.update(collection, 2, itemid=20).data
    assert [r["fileid"] for r in api.fetch(collection, itemid=10).data] == [1]
    assert [r["fileid"] for r in api.fetch(collection, itemid=20).data] == [2]
    assert len(api.search(collection, tiny(1)).data) == 2


def test_count_is_exact_at_once(api, collection):
    data = tiny()
    for n in range(1, 21):
        api.add(collection, n, data).data
        assert api.count(collection).data == n
    for n in range(1, 21):
        assert api.delete(collection, n).code == OK
        assert api.count(collection).data == 20 - n
        assert all(h["fileid"] > n for h in api.search(collection, data, limit=50).data)
    api.add(collection, 5, data).data
    api.add(collection, 5, data).data
    assert api.count(collection).data == 1


def test_many_clients_at_once(api, collection):
    def work(n):
        return api.add(collection, n, tiny(n % 7), itemid=n % 10, brief={"n": n}).data
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        assert list(pool.map(work, range(100))) == list(range(100))
    assert api.count(collection).data == 100
    for n in (0, 42, 99):
        assert api.fetch(collection, fileid=n).data[0]["brief"] == {"n": n}
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        assert all(r.code == OK for r in pool.map(lambda n: api.delete(collection, n), range(0, 100, 2)))
    assert api.count(collection).data == 50


def test_collections_are_separate(api, collection):
    other = collection + "_other"
    api.create(other).data
    try:
        api.add(collection, 1, tiny(1)).data
        api.add(other, 1, tiny(2), tags=["other"]).data
        api.add(other, 2, tiny(3)).data
        assert (api.count(collection).data, api.count(other).data) == (1, 2)
        assert [h["fileid"] for h in api.search(collection, tiny(3)).data] == [1]
    finally:
        assert api.drop(other).code == OK
    assert api.count(collection).data == 1


def test_a_dropped_collection_comes_back_empty(api, collection):
    api.add(collection, 1, tiny()).data
    assert api.drop(collection).code == OK
    failed(api.add(collection, 2, tiny()), "collection", collection)
    assert api.create(collection).code == OK
    assert api.count(collection).data == 0
    assert api.search(collection, tiny()).data == []
    assert api.fetch(collection, fileid=1).data == []


def test_search_in_an_empty_collection(api, collection):
    assert api.search(collection, tiny()).data == []


@pytest.mark.parametrize("route,fields", [
    ("add", {"fileid": 1, "image": b64(tiny())}), ("update", {"fileid": 1, "tags": []}), ("search", {"image": b64(tiny())}),
    ("count", {}), ("delete", {"fileid": 1}), ("get", {"fileid": 1})])
def test_a_collection_that_does_not_exist(api, route, fields):
    failed(api.post(f"/milvus/img/{route}", {"collection": "never_made", **fields}), "collection", "never_made")
    failed(api.post(f"/milvus/img/{route}", fields), "collection")


def test_fields_that_must_be_there(api, collection):
    failed(api.post("/milvus/img/add", {"collection": collection, "image": b64(tiny())}), "fileid")
    failed(api.post("/milvus/img/add", {"collection": collection, "fileid": 1}), "image", "url")
    failed(api.post("/milvus/img/update", {"collection": collection, "tags": []}), "fileid")
    failed(api.post("/milvus/img/search", {"collection": collection}), "image", "url")
    failed(api.post("/milvus/img/delete", {"collection": collection}), "fileid")
    failed(api.post("/milvus/img/get", {"collection": collection}), "fileid", "itemid")
    failed(api.get("/milvus/img/get", params={"collection": collection}), "fileid", "itemid")
    failed(api.get("/milvus/img/count"), "collection")
    failed(api.post("/milvus/collection/create"), "collection")
    failed(api.post("/milvus/collection/drop"), "collection")
    failed(api.post("/milvus/img/add"), "collection")
    assert api.count(collection).data == 0


# --- hits ----------------------------------------------------------------------------------------------------------

def test_distance_is_the_squared_euclidean_distance(api, catalogue):
    name, pictures = catalogue
    vectors = {n: numpy.array(api.fetch(name, fileid=n).data[0]["vectors"]) for n in pictures}
    hits = api.search(name, pictures[7], limit=30, group=False).data
    assert len(hits) == 30
    assert hits[0]["fileid"] == 7 and 0 <= hits[0]["distance"] < 1e-4
    for hit in hits:
        expected = float(((vectors[7] - vectors[hit["fileid"]]) ** 2).sum())
        assert hit["distance"] == pytest.approx(expected, abs=5e-3)
    distances = [h["distance"] for h in hits]
    assert distances == sorted(distances) and distances[1] > 1e-3


def test_hits_carry_their_record(api, catalogue):
    name, pictures = catalogue
    for hit in api.search(name, pictures[7], limit=30, group=False).data:
        n = hit["fileid"]
        assert (hit["itemid"], hit["tags"], hit["brief"]) == (1000 + (n - 1) // 2, [f"tag{n % 3}"], {"n": n})


def test_one_hit_per_item_and_it_is_the_nearest(api, catalogue):
    name, pictures = catalogue
    for n in (1, 8, 15, 30):
        grouped = api.search(name, pictures[n], limit=100).data
        every = api.search(name, pictures[n], limit=100, group=False).data
        assert len(every) == 30 and len(grouped) == 15
        nearest = {}
        for hit in every:
            nearest.setdefault(hit["itemid"], hit)
        assert grouped == list(nearest.values())


def test_limit_counts_items(api, collection):
    for n in range(40):  # 30 pictures of one item that are all nearer than the 10 others
        api.add(collection, n, picture(1) if n < 30 else picture(100 + n), itemid=0 if n < 30 else n).data
    hits = api.search(collection, picture(1)).data
    assert len(hits) == 10 and len({h["itemid"] for h in hits}) == 10
    assert len(api.search(collection, picture(1), limit=11).data) == 11
    assert len(api.search(collection, picture(1), limit=12).data) == 11
    assert len(api.search(collection, picture(1), limit=12, group=False).data) == 12


def test_limit_defaults_to_10(api, catalogue):
    name, pictures = catalogue
    assert len(api.search(name, pictures[1]).data) == 10
    assert len(api.search(name, pictures[1], group=False).data) == 10
    assert len(api.search(name, pictures[1], offset=12).data) == 3


@pytest.mark.parametrize("group", [True, False])
@pytest.mark.parametrize("page", [1, 4, 7])
def test_pages_neither_overlap_nor_skip(api, collection, group, page):
    """Also where many distances are equal: every third picture is the same one."""
    for n in range(24):
        api.add(collection, n, tiny(1 if n % 3 == 0 else n), itemid=n // 2).data
    full = api.search(collection, tiny(5), limit=100, group=group).data
    assert len(full) == (12 if group else 24)
    paged = []
    for offset in range(0, 40, page):
        paged += api.search(collection, tiny(5), limit=page, offset=offset, group=group).data
    assert paged == full


def test_a_page_after_the_end_is_empty(api, catalogue):
    name, pictures = catalogue
    assert api.search(name, pictures[1], offset=15).data == []
    assert api.search(name, pictures[1], offset=16000).data == []


def test_the_picture_that_was_added_comes_first(api, catalogue):
    name, pictures = catalogue
    for n, data in pictures.items():
        hit = api.search(name, data, limit=1).data[0]
        assert hit["fileid"] == n and 0 <= hit["distance"] < 1e-4


# --- other statuses, and CORS --------------------------------------------------------------------------------------

ROUTES = {"/milvus/collection/create": {"POST"}, "/milvus/img/add": {"POST"}, "/milvus/img/update": {"POST"},
          "/milvus/img/search": {"POST"}, "/milvus/img/count": {"POST", "GET"}, "/milvus/img/delete": {"POST", "GET"},
          "/milvus/collection/drop": {"POST"}, "/milvus/img/get": {"POST", "GET"}}


@pytest.mark.parametrize("route", ROUTES)
def test_methods_that_a_route_does_not_have(api, route):
    for method in {"GET", "PUT", "DELETE", "PATCH"} - ROUTES[route]:
        reply = api.request(method, route)
        assert reply.status == 405, (method, reply)
        assert {m.strip() for m in reply.headers["allow"].split(",")} >= ROUTES[route]


@pytest.mark.parametrize("route", ["/milvus", "/milvus/", "/milvus/img", "/milvus/img/addd", "/milvus/img/add/x",
                                   "/milvus/collection/Create", "/milvus/nothing", "/milvus/../milvus/x"])
def test_routes_that_do_not_exist(api, route):
    for method in ("GET", "POST"):
        assert api.request(method, route).status == 404


@pytest.mark.parametrize("kind", ["text/plain", "application/xml", "application/octet-stream", "application/jsonx", "nonsense"])
def test_bodies_of_another_kind(api, collection, kind):
    body = json.dumps({"collection": collection, "fileid": 1, "image": b64(tiny())})
    reply = api.post("/milvus/img/add", content=body, headers={"Content-Type": kind})
    assert reply.status == 415
    assert api.count(collection).data == 0


def test_a_body_over_32_mib(api, collection):
    body = b'{"collection": "%s", "fileid": 1, "image": "' % collection.encode() + b"A" * (33 << 20) + b'"}'
    reply = api.post("/milvus/img/add", content=body, headers={"Content-Type": "application/json"})
    assert reply.status == 413
    reply = api.post("/milvus/img/add", content=(body[i:i + 65536] for i in range(0, len(body), 65536)),
                     headers={"Content-Type": "application/json"})
    assert reply.status == 413
    assert api.count(collection).data == 0


def test_a_body_just_under_32_mib_is_read(api, collection):
    padding = "x" * ((32 << 20) - 10_000)
    assert api.add(collection, 1, tiny(), unknown=padding).data == 1


@pytest.mark.parametrize("route", ["/milvus/img/count?collection=never_made", "/nowhere", "/readyz"])
def test_cors_allows_every_origin(api, route):
    response = api.http.get(route, headers={"Origin": "https://shop.example"})
    assert response.headers["access-control-allow-origin"] == "*"


def test_cors_preflight(api):
    response = api.http.request("OPTIONS", "/milvus/img/search", headers={
        "Origin": "https://shop.example", "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type"})
    assert response.status_code in (200, 204)
    assert response.headers["access-control-allow-origin"] == "*"
    assert "POST" in response.headers["access-control-allow-methods"]
    allowed = response.headers["access-control-allow-headers"].lower()
    assert "content-type" in allowed or allowed == "*"


def test_an_error_uses_status_200(api):
    reply = api.search("never_made", tiny())
    assert (reply.status, reply.code) == (200, FAILED)
