"""Pictures by URL. A web server of the test serves them on 127.0.0.1, which the server under test only asks because it
was started with --fetch-allow 127.0.0.0/8; a second server without that must refuse."""
import socket
import threading
import time

import pytest

from support import HOST, OK, ON_MILVUS, SLOW, Api, failed, free_port, picture, tiny


@pytest.fixture
def page(site, request):
    """Put a page under a path of its own → its URL."""
    number = iter(range(100))
    return lambda body, *args, **options: site.put(f"/{request.node.name}/{next(number)}", body, *args, **options)


def test_add_update_and_search_by_url(api, collection, page):
    url = page(picture(1))
    assert api.add(collection, 1, url=url, itemid=5, tags=["by url"]).data == 1
    [hit] = api.search(collection, picture(1)).data
    assert (hit["itemid"], hit["tags"]) == (5, ["by url"]) and hit["distance"] < 1e-4
    assert api.search(collection, url=url).data == [hit]
    assert api.update(collection, 1, url=page(picture(2))).data == 1
    [hit] = api.search(collection, picture(2)).data
    assert (hit["itemid"], hit["tags"]) == (5, ["by url"]) and hit["distance"] < 1e-4


def test_a_url_in_a_query_and_in_forms(api, collection, page):
    url = page(picture(1))
    assert api.post("/milvus/img/add", params={"collection": collection, "fileid": "1", "url": url}).data == 1
    assert api.post("/milvus/img/add", data={"collection": collection, "fileid": "2", "url": url}).data == 2
    form = {"collection": (None, collection), "fileid": (None, "3"), "url": (None, url)}
    assert api.post("/milvus/img/add", files=form).data == 3
    assert all(h["distance"] < 1e-4 for h in api.search(collection, picture(1)).data)


def test_the_image_wins_over_the_url(api, collection, site, page):
    url = page(picture(2))
    asked = len(site.seen)
    api.add(collection, 1, picture(1), url=url).data
    api.add(collection, 2, picture(1), url="http://127.0.0.1:1/nothing.jpg").data
    assert len(site.seen) == asked
    assert api.search(collection, picture(1), url=url).data[0]["distance"] < 1e-4
    failed(api.add(collection, 3, "!!!", url=url), "image")


def test_an_empty_image_lets_the_url_count(api, collection, page):
    assert api.add(collection, 1, "", url=page(picture(1))).data == 1
    assert api.search(collection, "", url=page(picture(1))).data[0]["distance"] < 1e-4
    assert api.update(collection, 1, "", url=page(picture(2))).data == 1
    assert api.search(collection, picture(2)).data[0]["distance"] < 1e-4


def test_an_update_of_nothing_does_not_download(api, collection, site, page):
    url = page(picture(1))
    asked = len(site.seen)
    assert api.update(collection, 77, url=url).data == 0
    assert len(site.seen) == asked


def test_the_kind_is_decided_by_the_bytes(api, collection, page):
    for n, kind in enumerate(["image/png", "text/html", "application/octet-stream", ""]):
        assert api.add(collection, n, url=page(picture(1), kind)).data == n


def test_unusual_urls_that_are_right(api, collection, site):
    site.put("/spaced%20name.jpg", picture(1))
    assert api.add(collection, 1, url=site.url + "/spaced%20name.jpg").data == 1
    site.put("/query", picture(1))
    assert api.add(collection, 2, url=site.url + "/query?a=1&b=%2F#part").data == 2
    assert api.add(collection, 3, url=site.url.replace("http", "HTTP") + "/query").data == 3


def test_redirects_are_followed(api, collection, page):
    target = page(picture(1))
    assert api.add(collection, 1, url=page(b"", status=302, Location=target)).data == 1
    assert api.add(collection, 2, url=page(b"", status=301, Location=page(b"", status=307, Location=target))).data == 2
    assert api.search(collection, picture(1)).data[0]["distance"] < 1e-4


