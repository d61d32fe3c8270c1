"""Every way to write a forbidden address, by every route that takes a URL: no connection is made to it.

"Forbidden" is checked by who would be reached: listeners on all addresses of this machine, IPv4 and IPv6, count connections. The server
may fetch from one address only, 127.0.0.2, where a web server of ours redirects to the forbidden ones. Names are answered by a resolver of
ours, which changes its answers; the server sees it through an /etc/resolv.conf of its own, for which the test needs to be root.
"""
import ipaddress
import json
import os
import pathlib
import re
import socket
import struct
import subprocess
import threading

import pytest

import support
from support import HOST, OK, Api, PictureSite, Server, b64, picture, program_environment

ALLOWED, RESOLVER = "127.0.0.2", "127.83.7.1"


class Listeners:
    """Count who connects to one port, on every address of this machine."""

    def __init__(self):
        self.connections, self.sockets = [], []
        v4 = socket.socket()
        v4.bind(("0.0.0.0", 0))
        self.port = v4.getsockname()[1]
        v6 = socket.socket(socket.AF_INET6)
        v6.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        v6.bind(("::", self.port))
        for s in (v4, v6):
            s.listen(100)
            self.sockets.append(s)
            threading.Thread(target=self.count, args=(s,), daemon=True).start()

    def count(self, listening):
        while True:
            try:
                connection, peer = listening.accept()
            except OSError:
                return
            self.connections.append((connection.getsockname(), peer))
            connection.close()

    def close(self):
        for s in self.sockets:
            s.shutdown(socket.SHUT_RDWR)
            s.close()


class Resolver:
    """DNS over UDP. `names[name]` is a list of answers; each is a list of addresses (or "cname:NAME"), and is given once, the last for ever."""

    def __init__(self):
        self.names, self.asked, self.lock = {}, [], threading.Lock()
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((RESOLVER, 53))
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                query, peer = self.socket.recvfrom(2048)
                self.socket.sendto(self.answer(query), peer)
            except OSError:
                return

    def answer(self, query):
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode("latin-1").lower())
            at += 1 + query[at]
        kind = struct.unpack(">H", query[at + 1:at + 3])[0]
        question, name = query[12:at + 5], ".".join(labels)
        with self.lock:
            self.asked.append(name)
            answers = self.names.get(name)
            given = [] if not answers else answers.pop(0) if len(answers) > 1 and kind == 1 else answers[0]
        records = []
        for address in given:
            if address.startswith("cname:"):
                data = b"".join(bytes([len(x)]) + x.encode() for x in address[6:].split(".")) + b"\0"
                records.append((5, data))
                continue
            ip = ipaddress.ip_address(address)
            if kind == (1 if ip.version == 4 else 28):
                records.append((kind, ip.packed))
        body = b"".join(b"\xc0\x0c" + struct.pack(">HHIH", k, 1, 0, len(d)) + d for k, d in records)
        code = 0 if answers else 3
        return query[:2] + struct.pack(">HHHHH", 0x8180 | code, 1, len(records), 0, 0) + question + body

    def close(self):
        self.socket.close()


class Enclosed(Server):
    """A server that sees our resolv.conf and nsswitch.conf, and a proxy in its environment that it must not use."""

    def __init__(self, data, files, proxy, *flags, log):
        variables = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
        super().__init__(data, *flags, log=log, environment=dict.fromkeys(variables, proxy))
        self.files = files

    def command(self):
        mounts = "".join(f"mount --bind {self.files / name} /etc/{name} && " for name in ("resolv.conf", "nsswitch.conf"))
        return ["unshare", "--mount", "--propagation", "private", "sh", "-c", mounts + 'exec "$@"', "sh", *super().command()]


def can_enclose():
    if os.geteuid() != 0:
        return False
    done = subprocess.run(["unshare", "--mount", "--propagation", "private", "sh", "-c", "mount --bind /etc/hosts /etc/resolv.conf"],
                          capture_output=True, env=program_environment())
    return done.returncode == 0


@pytest.fixture(scope="module", name="place")
def fixture_place(tmp_path_factory):
    if not can_enclose():
        pytest.skip("needs root and mount namespaces: the server gets a resolver of the test's")
    top = tmp_path_factory.mktemp("forbidden")
    listeners, site = Listeners(), PictureSite(ALLOWED)
    try:
        resolver = Resolver()
    except OSError as problem:
        pytest.skip(f"no resolver can listen on {RESOLVER}:53: {problem}")
    (top / "resolv.conf").write_text(f"nameserver {RESOLVER}\noptions timeout:2 attempts:1\n")
    (top / "nsswitch.conf").write_text("hosts: files dns\n")
    server = Enclosed(top / "data", top, f"http://127.0.0.1:{listeners.port}", "--fetch-allow", f"{ALLOWED}/32", log=top / "log.txt")
    server.start()
    api = Api(server.url)
    api.create("c").data
    api.add("c", 1, picture(1)).data
    yield server, api, site, resolver, listeners
    api.close()
    site.close()
    resolver.close()
    listeners.close()
    server.stop_cleanly()


