"""The native routes that this version has: real statuses, problem+json, pictures as raw bodies, multipart and JSON."""
import io
import itertools
import json
import urllib.parse

import numpy
import pytest
from PIL import Image

import support
from support import INT64_MAX, INT64_MIN, LARGEST_FILEID, OK, Api, b64, drawing, encode, picture, tiny

_names = itertools.count(1)


@pytest.fixture
def http(api):
    return api.http


@pytest.fixture
def home(http):
    """The path of a new collection."""
    path = f"/v1/collections/native_{next(_names)}"
    assert http.put(path).status_code == 201
    yield path
    http.delete(path)


def problem(response, status, field=None, *words):
    """RFC 9457, with the status of the reply and a sentence for a person."""
    assert response.status_code == status, f"{response.status_code} {response.text[:300]}"
    assert response.headers["content-type"].split(";")[0].strip() == "application/problem+json"
    body = response.json()
    assert {"type", "title", "status", "detail"} <= set(body) <= {"type", "title", "status", "detail", "field", "instance"}
    assert body["status"] == status
    assert all(isinstance(body[k], str) and body[k].strip() for k in ("type", "title", "detail"))
    if field:
        assert body.get("field") == field, body
    for word in words:
        assert word in body["detail"], body
    return body


def put_raw(http, home, fileid, data, kind="image/jpeg", **query):
    return http.put(f"{home}/images/{fileid}", content=data, headers={"Content-Type": kind}, params=query)


def put_json(http, home, fileid, data, **fields):
    return http.put(f"{home}/images/{fileid}", json={"image": b64(data), **fields})


def put_multipart(http, home, fileid, data, **fields):
    files = {"image": ("photo.jpg", data, "image/jpeg"), **{
        k: (None, v if isinstance(v, str) else json.dumps(v)) for k, v in fields.items()}}
    return http.put(f"{home}/images/{fileid}", files=files)


def put_raw_texts(http, home, fileid, data, **fields):
    return put_raw(http, home, fileid, data, **{k: v if isinstance(v, str) else json.dumps(v) for k, v in fields.items()})


PUTS = pytest.mark.parametrize("put", [put_raw_texts, put_json, put_multipart], ids=["raw", "json", "multipart"])


def search_raw(http, home, data, **fields):
    return http.post(f"{home}/search", content=data, headers={"Content-Type": "image/jpeg"},
                     params={k: json.dumps(v) for k, v in fields.items()})


def search_json(http, home, data, **fields):
    return http.post(f"{home}/search", json={"image": b64(data), **fields})


def search_multipart(http, home, data, **fields):
    return http.post(f"{home}/search", files={"image": ("q.jpg", data, "image/jpeg"), **{
        k: (None, json.dumps(v)) for k, v in fields.items()}})


SEARCHES = pytest.mark.parametrize("search", [search_raw, search_json, search_multipart], ids=["raw", "json", "multipart"])


# --- collections ---------------------------------------------------------------------------------------------------

def test_the_life_of_a_collection(http):
    path = "/v1/collections/native_life"
    problem(http.get(path), 404)
    made = http.put(path)
    assert made.status_code == 201
    stats = made.json()
    assert {"name", "model", "dimension", "metric", "count", "items", "damaged", "thumbnails", "bytes"} <= set(stats)
    assert (stats["name"], stats["metric"], stats["count"], stats["items"], stats["damaged"]) == ("native_life", "L2", 0, 0, 0)
    assert stats["thumbnails"] is True and set(stats["bytes"]) == {"disk", "memory"}
    assert stats["index"]["state"] == "none" and stats["index"]["live"] == 0  # so few rows are scanned
    assert set(stats["index"]["bytes"]) == {"codes", "sketches", "links", "rows", "memory"} and stats["columns"] == {"bytes": 0}
    problem(http.put(path), 409)
    assert http.get(path).json()["name"] == "native_life"
    [listed] = [c for c in http.get("/v1/collections").json()["collections"] if c["name"] == "native_life"]
    assert listed == {k: stats[k] for k in ("name", "model", "dimension", "metric", "count")}
    gone = http.delete(path)
    assert gone.status_code == 204 and gone.content == b""
    problem(http.delete(path), 404)
    problem(http.get(path), 404)


