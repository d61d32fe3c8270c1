"""What the acceptance tests, kill9.py and bench/serve_bench.py share: a server process, a client, pictures.

Everything here knows the program from outside only: its command line, its HTTP routes, its log and its exit status.
The address is always 127.0.0.1, on ports that the kernel gives, and proxies of the environment are not used.

Environment: LOOKALIKE_BUILD     the build directory (default: build, relative to the source)
             LOOKALIKE_MODELS    handed on to the program as it is
             LOOKALIKE_TEST_SLOW a factor for every time limit, for sanitizer builds (default 1)
             LOOKALIKE_TEST_THREADS handed on as --threads, if set
"""
import base64
import http.server
import io
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import threading
import time
import urllib.parse

import httpx
import numpy
from PIL import Image, ImageDraw

SOURCE = pathlib.Path(__file__).resolve().parents[2]
BUILD = SOURCE / os.environ.get("LOOKALIKE_BUILD", "build")
PROGRAM = BUILD / "lookalike"
SHARED = SOURCE.parent / "shared" / "data"
SLOW = float(os.environ.get("LOOKALIKE_TEST_SLOW", "1"))
HOST = "127.0.0.1"
OK, FAILED = 10000, 10100
INT64_MAX, INT64_MIN = 2**63 - 1, -(2**63)
ON_MILVUS = "LOOKALIKE_TEST_MILVUS" in os.environ  # the records are in one that all servers of the tests share; scripts/check-milvus
LARGEST_FILEID = INT64_MAX - ON_MILVUS  # Milvus does not find the very largest key again, so it is refused there
SANITIZER = re.compile(r"(Address|Leak|Thread|Memory|UndefinedBehavior)Sanitizer|: runtime error: ")


# --- processes -------------------------------------------------------------------------------------------------

def program_environment(**extra):
    """The environment of a program under test: nothing that would configure it, except where its models are."""
    keep = {k: v for k, v in os.environ.items()
            if not k.startswith(("LOOKALIKE_", "MILVUS_")) and k not in ("VECTOR_DIMENSION", "METRIC_TYPE")
            and not k.lower().endswith("_proxy")}
    if "LOOKALIKE_MODELS" in os.environ:
        keep["LOOKALIKE_MODELS"] = os.environ["LOOKALIKE_MODELS"]
    if ON_MILVUS:
        keep["LOOKALIKE_MILVUS_URI"] = os.environ["LOOKALIKE_TEST_MILVUS"]
    for name, variable in (("lsan", "LSAN_OPTIONS"), ("tsan", "TSAN_OPTIONS"), ("ubsan", "UBSAN_OPTIONS")):
        suppressions = SOURCE / "tests" / "suppressions" / f"{name}.txt"
        if variable not in keep and suppressions.exists():
            keep[variable] = f"suppressions={suppressions}"
    keep.setdefault("TBB_ENABLE_SANITIZERS", "1")  # else oneTBB loads a library in a way that AddressSanitizer refuses
    keep.update(extra)
    return keep


def free_port():
    with socket.socket() as s:
        s.bind((HOST, 0))
        return s.getsockname()[1]


def run_program(*arguments, timeout=600, **options):
    """One command of the program to its end; output as text."""
    return subprocess.run([str(PROGRAM), *map(str, arguments)], env=program_environment(), text=True,
                          encoding="utf-8", errors="replace", stdin=subprocess.DEVNULL,
                          capture_output=True, timeout=timeout * SLOW, **options)