# --- how an address can be written -----------------------------------------------------------------------------------------------

SPELLINGS = """
127.0.0.1 127.1 127.0.1 127.0.0.1. 127.00.00.01 127.000.000.001 0127.0.0.1 2130706433 2130706433. 0x7f000001 0X7F000001 0x7f.0.0.1 0x7f.1
0x7f.0x0.0x0.0x1 017700000001 0177.0.0.1 0177.1 0177.0x0.0.1 00000177.0.0.1 0x000000007f.0.0.1 127.0.1 127.0x1 127.01 6425673729 0x17f000001
127.0.0.256 383.0.0.1 127.127.127.127 127.255.255.254 0 0.0.0.0 0x0 00 0.0 localhost LOCALHOST localhost. LocalHost.localdomain
[::1] [0:0:0:0:0:0:0:1] [0000:0000::0001] [::] [::0001] [::ffff:127.0.0.1] [::ffff:7f00:1] [0:0:0:0:0:ffff:127.0.0.1] [::FFFF:127.0.0.1] [::ffff:0.0.0.0] [::ffff:0:127.0.0.1]
[::127.0.0.1] [::7f00:1] [64:ff9b::127.0.0.1] [64:ff9b::7f00:1] [64:ff9b:1::7f00:1] [2002:7f00:1::] [2002:7f00:0001::1] [2001:0:7f00:1::]
[2001:0:4136:e378:8000:63bf:80ff:fffe] [fe80::1] [fe80::1%25lo] [fe80::1%lo] [::1%25lo] [::1%251] [fd00::1] [fc00::1] [fec0::1] [ff02::1] [::1]. [::1%00] [::1]%00
%31%32%37.0.0.1 127.0.0.%31 127%2e0%2e0%2e1 127.0.0.1%00 127.0.0.1%00.example.com 127.0.0.1%2f 127.0.0.1%20 %6c%6f%63%61%6c%68%6f%73%74
127。0。0。1 127．0．0．1 １２７.０.０.１ ①②⑦.⓪.⓪.① ⓵⓶⓻.⓪.⓪.⓵ 127｡0｡0｡1 ｌｏｃａｌｈｏｓｔ ⓛⓞⓒⓐⓛⓗⓞⓢⓣ locaℓhost 127.0.0.1․
""".split()

# p: the listeners' port, a: the allowed site's address with its port
TRICKS = [
    "http://{a}@127.0.0.1:{p}/", "http://{a}:80@127.0.0.1:{p}/", "http://user:pass@127.0.0.1:{p}/", "http://127.0.0.1:{p}#@{a}/", "http://127.0.0.1:{p}/#@{a}/",
    "http://127.0.0.1:{p}\\@{a}/", "http://{a}\\@127.0.0.1:{p}/", "http://{a}#@127.0.0.1:{p}/", "http://{a}?@127.0.0.1:{p}/", "http://{a}%23@127.0.0.1:{p}/",
    "http://{a}%40127.0.0.1:{p}/", "http://127.0.0.1:{p}%40{a}/", "http://{a}@{a}@127.0.0.1:{p}/", "http://127.0.0.1:{p};{a}/", "http://127.0.0.1:{p},{a}/", "http://{a},127.0.0.1:{p}/",
    "http://127.0.0.1 :{p}/", "http:// 127.0.0.1:{p}/", "http://127.0.0.1:{p} /", " http://127.0.0.1:{p}/", "http://127.0.0.1\t:{p}/", "ht\ntp://127.0.0.1:{p}/", "http://127.0.0.1\r\n:{p}/",
    "http:\\\\127.0.0.1:{p}/", "http:/127.0.0.1:{p}/", "http:127.0.0.1:{p}/", "http:///127.0.0.1:{p}/", "//127.0.0.1:{p}/", "/\\127.0.0.1:{p}/", "127.0.0.1:{p}/", "http://127.0.0.1:00{p}/",
    "http://127.0.0.1:{p}:80/", "http://127.0.0.1:+{p}/", "http://127.0.0.1:{p}\u200b/", "http://127.0.0.1\u00ad:{p}/", "http://[127.0.0.1]:{p}/", "http://::1:{p}/", "http://[::1:{p}/", "http://[::1]]:{p}/",
    "http://[v1.127.0.0.1]:{p}/", "Http://127.0.0.1:{p}/", "https://127.0.0.1:{p}/", "HtTpS://[::1]:{p}/", "http://{a}/\r\nHost: 127.0.0.1:{p}/",
]

