"""The rules of the single fields of the compatible routes: types, limits, encodings, JSON. One row of the interface
description at a time. Where a request is refused the message names the field, and nothing was changed."""
import base64
import json

import pytest

from support import INT64_MAX, INT64_MIN, LARGEST_FILEID, OK, b64, encode, drawing, failed, json_bytes, picture, tiny

IMAGE = b64(tiny())
JSON = {"Content-Type": "application/json"}


def post_text(api, route, text):
    """A body as it is written here, because json.dumps() would not write it."""
    return api.post(route, content=text.encode() if isinstance(text, str) else text, headers=JSON)


@pytest.fixture
def kept(api, collection):
    """A collection with one record that must be the same after the test, and nothing beside it."""
    api.add(collection, 1, tiny(9), itemid=2, tags=["kept"], brief={"kept": True}).data
    before = api.fetch(collection, fileid=1).data
    yield collection
    assert api.fetch(collection, fileid=1).data == before
    assert api.count(collection).data == 1


# --- collection ----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", ["a", "_", "A1_b", "z" * 255, "_" * 255, "SELECT", "meta", "con"])
def test_names_a_collection_may_have(api, name):
    assert api.create(name).code == OK
    try:
        assert api.add(name, 1, tiny()).data == 1
        assert api.count(name).data == 1
        failed(api.create(name))
    finally:
        assert api.drop(name).code == OK


@pytest.mark.parametrize("name", ["", " ", "1a", "a-b", "a b", "a.b", "..", ".", "a/b", "../a", "/etc", "é", "漢", "a\n", "a\0b",
                                  "a" * 256, "a" * 5000, "a%", "a;b", "'", "-"])
def test_names_a_collection_may_not_have(api, name):
    names = () if "\0" in name else ("collection",)  # NUL may be refused as JSON, before any field is looked at
    failed(api.post("/milvus/collection/create", {"collection": name}), *names)
    failed(api.create(name), *names)
    failed(api.add(name, 1, tiny()), *names)
    failed(api.drop(name), *names)


def test_names_that_differ_in_case_are_two_collections(api):
    assert api.create("Case").code == OK
    assert api.create("case").code == OK
    try:
        api.add("Case", 1, tiny()).data
        assert api.count("case").data == 0
    finally:
        assert api.drop("Case").code == OK
        assert api.drop("case").code == OK


def test_a_name_is_not_cut_at_nul(api, kept):
    failed(api.search(kept + "\0x", tiny()))
    failed(api.delete(kept + "\0", 1))
    failed(api.drop(kept + "\0"))


@pytest.mark.parametrize("value", [1, True, ["a"], {"a": 1}, 1.5])
def test_collection_of_a_wrong_type(api, value):
    failed(api.post("/milvus/collection/create", {"collection": value}), "collection")
    failed(api.post("/milvus/img/count", {"collection": value}), "collection")


# --- fileid and itemid ---------------------------------------------------------------------------------------------

@pytest.mark.parametrize("value", [0, -1, 2**31, 2**53 + 1, -(2**53) - 1, LARGEST_FILEID, INT64_MIN, INT64_MAX - 1])
@pytest.mark.parametrize("write", [int, str], ids=["number", "string"])
def test_int64_keeps_all_its_digits(api, collection, value, write):
    assert api.add(collection, write(value), tiny(), itemid=write(value)).data == value
    assert api.fetch(collection, fileid=value).data[0]["itemid"] == value
    assert api.fetch(collection, itemid=value).data[0]["fileid"] == value
    [hit] = api.search(collection, tiny()).data
    assert (hit["fileid"], hit["itemid"]) == (value, value)
    if value != 0:
        assert api.update(collection, write(value), tags=["u"]).data == value
    assert api.post("/milvus/img/delete", {"collection": collection, "fileid": write(value)}).code == OK
    assert api.count(collection).data == 0


