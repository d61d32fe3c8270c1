"""TLS with a certificate that is renewed while the server runs; rate limits; CORS by list; --max-active."""

import concurrent.futures
import signal
import socket
import ssl
import subprocess
import time

import httpx
import pytest

from support import HOST, Server, drawing, encode, picture, run_program


def certificate(folder, name):
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                    "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name},IP:127.0.0.1", "-keyout", key, "-out", cert],
                   check=True, capture_output=True)
    return cert, key


def served_name(port):
    """The common name in the certificate that a new connection gets."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection((HOST, port), timeout=10) as s, context.wrap_socket(s, server_hostname="x") as t:
        text = subprocess.run(["openssl", "x509", "-inform", "der", "-noout", "-subject"], input=t.getpeercert(True),
                              capture_output=True, check=True).stdout.decode()
        return text.strip().split("CN = ")[-1].split("CN=")[-1], t.version()


class TlsServer(Server):
    def start(self, timeout=120):
        with open(self.log, "ab") as log:
            from support import program_environment
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env=program_environment())
        self.url = self.url.replace("http:", "https:")
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.tail()
            try:
                if httpx.get(self.url + "/readyz", verify=False, trust_env=False, timeout=5).status_code == 200:
                    return self
            except httpx.TransportError:
                time.sleep(0.1)
        raise RuntimeError(self.tail())


def test_tls(tmp_path):
    cert, key = certificate(tmp_path, "first")
    server = TlsServer(tmp_path / "data", "--tls-cert", cert, "--tls-key", key).start()
    with httpx.Client(base_url=server.url, verify=ssl.create_default_context(cafile=cert), trust_env=False, timeout=60) as client:
        assert client.put("/v1/collections/a").status_code == 201
        assert client.put("/v1/collections/a/images/1", content=picture(1)).is_success
        assert client.post("/v1/collections/a/search", content=picture(1)).json()["hits"][0]["fileid"] == 1
        # A refusal before the body is seen through TLS as well.
        too_large = httpx.post(server.url + "/v1/embed", content=b"x" * (33 << 20), verify=False, trust_env=False, timeout=60)
        assert too_large.status_code == 413
        name, version = served_name(server.port)
        assert name == "first" and version in ("TLSv1.2", "TLSv1.3")
        certificate(tmp_path, "second")
        server.process.send_signal(signal.SIGHUP)
        for _ in range(50):
            if served_name(server.port)[0] == "second":
                break
            time.sleep(0.1)
        assert served_name(server.port)[0] == "second"
        assert client.get("/v1/collections/a").json()["count"] == 1  # the old connection lives on
        cert.write_text("damaged")
        server.process.send_signal(signal.SIGHUP)
        time.sleep(0.5)
        assert served_name(server.port)[0] == "second" and server.alive()
        assert "the one in use stays" in server.log.read_text()
    with socket.create_connection((HOST, server.port), timeout=10) as s:  # who speaks no TLS gets no answer
        s.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert not s.recv(100).startswith(b"HTTP")
    for flags in (["--tls-cert", cert], ["--tls-cert", cert, "--tls-key", key]):
        done = run_program("serve", "--data", tmp_path / "other", "--listen", f"{HOST}:0", *flags, timeout=60)
        assert done.returncode == 3 and ("--tls-key" in done.stderr or str(cert) in done.stderr)
    server.stop_cleanly()


def statuses(server, forwarded, count):
    with httpx.Client(base_url=server.url, trust_env=False, timeout=30) as client:
        return [client.get("/v1/models", headers=[("X-Forwarded-For", value) for value in forwarded(n)]).status_code for n in range(count)]


def test_trusted_proxies(tmp_path):
    """The rate of an address, where a proxy that we believe says whose it is; the last in the list that is no proxy counts."""
    server = Server(tmp_path / "a", "--rate-per-address", 1, "--trusted-proxy", "127.0.0.0/8,2001:db8::/32", "--access-log", "yes", "--log", "json").start()
    for same in (lambda n: ["192.0.2.1"], lambda n: [f"10.0.0.{n}, 192.0.2.2"], lambda n: [f"10.0.0.{n}", "192.0.2.3, 127.0.0.9"], lambda n: ["192.0.2.4:%d" % (1000 + n)],
                 lambda n: [f"[fd00::{n + 1:x}]:80, [fd00:1::5]:{n + 80}, 2001:db8::7"], lambda n: [f"10.1.1.{n}, nonsense"], lambda n: []):
        assert 429 in statuses(server, same, 8), same(1)
    for other in (lambda n: [f"198.51.100.{n}"], lambda n: [f"203.0.113.{n}, 127.0.0.1, 2001:db8::1"], lambda n: [f"fd01:{n + 1:x}::1"]):
        assert set(statuses(server, other, 8)) == {200}, other(1)
    server.stop_cleanly()
    assert '"client":"198.51.100.3"' in server.tail(100_000)
    # Nobody is trusted: the header is what anybody may write
    server = Server(tmp_path / "b", "--rate-per-address", 1).start()
    assert 429 in statuses(server, lambda n: [f"198.51.100.{n}"], 8)
    server.stop_cleanly()
    for bad in ("proxy.example", "10.0.0.1/8", "1.2.3", ",".join(f"10.0.0.{n}" for n in range(17))):
        done = run_program("serve", "--data", tmp_path / "c", "--listen", f"{HOST}:0", "--trusted-proxy", bad, timeout=60)
        assert done.returncode == 3 and "--trusted-proxy" in done.stderr


def test_rates_and_origins(tmp_path):
    data = tmp_path / "data"
    done = run_program("key", "create", "a", "--rights", "admin", "--data", data, "--quiet")
    headers = {"X-API-Key": done.stdout.strip()}
    server = Server(data, "--rate-per-key", 5, "--rate-per-address", 20, "--cors", "https://a.example,https://b.example:8443").start()
    with httpx.Client(base_url=server.url, trust_env=False, timeout=30) as client:
        replies = [client.get("/v1/models", headers=headers) for _ in range(14)]
        assert [r.status_code for r in replies[:10]] == [200] * 10 and 429 in [r.status_code for r in replies]
        late = next(r for r in replies if r.status_code == 429)
        assert int(late.headers["retry-after"]) >= 1 and late.json()["status"] == 429
        # By address too, before a key is looked at; and in the form of the compatible routes.
        wrong = [client.post("/milvus/img/count?collection=a") for _ in range(60)]
        assert {r.status_code for r in wrong} == {401, 429} and wrong[-1].json()["code"] == 10100
        assert all(client.get(path).status_code == 200 for path in ("/healthz", "/readyz", "/") for _ in range(10))
        time.sleep(2.2)
        assert client.get("/v1/collections", headers=headers).status_code == 200
        for origin, allowed in (("https://a.example", True), ("https://b.example:8443", True), ("https://b.example", False),
                                ("https://a.example.evil.example", False), ("null", False)):
            reply = client.get("/healthz", headers={"Origin": origin})
            assert reply.headers.get("access-control-allow-origin") == (origin if allowed else None)
            assert reply.headers["vary"] == "Origin"
            asked = client.options("/v1/collections", headers={"Origin": origin, "Access-Control-Request-Method": "POST"})
            assert ("access-control-allow-origin" in asked.headers) == allowed
    server.stop_cleanly()
    for bad in ("shop.example", "https://a.example/", "*,https://a.example"):
        done = run_program("serve", "--data", data, "--listen", f"{HOST}:0", "--cors", bad, timeout=60)
        assert done.returncode == 3 and "CORS" in done.stderr


@pytest.mark.parametrize("most", [2])
def test_more_than_max_active_get_503_at_once(tmp_path, most):
    server = Server(tmp_path / "data", "--max-active", most).start()
    big = encode(drawing(1, (4000, 3000)))

    def ask(_):
        start = time.monotonic()
        reply = httpx.post(server.url + "/v1/embed", content=big, trust_env=False, timeout=60)
        return reply.status_code, time.monotonic() - start, reply.headers.get("retry-after")

    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        replies = list(pool.map(ask, range(36)))
        busy = [r for r in replies if r[0] == 503]
        assert busy and all(r[2] == "1" for r in busy)
        assert {r[0] for r in replies} == {200, 503}
    assert ask(0)[0] == 200  # nothing is left counted
    assert httpx.get(server.url + "/healthz", trust_env=False).status_code == 200
    server.stop_cleanly()
