"""API keys from outside: how the first one comes to be, what a request without one gets, and that its body stays unread."""

import json
import socket
import subprocess

import httpx
import pytest

from support import HOST, PROGRAM, Server, free_port, picture, program_environment, run_program


def make_key(data, name, rights, *more):
    done = run_program("key", "create", name, "--rights", rights, "--data", data, "--quiet", *more)
    assert done.returncode == 0, done.stderr
    key = done.stdout.strip()
    assert key.startswith("lk_") and len(key) == 64
    return key


@pytest.fixture(scope="module")
def locked(tmp_path_factory):
    """A server with keys: (server, {right: key})."""
    data = tmp_path_factory.mktemp("keys") / "data"
    keys = {"admin": make_key(data, "operator", "admin")}
    keys["search"] = make_key(data, "shop", "search")
    keys["write"] = make_key(data, "feed", "write")
    server = Server(data).start()
    yield server, keys
    server.stop_cleanly()


def call(server, method, path, key=None, **options):
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return httpx.request(method, server.url + path, headers=headers, trust_env=False, timeout=30, **options)


def test_beyond_loopback_only_with_a_key(tmp_path):
    data, port = tmp_path / "data", free_port()
    refused = run_program("serve", "--data", data, "--listen", f"0.0.0.0:{port}", timeout=60)
    assert refused.returncode == 3
    assert "key create" in refused.stderr and "--insecure" in refused.stderr
    make_key(data, "operator", "admin")
    server = Server(data, "--listen", f"0.0.0.0:{port}", port=port).start()
    assert call(server, "GET", "/v1/collections").status_code == 401
    server.stop_cleanly()


def test_rights(locked):
    server, keys = locked
    assert call(server, "PUT", "/v1/collections/shop", keys["write"]).status_code == 403
    assert call(server, "PUT", "/v1/collections/shop", keys["admin"]).status_code == 201
    image = picture(1)
    put = {"content": image}
    assert call(server, "PUT", "/v1/collections/shop/images/1", keys["search"], **put).status_code == 403
    assert call(server, "PUT", "/v1/collections/shop/images/1", keys["write"], **put).status_code in (200, 201)
    assert call(server, "POST", "/v1/collections/shop/search", keys["write"], **put).status_code == 403
    found = call(server, "POST", "/v1/collections/shop/search", keys["search"], **put)
    assert [hit["fileid"] for hit in found.json()["hits"]] == [1]
    reply = call(server, "POST", "/milvus/collection/drop", keys["search"], params={"collection": "shop"})
    assert reply.status_code == 403 and reply.json()["code"] == 10100
    assert call(server, "GET", "/v1/collections/shop", keys["search"]).json()["count"] == 1
    for path in ("/", "/healthz", "/readyz"):
        assert call(server, "GET", path).status_code == 200


@pytest.mark.parametrize("length", [10, 10_000_000])
def test_the_body_stays_unread(locked, length):
    """The reply comes although not one byte of the body was sent."""
    server, keys = locked
    for key, status in ((None, b"401"), ("lk_" + "0" * 61, b"401"), (keys["search"], b"403")):
        with socket.create_connection((HOST, server.port), timeout=10) as s:
            lines = ["PUT /v1/collections/shop/images/2 HTTP/1.1", "Host: x", f"Content-Length: {length}",
                     "Content-Type: image/jpeg", *([f"X-API-Key: {key}"] if key else [])]
            if length > 64 * 1024:
                s.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
            else:  # a small body is thrown away before the reply, which keeps the connection
                s.sendall(("\r\n".join(lines) + "\r\n\r\n").encode() + b"x" * length)
            assert s.recv(12) == b"HTTP/1.1 " + status


def test_challenge_and_preflight(locked):
    server, _ = locked
    reply = call(server, "GET", "/v1/collections")
    assert reply.headers["www-authenticate"].startswith("Bearer")
    # A browser asks first, and cannot send a key with that question.
    asked = httpx.options(server.url + "/v1/collections", trust_env=False, headers={
        "Origin": "https://shop.example", "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "authorization"})
    assert asked.status_code == 204
    assert "authorization" in asked.headers["access-control-allow-headers"].lower()
    assert reply.headers["access-control-allow-origin"]


def test_a_running_server_sees_what_the_command_does(locked):
    server, keys = locked
    key = make_key(server.data, "later", "search")
    id_ = key[3:15]
    wait_for(lambda: call(server, "GET", "/v1/collections", key).status_code == 200)
    listed = json.loads(run_program("key", "list", "--data", server.data, "--json").stdout)["keys"]
    assert {"id", "name", "rights", "collections", "created", "last_used"} == set(listed[0])
    assert id_ in [k["id"] for k in listed]
    assert run_program("key", "revoke", id_, "--data", server.data).returncode == 0
    wait_for(lambda: call(server, "GET", "/v1/collections", key).status_code == 401)
    assert run_program("key", "revoke", id_, "--data", server.data).returncode == 3


def wait_for(condition, seconds=5):
    import time
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_commands_take_a_key(locked):
    server, keys = locked
    listing = ["collection", "list", "--server", server.url, "--json"]
    without = run_program(*listing)
    assert without.returncode == 3 and "API key" in without.stderr
    assert run_program(*listing, "--key", keys["search"]).returncode == 0
    environment = {**program_environment(), "LOOKALIKE_API_KEY": keys["admin"]}
    made = subprocess.run([PROGRAM, "key", "create", "over http", "--rights", "search,write", "--collections", "a,b",
                           "--server", server.url, "--json"], env=environment, capture_output=True, text=True, timeout=60)
    assert made.returncode == 0, made.stderr
    key = json.loads(made.stdout)
    assert key["rights"] == ["search", "write"] and key["collections"] == ["a", "b"] and key["key"].startswith("lk_")
    gone = subprocess.run([PROGRAM, "key", "revoke", key["id"], "--server", server.url], env=environment,
                          capture_output=True, text=True, timeout=60)
    assert gone.returncode == 0, gone.stderr
    for bad in (["key"], ["key", "create", "a"], ["key", "create", "a", "--rights", "root", "--data", server.data],
                ["key", "list", "x"], ["key", "revoke"], ["key", "list", "--rights", "search"]):
        assert run_program(*bad).returncode in (2, 3), bad


def test_a_first_key_over_http_turns_keys_on(tmp_path):
    server = Server(tmp_path / "data").start()
    body = {"name": "a", "rights": ["search"]}
    assert call(server, "POST", "/v1/keys", json=body).status_code == 400  # nobody could make the second
    made = call(server, "POST", "/v1/keys", json={"name": "a", "rights": ["admin"]})
    assert made.status_code == 201
    assert call(server, "GET", "/v1/keys").status_code == 401
    assert len(call(server, "GET", "/v1/keys", made.json()["key"]).json()["keys"]) == 1
    server.stop_cleanly()


def test_damaged_keys_stop_the_start(tmp_path):
    data = tmp_path / "data"
    make_key(data, "operator", "admin")
    (data / "keys.json").write_text("{")
    done = run_program("serve", "--data", data, "--listen", f"{HOST}:{free_port()}", timeout=60)
    assert done.returncode == 3 and "keys.json" in done.stderr