WRONG_INTEGERS = ["9223372036854775808", "-9223372036854775809", "18446744073709551616", "1" + "0" * 60, "1.5", "true", "false",
                  '"1.5"', '"abc"', '"1a"', '"1 2"', '"0x10"', '"9223372036854775808"', '"--1"', "[1]", '{"a": 1}', '"1e3"']


@pytest.mark.parametrize("text", WRONG_INTEGERS)
@pytest.mark.parametrize("field", ["fileid", "itemid"])
def test_what_is_no_int64(api, kept, field, text):
    other = "" if field == "fileid" else '"fileid": 1, '
    body = f'{{"collection": "{kept}", {other}"{field}": {text}, "image": "{IMAGE}"}}'
    failed(post_text(api, "/milvus/img/add", body), field)
    failed(post_text(api, "/milvus/img/update", body), field)
    failed(post_text(api, "/milvus/img/get", f'{{"collection": "{kept}", "{field}": {text}}}'), field)
    if field == "fileid":
        failed(post_text(api, "/milvus/img/delete", body), field)


@pytest.mark.parametrize("value", ["", " ", "abc", "1.5", "9223372036854775808", "1 2", "1,2"])
def test_what_is_no_int64_in_a_query(api, kept, value):
    for method in ("GET", "POST"):
        failed(api.request(method, "/milvus/img/delete", params={"collection": kept, "fileid": value}), "fileid")
        failed(api.request(method, "/milvus/img/get", params={"collection": kept, "fileid": value}), "fileid")
    failed(api.post("/milvus/img/add", params={"collection": kept, "fileid": value, "image": IMAGE}), "fileid")


def test_fileid_null_counts_as_missing(api, kept):
    failed(api.add(kept, None, tiny()), "fileid")
    failed(api.post("/milvus/img/delete", {"collection": kept, "fileid": None}), "fileid")


# --- image ---------------------------------------------------------------------------------------------------------

def awkward_picture():
    """A picture whose base64 has both characters that the two alphabets write differently, and padding."""
    for seed in range(1000):
        data = tiny(seed)
        text = b64(data)
        if "+" in text and "/" in text and text.endswith("="):
            return data
    raise AssertionError("no such picture among 1000")


def spellings(data):
    text = b64(data)
    url_safe = base64.urlsafe_b64encode(data).decode()
    return {
        "standard": text,
        "unpadded": text.rstrip("="),
        "url-safe": url_safe,
        "url-safe unpadded": url_safe.rstrip("="),
        "lines of 76 with LF": base64.encodebytes(data).decode(),
        "lines of 76 with CRLF": base64.encodebytes(data).decode().replace("\n", "\r\n"),
        "one LF at the end": text + "\n",
        "data URI": "data:image/jpeg;base64," + text,
        "data URI, URL-safe, unpadded": "data:image/jpeg;base64," + url_safe.rstrip("="),
        "data URI with line breaks": "data:image/jpeg;base64," + base64.encodebytes(data).decode(),
        "data URI with a wrong type": "data:image/png;base64," + text,
        "data URI without a type": "data:;base64," + text,
        "data URI with a parameter": "data:image/jpeg;name=a.jpg;base64," + text,
        "data URI, octets": "data:application/octet-stream;base64," + text,
    }


AWKWARD = awkward_picture()


@pytest.mark.parametrize("spelling", spellings(AWKWARD))
def test_spellings_of_base64(api, collection, spelling):
    api.add(collection, 1, AWKWARD).data
    text = spellings(AWKWARD)[spelling]
    assert api.search(collection, text).data[0]["distance"] < 1e-6
    assert api.add(collection, 2, text).data == 2
    assert api.update(collection, 1, text).data == 1
    assert api.fetch(collection, fileid=1).data[0]["vectors"] == api.fetch(collection, fileid=2).data[0]["vectors"]