def refuse_everywhere(api, collection, url):
    """Every route refuses, names the field, and changes nothing."""
    api.add(collection, 1, tiny(), tags=["kept"]).data
    before = api.fetch(collection, fileid=1).data
    failed(api.add(collection, 2, url=url), "url")
    failed(api.add(collection, 1, url=url), "url")
    failed(api.update(collection, 1, url=url), "url")
    failed(api.search(collection, url=url), "url")
    assert api.fetch(collection, fileid=1).data == before
    assert api.count(collection).data == 1


@pytest.mark.parametrize("status", [204, 400, 401, 403, 404, 410, 500, 503])
def test_pages_that_are_not_there(api, collection, page, status):
    refuse_everywhere(api, collection, page(b"" if status == 204 else picture(1), status=status))


@pytest.mark.parametrize("body", [b"", b"<!doctype html><title>Shop</title>", picture(1)[:1000], b"\xff\xd8\xff\xe0" + b"\0" * 500],
                         ids=["nothing", "HTML", "half a picture", "a head only"])
def test_pages_that_are_no_picture(api, collection, page, body):
    refuse_everywhere(api, collection, page(body))


@pytest.mark.parametrize("url", [
    "ftp://127.0.0.1/a.jpg", "file:///etc/passwd", "gopher://127.0.0.1/", "javascript:alert(1)", "//127.0.0.1/a.jpg", "/a.jpg", "a.jpg",
    "http://", "http:///a.jpg", "http://127.0.0.1:99999/", "http://127.0.0.1:x/", "nonsense", "http://[::1", "http://a b/",
    "dict://127.0.0.1:1/x", "http://127.0.0.1/\r\nX-Header: 1", "http://name.invalid/a.jpg", "data:image/jpeg;base64,AAAA"])
def test_urls_that_are_refused(api, collection, url):
    refuse_everywhere(api, collection, url)


@pytest.mark.parametrize("url", [1, True, ["http://127.0.0.1/"], {"a": 1}], ids=str)
def test_url_of_a_wrong_type(api, collection, url):
    failed(api.add(collection, 2, url=url), "url")
    failed(api.search(collection, url=url), "url")
    assert api.count(collection).data == 0


def test_a_url_that_is_too_long(api, collection):
    failed(api.add(collection, 2, url="http://127.0.0.1/" + "a" * 100_000), "url")


def test_nobody_listens(api, collection):
    refuse_everywhere(api, collection, f"http://{HOST}:{free_port()}/a.jpg")


def test_redirects_without_end(api, collection, site):
    site.pages["/round"] = (302, {"Location": "/round"}, b"")
    started = time.monotonic()
    failed(api.add(collection, 1, url=site.url + "/round"), "url")
    assert time.monotonic() - started < 10 * SLOW


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/a.jpg", "http://10.0.0.1/a.jpg", "http://169.254.169.254/latest"])
def test_redirects_to_where_it_must_not_go(api, collection, page, target):
    """Also private addresses: only 127.0.0.0/8 was allowed."""
    started = time.monotonic()
    failed(api.add(collection, 1, url=page(b"", status=302, Location=target)), "url")
    assert time.monotonic() - started < 5 * SLOW, "the address should be refused before it is asked"


@pytest.mark.parametrize("address", ["10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0", "[::1]", "[fc00::1]", "[fe80::1]",
                                     "[::ffff:10.0.0.1]", "100.64.0.1", "224.0.0.1", "255.255.255.255", "[::]", "0x0a000001", "167772161", "012.0.0.1"])
def test_private_addresses_are_refused(api, collection, address):
    started = time.monotonic()
    failed(api.search(collection, url=f"http://{address}/a.jpg"), "url")
    assert time.monotonic() - started < 5 * SLOW, "the address should be refused before it is asked"


def test_a_download_over_32_mib_is_refused(api, collection, site):
    def endless(handler):
        handler.send_response(200)
        handler.send_header("Connection", "close")
        handler.end_headers()
        try:
            handler.wfile.write(b"\xff\xd8\xff\xe0")
            for _ in range(40):
                handler.wfile.write(b"\0" * (1 << 20))
        except OSError:
            pass
        handler.close_connection = True
    site.pages["/endless"] = endless
    failed(api.add(collection, 1, url=site.url + "/endless"), "url")
    failed(api.add(collection, 1, url=site.put("/large", b"\xff\xd8\xff\xe0" + b"\0" * (33 << 20))), "url")


