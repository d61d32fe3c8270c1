"""A thousand malformed inputs: always a clear error, never a crash, and nothing was changed.

The inputs come from a seeded generator; LOOKALIKE_MALFORMED sets how many (default 1000, shared out over the kinds below) and
LOOKALIKE_MALFORMED_SEED the seed (default 1). A failure names the kind and the number of the input; the same seed gives it again.

A flipped bit may leave a JPEG that is still a picture. Therefore flipped pictures go to search, where success is an answer too,
and what goes to add is truncated, which never is.
"""
import concurrent.futures
import json
import os
import random
import re
import socket
import threading
import time

import httpx
import pytest

from support import (FAILED, HOST, INT64_MAX, OK, SHARED, SLOW, Api, b64, drawing, encode, picture, raw_exchange, raw_status,
                     request_bytes, shared_pictures, tiny)

COUNT = int(os.environ.get("LOOKALIKE_MALFORMED", "1000"))
SEED = int(os.environ.get("LOOKALIKE_MALFORMED_SEED", "1"))
JSON = {"Content-Type": "application/json"}


def share(part):
    """How many inputs of a kind: `part` of a thousand."""
    return max(1, round(COUNT * part / 1000))


def generator(kind):
    return random.Random(f"{SEED} {kind}")


@pytest.fixture(scope="module")
def home(api):
    """A collection that must stay as it is: three records."""
    api.create("malformed").data
    for n in (1, 2, 3):
        api.add("malformed", n, picture(n), itemid=10 * n, tags=["kept"], brief={"n": n}).data
    yield "malformed"
    api.drop("malformed")


@pytest.fixture(autouse=True)
def unharmed(server, api, home):
    """After each kind: the same process, answering, with the same records."""
    pid = server.pid
    before = [api.fetch(home, fileid=n).data for n in (1, 2, 3)]
    yield
    assert server.alive() and server.pid == pid, server.tail()
    assert httpx.get(server.url + "/healthz", timeout=10 * SLOW, trust_env=False).status_code == 200
    assert api.count(home).data == 3
    assert [api.fetch(home, fileid=n).data for n in (1, 2, 3)] == before
    assert api.search(home, picture(2)).data[0]["fileid"] == 2


def try_all(inputs, judge, workers=8):
    """judge(input) → None, or a sentence about what is wrong. All failures are told, not the first one only."""
    def one(numbered):
        number, value = numbered
        try:
            wrong = judge(value)
        except Exception as problem:  # a reply of a wrong shape, a connection that broke
            wrong = f"{type(problem).__name__}: {problem}"
        return f"input {number}: {wrong} ({str(value)[:120]})" if wrong else None
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        wrong = [w for w in pool.map(one, enumerate(inputs)) if w]
    assert not wrong, f"{len(wrong)} of {len(inputs)}:\n" + "\n".join(wrong[:20])


def must_fail(reply):
    """Of a compatible route; its shape is already checked."""
    return None if reply.code == FAILED else f"taken: {reply}"


def must_be_problem(response, statuses):
    if response.status_code not in statuses:
        return f"status {response.status_code}: {response.text[:200]}"
    if not response.json().get("detail"):
        return f"no detail: {response.text[:200]}"
    return None


def sources():
    """Pictures to spoil: made ones of every format, and real photographs where there are some."""
    made = [encode(drawing(1, (320, 240)), quality=90), encode(drawing(2, (320, 240)), quality=80, progressive=True),
            encode(drawing(3), "PNG"), encode(drawing(4).quantize(64), "PNG"), encode(drawing(5), "WEBP", quality=80),
            encode(drawing(6), "WEBP", lossless=True), encode(drawing(7).quantize(64), "GIF"), encode(drawing(8).convert("CMYK"), quality=80)]
    try:
        made.append(encode(drawing(9), "AVIF", quality=70))
    except KeyError:
        pass  # a Pillow without AVIF
    real = shared_pictures("clothing/test") if SHARED.is_dir() else None
    return made + [p.read_bytes() for p in (real or [])[::40]]


SOURCES = sources()


# --- pictures ------------------------------------------------------------------------------------------------------

def truncated(kind, count):
    rng = generator(kind)
    for _ in range(count):
        data = rng.choice(SOURCES)
        yield data[:rng.choice([rng.randrange(1, 64), rng.randrange(1, int(len(data) * 0.9))])]