SCHEMES = ["file:///etc/passwd", "file://127.0.0.1/etc/passwd", "FILE:///etc/passwd", "gopher://127.0.0.1:{p}/_GET%20/", "dict://127.0.0.1:{p}/info", "ftp://127.0.0.1:{p}/x", "ftps://127.0.0.1:{p}/x",
           "ldap://127.0.0.1:{p}/", "ldaps://127.0.0.1:{p}/", "tftp://127.0.0.1:{p}/x", "telnet://127.0.0.1:{p}/", "smb://127.0.0.1:{p}/x", "imap://127.0.0.1:{p}/", "pop3://127.0.0.1:{p}/",
           "smtp://127.0.0.1:{p}/", "rtsp://127.0.0.1:{p}/", "rtmp://127.0.0.1:{p}/", "scp://127.0.0.1:{p}/x", "sftp://127.0.0.1:{p}/x", "ws://127.0.0.1:{p}/", "wss://127.0.0.1:{p}/", "mqtt://127.0.0.1:{p}/x",
           "jar:http://127.0.0.1:{p}!/", "view-source:http://127.0.0.1:{p}/", "url:http://127.0.0.1:{p}/", "http+unix://%2Fvar%2Frun/", "ipfs://127.0.0.1:{p}/", "data:image/png;base64,AAAA", "javascript:1", "about:blank"]


def own_addresses():
    """Addresses of this machine's interfaces that are not public."""
    text = subprocess.run(["ip", "-o", "addr"], capture_output=True, text=True, check=False).stdout
    found = [ipaddress.ip_address(a) for a in re.findall(r"inet6? ([0-9a-f.:]+)/", text)]
    return [f"[{a}]" if a.version == 6 else str(a) for a in found if not a.is_global]


def forbidden_urls(site, port):
    allowed = site.url.removeprefix("http://")
    urls = [f"http://{host}:{port}/picture.jpg" for host in SPELLINGS + own_addresses() + ["169.254.169.254", "10.0.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1", "224.0.0.1", "255.255.255.255"]]
    return urls + [t.format(p=port, a=allowed) for t in TRICKS + SCHEMES]


def redirects(site, port):
    """Pages of the allowed site that lead on."""
    urls, number = [], 0
    targets = [f"http://{h}:{port}/" for h in ("127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0", "localhost", "[::1]", "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]")]
    targets += [f"//127.0.0.1:{port}/", f"//[::1]:{port}", f"\\\\127.0.0.1:{port}/", f"http:/\\127.0.0.1:{port}/", "file:///etc/passwd", f"gopher://127.0.0.1:{port}/_x", f"ftp://127.0.0.1:{port}/x",
                f"http://x@127.0.0.1:{port}/", f"HTTP://127.0.0.1:{port}/", f"https://127.0.0.1:{port}/", f"http://rebind-redirect.test:{port}/", f"http://private.test:{port}/"]
    for target in targets:
        for status in (301, 302, 303, 307, 308) if target == targets[0] else (302,):
            number += 1
            urls.append(site.put(f"/go/{number}", b"", status=status, Location=target))
    chained = urls[0]
    for k in range(3):
        chained = site.put(f"/chain/{k}", b"", status=302, Location=chained)
    refreshed = site.put("/refresh", b'<meta http-equiv="refresh" content="0;url=http://127.0.0.1:%d/">' % port, "text/html", Refresh=f"0;url=http://127.0.0.1:{port}/")
    service = site.put("/service", picture(1), status=404, **{"Alt-Svc": f'h2="127.0.0.1:{port}", http/1.1="127.0.0.1:{port}"'})
    return [*urls, chained, refreshed, service, service]


def names(resolver, port):
    """Names that lead to forbidden addresses: always, later, or among others."""
    table = {"private.test": [["127.0.0.1"]], "private6.test": [["::1"]], "mapped.test": [["::ffff:127.0.0.1"]], "nat64.test": [["64:ff9b::7f00:1"]], "6to4.test": [["2002:7f00:1::"]],
             "zero.test": [["0.0.0.0"]], "zero6.test": [["::"]], "link.test": [["fe80::1"]], "metadata.test": [["169.254.169.254"]], "both.test": [["127.0.0.1", "::1"]],
             "alias.test": [["cname:private.test", "127.0.0.1"]], "rebind-redirect.test": [[ALLOWED], ["127.0.0.1"]], "127.0.0.1.nip.test": [["127.0.0.1"]],
             # The allowed address first, then the forbidden one: at the next look-up, or in the same answer, where nobody listens on the first
             "rebind.test": [[ALLOWED], ["127.0.0.1"]], "rebind6.test": [[ALLOWED], ["127.0.0.1", "::1"]], "among.test": [[ALLOWED, "127.0.0.1"]], "among6.test": [[ALLOWED, "::1"]]}
    resolver.names.update(table)
    return [f"http://{name}:{port}/" for name in table for _ in range(3)] + [f"http://PRIVATE.test.:{port}/", f"http://x@private.test:{port}/"]