class Server:
    """`lookalike serve` on a port of its own. Start it, talk to `.url`, then stop() or kill() it."""

    def __init__(self, data, *flags, log=None, port=None, environment=None):
        self.data = pathlib.Path(data)
        self.flags = [str(f) for f in flags]
        self.port = port or free_port()
        self.url = f"http://{HOST}:{self.port}"
        self.log = pathlib.Path(log) if log else self.data.with_name(self.data.name + ".log")
        self.environment = environment or {}  # of the process, besides program_environment()
        self.process = None

    @property
    def pid(self):
        return self.process.pid

    def command(self):
        threads = os.environ.get("LOOKALIKE_TEST_THREADS")
        return [str(PROGRAM), "serve", "--data", str(self.data), "--listen", f"{HOST}:{self.port}",
                *(["--threads", threads] if threads else []), *self.flags]

    def start(self, timeout=60):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env=program_environment(**self.environment))
        deadline = time.monotonic() + timeout * SLOW
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended with {self.process.returncode} at its start:\n{self.tail()}")
            try:
                if httpx.get(self.url + "/readyz", timeout=2, trust_env=False).status_code == 200:
                    return self
            except httpx.TransportError:
                pass
            time.sleep(0.05)
        self.kill()
        raise RuntimeError(f"the server was not ready within {timeout * SLOW:.0f} s:\n{self.tail()}")

    def tail(self, size=4000):
        return self.log.read_text("utf-8", "replace")[-size:] if self.log.exists() else "(no log)"

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        if self.alive():
            self.process.kill()
        self.process.wait()

    def stop(self, timeout=30):
        """SIGTERM. Returns the exit status; a server that does not end is killed, and its status is -9."""
        if self.alive():
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout * SLOW)
        except subprocess.TimeoutExpired:
            self.kill()
            return self.process.returncode

    def stop_cleanly(self):
        """stop(), and raise where the end or the log shows that something went wrong."""
        status = self.stop()
        text = self.log.read_text("utf-8", "replace")
        if status != 0:
            raise AssertionError(f"the server ended with status {status} on SIGTERM instead of 0:\n{self.tail()}")
        found = SANITIZER.search(text)
        if found:
            raise AssertionError(f"a sanitizer reported in {self.log}:\n{text[found.start():][:6000]}")

    def memory(self, field="VmHWM"):
        """Bytes, from /proc: VmHWM is the peak of the resident memory, VmRSS what is resident now."""
        for line in pathlib.Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
        raise KeyError(field)


# --- the compatible routes -------------------------------------------------------------------------------------

class Reply:
    """One reply of a compatible route. Its shape was checked: see Api.request()."""

    def __init__(self, response):
        self.status = response.status_code
        self.headers = response.headers
        self.text = response.text
        self.body = response.json()
        self.code = self.body["code"]
        self.message = self.body["message"]

    @property
    def data(self):
        assert self.code == OK, f"expected success, got {self.text[:600]}"
        return self.body["data"]

    def __repr__(self):
        return f"<{self.status} {self.text[:300]}>"


class Api:
    """A client of the eight routes. Every reply is checked for the shape that API.md gives all of them."""

    STATUSES = {200, 401, 403, 404, 405, 408, 411, 413, 415, 429, 503}

    def __init__(self, url, timeout=60):
        self.url = url
        self.http = httpx.Client(base_url=url, timeout=timeout * SLOW, trust_env=False,
                                 limits=httpx.Limits(max_connections=64, max_keepalive_connections=64))

    def close(self):
        self.http.close()

    def request(self, method, route, **options):
        response = self.http.request(method, route, **options)
        kind = response.headers.get("content-type", "")
        assert kind.split(";")[0].strip() == "application/json", f"{method} {route}: {response.status_code} {kind!r}"
        assert response.status_code in self.STATUSES, f"{method} {route}: {response.status_code} {response.text[:300]}"
        reply = Reply(response)
        if response.status_code == 200 and reply.code == OK:
            assert reply.message == "Successfully", reply
            assert set(reply.body) <= {"code", "message", "data"}, reply
        else:
            assert set(reply.body) == {"code", "message"}, reply
            assert reply.code == FAILED, reply
            assert isinstance(reply.message, str) and reply.message.strip(), reply
        return reply

    def post(self, route, json=None, **options):
        return self.request("POST", route, **({"json": json} if json is not None else {}), **options)

    def get(self, route, **options):
        return self.request("GET", route, **options)

    # The routes by name, as a program would call them.
    def create(self, collection):
        return self.post("/milvus/collection/create", params={"collection": collection})

    def drop(self, collection):
        return self.post("/milvus/collection/drop", params={"collection": collection})

    def add(self, collection, fileid, image=None, **fields):
        return self.post("/milvus/img/add", record(collection, fileid, image, fields))

    def update(self, collection, fileid, image=None, **fields):
        return self.post("/milvus/img/update", record(collection, fileid, image, fields))

    def search(self, collection, image=None, **fields):
        body = {"collection": collection, **fields}
        if image is not None:
            body["image"] = b64(image) if isinstance(image, bytes) else image
        return self.post("/milvus/img/search", body)

    def count(self, collection):
        return self.get("/milvus/img/count", params={"collection": collection})

    def delete(self, collection, fileid):
        return self.post("/milvus/img/delete", params={"collection": collection, "fileid": str(fileid)})

    def fetch(self, collection, **which):
        return self.get("/milvus/img/get", params={"collection": collection, **{k: str(v) for k, v in which.items()}})


def record(collection, fileid, image, fields):
    body = {"collection": collection, "fileid": fileid, **fields}
    if image is not None:
        body["image"] = b64(image) if isinstance(image, bytes) else image
    return body