def test_truncated_pictures_are_not_added(api, home):
    def judge(data):
        return must_fail(api.add(home, generator(len(data)).choice([1, 1000]), data))
    try_all(list(truncated("truncated, add", share(130))), judge)


def test_truncated_pictures_update_nothing(api, home):
    try_all(list(truncated("truncated, update", share(40))), lambda data: must_fail(api.update(home, 1, data)))


def test_truncated_pictures_in_native_routes(api, home):
    def judge(data):
        response = api.http.put(f"/v1/collections/{home}/images/1000", content=data, headers={"Content-Type": "image/jpeg"})
        return must_be_problem(response, {415, 422})  # 415 where the cut left too little to know the kind by
    try_all(list(truncated("truncated, native", share(40))), judge)


def flipped(kind, count):
    rng = generator(kind)
    for _ in range(count):
        data = bytearray(rng.choice(SOURCES))
        end = rng.choice([64, 700, len(data)])  # headers are where it hurts most
        for _ in range(rng.choice([1, 1, 2, 8, 64])):
            data[rng.randrange(min(end, len(data)))] ^= 1 << rng.randrange(8)
        yield bytes(data)


def test_pictures_with_flipped_bits(api, home):
    def judge(data):
        reply = api.search(home, data)
        return "hits are missing" if reply.code == OK and len(reply.data) != 3 else None
    try_all(list(flipped("flipped", share(220))), judge)


def test_pictures_with_flipped_bits_in_native_routes(api):
    def judge(data):
        response = api.http.post("/v1/embed", content=data, headers={"Content-Type": "image/jpeg"})
        return None if response.status_code == 200 and response.json()["vector"] else must_be_problem(response, {413, 415, 422})
    try_all(list(flipped("flipped, native", share(40))), judge)