@pytest.mark.parametrize("spelling", spellings(AWKWARD))
def test_spellings_of_base64_in_forms(api, collection, spelling):
    text = spellings(AWKWARD)[spelling]
    api.post("/milvus/img/add", data={"collection": collection, "fileid": "1", "image": text}).data
    api.post("/milvus/img/add", files={"collection": (None, collection), "fileid": (None, "2"), "image": (None, text)}).data
    assert [h["distance"] < 1e-6 for h in api.search(collection, AWKWARD).data] == [True, True]


WRONG_IMAGES = {
    "not base64": "!!!!", "a lone last character": IMAGE[: len(IMAGE) // 4 * 4 - 3], "text": "hello world",
    "padding in the middle": IMAGE[:40] + "==" + IMAGE[40:], "a data URI without base64": "data:image/jpeg," + IMAGE,
    "an empty data URI": "data:image/jpeg;base64,", "only padding": "====", "too much padding": "AAAA====",
    "base64 of nothing known": b64(b"this is no picture at all, whatever its name says"), "a path": "/etc/passwd",
    "a URL": "http://127.0.0.1:9/a.jpg", "not ASCII": "/9j/é漢",
    "a picture cut in half": b64(picture(5)[: len(picture(5)) // 2]),
}


@pytest.mark.parametrize("wrong", WRONG_IMAGES)
def test_images_that_are_none(api, kept, wrong):
    text = WRONG_IMAGES[wrong]
    failed(api.add(kept, 2, text), "image")
    failed(api.add(kept, 1, text), "image")
    failed(api.update(kept, 1, text), "image")
    failed(api.search(kept, text), "image")


@pytest.mark.parametrize("value", [1, True, ["a"], {"a": 1}])
def test_image_of_a_wrong_type(api, kept, value):
    failed(api.post("/milvus/img/add", {"collection": kept, "fileid": 2, "image": value}), "image")
    failed(api.post("/milvus/img/search", {"collection": kept, "image": value}), "image")


def test_an_empty_image_counts_as_absent(api, kept):
    failed(api.add(kept, 2, ""), "image", "url")
    failed(api.add(kept, 2, "", url=""), "image", "url")
    failed(api.search(kept, ""), "image", "url")
    assert api.update(kept, 1, "").data == 1
    assert api.update(kept, 1, "", url="").data == 1


# --- tags ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("tags", [
    [], ["a"], ["x" * 240], [f"{n:0240d}" for n in range(10)], ["漢" * 80], ["größe", "😀", "a b", '"', "\\", "\n", "a;b", "a,b"],
    ["z", "a", "m"]], ids=lambda t: f"{len(t)} of {max(map(len, t), default=0)}")
def test_tags_that_are_allowed(api, collection, tags):
    api.add(collection, 1, tiny(), tags=tags).data
    assert api.fetch(collection, fileid=1).data[0]["tags"] == tags
    assert api.search(collection, tiny()).data[0]["tags"] == tags


@pytest.mark.parametrize("tags", [
    [str(n) for n in range(11)], ["x" * 241], ["漢" * 81], ["a"] * 10 + ["x" * 10], ["é" * 121], [1], ["a", None], [["a"]], [{"a": 1}],
    {"a": "b"}, 5, True], ids=lambda t: str(t)[:30])
def test_tags_that_are_refused(api, kept, tags):
    failed(api.add(kept, 2, tiny(), tags=tags), "tags", "tag")
    failed(api.add(kept, 1, tiny(), tags=tags), "tags", "tag")
    failed(api.update(kept, 1, tags=tags), "tags", "tag")


def test_a_tag_is_not_cut_at_nul(api, kept):
    reply = api.add(kept, 2, tiny(), tags=["a\0b"])
    if reply.code == OK:
        assert api.fetch(kept, fileid=2).data[0]["tags"] == ["a\0b"]
        assert api.delete(kept, 2).code == OK


# --- brief ---------------------------------------------------------------------------------------------------------

BRIEFS = [
    {}, {"a": 1}, {"big": 2**53 + 1, "max": INT64_MAX, "min": INT64_MIN}, {"float": 0.1, "small": -1.5e-7, "zero": 0.0},
    {"true": True, "false": False, "none": None}, {"text": "größe 漢 😀 \" \\ / \b\f\n\r\t \u0001 \u2028"},
    {"": "empty key", "ключ": [1, [2, {"x": []}]]},
    {"a": {"b": {"c": {"d": [1, 2, 3]}}}}, {"fileid": 5, "collection": "x"}, {"__proto__": 1, "$ref": "x"}]


@pytest.mark.parametrize("brief", BRIEFS, ids=lambda b: json.dumps(b)[:30])
@pytest.mark.parametrize("write", [lambda b: b, json.dumps, lambda b: json.dumps(b, ensure_ascii=False, indent=2)],
                         ids=["object", "string", "string, indented"])
def test_briefs_come_back_as_objects(api, collection, brief, write):
    api.add(collection, 1, tiny(), brief=write(brief)).data
    assert api.fetch(collection, fileid=1).data[0]["brief"] == brief
    assert api.search(collection, tiny()).data[0]["brief"] == brief
    api.add(collection, 2, tiny()).data
    api.update(collection, 2, brief=write(brief)).data
    assert api.fetch(collection, fileid=2).data[0]["brief"] == brief


def brief_of(size):
    brief = {"text": "x" * (size - len(json_bytes({"text": ""})))}
    assert len(json_bytes(brief)) == size
    return brief


def test_a_brief_of_64_kib(api, collection):
    brief = brief_of(65536)
    for fileid, value in ((1, brief), (2, json_bytes(brief).decode())):
        response = api.post("/milvus/img/add", content=json_bytes(
            {"collection": collection, "fileid": fileid, "image": IMAGE, "brief": value}), headers=JSON)
        assert response.data == fileid
        assert api.fetch(collection, fileid=fileid).data[0]["brief"] == brief


@pytest.mark.parametrize("size", [65537, 70000, 1 << 20])
def test_a_brief_over_64_kib(api, kept, size):
    for value in (brief_of(size), json_bytes(brief_of(size)).decode()):
        for route, fileid in (("add", 2), ("add", 1), ("update", 1)):
            failed(api.post(f"/milvus/img/{route}", content=json_bytes(
                {"collection": kept, "fileid": fileid, "image": IMAGE, "brief": value}), headers=JSON), "brief")


@pytest.mark.parametrize("brief", [
    [], [1], 5, True, 1.5, "abc", "[1]", "5", "null", "true", '"text"', "{", '{"a": 1', '{"a": 1} x', "{'a': 1}",
    '{"a": 1, "a": 2}', '{"a":}', '{"a": NaN}', "\"{}\"", '{"a": ' + "[" * 33 + "]" * 33 + "}"], ids=lambda b: str(b)[:20])
def test_briefs_that_are_refused(api, kept, brief):
    failed(api.add(kept, 2, tiny(), brief=brief), "brief")
    failed(api.add(kept, 1, tiny(), brief=brief), "brief")
    failed(api.update(kept, 1, brief=brief), "brief")


def test_a_brief_is_not_cut_at_nul(api, kept):
    for brief in ({"a": "x\0y"}, {"a\0b": 1}):
        reply = api.add(kept, 2, tiny(), brief=brief)
        if reply.code == OK:
            assert api.fetch(kept, fileid=2).data[0]["brief"] == brief
            assert api.delete(kept, 2).code == OK


# --- limit, offset, group, filter ----------------------------------------------------------------------------------

@pytest.mark.parametrize("fields,expected", [
    ({"limit": 1}, 1), ({"limit": 16384}, 15), ({"limit": "3"}, 3), ({"offset": "13"}, 2), ({"limit": 1, "offset": 16383}, 0),
    ({"limit": 384, "offset": 16000}, 0), ({"limit": None, "offset": None}, 10), ({"limit": "16384", "offset": "0"}, 15)], ids=str)
def test_windows_that_are_allowed(api, catalogue, fields, expected):
    name, pictures = catalogue
    assert len(api.search(name, pictures[1], **fields).data) == expected


@pytest.mark.parametrize("fields", [
    {"limit": 0}, {"limit": -1}, {"limit": 16385}, {"limit": 1, "offset": 16384}, {"limit": 16384, "offset": 1}, {"offset": 16384},
    {"limit": INT64_MAX, "offset": INT64_MAX}, {"limit": 2**32 + 1}, {"limit": 2**31}, {"limit": "abc"}, {"limit": 1.5}, {"limit": True},
    {"limit": []}, {"limit": ""}, {"limit": "0"}, {"limit": 10**30}], ids=str)
def test_limits_that_are_refused(api, catalogue, fields):
    name, pictures = catalogue
    failed(api.search(name, pictures[1], **fields), "limit", "offset")


@pytest.mark.parametrize("fields", [
    {"offset": -1}, {"offset": INT64_MAX}, {"offset": INT64_MIN}, {"offset": 2**32}, {"offset": "x"}, {"offset": 0.5}, {"offset": False},
    {"offset": {}}], ids=str)
def test_offsets_that_are_refused(api, catalogue, fields):
    name, pictures = catalogue
    failed(api.search(name, pictures[1], **fields), "offset")


@pytest.mark.parametrize("value", [{}, [], 7, "perhaps"], ids=str)
def test_group_of_a_wrong_type(api, catalogue, value):
    name, pictures = catalogue
    failed(api.search(name, pictures[1], group=value), "group")


@pytest.mark.parametrize("value", [None, "", " ", "\t\r\n  "], ids=repr)
def test_a_blank_filter_means_none(api, catalogue, value):
    name, pictures = catalogue
    assert api.search(name, pictures[1], filter=value).data == api.search(name, pictures[1]).data
    if value is not None:
        form = {"collection": name, "image": b64(pictures[1]), "filter": value}
        assert api.post("/milvus/img/search", data=form).data == api.search(name, pictures[1]).data


@pytest.mark.parametrize("value", ["fileid ==", "((", "nonsense nonsense", "fileid = 1; drop", "brief[", "\u00e4 == 1"])
def test_an_invalid_filter_never_means_none(api, catalogue, value):
    name, pictures = catalogue
    failed(api.search(name, pictures[1], filter=value), "filter")


@pytest.mark.parametrize("value, right", [
    ("fileid == 1", lambda n: n == 1),
    ("itemid in [1000, 1001]", lambda n: n <= 4),
    ('brief["n"] > 3', lambda n: n > 3),
    ('array_contains(tags, "tag2") and not (fileid >= 20)', lambda n: n % 3 == 2 and n < 20),
    ('brief["absent"] == 1', lambda n: False)])
def test_only_what_the_filter_is_true_for_is_found(api, catalogue, value, right):
    name, pictures = catalogue
    for group in (False, True):
        hits = api.search(name, pictures[1], filter=value, group=group, limit=100).data
        expected = {n for n in pictures if right(n)}
        assert {hit["fileid"] for hit in hits} <= expected
        assert len(hits) == len({(n - 1) // 2 for n in expected} if group else expected)


@pytest.mark.parametrize("value", [1, True, [], {"a": 1}], ids=str)
def test_filter_of_a_wrong_type(api, catalogue, value):
    name, pictures = catalogue
    failed(api.search(name, pictures[1], filter=value), "filter")


# --- JSON ----------------------------------------------------------------------------------------------------------

def test_unknown_fields_are_ignored(api, collection):
    unknown = {"unknown": 1, "Image": "x", "FILEID": "no", "": None, "nested": {"collection": "other", "x": [1, {"y": None}]}, "漢": "字"}
    assert api.add(collection, 1, tiny(), **unknown).data == 1
    assert api.update(collection, 1, tags=["a"], **unknown).data == 1
    assert api.search(collection, tiny(), **unknown).data[0]["tags"] == ["a"]
    assert api.request("GET", "/milvus/img/count", params={"collection": collection, "unknown": "1", "_": "1700000000"}).data == 1


def test_the_order_of_the_fields_does_not_matter(api, collection):
    body = {"image": IMAGE, "brief": {}, "tags": ["a"], "itemid": 3, "fileid": 1, "collection": collection}
    assert api.post("/milvus/img/add", body).data == 1


def test_null_counts_as_absent_in_optional_fields(api, collection):
    api.add(collection, 5, tiny(), itemid=None, tags=None, brief=None, url=None).data
    [stored] = api.fetch(collection, fileid=5).data
    assert (stored["itemid"], stored["tags"], stored["brief"]) == (5, [], {})


def nested(depth, inner=""):
    """An unknown field so deep that the whole body has `depth` levels."""
    return '"x": ' + "[" * (depth - 1) + inner + "]" * (depth - 1)


@pytest.mark.parametrize("inner", ["", "1", '"s"'], ids=["empty", "number", "string"])
def test_nesting_of_32_is_read_and_of_33_refused(api, collection, inner):
    head = f'{{"collection": "{collection}", "fileid": 1, "image": "{IMAGE}", '
    failed(post_text(api, "/milvus/img/add", head + nested(33, inner) + "}"))
    assert api.count(collection).data == 0
    assert post_text(api, "/milvus/img/add", head + nested(32, inner) + "}").data == 1


@pytest.mark.parametrize("depth", [34, 100, 10_000, 1_000_000])
def test_deep_nesting_is_refused(api, kept, depth):
    failed(post_text(api, "/milvus/img/add", f'{{"collection": "{kept}", "fileid": 2, "image": "{IMAGE}", {nested(depth)}}}'))
    failed(post_text(api, "/milvus/img/add", "[" * depth))
    failed(post_text(api, "/milvus/img/add", '{"a":' * depth))


@pytest.mark.parametrize("extra", [
    '"fileid": 3', '"collection": "other"', '"image": ""', '"x": 1, "x": 1', '"x": {"y": 1, "y": 2}', '"x": [{"y": 1, "y": 1}]',
    '"\\u0066ileid": 3', '"brief": {"a": 1, "a": 1}', '"brief": {"a": {"b": 1, "b": 1}}', '"x": null, "x": null'])
def test_duplicate_keys_are_refused(api, kept, extra):
    body = f'{{"collection": "{kept}", "fileid": 2, "image": "{IMAGE}", {extra}}}'
    failed(post_text(api, "/milvus/img/add", body))
    failed(post_text(api, "/milvus/img/search", body))


# Each is put behind the last member of a body that is otherwise right.
WRONG_MEMBERS = [
    ",", ', "x": NaN', ', "x": Infinity', ', "x": -Infinity', ', "x": 01', ', "x": +1', ', "x": .5', ', "x": 1.', ', "x": 0x10', ', "x": 1e',
    ', "x": -', ', "x": True', ', "x": nul', ', "x": tru', ', "x": ', ', "x" 1', ", x: 1", ", 'x': 1", ', "x": [1,]', ', "x": [1 2]',
    ', "x": "\n"', ', "x": "\t"', ', "x": "\x01"', ', "x": "\\q"', ', "x": "\\u12"', ', "x": "open', ', "x": [', ', "x": {', ', "x": }', " x", "}",
    b', "x": "\xff"', b', "x": "\xc0\xaf"', b', "x": "\xed\xa0\x80"', b', "\xe2\x82": 1', b', "x": "\0"', b"\0"]
# Each makes another text of a whole body.
WRONG_TEXTS = {
    "cut off": lambda t: t[:-1], "two": lambda t: t + t, "text behind": lambda t: t + " x", "comment before": lambda t: "/* c */" + t,
    "comment behind": lambda t: t + "// c", "single quotes": lambda t: t.replace('"', "'"), "UTF-16": lambda t: t.encode("utf-16"),
    "nothing": lambda t: "", "a space": lambda t: " ", "null": lambda t: "null", "an array": lambda t: f"[{t}]", "an empty array": lambda t: "[]",
    "a string": lambda t: '"text"', "a number": lambda t: "5", "NUL behind": lambda t: t + "\0", "NUL before": lambda t: "\0" + t,
    "a form": lambda t: "collection=a&fileid=2"}


@pytest.mark.parametrize("member", WRONG_MEMBERS, ids=repr)
def test_members_that_are_not_json(api, kept, member):
    head = json.dumps({"collection": kept, "fileid": 2, "image": IMAGE})[:-1].encode()
    body = head + (member if isinstance(member, bytes) else member.encode()) + b"}"
    failed(post_text(api, "/milvus/img/add", body))
    failed(post_text(api, "/milvus/img/search", body))


@pytest.mark.parametrize("kind", WRONG_TEXTS)
def test_bodies_that_are_not_json(api, kept, kind):
    text = WRONG_TEXTS[kind](json.dumps({"collection": kept, "fileid": 2, "image": IMAGE}))
    assert failed(post_text(api, "/milvus/img/add", text)).status == 200
    failed(post_text(api, "/milvus/img/search", text))


@pytest.mark.parametrize("text", [
    '\r\n\t {{"collection" : "{c}" , "fileid":2,"image":"{i}"}} \n', '{{"coll\\u0065ction":"{c}","fileid":2,"image":"{i}"}}',
    '{{"collection":"{c}","fileid":2,"image":"{i}","x":[1e5,-0,0.5E-3,"\\ud83d\\ude00\\/"]}}'])
def test_json_that_is_unusual_and_right(api, collection, text):
    assert post_text(api, "/milvus/img/add", text.format(c=collection, i=IMAGE)).data == 2


def test_base64_with_escaped_slashes(api, collection):
    """PHP writes every slash as \\/ ."""
    body = json.dumps({"collection": collection, "fileid": 1, "image": IMAGE}).replace("/", "\\/")
    assert post_text(api, "/milvus/img/add", body).data == 1


# --- forms ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("body", [b"", b"--x", b"--x--", b"--x--\r\n", b"garbage", b"--x\r\n\r\n",
                                  b"--x\r\nContent-Disposition: form-data\r\n\r\n1\r\n--x--",
                                  b'--x\r\nContent-Disposition: form-data; name="fileid"\r\n\r\n2'])
def test_multipart_that_is_none(api, kept, body):
    failed(api.post("/milvus/img/add", content=body, headers={"Content-Type": "multipart/form-data; boundary=x"}))
    failed(api.post("/milvus/img/add", content=body, headers={"Content-Type": "multipart/form-data"}))


@pytest.mark.parametrize("tags,expected", [('["a","b"]', ["a", "b"]), ("[]", [])])
def test_tags_in_a_form(api, collection, tags, expected):
    api.post("/milvus/img/add", data={"collection": collection, "fileid": "1", "image": IMAGE, "tags": tags}).data
    assert api.fetch(collection, fileid=1).data[0]["tags"] == expected


@pytest.mark.parametrize("fields", [
    {"tags": '["a"'}, {"tags": "[1]"}, {"tags": json.dumps(["x"] * 11)}, {"brief": "abc"}, {"brief": "[1]"}, {"itemid": "x"}, {"fileid": "x"},
    {"image": "!!!"}], ids=str)
def test_wrong_fields_in_a_form(api, kept, fields):
    form = {"collection": kept, "fileid": "2", "image": IMAGE, **fields}
    [name] = fields
    failed(api.post("/milvus/img/add", data=form), name)
    failed(api.post("/milvus/img/add", files={k: (None, v) for k, v in form.items()}), name)
    failed(api.post("/milvus/img/add", params=form), name)


def test_a_picture_of_several_megabytes(api, collection):
    noisy = drawing(1, (2400, 1800)).effect_spread(40)
    data = encode(noisy, "PNG")
    assert 5 << 20 < len(data) < 22 << 20
    assert api.add(collection, 1, data).data == 1
    assert api.search(collection, data).data[0]["distance"] < 1e-4