def test_slow_downloads_end_after_10_seconds_and_hold_nobody_up(api, collection, site):
    """One that accepts and says nothing, one that drips. Both at once, while others are served; then more silent ones than handlers
    that work at once."""
    silent = socket.create_server((HOST, 0))

    def drip(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", "1000000")
        handler.end_headers()
        try:
            for _ in range(60):
                handler.wfile.write(b"\xff")
                handler.wfile.flush()
                time.sleep(0.5)
        except OSError:
            pass
        handler.close_connection = True
    site.pages["/drip"] = drip
    took = {}

    def ask(name, url):
        started = time.monotonic()
        reply = api.add(collection, 1, url=url)
        took[name] = (time.monotonic() - started, reply)
    silent_url = f"http://{HOST}:{silent.getsockname()[1]}/"
    threads = [threading.Thread(target=ask, args=a) for a in (("silent", silent_url), ("drip", site.url + "/drip"))]
    for t in threads:
        t.start()
    time.sleep(0.5)
    started = time.monotonic()
    assert api.add(collection, 2, url=site.put("/quick", picture(1))).data == 2
    assert time.monotonic() - started < 5 * SLOW
    many = [threading.Thread(target=ask, args=(f"silent {n}", silent_url)) for n in range(40)]
    for t in many:
        t.start()
    threads += many
    time.sleep(0.5)
    started = time.monotonic()
    assert api.search(collection, picture(1)).data
    assert api.http.get("/healthz").status_code == 200
    assert time.monotonic() - started < 4 * SLOW
    for t in threads:
        t.join()
    silent.close()
    for name, (seconds, reply) in took.items():
        failed(reply, "url")
        assert 5 < seconds < 13 * SLOW, name
    assert api.count(collection).data == 1


def test_several_downloads_at_once(api, collection, site):
    """8 at least: 16 that take a second each are done after a few."""
    def sleepy(handler):
        time.sleep(1)
        handler.send_response(200)
        body = picture(3)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)
    site.pages["/sleepy"] = sleepy
    replies = []
    threads = [threading.Thread(target=lambda n=n: replies.append(api.add(collection, n, url=site.url + "/sleepy"))) for n in range(16)]
    started = time.monotonic()
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert [r.code for r in replies] == [OK] * 16
    assert time.monotonic() - started < 2 + (4 if ON_MILVUS else 2) * SLOW  # there the first write to a collection takes 2 or 3 s: it is loaded
    assert api.count(collection).data == 16


def test_another_server_without_fetch_allow(servers, site):
    """Also: --cors with one origin."""
    server = servers("--cors", "https://shop.example")
    other = Api(server.url)
    url = site.put("/refused.jpg", picture(1))
    asked = len(site.seen)
    other.create("no_fetch").data
    for place in (url, url.replace("127.0.0.1", "localhost"), url.replace("127.0.0.1", "127.1"), url.replace("127.0.0.1", "127.255.0.1"),
                  url.replace("127.0.0.1", "[::ffff:127.0.0.1]"), url.replace("127.0.0.1", "2130706433"), url.replace("127.0.0.1", "0")):
        refuse_everywhere(other, "no_fetch", place)
    assert len(site.seen) == asked, "it was asked all the same"
    assert other.add("no_fetch", 2, picture(1)).data == 2
    response = other.http.get("/milvus/img/count?collection=c", headers={"Origin": "https://shop.example"})
    assert response.headers["access-control-allow-origin"] == "https://shop.example"
    response = other.http.get("/milvus/img/count?collection=c", headers={"Origin": "https://elsewhere.example"})
    assert response.headers.get("access-control-allow-origin") in (None, "https://shop.example", "null")
    other.close()
