"""HTTP request smuggling: the known framing tricks, straight at the server and through real reverse proxies.

Each trick hides a second request, for a path that nobody else asks for, in what a peer may take for the body of the first. The
access log of the server says whether it ever saw one. Straight at the server the trick must also be refused and the
connection closed. nginx and HAProxy come from Debian; without them their part is skipped.
"""

import json
import re
import shutil
import socket
import subprocess
import time

import pytest

from support import HOST, Server, free_port

HIDDEN = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
START = b"POST /milvus/img/count?collection=a HTTP/1.1\r\nHost: x\r\n"
CHUNKS = b"0\r\n\r\n"


def request(*headers, body=b"", start=START):
    return start + b"".join(h + b"\r\n" for h in headers) + b"\r\n" + body


LENGTH = b"Content-Length: %d" % len(HIDDEN)
TRICKS = {
    "two lengths that differ": request(b"Content-Length: 0", LENGTH, body=HIDDEN),
    "two lengths that differ, the other way": request(LENGTH, b"content-length: 0", body=HIDDEN),
    "two equal lengths": request(b"Content-Length: 0", b"Content-Length: 0", body=HIDDEN),
    "a list of lengths": request(b"Content-Length: 0, %d" % len(HIDDEN), body=HIDDEN),
    "length and chunked": request(LENGTH, b"Transfer-Encoding: chunked", body=CHUNKS + HIDDEN),
    "chunked and length": request(b"Transfer-Encoding: chunked", b"Content-Length: 0", body=CHUNKS + HIDDEN),
    "two codings": request(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity", body=CHUNKS + HIDDEN),
    "chunked twice": request(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=CHUNKS + HIDDEN),
    "a list of codings": request(b"Transfer-Encoding: chunked, identity", body=CHUNKS + HIDDEN),
    "an unknown coding": request(b"Transfer-Encoding: xchunked", body=CHUNKS + HIDDEN),
    "a coding in quotes": request(b'Transfer-Encoding: "chunked"', body=CHUNKS + HIDDEN),
    "a coding with a vertical tab": request(b"Transfer-Encoding: \x0bchunked", LENGTH, body=CHUNKS + HIDDEN),
    "blank before the colon": request(b"Transfer-Encoding : chunked", LENGTH, body=CHUNKS + HIDDEN),
    "tab before the colon": request(b"Content-Length\t: 0", LENGTH, body=HIDDEN),
    "folded coding": request(b"Transfer-Encoding:\r\n chunked", LENGTH, body=CHUNKS + HIDDEN),
    "folded length": request(b"Content-Length: \r\n 0", LENGTH, body=HIDDEN),
    "fold before the first header": request(b" Transfer-Encoding: chunked", LENGTH, body=CHUNKS + HIDDEN),
    "length with a sign": request(b"Content-Length: +%d" % len(HIDDEN), body=HIDDEN),
    "negative length": request(b"Content-Length: -1", body=HIDDEN),
    "hexadecimal length": request(b"Content-Length: 0x10", body=HIDDEN),
    "length over 64 bits": request(b"Content-Length: 18446744073709551616", body=HIDDEN),
    "empty length": request(b"Content-Length: ", body=HIDDEN),
    "two hosts": request(b"Host: y", b"Content-Length: 0", body=HIDDEN),
    "no host": request(b"Content-Length: 0", start=b"POST /milvus/img/count HTTP/1.1\r\n", body=HIDDEN),
    "blank in the target": request(b"Content-Length: 0", start=b"POST /milvus/img/count HTTP/1.1 HTTP/1.1\r\nHost: x\r\n", body=HIDDEN),
    "bad chunk size": request(b"Transfer-Encoding: chunked", body=b"zz\r\n" + HIDDEN),
    "chunk size over 64 bits": request(b"Transfer-Encoding: chunked", body=b"10000000000000000\r\n" + HIDDEN),
    "chunk longer than its size": request(b"Transfer-Encoding: chunked", body=b"1\r\nab\r\n0\r\n\r\n" + HIDDEN),
}
# Read the same by everybody who follows RFC 9112: no second request may come of them, but they may be answered.
HARMLESS = {
    "chunk extension with the request in it": request(b"Transfer-Encoding: chunked", b"Connection: close",
                                                      body=b"1;a=GET /smuggled HTTP/1.1\r\na\r\n0\r\n\r\n"),
    "chunk extension ended by a bare LF": request(b"Transfer-Encoding: chunked", b"Connection: close",
                                                  body=b"2;\nxx\r\n%x\r\n" % len(HIDDEN) + HIDDEN + b"\r\n0\r\n\r\n"),
    "trailer with a length": request(b"Transfer-Encoding: chunked", b"Connection: close",
                                     body=b"0\r\nContent-Length: %d\r\n\r\n" % len(HIDDEN)),
    "bare LF ends a header": START + b"X: a\nTransfer-Encoding: chunked\r\nConnection: close\r\n" + LENGTH + b"\r\n\r\n" + CHUNKS
                             + b" " * (len(HIDDEN) - len(CHUNKS)),
}


def exchange(port, data, seconds=8, silence=2):
    """All that comes back until the peer closes or is silent."""
    with socket.create_connection((HOST, port), timeout=seconds) as s:
        s.sendall(data)
        s.settimeout(silence)
        got = b""
        try:
            while piece := s.recv(65536):
                got += piece
            return got, True
        except TimeoutError:
            return got, False
        except ConnectionError:
            return got, True


def answers(reply):
    """How many status lines there are."""
    return len(re.findall(rb"HTTP/1\.1 \d{3} ", reply))


def paths(server):
    return [json.loads(line).get("path") for line in server.log.read_text().splitlines() if line.startswith("{")]


@pytest.fixture(scope="module")
def logged(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("smuggling") / "data", "--log", "json", "--access-log", "yes").start()
    yield server
    server.stop_cleanly()


NGINX = """
daemon off; master_process off; pid {dir}/pid; error_log {dir}/error.log; worker_processes 1; events {{ worker_connections 64; }}
http {{ log_format path "$request_uri"; access_log {dir}/log path; client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u;
  scgi_temp_path {dir}/s; upstream one {{ server 127.0.0.1:{to}; keepalive 4; }}
  server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://one; proxy_http_version 1.1; proxy_set_header Connection "";
    proxy_request_buffering off; }} }} }}
"""
HAPROXY = """
global
  log stdout format raw local0
defaults
  mode http
  log global
  log-format "%HP"
  timeout client 5s
  timeout server 5s
  timeout connect 2s
  option http-keep-alive
  http-reuse always
frontend in
  bind 127.0.0.1:{port}
  default_backend one
backend one
  server a 127.0.0.1:{to}
"""


@pytest.fixture(scope="module", params=["nginx", "haproxy"])
def proxy(request, logged, tmp_path_factory):
    """A reverse proxy in front of the server: its port, and the log of the paths that it took for requests."""
    program = shutil.which(request.param, path="/usr/sbin:/usr/bin:/sbin:/bin")
    if not program:
        pytest.skip(f"{request.param} is not installed")
    folder, port = tmp_path_factory.mktemp(request.param), free_port()
    config = folder / "config"
    config.write_text((NGINX if request.param == "nginx" else HAPROXY).format(dir=folder, to=logged.port, port=port))
    process = subprocess.Popen([program, "-c", str(config), "-p", str(folder)] if request.param == "nginx" else
                               [program, "-db", "-f", str(config)], stdout=open(folder / "out", "wb"), stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 20
    while True:
        try:
            if exchange(port, b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")[0].startswith(b"HTTP/1.1 200"):
                break
        except OSError:
            pass
        assert process.poll() is None and time.monotonic() < deadline, f"{request.param} does not start"
        time.sleep(0.1)
    yield port, folder / ("log" if request.param == "nginx" else "out")
    process.terminate()
    process.wait(10)


@pytest.mark.parametrize("trick", TRICKS)
def test_refused_by_the_server(logged, trick):
    reply, closed = exchange(logged.port, TRICKS[trick])
    assert reply.startswith((b"HTTP/1.1 400", b"HTTP/1.1 413", b"HTTP/1.1 501")) or (reply == b"" and closed), reply[:300]
    assert answers(reply) == 1 or reply == b""
    assert closed, "the connection must end: where the next request begins is not known"


@pytest.mark.parametrize("trick", HARMLESS)
def test_never_two_requests(logged, trick):
    reply, closed = exchange(logged.port, HARMLESS[trick])
    assert answers(reply) <= 1 and closed, reply[:600]


def test_the_server_saw_no_hidden_request(logged):
    time.sleep(0.3)
    seen = paths(logged)
    assert seen and "/smuggled" not in seen


def test_through_a_proxy(logged, proxy):
    """What stands behind a complete request is a second request of the client's own, which a proxy may rightly pass on. Smuggled
    is one that the server sees and the proxy did not. After each trick an innocent request gets its own answer."""
    port, log = proxy
    before = paths(logged).count("/smuggled")
    for trick in (*TRICKS.values(), *HARMLESS.values()):
        exchange(port, trick, silence=0.3)
        reply, _ = exchange(port, b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert reply.startswith(b"HTTP/1.1 200") and b'"status":"ok"' in reply
    time.sleep(1)
    passed_on = [line.strip() for line in log.read_text("utf-8", "replace").splitlines()]
    assert "/healthz" in passed_on
    assert paths(logged).count("/smuggled") - before <= passed_on.count("/smuggled")