def test_statistics_count(http, home):
    for n in range(6):
        assert put_json(http, home, n, tiny(n), itemid=n // 2).status_code == 200
    stats = http.get(home).json()
    assert (stats["count"], stats["items"], stats["damaged"]) == (6, 3, 0)
    http.delete(f"{home}/images/0")
    http.delete(f"{home}/images/1")
    stats = http.get(home).json()
    assert (stats["count"], stats["items"]) == (4, 2)


def test_statistics_bytes(http, home):
    assert put_json(http, home, 1, tiny(1)).status_code == 200
    stats = http.get(home).json()
    assert stats["bytes"]["disk"] > 0 and stats["bytes"]["memory"] > 0


@pytest.mark.parametrize("name", ["1a", "a-b", "a b", "é", "a" * 256, "a.b", "%"])
def test_names_a_collection_may_not_have(http, name):
    problem(http.put("/v1/collections/" + urllib.parse.quote(name)), 400)


def test_both_faces_show_the_same_collections(api, http, home):
    name = home.rsplit("/", 1)[1]
    put_json(http, home, 2**53 + 1, tiny(1), itemid=-5, tags=["a"], brief={"k": 1})
    assert api.count(name).data == 1
    [stored] = api.fetch(name, fileid=2**53 + 1).data
    assert stored.items() <= http.get(f"{home}/images/{2**53 + 1}").json().items()
    api.add(name, 2, tiny(2)).data
    assert http.get(f"{home}/images/2").status_code == 200
    assert api.drop(name).code == OK
    problem(http.get(home), 404)


# --- records -------------------------------------------------------------------------------------------------------

@PUTS
def test_put_and_get_a_record(http, home, put):
    reply = put(http, home, 7, tiny(), itemid=70, tags=["a", "b c"], brief={"größe": 42, "big": 2**53 + 1})
    assert reply.status_code == 200 and reply.json() == {"fileid": 7}
    stored = http.get(f"{home}/images/7").json()
    assert {"fileid", "itemid", "tags", "brief", "vectors"} <= set(stored)
    assert (stored["fileid"], stored["itemid"], stored["tags"]) == (7, 70, ["a", "b c"])
    assert stored["brief"] == {"größe": 42, "big": 2**53 + 1}
    assert put(http, home, 7, tiny(2)).json() == {"fileid": 7}  # the whole record is replaced
    stored = http.get(f"{home}/images/7").json()
    assert (stored["itemid"], stored["tags"], stored["brief"]) == (7, [], {})
    assert http.get(home).json()["count"] == 1


def test_tags_separated_by_semicolons(http, home):
    assert put_raw(http, home, 1, tiny(), tags="red;summer dress").status_code == 200
    assert http.get(f"{home}/images/1").json()["tags"] == ["red", "summer dress"]


@pytest.mark.parametrize("fileid", [0, -1, 2**53 + 1, LARGEST_FILEID, INT64_MIN])
def test_every_int64_is_a_fileid(http, home, fileid):
    assert put_raw(http, home, fileid, tiny(), itemid=str(fileid)).json() == {"fileid": fileid}
    stored = http.get(f"{home}/images/{fileid}").json()
    assert (stored["fileid"], stored["itemid"]) == (fileid, fileid)
    [hit] = search_raw(http, home, tiny()).json()["hits"]
    assert (hit["fileid"], hit["itemid"]) == (fileid, fileid)
    assert http.delete(f"{home}/images/{fileid}").status_code == 204
    problem(http.get(f"{home}/images/{fileid}"), 404)


@pytest.mark.parametrize("fileid", ["abc", "1.5", "9223372036854775808", "-9223372036854775809", "0x1", "1e3", "1 "])
def test_what_is_no_fileid(http, home, fileid):
    path = f"{home}/images/{urllib.parse.quote(fileid)}"
    for response in (http.put(path, content=tiny(), headers={"Content-Type": "image/jpeg"}), http.get(path), http.delete(path)):
        assert response.status_code in (400, 404)
        problem(response, response.status_code)
    assert http.get(home).json()["count"] == 0


@PUTS
@pytest.mark.parametrize("fields", [
    {"itemid": "x"}, {"itemid": "9223372036854775808"}, {"tags": [str(n) for n in range(11)]}, {"tags": ["x" * 241]}, {"brief": "[1]"},
    {"brief": '{"a": 1, "a": 2}'}, {"brief": "abc"}], ids=lambda f: str(f)[:30])
def test_wrong_fields(http, home, put, fields):
    [name] = fields
    problem(put(http, home, 1, tiny(), **fields), 400, name)
    assert http.get(home).json()["count"] == 0


@PUTS
@pytest.mark.parametrize("data", [b"no picture", picture(5)[:2000], b""], ids=["text", "cut off", "nothing"])
def test_pictures_that_cannot_be_read(http, home, put, data):
    """422; 415 where it is no kind of picture at all, 400 where there is nothing."""
    response = put(http, home, 1, data)
    problem(response, response.status_code)
    assert response.status_code in {b"": (400, 422), b"no picture": (415, 422)}.get(data, (422,))
    assert http.get(home).json()["count"] == 0


def test_a_body_of_another_kind(http, home):
    problem(put_raw(http, home, 1, tiny(), kind="text/plain"), 415)
    problem(http.post(f"{home}/search", content=tiny(), headers={"Content-Type": "application/zip"}), 415)


def test_a_body_that_is_too_large(http, home):
    problem(put_raw(http, home, 1, b"\xff\xd8\xff" + b"\0" * (33 << 20)), 413)
    assert http.get(home).json()["count"] == 0


def test_json_that_is_none(http, home):
    for body in (b"{", b"[]", b'{"image": "", "image": ""}'):
        response = http.put(f"{home}/images/1", content=body, headers={"Content-Type": "application/json"})
        problem(response, 400)
    for body in (b"", b"{}", b'{"image": 5}', b'{"image": ""}', b'{"image": "!!!"}'):
        response = http.put(f"{home}/images/1", content=body, headers={"Content-Type": "application/json"})
        assert response.status_code in (400, 422)
        problem(response, response.status_code, "image")


def test_a_record_by_url(http, home, site):
    url = site.put("/v1.jpg", picture(1))
    assert http.put(f"{home}/images/1", json={"url": url, "tags": ["u"]}).status_code == 200
    [hit] = http.post(f"{home}/search", json={"url": url}).json()["hits"]
    assert hit["tags"] == ["u"] and hit["distance"] < 1e-4
    problem(http.put(f"{home}/images/2", json={"url": site.url + "/not-there.jpg"}), 502)
    for refused in ("http://10.0.0.1/a.jpg", "file:///etc/passwd"):
        response = http.put(f"{home}/images/2", json={"url": refused})
        assert response.status_code in (400, 403, 422, 502)
        problem(response, response.status_code, "url")
    assert http.get(home).json()["count"] == 1


def test_deleting_what_is_not_there(http, home):
    assert http.delete(f"{home}/images/5").status_code == 204
    put_raw(http, home, 5, tiny())
    for _ in range(2):
        assert http.delete(f"{home}/images/5").status_code == 204
    assert http.get(home).json()["count"] == 0


def test_a_collection_that_does_not_exist(http):
    gone = "/v1/collections/never_made"
    for response in (http.get(gone), http.delete(gone), http.get(gone + "/images"), http.get(gone + "/images/1"),
                     http.delete(gone + "/images/1"), http.get(gone + "/images/1/thumbnail"), put_raw(http, gone, 1, tiny()),
                     put_json(http, gone, 1, tiny()), search_raw(http, gone, tiny()), search_json(http, gone, tiny())):
        problem(response, 404, None, "never_made")


# --- browsing ------------------------------------------------------------------------------------------------------

def test_browsing_with_a_cursor(http, home):
    fileids = [INT64_MIN, -7, 0, 1, 2, 5, 2**53 + 1, LARGEST_FILEID]
    for n, fileid in enumerate(fileids[::-1]):
        assert put_raw(http, home, fileid, tiny(n), tags=f"t{fileid}").status_code == 200
    page = http.get(f"{home}/images").json()
    assert [r["fileid"] for r in page["images"]] == fileids and page["next"] is None
    assert all(set(r) == {"fileid", "itemid", "tags", "brief", "thumbnail"} for r in page["images"])
    for limit in (1, 3, 8):
        seen, after = [], None
        for _ in range(10):
            page = http.get(f"{home}/images", params={"limit": limit, **({} if after is None else {"after": after})}).json()
            assert len(page["images"]) <= limit
            seen += [r["fileid"] for r in page["images"]]
            after = page["next"]
            if after is None:
                break
        assert seen == fileids
    assert [r["fileid"] for r in http.get(f"{home}/images?after=0").json()["images"]] == fileids[3:]
    assert http.get(f"{home}/images?after={INT64_MAX}").json() == {"images": [], "next": None}


@pytest.mark.parametrize("query", ["limit=0", "limit=-1", "limit=x", "after=x", "limit=99999999999999999999", "after=9223372036854775808"])
def test_wrong_cursors(http, home, query):
    problem(http.get(f"{home}/images?{query}"), 400, query.split("=")[0])


# --- thumbnails ----------------------------------------------------------------------------------------------------

def test_thumbnails(http, home):
    large = encode(drawing(1, (1600, 1000)), quality=90)
    put_raw(http, home, 1, large)
    put_raw(http, home, 2, encode(drawing(2, (300, 500)), "PNG"), kind="image/png")
    put_raw(http, home, 3, tiny())
    for fileid, source in ((1, (1600, 1000)), (2, (300, 500)), (3, (48, 40))):
        response = http.get(f"{home}/images/{fileid}/thumbnail")
        assert response.status_code == 200 and response.headers["content-type"] == "image/jpeg"
        image = Image.open(io.BytesIO(response.content))
        image.load()
        assert image.format == "JPEG"
        assert max(image.size) <= 1024 and image.size[0] <= source[0] and image.size[1] <= source[1]
        assert image.size[0] / image.size[1] == pytest.approx(source[0] / source[1], rel=0.03)
    seen = numpy.asarray(Image.open(io.BytesIO(http.get(f"{home}/images/1/thumbnail").content)).resize((80, 50)), dtype=float)
    meant = numpy.asarray(drawing(1, (1600, 1000)).resize((80, 50)), dtype=float)
    assert numpy.abs(seen - meant).mean() < 6
    assert len(http.get(f"{home}/images/1/thumbnail").content) < len(large)
    problem(http.get(f"{home}/images/99/thumbnail"), 404)


def test_thumbnails_stand_upright(http, home):
    exif = Image.Exif()
    exif[0x0112] = 6
    put_raw(http, home, 1, encode(drawing(1, (200, 100)), exif=exif))
    image = Image.open(io.BytesIO(http.get(f"{home}/images/1/thumbnail").content))
    assert image.size[0] < image.size[1] and image.getexif().get(0x0112, 1) == 1


def test_thumbnails_carry_no_metadata(http, home):
    """Where a photograph was taken is nobody's business."""
    exif = Image.Exif()
    exif[0x010E] = "secret place"
    put_raw(http, home, 1, encode(drawing(1, (200, 100)), exif=exif, comment=b"secret comment"))
    data = http.get(f"{home}/images/1/thumbnail").content
    assert b"secret" not in data


def test_thumbnails_are_linked_and_follow_the_picture(http, home):
    put_raw(http, home, 1, picture(1))
    [listed] = http.get(f"{home}/images").json()["images"]
    [hit] = search_raw(http, home, picture(1)).json()["hits"]
    assert listed["thumbnail"] and hit["thumbnail"]
    first = http.get(listed["thumbnail"])
    assert first.status_code == 200 and first.headers["content-type"] == "image/jpeg"
    assert http.get(hit["thumbnail"]).content == first.content
    put_raw(http, home, 1, picture(2))
    [listed] = http.get(f"{home}/images").json()["images"]
    assert http.get(listed["thumbnail"]).content != first.content
    http.delete(f"{home}/images/1")
    problem(http.get(f"{home}/images/1/thumbnail"), 404)


# --- search --------------------------------------------------------------------------------------------------------

@pytest.fixture
def filled(http, home):
    for n in range(12):
        assert put_json(http, home, n, picture(n), itemid=100 + n // 2, tags=[f"t{n}"], brief={"n": n}).status_code == 200
    return home


@SEARCHES
def test_search(http, filled, search):
    response = search(http, filled, picture(3))
    assert response.status_code == 200
    body = response.json()
    assert set(body) == {"hits", "took_ms"} and 0 < body["took_ms"] < 60_000
    first = body["hits"][0]
    assert {"fileid", "itemid", "tags", "brief", "distance", "thumbnail"} <= set(first)
    assert (first["fileid"], first["itemid"], first["tags"], first["brief"]) == (3, 101, ["t3"], {"n": 3})
    assert 0 <= first["distance"] < 1e-4
    assert len(body["hits"]) == 6 and len({h["itemid"] for h in body["hits"]}) == 6
    every = search(http, filled, picture(3), group=False, limit=12).json()["hits"]
    assert len(every) == 12
    assert [h["distance"] for h in every] == sorted(h["distance"] for h in every)
    assert search(http, filled, picture(3), group=False, limit=4, offset=3).json()["hits"] == every[3:7]


def test_search_equals_the_compatible_route(api, http, filled):
    native = search_raw(http, filled, picture(5), limit=6).json()["hits"]
    compatible = api.search(filled.rsplit("/", 1)[1], picture(5), limit=6).data
    assert [{k: h[k] for k in ("fileid", "itemid", "tags", "brief", "distance")} for h in native] == compatible


@SEARCHES
@pytest.mark.parametrize("fields", [{"limit": 0}, {"limit": -1}, {"limit": "x"}, {"limit": 16385}, {"offset": -1}], ids=str)
def test_wrong_windows(http, filled, search, fields):
    [name] = fields
    problem(search(http, filled, picture(1), **fields), 400, name)


def test_search_without_a_picture(http, filled):
    for response in (http.post(f"{filled}/search", json={}), http.post(f"{filled}/search", json={"image": ""}),
                     http.post(f"{filled}/search"), search_raw(http, filled, b"no picture")):
        assert response.status_code in (400, 415, 422)
        problem(response, response.status_code)


# --- embed, models, health -----------------------------------------------------------------------------------------

def test_embed(http, home):
    put_raw(http, home, 1, picture(1))
    stored = http.get(f"{home}/images/1").json()["vectors"]
    replies = [
        http.post("/v1/embed", content=picture(1), headers={"Content-Type": "image/jpeg"}),
        http.post("/v1/embed", json={"image": b64(picture(1))}),
        http.post("/v1/embed", files={"image": ("a.jpg", picture(1), "image/jpeg")})]
    for reply in replies:
        assert reply.status_code == 200
        body = reply.json()
        assert set(body) == {"model", "dimension", "vector"}
        assert len(body["vector"]) == body["dimension"] == http.get(home).json()["dimension"]
        assert body["model"] == http.get(home).json()["model"]
        assert numpy.linalg.norm(body["vector"]) == pytest.approx(1, abs=1e-3)
        assert ((numpy.array(body["vector"]) - numpy.array(stored)) ** 2).sum() < 1e-4
    problem(http.post("/v1/embed", content=picture(1)[:2000], headers={"Content-Type": "image/jpeg"}), 422)
    assert http.post("/v1/embed", json={}).status_code in (400, 422)
    problem(http.post("/v1/embed", content=b"x", headers={"Content-Type": "text/plain"}), 415)


def test_thumbnail_of_any_picture(http):
    """For what a browser must not fetch or cannot read. Nothing is stored."""
    for reply in (http.post("/v1/thumbnail", content=picture(1), headers={"Content-Type": "image/jpeg"}),
                  http.post("/v1/thumbnail", json={"image": b64(picture(1))})):
        assert reply.status_code == 200 and reply.headers["Content-Type"] == "image/jpeg"
        with Image.open(io.BytesIO(reply.content)) as small, Image.open(io.BytesIO(picture(1))) as whole:
            assert small.format == "JPEG"
            assert max(small.size) <= max(whole.size)
            assert small.width / small.height == pytest.approx(whole.width / whole.height, rel=0.03)
    problem(http.post("/v1/thumbnail", content=picture(1)[:2000], headers={"Content-Type": "image/jpeg"}), 422)
    assert http.post("/v1/thumbnail", json={}).status_code in (400, 422)
    problem(http.post("/v1/thumbnail", json={"url": "http://127.0.0.1:1/a.jpg"}), 422)


def test_models(http):
    models = http.get("/v1/models").json()["models"]
    assert models and models[0]["default"] and models[0]["loaded"]
    for model in models:
        assert {"name", "default", "loaded", "kind", "dimension", "input", "licence"} <= set(model)
        assert not model["loaded"] or {"precision", "threads", "device", "engine", "engine_version"} <= set(model)
        assert len(model["input"]) == 2 and all(isinstance(n, int) and n > 0 for n in model["input"])


def test_health(http):
    for path, status in (("/healthz", "ok"), ("/readyz", "ready")):
        response = http.get(path)
        assert (response.status_code, response.json()["status"]) == (200, status)


def test_routes_and_methods_that_do_not_exist(http, home):
    for path in ("/v1", "/v1/nothing", f"{home}/nothing", f"{home}/images/1/nothing"):
        problem(http.get(path), 404)
    for method, path in (("POST", "/v1/collections"), ("PUT", f"{home}/images"), ("POST", f"{home}/images/1/thumbnail"), ("GET", f"{home}/search"),
                         ("GET", "/v1/embed"), ("DELETE", "/v1/models")):
        response = http.request(method, path)
        problem(response, 405)
        assert response.headers["allow"].strip()


def test_the_web_page(http):
    response = http.get("/")
    assert response.status_code == 200
    assert response.headers["content-type"].split(";")[0] == "text/html"
    assert "<html" in response.text.lower()


def test_problems_allow_every_origin(http):
    response = http.get("/v1/collections/never_made", headers={"Origin": "https://shop.example"})
    assert response.headers["access-control-allow-origin"] == "*"


def test_what_was_written_is_there_after_a_restart(servers):
    server = servers()
    client = Api(server.url)
    assert client.http.put("/v1/collections/kept").status_code == 201
    for n in range(10):
        assert put_json(client.http, "/v1/collections/kept", n, picture(n), itemid=n // 2, brief={"n": n}).status_code == 200
    client.http.delete("/v1/collections/kept/images/3")
    before = [client.http.get(f"/v1/collections/kept/images/{n}").json() for n in range(10) if n != 3]
    found = search_raw(client.http, "/v1/collections/kept", picture(4)).json()["hits"]
    thumbnail = client.http.get("/v1/collections/kept/images/4/thumbnail").content
    client.close()
    server.stop_cleanly()
    server.start()
    client = Api(server.url)
    assert [client.http.get(f"/v1/collections/kept/images/{n}").json() for n in range(10) if n != 3] == before
    assert client.http.get("/v1/collections/kept").json()["count"] == 9
    assert search_raw(client.http, "/v1/collections/kept", picture(4)).json()["hits"] == found
    assert client.http.get("/v1/collections/kept/images/4/thumbnail").content == thumbnail
    client.close()


def test_a_second_server_on_the_same_data_does_not_start(server, tmp_path):
    second = support.Server(server.data, log=tmp_path / "log.txt")
    with pytest.raises(RuntimeError, match="ended with") as refused:
        second.start()
    assert second.process.returncode > 0
    assert str(server.pid) in str(refused.value), "the message should name the process that holds the lock"