def failed(reply, *names):
    """A clear error: code 10100 and a sentence that names the field (any of `names`)."""
    assert reply.code == FAILED, f"expected an error, got {reply}"
    if names:
        assert any(n.lower() in reply.message.lower() for n in names), \
            f"the message does not name {' or '.join(names)}: {reply.message!r}"
    return reply


# --- pictures --------------------------------------------------------------------------------------------------

def b64(data):
    return base64.b64encode(data).decode()


def drawing(seed, size=(160, 120)):
    """A picture of its own for every seed: shapes on a soft ground, and texture on everything, as photographs have it. Without
    the texture a network sees mostly the artefacts of the file format, and calls a JPEG and a PNG of it different."""
    rng = numpy.random.default_rng(seed)
    width, height = size
    ground = Image.fromarray(rng.integers(0, 256, (4, 5, 3), dtype=numpy.uint8)).resize(size, Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(ground)
    for _ in range(6):
        x, y = rng.integers(0, width), rng.integers(0, height)
        w, h = rng.integers(width // 8, width // 2), rng.integers(height // 8, height // 2)
        shape = (draw.ellipse, draw.rectangle)[int(rng.integers(2))]
        shape((int(x - w // 2), int(y - h // 2), int(x + w // 2), int(y + h // 2)),
              fill=tuple(int(c) for c in rng.integers(0, 256, 3)))
    pixels = numpy.asarray(ground, dtype=numpy.float32).copy()
    for grain in (2, 4, 8, 16):
        noise = rng.integers(0, 256, (height // grain + 1, width // grain + 1), dtype=numpy.uint8)
        noise = Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)
        pixels += (numpy.asarray(noise, dtype=numpy.float32)[..., None] - 128) * 0.35
    return Image.fromarray(numpy.clip(pixels, 0, 255).astype(numpy.uint8))


def encode(image, kind="JPEG", **options):
    if kind == "JPEG":
        options.setdefault("quality", 90)
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def picture(seed, size=(160, 120), kind="JPEG", **options):
    return encode(drawing(seed, size), kind, **options)


def tiny(seed=1):
    """A picture small enough to travel in a query string."""
    return encode(drawing(seed, (48, 40)), "JPEG", quality=60)


def shared_pictures(folder):
    """Paths of real photographs, or None where they are not on this machine. `folder` like "clothing/train"."""
    place = SHARED / folder
    if not place.is_dir():
        return None
    return sorted(p for p in place.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png"))


# --- a web server that serves pictures to the server under test ------------------------------------------------------

class PictureSite:
    """HTTP on `host`. `site.pages[path] = (status, headers, body)` or a function of the handler; `site.seen` has
    the paths that were asked for."""

    def __init__(self, host=HOST):
        self.pages, self.seen = {}, []
        site = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                path = urllib.parse.urlsplit(self.path).path
                site.seen.append(self.path)
                page = site.pages.get(path, (404, {"Content-Type": "text/plain"}, b"nothing here"))
                if callable(page):
                    return page(self)
                status, headers, body = page
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_HEAD = do_GET

            def log_message(self, *_):
                pass

        class Quiet(http.server.ThreadingHTTPServer):
            def handle_error(self, *_):  # a client that had enough and went: many tests want just that
                pass

        self.httpd = Quiet((host, 0), Handler)
        self.httpd.daemon_threads = True
        self.url = f"http://{host}:{self.httpd.server_address[1]}"
        threading.Thread(target=self.httpd.serve_forever, daemon=True).start()

    def put(self, path, body, kind="image/jpeg", status=200, **headers):
        self.pages[path] = (status, {"Content-Type": kind, **headers}, body)
        return self.url + path

    def close(self):
        self.httpd.shutdown()
        self.httpd.server_close()


# --- raw sockets -----------------------------------------------------------------------------------------------

def raw_exchange(port, data, timeout=15, finish=False):
    """Send bytes as they are, read until the server closes or `timeout` s without a byte. `finish` closes our half."""
    received = b""
    with socket.create_connection((HOST, port), timeout=timeout * SLOW) as s:
        try:
            s.sendall(data)
            if finish:
                s.shutdown(socket.SHUT_WR)
            while chunk := s.recv(65536):
                received += chunk
        except TimeoutError:
            pass
        except (ConnectionResetError, BrokenPipeError):
            pass
    return received


def raw_status(received):
    """The status of the first reply in `received`; None where there is none."""
    found = re.match(rb"HTTP/1\.[01] (\d{3})", received)
    return int(found[1]) if found else None


def request_bytes(method, path, headers=(), body=b"", host=HOST):
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def json_bytes(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