def test_pictures_put_together_from_pieces(api, home):
    rng = generator("spliced")

    def spliced():
        a, b = rng.choice(SOURCES), rng.choice(SOURCES)
        return a[:rng.randrange(4, min(200, len(a)))] + b[rng.randrange(len(b) // 2):] if rng.random() < 0.5 else \
            a[:12] + rng.randbytes(rng.randrange(1, 3000))

    def judge(data):
        reply = api.search(home, data)
        return "hits are missing" if reply.code == OK and len(reply.data) != 3 else None
    try_all([spliced() for _ in range(share(60))], judge)


# --- base64 and JSON -----------------------------------------------------------------------------------------------

def test_wrong_base64(api, home):
    rng = generator("base64")
    good = b64(tiny())

    def spoiled():
        at = rng.randrange(len(good) - 4)
        return rng.choice([
            lambda: good[:at] + rng.choice("!@#$%^&*(){}[]<>?|~`'\";:.,") + good[at + 1:],
            lambda: good[:at] + chr(rng.randrange(0x80, 0x3000)) + good[at + 1:],
            lambda: good[:at] + "=" + good[at + 1:],
            lambda: good[: at // 4 * 4 + 1],
            lambda: "data:image/jpeg;base64" + good,
            lambda: "data:image/jpeg;base32," + good,
            lambda: "".join(rng.choice("!?*") for _ in range(rng.randrange(1, 200))),
            lambda: b64(rng.randbytes(rng.randrange(1, 2000)))])()

    def judge(text):
        wrong = must_fail(api.add(home, 1000, text)) or must_fail(api.search(home, text))
        return wrong
    try_all([spoiled() for _ in range(share(90))], judge)


def not_json(rng, text):
    """A change of `text` that no JSON parser may take."""
    while True:
        data = bytearray(text)
        for _ in range(rng.choice([1, 1, 2, 5])):
            at = rng.randrange(len(data))
            kind = rng.randrange(4)
            if kind == 0:
                data[at] = rng.randrange(256)
            elif kind == 1:
                del data[at:at + rng.randrange(1, 20)]
            elif kind == 2:
                data[at:at] = bytes(rng.choice(b'{}[]",:\\\0\n1tnf/*\xff') for _ in range(rng.randrange(1, 4)))
            else:
                del data[at:]
            if not data:
                data = bytearray(b"{")
        try:
            json.loads(data.decode("utf-8"))
        except (ValueError, RecursionError):
            return bytes(data)


def test_wrong_json(api, home):
    rng = generator("json")
    body = json.dumps({"collection": home, "fileid": 1000, "itemid": 5, "tags": ["a", "b"], "brief": {"k": [1, {"x": None}]},
                       "limit": 10, "image": b64(tiny())}).encode()
    short = json.dumps({"collection": home, "fileid": 1000, "tags": ["größe"], "brief": {"k": [1.5e3, True]}}).encode()

    def judge(data):
        route = "/milvus/img/" + ("add", "update", "search", "get", "delete", "count")[len(data) % 6]
        reply = api.post(route, content=data, headers=JSON)
        return must_fail(reply) or (None if reply.status == 200 else f"status {reply.status}")
    try_all([not_json(rng, rng.choice([body, short])) for _ in range(share(130))], judge)


WRONG = {
    "collection": [None, 5, [], {}, "", "no such", "never_made", "1x", True, "a" * 256],
    "fileid": [None, "x", 1.5, True, [], {}, "", 2**63, -(2**63) - 1, "9" * 30, "1.0"],
    "itemid": ["x", 1.5, True, [], {}, 2**63, "9" * 30],
    "image": [5, True, [], {}, "!!", ["a"], "AAAA"],
    "tags": [5, {}, [1], [None], [[]], ["x" * 241], ["x"] * 11, True],
    "brief": [5, [], "x", "[1]", True, "{", {"x": "y" * 70000}],
    "limit": [0, -1, "x", 1.5, True, [], 16385, INT64_MAX], "offset": [-1, "x", 1.5, True, [], 16384, INT64_MAX],
    "filter": [5, True, [], {}, "((("], "group": ["x", 7, [], {}],
}
FIELDS = {"add": (["collection", "fileid", "image"], ["itemid", "tags", "brief"]),
          "update": (["collection", "fileid"], ["itemid", "image", "tags", "brief"]),
          "search": (["collection", "image"], ["limit", "offset", "filter", "group"]),
          "delete": (["collection", "fileid"], []), "count": (["collection"], []), "get": (["collection", "fileid"], [])}


def test_missing_and_wrong_typed_fields(api, home):
    rng = generator("fields")
    good = {"collection": home, "fileid": 1, "itemid": 5, "image": b64(tiny()), "tags": ["a"], "brief": {}, "limit": 5, "offset": 0}

    def spoiled():
        route = rng.choice(["add", "add", "update", "update", "search", "search", "delete", "count", "get"])
        required, optional = FIELDS[route]
        body = {k: good[k] for k in required + optional if k in good}
        field = rng.choice(required + optional)
        if field in required and rng.random() < 0.3:
            del body[field]
        else:
            body[field] = rng.choice(WRONG[field])
        return route, body, field

    def judge(made):
        route, body, field = made
        reply = api.post("/milvus/img/" + route, body)
        wrong = must_fail(reply)
        return wrong or (None if field in reply.message else f"{field} is not named: {reply.message!r}")
    try_all([spoiled() for _ in range(share(140))], judge)


def test_wrong_forms(api, home):
    rng = generator("forms")
    field = '--b\r\nContent-Disposition: form-data; name="{}"\r\n\r\n{}\r\n'
    good = (field.format("collection", home) + field.format("fileid", "1000") + field.format("tags", '["a"]') + "--b--\r\n").encode()

    def spoiled():  # there is no picture in it, so that no spoiling can make it right
        data = bytearray(good)
        for _ in range(rng.choice([0, 1, 3, 20])):
            at = rng.randrange(len(data))
            data[at:at + rng.randrange(0, 5)] = rng.randbytes(rng.randrange(0, 5))
        kind = rng.choice(["multipart/form-data; boundary=b", "multipart/form-data", "multipart/form-data; boundary=",
                           "multipart/form-data; boundary=" + "b" * 300, 'multipart/form-data; boundary="b', "application/x-www-form-urlencoded"])
        return bytes(data), kind

    def judge(made):
        return must_fail(api.post("/milvus/img/add", content=made[0], headers={"Content-Type": made[1]}))
    try_all([spoiled() for _ in range(share(40))], judge)


# --- HTTP itself ---------------------------------------------------------------------------------------------------

ADD = b'{"collection": "malformed", "fileid": 1000, "tags": []}'  # without a picture: wrong wherever it arrives
LENGTH = f"Content-Length: {len(ADD)}"
TYPE = "Content-Type: application/json"
CHUNKED = b"%x\r\n%s\r\n0\r\n\r\n" % (len(ADD), ADD)
SMUGGLED = b"GET /milvus/img/count?collection=malformed HTTP/1.1\r\nHost: x\r\n\r\n"


def add_request(*headers, body=ADD):
    return request_bytes("POST", "/milvus/img/add", headers, body)


FRAMING = {
    "Content-Length twice, equal": add_request(TYPE, LENGTH, LENGTH),
    "Content-Length twice, the first right": add_request(TYPE, LENGTH, "Content-Length: 3"),
    "Content-Length twice, the second right": add_request(TYPE, "Content-Length: 3", LENGTH),
    "Content-Length twice, in other case": add_request(TYPE, LENGTH, "content-length: 0"),
    "Content-Length as a list": add_request(TYPE, f"Content-Length: {len(ADD)}, {len(ADD)}"),
    "Content-Length and chunked": add_request(TYPE, LENGTH, "Transfer-Encoding: chunked", body=CHUNKED),
    "chunked and Content-Length": add_request(TYPE, "Transfer-Encoding: chunked", "Content-Length: 5", body=CHUNKED),
    "Content-Length 0 and chunked": add_request(TYPE, "Content-Length: 0", "Transfer-Encoding: chunked", body=CHUNKED),
    "Transfer-Encoding twice": add_request(TYPE, "Transfer-Encoding: chunked", "Transfer-Encoding: chunked", body=CHUNKED),
    "gzip, chunked": add_request(TYPE, "Transfer-Encoding: gzip, chunked", body=CHUNKED),
    "chunked, chunked": add_request(TYPE, "Transfer-Encoding: chunked, chunked", body=CHUNKED),
    "Transfer-Encoding: identity": add_request(TYPE, "Transfer-Encoding: identity", LENGTH),
    "Transfer-Encoding: xchunked": add_request(TYPE, "Transfer-Encoding: xchunked", body=CHUNKED),
    "Transfer-Encoding with a tab": add_request(TYPE, "Transfer-Encoding: \x0bchunked", body=CHUNKED),
    "Content-Length: -1": add_request(TYPE, "Content-Length: -1"),
    "Content-Length: +5": add_request(TYPE, "Content-Length: +5"),
    "Content-Length: 0x10": add_request(TYPE, "Content-Length: 0x10"),
    "Content-Length: abc": add_request(TYPE, "Content-Length: abc"),
    "Content-Length: 5 5": add_request(TYPE, "Content-Length: 5 5"),
    "Content-Length: 1e3": add_request(TYPE, "Content-Length: 1e3"),
    "Content-Length: 2^64": add_request(TYPE, f"Content-Length: {2**64}"),
    "Content-Length: 2^64 + 5": add_request(TYPE, f"Content-Length: {2**64 + len(ADD)}"),
    "Host twice": add_request(TYPE, LENGTH, "Host: elsewhere.example"),
    "no Host": b"POST /milvus/img/add HTTP/1.1\r\n" + f"{TYPE}\r\n{LENGTH}\r\n\r\n".encode() + ADD,
}


@pytest.mark.parametrize("name", FRAMING)
def test_framing_that_could_smuggle(server, name):
    """400 (413 for a length that is too large), the connection closed, and what comes behind is never answered."""
    received = raw_exchange(server.port, FRAMING[name] + SMUGGLED, timeout=8)
    assert raw_status(received) in (400, 413, 501), received[:300]
    assert len(re.findall(rb"HTTP/1\.[01] \d{3} ", received)) == 1, f"a second reply: {received[:900]}"
    assert b"10000" not in received
    with socket.create_connection((HOST, server.port), timeout=8 * SLOW) as s:
        s.sendall(FRAMING[name])
        while s.recv(65536):  # ends when the server closes, or with TimeoutError
            pass


HEADS = {
    "no version": b"GET /healthz\r\n\r\n", "version 9.9": b"GET /healthz HTTP/9.9\r\nHost: x\r\n\r\n", "no path": b"GET  HTTP/1.1\r\nHost: x\r\n\r\n",
    "version x": b"GET /healthz HTTP/x\r\nHost: x\r\n\r\n", "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)) * 2, "zeros": b"\0" * 600, "0xff": b"\xff" * 600,
    "a header without a colon": b"GET /milvus/img/count HTTP/1.1\r\nHost: x\r\nnonsense\r\n\r\n",
    "a blank before the colon": b"POST /milvus/img/add HTTP/1.1\r\nHost: x\r\nContent-Length : 0\r\n\r\n",
    "NUL in a header": b"POST /milvus/img/add HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nX: a\0b\r\n\r\n",
    "NUL in the path": b"GET /milvus/img/count\0x HTTP/1.1\r\nHost: x\r\n\r\n",
    "a header of 100 KiB": b"GET /milvus/img/count HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 102400 + b"\r\n\r\n",
    "10,000 headers": b"GET /milvus/img/count HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(10_000)) + b"\r\n",
    "a path of 100 KiB": b"GET /" + b"a" * 102400 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "a query of 100 KiB": b"GET /milvus/img/count?collection=" + b"a" * 102400 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "10,000 parameters": b"GET /milvus/img/count?" + b"&".join(b"a%d=1" % n for n in range(3_000)) + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "a wrong percent sign": b"GET /milvus/img/count?collection=%zz HTTP/1.1\r\nHost: x\r\n\r\n",
    "bytes that are not UTF-8": b"GET /milvus/img/count?collection=%ff%fe HTTP/1.1\r\nHost: x\r\n\r\n",
    "an encoded NUL in the path": b"GET /milvus/img/count%00 HTTP/1.1\r\nHost: x\r\n\r\n",
    "a path that is not UTF-8": b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
    "CONNECT": b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n", "TRACE": b"TRACE /milvus/img/count HTTP/1.1\r\nHost: x\r\n\r\n",
    "a method of 1,000 letters": b"G" * 1000 + b" /milvus/img/count HTTP/1.1\r\nHost: x\r\n\r\n",
    "an unknown expectation": b"POST /milvus/img/add HTTP/1.1\r\nHost: x\r\nExpect: miracles\r\nContent-Length: 0\r\n\r\n",
    "a chunk of no size": add_request(TYPE, "Transfer-Encoding: chunked", body=b"zz\r\nabc\r\n0\r\n\r\n"),
    "a chunk of negative size": add_request(TYPE, "Transfer-Encoding: chunked", body=b"-5\r\nabc\r\n0\r\n\r\n"),
    "a chunk of 2^72": add_request(TYPE, "Transfer-Encoding: chunked", body=b"1000000000000000000\r\nabc\r\n0\r\n\r\n"),
    "a chunk longer than it says": add_request(TYPE, "Transfer-Encoding: chunked", body=b"3\r\nabcdef\r\n0\r\n\r\n"),
}


@pytest.mark.parametrize("name", HEADS)
def test_heads_that_are_wrong(server, name):
    """An error, or the connection closed where it was no HTTP at all. Our half is closed, as there is no more to come."""
    received = raw_exchange(server.port, HEADS[name], timeout=15, finish=True)
    status = raw_status(received)
    if status == 200:  # an error of the API's own is as good
        assert b'"code"' in received and b"10100" in received, received[:300]
    else:
        assert received == b"" or status and 400 <= status < 600 and status != 500, received[:300]


def test_requests_with_spoiled_heads(server):
    rng = generator("heads")
    good = add_request(TYPE, LENGTH, "User-Agent: test", "Accept: */*", "Connection: close")

    def spoiled():
        data = bytearray(good)
        for _ in range(rng.choice([1, 2, 5, 30])):
            at = rng.randrange(len(data) - len(ADD))
            kind = rng.randrange(3)
            if kind == 0:
                data[at] = rng.randrange(256)
            elif kind == 1:
                del data[at:at + rng.randrange(1, 8)]
            else:
                data[at:at] = rng.choice([b"\r\n", b"\n", b"\0", b" ", b"\r\n ", b":", b"\xff\xfe", rng.randbytes(5)])
        return bytes(data)

    def judge(data):
        received = raw_exchange(server.port, data, timeout=15, finish=True)
        status = raw_status(received)
        if b'"code":10000' in received.replace(b" ", b""):
            return f"taken: {received[:300]}"
        return None if received == b"" or status and status != 500 else f"answered {received[:300]}"
    try_all([spoiled() for _ in range(share(60))], judge)


def test_connections_that_end_early(server):
    rng = generator("early")
    good = [add_request(TYPE, LENGTH), add_request(TYPE, "Transfer-Encoding: chunked", body=CHUNKED), add_request(TYPE, "Content-Length: 30000000")]

    def judge(data):
        with socket.create_connection((HOST, server.port), timeout=10 * SLOW) as s:
            s.sendall(data)
            if len(data) % 2:  # half of them go with a reset
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    inputs = [g[:rng.randrange(1, len(g))] for g in (rng.choice(good) for _ in range(share(40)))]
    try_all(inputs, judge)


@pytest.mark.parametrize("way", ["JSON", "JSON, chunked", "urlencoded", "multipart", "native, raw", "native, chunked"])
def test_bodies_of_33_mib(api, home, way):
    size = 33 << 20
    filler = b"A" * 65536
    large = filler * (size // len(filler))
    pieces = (filler for _ in range(size // len(filler)))
    path = f"/v1/collections/{home}/images/1000"
    head = {"Content-Type": "image/jpeg"}
    response = {
        "JSON": lambda: api.http.post("/milvus/img/add", content=large, headers=JSON),
        "JSON, chunked": lambda: api.http.post("/milvus/img/add", content=pieces, headers=JSON),
        "urlencoded": lambda: api.http.post("/milvus/img/add", content=b"image=" + large,
                                            headers={"Content-Type": "application/x-www-form-urlencoded"}),
        "multipart": lambda: api.http.post("/milvus/img/add", files={"image": ("a.jpg", large, "image/jpeg")}),
        "native, raw": lambda: api.http.put(path, content=large, headers=head),
        "native, chunked": lambda: api.http.put(path, content=pieces, headers=head)}[way]()
    assert response.status_code == 413
    assert response.json().get("message") or response.json().get("detail")


def test_a_large_body_is_refused_before_it_is_sent(server):
    """A client that asks first, as curl does, is told at once and sends nothing."""
    head = request_bytes("POST", "/milvus/img/add", [TYPE, f"Content-Length: {10 << 30}", "Expect: 100-continue"])
    with socket.create_connection((HOST, server.port), timeout=8 * SLOW) as s:
        s.sendall(head)
        assert raw_status(s.recv(65536)) == 413


def test_slow_headers_hold_nobody_up(server):
    """Headers must be there 10 s after the first byte. Meanwhile others are served as always."""
    results, ending = [], time.monotonic() + 18 * SLOW

    def slow(n):
        started = time.monotonic()
        with socket.create_connection((HOST, server.port), timeout=2) as s:
            received = b""
            try:
                s.sendall(b"POST /milvus/img/add HTTP/1.1\r\nHost: x\r\nX-Slow: ")
                while time.monotonic() < ending:
                    if n % 2:  # half of them drip, half are silent
                        s.sendall(b"a")
                    s.settimeout(0.5)
                    try:
                        chunk = s.recv(4096)
                    except TimeoutError:
                        continue
                    if not chunk:
                        break
                    received += chunk
                else:
                    results.append((n, "still open", received))
                    return
            except OSError:
                pass
            results.append((n, time.monotonic() - started, received))

    threads = [threading.Thread(target=slow, args=(n,)) for n in range(64)]
    for t in threads:
        t.start()
    other, times = Api(server.url), []
    while any(t.is_alive() for t in threads):
        started = time.monotonic()
        assert other.count("malformed").data == 3
        times.append(time.monotonic() - started)
        time.sleep(0.2)
    other.close()
    assert max(times) < 2 * SLOW, f"others waited {max(times):.1f} s"
    for n, after, received in results:
        assert after != "still open", f"connection {n} is open after {18 * SLOW:.0f} s"
        assert 5 < after, f"connection {n} was closed after {after:.1f} s"
        assert raw_status(received) in (None, 408), received[:200]


@pytest.mark.slow
def test_slow_bodies_meet_their_deadline(server):
    """A body must be there 60 s after its headers, also if a byte comes now and then."""
    with socket.create_connection((HOST, server.port), timeout=2) as s:
        s.sendall(add_request(TYPE, "Content-Length: 1000", body=b'{"collection": "'))
        started, received = time.monotonic(), b""
        s.settimeout(1)
        while time.monotonic() - started < 90 * SLOW:
            try:
                s.sendall(b"a")
                chunk = s.recv(4096)
            except TimeoutError:
                continue
            except OSError:
                break
            if not chunk:
                break
            received += chunk
        assert 30 < time.monotonic() - started < 80 * SLOW
        assert raw_status(received) in (None, 408), received[:200]


def test_many_requests_at_once_are_answered_or_refused(api, home):
    """More than wait in any queue: each gets an answer, or 503 with a time to come again."""
    body = {"collection": home, "image": b64(tiny())}

    def judge(_):
        reply = api.post("/milvus/img/search", body)
        if reply.status == 503:
            return None if "retry-after" in reply.headers else "503 without Retry-After"
        return None if reply.code == OK else f"{reply}"
    try_all(range(300), judge, workers=60)