# --- the routes that take a URL ----------------------------------------------------------------------------------------------

HOME = "/v1/collections/c"


def compatible(what, **more):
    def call(api, url):
        reply = api.post(f"/milvus/img/{what}", {"collection": "c", "url": url, **more})
        return reply.code == OK, reply.text
    return call


def native(method, path, body):
    def call(api, url):
        reply = api.http.request(method, path, json=body(url))
        return reply.is_success, reply.text
    return call


def bulk(api, url):
    reply = api.http.post(f"{HOME}/images", content=json.dumps({"fileid": 2, "url": url}), headers={"Content-Type": "application/x-ndjson"})
    return '"status":200' in reply.text, reply.text


def form(api, url):
    reply = api.http.post(f"{HOME}/search", data={"url": url})
    return reply.is_success, reply.text


# What → a function of a client and a URL: (whether it succeeded, the reply's text)
ROUTES = {
    "add": compatible("add", fileid=2), "update": compatible("update", fileid=1), "search": compatible("search"),
    "PUT": native("PUT", f"{HOME}/images/2", lambda url: {"url": url}), "PATCH": native("PATCH", f"{HOME}/images/1", lambda url: {"url": url}),
    "/v1 search": native("POST", f"{HOME}/search", lambda url: {"url": url}), "queries": native("POST", f"{HOME}/search", lambda url: {"queries": [{"url": url}]}),
    "embed": native("POST", "/v1/embed", lambda url: {"url": url}), "thumbnail": native("POST", "/v1/thumbnail", lambda url: {"url": url}),
    "bulk": bulk, "form": form,
}


def test_no_connection_to_a_forbidden_address(place, request):
    server, api, site, resolver, listeners = place
    # The means of the test work: listeners count, the resolver is asked, the allowed address is reached.
    for host, family in (("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)):
        with socket.socket(family) as s:
            s.connect((host, listeners.port))
            s.recv(1)
    assert len(listeners.connections) == 2
    listeners.connections.clear()
    resolver.names["allowed.test"] = [[ALLOWED]]
    good = site.put("/good.jpg", picture(1))
    assert api.add("c", 1, url=good).data == 1
    assert api.add("c", 1, url=good.replace(ALLOWED, "allowed.test")).data == 1
    assert "allowed.test" in resolver.asked and len(site.seen) == 2

    urls = forbidden_urls(site, listeners.port) + redirects(site, listeners.port) + names(resolver, listeners.port)
    assert len(set(urls)) > 200
    succeeded, tried, names_of = [], 0, list(ROUTES)
    everything = request.config.getoption("--slow")  # each URL by each route; else by two, which change from one to the next
    for n, url in enumerate(urls):
        for what in names_of if everything else {names_of[n % len(ROUTES)], names_of[(3 * n + 5) % len(ROUTES)]}:
            success, text = ROUTES[what](api, url)
            tried += 1
            if success or "root:" in text:
                succeeded.append((what, url, text[:200]))
    reached = [where for where, _ in listeners.connections if where[0] != ALLOWED]
    assert reached == [], f"{len(reached)} connections, the first: {reached[:3]}"
    assert succeeded == []
    print(f"{len(set(urls))} ways to write an address, {tried} requests by {len(ROUTES)} routes: 0 connections")
    assert server.alive()
    count = api.count("c").data
    assert count == 1, "a refused URL made a record"
    assert "rebind.test" in resolver.asked and "among.test" in resolver.asked
    assert api.add("c", 1, url=good).data == 1


def test_the_allowed_address_does_not_open_its_neighbours(place):
    """What --fetch-allow names is that address and not its network, its other spellings included."""
    _, api, site, _, listeners = place
    port = site.url.rsplit(":", 1)[1]
    site.put("/n.jpg", picture(1))
    assert api.add("c", 1, url=f"http://{ALLOWED}:{port}/n.jpg").data == 1
    assert api.add("c", 1, url=f"http://[::ffff:{ALLOWED}]:{port}/n.jpg").data == 1  # the system connects to the same place
    for host in ("127.0.0.3", "127.0.0.1", "[64:ff9b::7f00:2]", "[2002:7f00:2::]", "[::127.0.0.2]"):
        assert api.add("c", 1, url=f"http://{host}:{listeners.port}/n.jpg").code != OK
    assert [where for where, _ in listeners.connections if where[0] != ALLOWED] == []
