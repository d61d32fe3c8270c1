"""POST /v1/collections/{c}/images with NDJSON: many records in one request, a result line for each, in their order."""
import json
import socket
import time

import pytest

from support import HOST, b64, picture
from test_v1 import home, http, problem  # noqa: F401  (fixtures)

KIND = {"Content-Type": "application/x-ndjson"}


def line(fileid, **more):
    return json.dumps({"fileid": fileid, "image": b64(picture(abs(fileid) % 40)), **more})


def results(response):
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/x-ndjson"
    return [json.loads(text) for text in response.text.splitlines()]


def test_a_result_for_each_record_in_order(http, home):
    lines = [line(n, itemid=n // 2, tags=[f"t{n}"], brief={"n": n}) for n in range(60)]
    answer = results(http.post(f"{home}/images", content="\n".join(lines), headers=KIND))
    assert answer == [{"line": n + 1, "fileid": n, "status": 200} for n in range(60)]
    assert http.get(home).json()["count"] == 60
    stored = http.get(f"{home}/images/7").json()
    assert (stored["itemid"], stored["tags"], stored["brief"]) == (3, ["t7"], {"n": 7})


def test_bad_lines_do_not_stop_the_rest(http, home):
    wrong = {2: "{", 4: "[]", 5: '{"image": ""}', 6: line(6).replace(": 6", ": \"x\"", 1), 7: line(7, tags=[1]), 8: '{"fileid": 8}', 9: '{"fileid": 9, "image": "aGVsbG8="}',
             10: "null", 11: '{"fileid": 11, "fileid": 12}'}
    lines = [wrong.get(n, line(n)) for n in range(1, 15)]
    lines.insert(2, "  \r")  # blank: no record, but it counts as a line
    answer = results(http.post(f"{home}/images", content=("\ufeff" + "\r\n".join(lines) + "\n").encode(), headers=KIND))
    assert len(answer) == 14
    assert [a["line"] for a in answer] == [1, 2, *range(4, 16)]
    good = [a for a in answer if a["status"] == 200]
    assert [a["fileid"] for a in good] == [n for n in range(1, 15) if n not in wrong]
    for a in answer:
        if a["status"] != 200:
            assert 400 <= a["status"] < 500 and a["detail"] and a["title"]
    named = {a["line"]: a.get("field") for a in answer if a["status"] != 200}
    assert named == {2: None, 5: None, 6: "fileid", 7: "fileid", 8: "tags", 9: "image", 10: "image", 11: None, 12: None}
    assert http.get(home).json()["count"] == len(good)


def test_a_body_larger_than_a_request_may_be(server, http, home):
    """48 MiB in one request: never whole in memory, and sent without a length."""
    before = server.memory("VmRSS")
    filler = " " * (1 << 20)

    def body():
        for n in range(48):
            yield (line(n) + filler + "\n").encode()

    answer = results(http.post(f"{home}/images", content=body(), headers=KIND))
    assert [a["fileid"] for a in answer] == list(range(48)) and {a["status"] for a in answer} == {200}
    assert server.memory("VmRSS") - before < 160 << 20


def test_a_line_that_is_too_long(http, home):
    def body():
        yield (line(1) + "\n").encode()
        for _ in range(46):
            yield b" " * (1 << 20)
        yield b"\n" + line(2).encode()

    answer = results(http.post(f"{home}/images", content=body(), headers=KIND))
    assert [(a["line"], a["fileid"], a["status"]) for a in answer] == [(1, 1, 200), (2, None, 413), (3, 2, 200)]


def test_nothing_and_what_is_refused(http, home):
    assert results(http.post(f"{home}/images", content=b"\n \n", headers=KIND)) == []
    problem(http.post(f"{home}/images", content=b"{}", headers={"Content-Type": "application/json"}), 415)
    problem(http.post(f"{home}/images", content=b"{}"), 415)
    problem(http.post("/v1/collections/never_made/images", content=line(1), headers=KIND), 404, None, "never_made")
    problem(http.post("/v1/collections/never_made/images", content=b"x" * (3 << 20), headers=KIND), 404, None, "never_made")


def test_a_client_that_leaves_in_the_middle(server, http, home):
    path = f"{home}/images"
    for _ in range(12):  # more than may run at once: each must end
        with socket.create_connection((HOST, server.port)) as s:
            s.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\nContent-Length: 100000000\r\n\r\n".encode())
            s.sendall((line(1) + "\n" + line(2) + "\n{").encode())
            time.sleep(0.05)
    deadline = time.monotonic() + 30
    while http.get(home).json()["count"] < 2:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    for _ in range(50):
        response = http.post(path, content=line(3), headers=KIND)
        if response.status_code != 503:
            break
        time.sleep(0.2)
    assert results(response) == [{"line": 1, "fileid": 3, "status": 200}]


def test_a_slow_client_is_served(server, home):
    """The body in small pieces with pauses; the reply follows."""
    text = "".join(line(n) + "\n" for n in range(3)).encode()
    with socket.create_connection((HOST, server.port)) as s:
        s.sendall(f"POST {home}/images HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/x-ndjson\r\n"
                  f"Content-Length: {len(text)}\r\n\r\n".encode())
        step = len(text) // 7 + 1
        for at in range(0, len(text), step):
            s.sendall(text[at:at + step])
            time.sleep(0.1)
        reply = b""
        while True:
            piece = s.recv(65536)
            if not piece:
                break
            reply += piece
    assert reply.startswith(b"HTTP/1.1 200") and reply.count(b'"status":200') == 3


@pytest.mark.parametrize("fields", [{"tags": ["z"]}, {"brief": {"b": 2}}, {"itemid": 9}])
def test_patch_keeps_what_is_absent(http, home, fields):
    assert http.put(f"{home}/images/1", json={"image": b64(picture(1)), "itemid": 5, "tags": ["a"], "brief": {"a": 1}}).status_code == 200
    before = http.get(f"{home}/images/1").json()
    assert http.patch(f"{home}/images/1", json=fields).json() == {"fileid": 1}
    assert http.get(f"{home}/images/1").json() == {**before, **fields}
    problem(http.patch(f"{home}/images/2", json=fields), 404, "fileid")
    problem(http.patch(f"{home}/images/1", json={"tags": [1]}), 400, "tags")


def test_patch_with_a_picture(http, home):
    http.put(f"{home}/images/1", json={"image": b64(picture(1)), "tags": ["a"]})
    response = http.patch(f"{home}/images/1", params={"brief": '{"n": 2}'}, content=picture(2), headers={"Content-Type": "image/jpeg"})
    assert response.status_code == 200
    [hit] = http.post(f"{home}/search", content=picture(2), headers={"Content-Type": "image/jpeg"}).json()["hits"]
    assert (hit["distance"] < 1e-4, hit["tags"], hit["brief"], hit["similarity"]) == (True, ["a"], {"n": 2}, 100)
    response = http.patch(f"{home}/images/1", files={"image": ("a.jpg", picture(3), "image/jpeg")}, data={"tags": "x;y"})
    assert response.status_code == 200
    assert http.get(f"{home}/images/1").json()["tags"] == ["x", "y"]


def test_a_region_of_the_query(http, home):
    """The left half of two pictures side by side finds the left one, the right half the right one."""
    import io

    from PIL import Image

    from support import encode
    left, right = (Image.open(io.BytesIO(picture(n))).convert("RGB").resize((300, 300)) for n in (1, 2))
    for n, image in ((1, left), (2, right)):
        http.put(f"{home}/images/{n}", content=encode(image, "PNG"), headers={"Content-Type": "image/png"})
    both = Image.new("RGB", (600, 300))
    both.paste(left, (0, 0))
    both.paste(right, (300, 0))
    for n, region in ((1, [0, 0, 0.5, 1]), (2, [0.5, 0, 0.5, 1])):
        hits = http.post(f"{home}/search", json={"image": b64(encode(both, "PNG")), "region": region}).json()["hits"]
        assert hits[0]["fileid"] == n and hits[0]["distance"] < 0.02, hits
        raw = http.post(f"{home}/search", params={"region": ",".join(map(str, region))}, content=encode(both, "PNG"),
                        headers={"Content-Type": "image/png"}).json()["hits"]
        assert [h["fileid"] for h in raw] == [h["fileid"] for h in hits]


def test_limit_of_what_is_under_way(server, http, home):
    """LIMIT_BULK_BYTES: lines of 20 MiB are not held by the dozen, though sixteen threads would take them at once."""
    before, filler, seen = server.memory("VmRSS"), " " * (20 << 20), []

    def body():
        for n in range(8):
            text = (line(n) + filler + "\n").encode()
            for at in range(0, len(text), 1 << 20):
                yield text[at:at + (1 << 20)]
                seen.append(server.memory("VmRSS"))

    answer = results(http.post(f"{home}/images", content=body(), headers=KIND))
    assert [a["fileid"] for a in answer] == list(range(8)) and {a["status"] for a in answer} == {200}
    # 64 MiB under way, the line being read, its copy, and JSON of one; without the limit it would be all 160 and more
    assert max(seen) - before < 150 << 20, f"{(max(seen) - before) >> 20} MiB"
