"""The command line as a user meets it: the built program, a server of its own, files in a temporary folder.

What import does with folders, CSV and JSON lines on a running server is also tested in tests/acceptance/test_import.py.
Here: what is printed where, exit statuses, interruption, servers that are away or busy, and --data.

Environment: LOOKALIKE_BUILD (default: build), LOOKALIKE_MODELS, LOOKALIKE_TEST_SLOW; see tests/acceptance/support.py.
LOOKALIKE_TEST_SERVE is the build directory of the program that serves (default: the same), so that the command line
can be tested with a sanitizer under which the engine does not run.
Only the standard library is needed.
"""
import http.server
import json
import os
import pathlib
import pty
import random
import re
import signal
import socket
import struct
import subprocess
import threading
import time
import urllib.request
import zlib

import pytest

SOURCE = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = SOURCE / os.environ.get("LOOKALIKE_BUILD", "build") / "lookalike"
SERVE = SOURCE / os.environ.get("LOOKALIKE_TEST_SERVE", PROGRAM.parent) / "lookalike"
SLOW = float(os.environ.get("LOOKALIKE_TEST_SLOW", "1"))

pytestmark = pytest.mark.skipif(not PROGRAM.exists(), reason=f"{PROGRAM} is not built")


def environment(state, **extra):
    keep = {k: v for k, v in os.environ.items()
            if not k.startswith(("LOOKALIKE_", "MILVUS_")) and k not in ("VECTOR_DIMENSION", "METRIC_TYPE")
            and not k.lower().endswith("_proxy")}
    if "LOOKALIKE_MODELS" in os.environ:
        keep["LOOKALIKE_MODELS"] = os.environ["LOOKALIKE_MODELS"]
    for name, variable in (("lsan", "LSAN_OPTIONS"), ("tsan", "TSAN_OPTIONS"), ("ubsan", "UBSAN_OPTIONS")):
        suppressions = SOURCE / "tests" / "suppressions" / f"{name}.txt"
        if variable not in keep and suppressions.exists():
            keep[variable] = f"suppressions={suppressions}"
    return keep | {"XDG_STATE_HOME": str(state), "TERM": "xterm"} | extra


def png(seed, side=48):
    """A picture of its own for every seed: a few rectangles of random colours."""
    rng = random.Random(seed)
    base = bytes(rng.randrange(256) for _ in range(3))
    rows = [bytearray(base * side) for _ in range(side)]
    for _ in range(5):
        x, y, w, h = (rng.randrange(side) for _ in range(4))
        color = bytes(rng.randrange(256) for _ in range(3))
        for line in rows[y:y + h + 4]:
            for i in range(x, min(side, x + w + 4)):
                line[3 * i:3 * i + 3] = color

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    raw = b"".join(b"\0" + bytes(line) for line in rows)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b""))


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    def __init__(self, folder, port=None, flags=()):
        self.data, self.log, self.port, self.flags = folder / "data", folder / "log.txt", port or free_port(), flags
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([SERVE, "serve", "--data", self.data, "--listen", f"127.0.0.1:{self.port}",
                                             *self.flags],
                                            env=environment(self.data), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + 60 * SLOW
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                pytest.skip(f"the server does not start here: {self.log.read_text('utf-8', 'replace')[-600:]}")
            try:
                with urllib.request.urlopen(self.url + "/readyz", timeout=2):
                    return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError("the server was not ready in time")

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30 * SLOW)

    def get(self, path):
        with urllib.request.urlopen(self.url + path, timeout=30) as reply:
            return json.load(reply)

    def count(self, collection):
        return self.get(f"/v1/collections/{collection}")["count"]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("server"))
    yield server
    assert server.stop() == 0, server.log.read_text("utf-8", "replace")[-2000:]


@pytest.fixture
def state(tmp_path):
    return tmp_path / "state"


@pytest.fixture
def run(state):
    """run(*arguments, **options) → the finished process, output as text."""
    def run(*arguments, env={}, timeout=60, **options):
        options.setdefault("stdin", None if "input" in options else subprocess.DEVNULL)
        if options["stdin"] is None:
            del options["stdin"]
        return subprocess.run([PROGRAM, *map(str, arguments)], env=environment(state, **env), text=True, encoding="utf-8",
                              errors="replace", capture_output=True, timeout=timeout * SLOW, **options)
    return run


@pytest.fixture
def pictures(tmp_path):
    """tmp/pictures: 6 pictures in folders red and blue and at the top, and things that are none."""
    top = tmp_path / "pictures"
    for n, name in enumerate(["a.png", "red/b.png", "red/shoe-1.png", "red/shoe-2.png", "blue/größe 漢.png", "blue/deep/e.PNG"]):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_bytes(png(n))
    (top / "notes.txt").write_text("no picture")
    (top / ".hidden.png").write_bytes(png(99))
    return top


_number = iter(range(1, 10**6))


@pytest.fixture
def name():
    return f"c{next(_number)}"


def events(done):
    return [json.loads(line) for line in done.stdout.splitlines()]


# --- words and statuses --------------------------------------------------------------------------------------------

@pytest.mark.parametrize("command", ["serve", "import", "search", "collection", "doctor", "backup", "restore", "bench", "export"])
def test_help(run, command):
    for arguments in [(command, "--help"), ("help", command)]:
        done = run(*arguments)
        assert done.returncode == 0 and done.stdout.startswith(f"usage: lookalike {command}") and not done.stderr
    assert command in run("help").stdout
    if command != "serve":
        assert "examples:" in done.stdout and "--server" in done.stdout and "--data" in done.stdout


def test_version_and_no_command(run):
    done = run("--version")
    assert done.returncode == 0 and re.fullmatch(r"lookalike \d+\.\d+\.\d+\n", done.stdout)
    assert run().returncode == 2
    assert run("--help").returncode == 0


@pytest.mark.parametrize("arguments", [
    ["import"], ["import", "c"], ["import", "0c", "."], ["import", "c", ".", "--nonsense"], ["import", "c", ".", "--jobs", "0"],
    ["import", "c", ".", "--jobs", "257"], ["import", "c", ".", "--jobs"], ["import", "c", "-", "--resume"],
    ["import", "c", ".", "--data", "d", "--server", "http://127.0.0.1:1"], ["import", "c", ".", "--model", "m"],
    ["search", "c"], ["search", "c", "a", "b"], ["search", "c", "a.png", "--fileid", "1"], ["search", "c", "--fileid", "x"], ["search", "--fileid", "1"], ["search", "c", "a.png", "--limit", "0"],
    ["search", "c", "a.png", "--limit", "16385"], ["search", "c", "a.png", "--limit", "16384", "--offset", "1"],
    ["bench"], ["bench", "0c"], ["bench", "c", "--clients", "0"], ["bench", "c", "--clients", "257"], ["bench", "c", "--seconds", "0"],
    ["collection"], ["collection", "paint"], ["collection", "create"], ["collection", "list", "x"], ["collection", "drop", "a-b"],
    ["doctor", "x"], ["doctor", "--repair"], ["doctor", "--data", "d", "--drop-damaged"], ["backup", "a", "b"],
    ["backup", "--data", "d"], ["backup", "--verify"], ["restore"], ["restore", "a", "b", "c"], ["restore", "a", "--as", "b"], ["reembed"], ["reembed", "a", "b"],
    ["reembed", "0c"], ["reembed", "c", "--forget", "--thumbnails"]], ids=" ".join)
def test_wrong_usage(run, arguments):
    done = run(*arguments)
    assert done.returncode == 2 and done.stderr.startswith("lookalike: ") and not done.stdout
    assert "--help" in done.stderr


@pytest.mark.parametrize("arguments", [["import", "c", "PICTURES"], ["search", "c", "PICTURES/a.png"], ["collection", "list"]])
def test_nobody_listens(run, pictures, arguments):
    done = run(*(a.replace("PICTURES", str(pictures)) for a in arguments), env={"LOOKALIKE_SERVER": "http://127.0.0.1:1"})
    assert done.returncode == 3 and "127.0.0.1:1" in done.stderr and not done.stdout


def test_not_our_server(run, pictures):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>welcome</html>")

        def log_message(self, *_):
            pass

    other = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=other.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{other.server_address[1]}"
    for arguments in [("collection", "list"), ("import", "c", pictures)]:
        done = run(*arguments, "--server", url)
        assert done.returncode == 3 and "lookalike server" in done.stderr
    assert run("doctor", "--server", url).returncode == 1
    other.shutdown()
    other.server_close()


# --- collections ---------------------------------------------------------------------------------------------------

def test_a_collection_with_its_own_model(run, server, name):
    at = ["--server", server.url]
    made = run("collection", "create", name, "--model", "efficientnet-lite0", "--background", "none", *at)
    assert made.returncode == 0, made.stderr
    stats = server.get(f"/v1/collections/{name}")
    assert (stats["model"], stats["background"]) == ("efficientnet-lite0", "none")
    run("collection", "drop", name, "--yes", *at)
    for flag, value in (("--model", "no&such=model"), ("--background", "pink")):
        refused = run("collection", "create", name, flag, value, *at)
        assert refused.returncode == 3 and value in refused.stderr, refused.stderr
    assert run("collection", "stats", name, *at).returncode == 3, "nothing was made"
    misplaced = run("collection", "list", "--model", "efficientnet-lite0", *at)
    assert misplaced.returncode == 2 and "--model" in misplaced.stderr


def test_collections(run, server, name):
    at = ("--server", server.url)
    made = run("collection", "create", name, *at)
    assert (made.returncode, made.stdout) == (0, f"created {name}\n")
    again = run("collection", "create", name, *at)
    assert again.returncode == 3 and name in again.stderr
    assert re.search(rf"^{name} +0 ", run("collection", "list", *at).stdout, re.M)
    listed = json.loads(run("collection", "list", "--json", *at).stdout)["collections"]
    assert [c["count"] for c in listed if c["name"] == name] == [0]
    stats = json.loads(run("collection", "stats", name, "--json", *at).stdout)
    assert stats["count"] == 0 and stats["dimension"] > 0 and stats["bytes"]["disk"] >= 0
    assert re.search(r"^pictures +0$", run("collection", "stats", name, *at).stdout, re.M)
    quiet = run("collection", "drop", name, "--yes", "--quiet", *at)
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")
    for verb in ["drop", "stats"]:
        gone = run("collection", verb, name, "--yes", *at)
        assert gone.returncode == 3 and name in gone.stderr


def on_terminal(arguments, env, answer=b"", until=None, timeout=60):
    """Run with a terminal for all three streams; → (status, what was on the screen)."""
    leader, follower = pty.openpty()
    process = subprocess.Popen([PROGRAM, *map(str, arguments)], env=env, stdin=follower, stdout=follower, stderr=follower)
    os.close(follower)
    screen, answered = b"", False
    deadline = time.monotonic() + timeout * SLOW
    while time.monotonic() < deadline:
        try:
            piece = os.read(leader, 4096)
        except OSError: # the other side is closed
            break
        if not piece:
            break
        screen += piece
        if until and not answered and until in screen:
            os.write(leader, answer)
            answered = True
    status = process.wait(timeout * SLOW)
    os.close(leader)
    return status, screen.decode("utf-8", "replace")


def test_drop_asks_on_a_terminal(run, server, name, state):
    run("collection", "create", name, "--server", server.url)
    arguments = ["collection", "drop", name, "--server", server.url]
    status, screen = on_terminal(arguments, environment(state), b"no\n", b"go on: ")
    assert status == 3 and "nothing was dropped" in screen and server.count(name) == 0
    status, screen = on_terminal(arguments, environment(state), name.encode() + b"\n", b"go on: ")
    assert status == 0 and f"dropped {name}" in screen
    assert run("collection", "stats", name, "--server", server.url).returncode == 3


# --- import --------------------------------------------------------------------------------------------------------

def test_import_says_what_happened(run, server, name, pictures):
    missing = run("import", name, pictures, "--server", server.url)
    assert missing.returncode == 3 and "--create" in missing.stderr
    done = run("import", name, pictures, "--create", "--server", server.url)
    assert done.returncode == 0 and done.stderr == ""
    assert re.fullmatch(r"imported 6, failed 0, no pictures 2; [\d.]+ s, [\d.]+ a second\n", done.stdout)
    assert server.count(name) == 6
    quiet = run("import", name, pictures, "--quiet", "--server", server.url)
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")
    assert server.count(name) == 6


def test_import_names_what_failed(run, server, name, pictures):
    (pictures / "cut.png").write_bytes(png(7)[:-60])
    (pictures / "empty.jpg").write_bytes(b"")
    (pictures / "red/page.jpg").write_bytes(b"<!doctype html>")
    with open(pictures / "large.png", "wb") as f:
        f.truncate(33 * 2**20)
    os.symlink("nowhere", pictures / "dead.jpg")
    bad = {"cut.png", "empty.jpg", "red/page.jpg", "large.png", "dead.jpg"}
    done = run("import", name, pictures, "--create", "--server", server.url)
    assert done.returncode == 1 and "imported 6, failed 5" in done.stdout
    assert {m[1] for m in re.finditer(r"^failed: (\S+): .+$", done.stderr, re.M)} == bad
    done = run("import", name, pictures, "--json", "--server", server.url)
    *failed, summary = events(done)
    assert done.returncode == 1 and done.stderr == ""
    assert {e["name"] for e in failed} == bad and all(e["event"] == "failed" and e["reason"] for e in failed)
    assert summary["event"] == "summary" and (summary["imported"], summary["failed"], summary["not_tried"]) == (6, 5, 0)
    assert server.count(name) == 6
    only_bad = pictures.parent / "bad"
    only_bad.mkdir()
    (only_bad / "x.jpg").write_bytes(b"x")
    assert run("import", name, only_bad, "--server", server.url).returncode == 3
    quiet = run("import", name, only_bad, "--quiet", "--server", server.url)
    assert quiet.stdout == "" and quiet.stderr.count("\n") == 1 and "x.jpg" in quiet.stderr


def test_a_name_cannot_control_the_terminal(run, server, name, pictures):
    (pictures / "\x1b[31mred\n.jpg").write_bytes(b"x")
    done = run("import", name, pictures, "--create", "--server", server.url)
    assert done.returncode == 1 and "\x1b" not in done.stderr and done.stderr.count("\n") == 1


def test_nothing_to_import(run, server, name, tmp_path):
    (tmp_path / "empty").mkdir()
    done = run("import", name, tmp_path / "empty", "--create", "--server", server.url)
    assert done.returncode == 3 and "no picture" in done.stderr
    done = run("import", name, tmp_path / "missing", "--create", "--server", server.url)
    assert done.returncode == 3 and "missing" in done.stderr
    assert run("collection", "stats", name, "--server", server.url).returncode == 3, "nothing was done: no collection was made"


def test_fileids_do_not_depend_on_place_or_machine(run, server, name, pictures, tmp_path):
    import shutil
    run("import", name, pictures, "--create", "--server", server.url)
    first = {i["fileid"]: i["brief"]["path"] for i in server.get(f"/v1/collections/{name}/images")["images"]}
    assert len(first) == 6 and all(0 < f < 2**53 for f in first)
    shutil.copytree(pictures, tmp_path / "elsewhere/pictures")
    assert run("import", name, tmp_path / "elsewhere/pictures", "--server", server.url,
               env={"XDG_STATE_HOME": str(tmp_path / "other")}).returncode == 0
    assert first == {i["fileid"]: i["brief"]["path"] for i in server.get(f"/v1/collections/{name}/images")["images"]}


def test_resume_leaves_out_what_is_unchanged(run, server, name, pictures):
    at = ("--server", server.url)
    run("import", name, pictures, "--create", *at)
    done = run("import", name, pictures, "--resume", "--json", *at)
    assert done.returncode == 0 and (events(done)[-1]["imported"], events(done)[-1]["unchanged"]) == (0, 6)
    (pictures / "a.png").write_bytes(png(50, side=52)) # another size
    os.utime(pictures / "red/b.png", (1, 1))           # another time
    (pictures / "new.png").write_bytes(png(51))
    done = run("import", name, pictures, "--resume", "--json", *at)
    assert (events(done)[-1]["imported"], events(done)[-1]["unchanged"]) == (3, 4)
    done = run("import", name, pictures, "--resume", "--json", "--item-from", "folder", *at) # other metadata
    assert events(done)[-1]["imported"] == 7
    assert server.count(name) == 7


def test_resume_does_not_trust_its_memory_alone(run, server, name, pictures):
    """What was deleted from the collection, or the whole of it, comes back."""
    at = ("--server", server.url)
    run("import", name, pictures, "--create", *at)
    fileid = server.get(f"/v1/collections/{name}/images")["images"][0]["fileid"]
    urllib.request.urlopen(urllib.request.Request(f"{server.url}/v1/collections/{name}/images/{fileid}", method="DELETE"))
    assert server.count(name) == 5
    done = run("import", name, pictures, "--resume", "--json", *at)
    assert events(done)[-1]["imported"] == 1 and server.count(name) == 6
    run("collection", "drop", name, "--yes", *at)
    done = run("import", name, pictures, "--resume", "--create", "--json", *at)
    assert events(done)[-1]["imported"] == 6 and server.count(name) == 6


def test_two_imports_of_one_source(run, server, name, pictures, state):
    """The second one of the same source at the same time is refused; one without a state folder still works."""
    for n in range(120):
        (pictures / f"many{n:03}.png").write_bytes(png(1000 + n))
    first = subprocess.Popen([PROGRAM, "import", name, pictures, "--create", "--jobs", "1", "--server", server.url],
                             env=environment(state), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 30 * SLOW
    while not list(state.rglob("imports/*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    second = run("import", name, pictures, "--create", "--server", server.url)
    assert first.poll() is not None or (second.returncode == 3 and "another import" in second.stderr)
    assert first.wait(120 * SLOW) == 0, first.stderr.read()
    state.joinpath("file").write_text("")
    broken = {"XDG_STATE_HOME": str(state / "file")}
    done = run("import", name, pictures, "--server", server.url, env=broken)
    assert done.returncode == 0 and "warning" in done.stderr
    done = run("import", name, pictures, "--resume", "--server", server.url, env=broken)
    assert done.returncode == 3 and "--resume" in done.stderr


def test_itemids(run, server, name, pictures):
    def items(way):
        assert run("import", name, pictures, "--create", "--item-from", way, "--server", server.url).returncode == 0
        return {i["brief"]["path"]: i["itemid"] for i in server.get(f"/v1/collections/{name}/images")["images"]}
    by_folder = items("folder")
    assert by_folder["red/b.png"] == by_folder["red/shoe-1.png"] != by_folder["blue/größe 漢.png"]
    by_name = items("name")
    assert by_name["red/shoe-1.png"] == by_name["red/shoe-2.png"] != by_name["red/b.png"]


def test_long_metadata_is_sent(run, server, name, pictures):
    """More than fits into a request line."""
    brief = {"text": "größe " * 3000, "path": "a"}
    lines = pictures / "lines.jsonl"
    lines.write_text(json.dumps({"fileid": 5, "path": "a.png", "itemid": 9, "tags": ["x"], "brief": brief}) + "\n")
    done = run("import", name, lines, "--create", "--server", server.url)
    assert done.returncode == 0, done.stderr
    record = server.get(f"/v1/collections/{name}/images/5")
    assert record["brief"] == brief and record["itemid"] == 9 and record["tags"] == ["x"]


def test_one_fileid_twice(run, server, name, pictures):
    table = pictures / "table.csv"
    table.write_text("fileid,path\n1,a.png\n1,red/b.png\n2,a.png\n,a.png\n,a.png\n")
    done = run("import", name, table, "--create", "--server", server.url)
    assert done.returncode == 1 and server.count(name) == 3
    assert "line 3: red/b.png" in done.stderr and "line 6: a.png" in done.stderr


def test_standard_input(run, server, name, pictures):
    lines = "".join(json.dumps({"fileid": n, "path": p}) + "\n" for n, p in enumerate(["a.png", "red/b.png", "missing.png"]))
    done = run("import", name, "-", "--create", "--server", server.url, input=lines, cwd=pictures)
    assert done.returncode == 1 and server.count(name) == 2 and "line 3: missing.png" in done.stderr


def test_interrupted_while_reading_standard_input(server, name, pictures, state):
    process = subprocess.Popen([PROGRAM, "import", name, "-", "--create", "--server", server.url], env=environment(state),
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=pictures)
    process.stdin.write(json.dumps({"fileid": 1, "path": "a.png"}) + "\n")
    process.stdin.flush()
    time.sleep(1 * SLOW)
    process.send_signal(signal.SIGINT)
    assert process.wait(20 * SLOW) == 130, process.stderr.read()
    process.stdin.close()
    assert "interrupted" in process.stderr.read()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(run, server, name, pictures, state, number):
    for n in range(244):
        (pictures / f"many{n:03}.png").write_bytes(png(2000 + n))
    arguments = ["import", name, pictures, "--create", "--server", server.url]
    process = subprocess.Popen([PROGRAM, *map(str, arguments)], env=environment(state), stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 30 * SLOW
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if server.count(name) > 20:
                break
        except OSError:
            pass
        time.sleep(0.01)
    process.send_signal(number)
    process.send_signal(number) # some callers pass one Ctrl-C on twice
    out, said = process.communicate(timeout=30 * SLOW)
    assert process.returncode == 130, out + said
    imported = int(re.match(r"imported (\d+), failed 0", out)[1])
    missing = int(re.search(r"(\d+) pictures were not tried", said)[1])
    assert imported + missing == 250 and 20 < imported < 250
    assert server.count(name) == imported, "each acknowledged one is counted, and no other"
    command = re.search(r"^  lookalike (.* --resume)$", said, re.M)[1]
    import shlex
    done = run(*shlex.split(command), "--json")
    assert done.returncode == 0 and events(done)[-1]["unchanged"] == imported
    assert server.count(name) == 250


def test_the_bar_on_a_terminal(server, name, pictures, state):
    for n in range(100):
        (pictures / f"many{n:03}.png").write_bytes(png(3000 + n))
    (pictures / "page.jpg").write_bytes(b"<html>")
    status, screen = on_terminal(["import", name, pictures, "--create", "--server", server.url], environment(state))
    assert status == 1
    assert re.search(r"\r\[#*-*\] imported \d+ of 107 \(\d+ %\), [\d.]+ a second", screen), screen[-500:]
    assert "failed: page.jpg: " in screen and "imported 106, failed 1" in screen


# --- servers that are away or busy ---------------------------------------------------------------------------------

class Proxy:
    """In front of the server: `trouble(number of the request)` may answer in its place, or hang up."""

    def __init__(self, server, trouble):
        self.seen = 0
        self.lock = threading.Lock()
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def forward(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status = None
                if self.command == "PUT" and "/images/" in self.path:
                    with proxy.lock:
                        proxy.seen += 1
                        number = proxy.seen
                    status = trouble(number)
                if status == "hang up":
                    self.close_connection = True
                    return
                if status is None:
                    request = urllib.request.Request(server.url + self.path, body or None, method=self.command)
                    if "Content-Type" in self.headers:
                        request.add_header("Content-Type", self.headers["Content-Type"])
                    try:
                        reply = urllib.request.urlopen(request)
                    except urllib.error.HTTPError as e:
                        reply = e
                    status, data = reply.status, reply.read()
                else:
                    data = json.dumps({"title": "x", "status": status, "detail": f"made up {status}"}).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_PUT = do_POST = do_DELETE = forward

            def log_message(self, *_):
                pass

        self.httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.httpd.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.httpd.server_address[1]}"
        threading.Thread(target=self.httpd.serve_forever, daemon=True).start()

    def close(self):
        self.httpd.shutdown()
        self.httpd.server_close()


@pytest.mark.parametrize("status", [503, 429, "hang up"])
def test_a_busy_server_is_asked_again(run, server, name, pictures, status):
    proxy = Proxy(server, lambda number: status if number % 3 else None)
    done = run("import", name, pictures, "--create", "--jobs", "2", "--server", proxy.url)
    proxy.close()
    assert done.returncode == 0, done.stderr
    assert server.count(name) == 6 and proxy.seen >= 18


def test_other_answers_are_failures(run, server, name, pictures):
    proxy = Proxy(server, lambda number: {2: 422, 3: 500, 4: 403}.get(number))
    done = run("import", name, pictures, "--create", "--jobs", "1", "--server", proxy.url)
    proxy.close()
    assert done.returncode == 1 and server.count(name) == 3 and proxy.seen == 6
    assert [f"made up {s}" in done.stderr for s in (422, 500, 403)] == [True] * 3


def test_the_server_is_started_again_meanwhile(run, tmp_path, tmp_path_factory, state, pictures):
    """kill -9 in the middle of an import, and a new server on the same port: nothing is lost."""
    for n in range(300):
        (pictures / f"many{n:03}.png").write_bytes(png(4000 + n))
    server = Server(tmp_path_factory.mktemp("again"))
    process = subprocess.Popen([PROGRAM, "import", "c", pictures, "--create", "--server", server.url], env=environment(state),
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 30 * SLOW
    while time.monotonic() < deadline:
        try:
            if server.count("c") > 20:
                break
        except OSError:
            pass
        time.sleep(0.01)
    server.process.kill()
    server.process.wait()
    server.start()
    out, said = process.communicate(timeout=90 * SLOW)
    assert process.returncode == 0, out + said
    assert server.count("c") == 306
    server.stop()


# --- search --------------------------------------------------------------------------------------------------------

def test_search(run, server, name, pictures):
    at = ("--server", server.url)
    run("import", name, pictures, "--create", "--item-from", "folder", *at)
    done = run("search", name, pictures / "red/b.png", *at)
    assert done.returncode == 0 and not done.stderr
    head, first, *rest = done.stdout.splitlines()
    assert head.split() == ["rank", "distance", "fileid", "itemid", "picture"]
    assert first.split()[0] == "1" and first.endswith("red/b.png") and len(rest) == 3, "one hit an item"
    every = json.loads(run("search", name, pictures / "red/b.png", "--all", "--json", *at).stdout)["hits"]
    assert len(every) == 6 and every[0]["brief"]["path"] == "red/b.png" and every[0]["distance"] < 1e-4
    assert [h["distance"] for h in every] == sorted(h["distance"] for h in every)
    part = json.loads(run("search", name, pictures / "red/b.png", "--all", "--json", "--limit", "2", "--offset", "3", *at).stdout)
    assert part["hits"] == every[3:5]
    with open(pictures / "red/b.png", "rb") as picture:
        piped = run("search", name, "-", "--all", "--json", *at, stdin=picture)
    assert json.loads(piped.stdout)["hits"] == every


def test_search_that_cannot_be(run, server, name, pictures):
    at = ("--server", server.url)
    assert "never_made" in run("search", "never_made", pictures / "a.png", *at).stderr
    run("import", name, pictures, "--create", *at)
    for picture, word in [(pictures / "missing.png", "missing.png"), (pictures / "notes.txt", "picture"), (pictures, "cannot be read")]:
        done = run("search", name, picture, *at)
        assert done.returncode == 3 and word in done.stderr and not done.stdout
    (pictures / "empty.png").write_bytes(b"")
    assert "empty" in run("search", name, pictures / "empty.png", *at).stderr
    private = run("search", name, f"{server.url}/x.png", *at) # the server does not fetch from private addresses
    assert private.returncode == 3 and private.stderr
    filtered = run("search", name, pictures / "a.png", "--filter", "itemid ==", *at)
    assert filtered.returncode == 3 and "filter" in filtered.stderr


# --- bench ---------------------------------------------------------------------------------------------------------

def test_bench(run, server, name, pictures):
    at = ("--server", server.url)
    run("import", name, pictures, "--create", *at)
    for by, queries in [((), ("records", 6)), ((pictures / "red", pictures / "a.png"), ("pictures", None))]:
        done = run("bench", name, *by, "--seconds", "1", "--clients", "3", "--limit", "2", "--json", *at)
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert found["by"] == queries[0] and (queries[1] is None or found["queries"] == queries[1])
        assert [r["clients"] for r in found["runs"]] == [1, 3]
        for r in found["runs"]:
            assert r["answered"] > 0 and r["failed"] == 0
            assert 0 < r["ms"]["p50"] <= r["ms"]["p95"] <= r["ms"]["p99"] <= r["ms"]["max"]
    done = run("bench", name, "--seconds", "1", "--clients", "2", "--filter", "fileid != 0", *at)
    head = done.stdout.splitlines()[1].split()
    assert head[:2] == ["clients", "searches/s"] and len(done.stdout.splitlines()) == 4


def test_bench_that_cannot_be(run, server, name, pictures, tmp_path):
    at = ("--seconds", "1", "--server", server.url)
    assert "never_made" in run("bench", "never_made", *at).stderr
    run("collection", "create", name, "--server", server.url)
    (tmp_path / "nothing").mkdir()
    for arguments, word in [((), "empty"), ((tmp_path / "nothing",), "no picture"), ((pictures / "missing.png",), "missing.png"),
                            ((pictures / "notes.txt",), "picture"), ((pictures / "a.png", "--filter", "itemid =="), "filter")]:
        done = run("bench", name, *arguments, *at)
        assert done.returncode == 3 and word in done.stderr and not done.stdout, done.stderr


# --- without a server ----------------------------------------------------------------------------------------------

def test_data(run, pictures, tmp_path):
    at = ("--data", tmp_path / "store", "--threads", "1")
    done = run("import", "c", pictures, "--create", *at)
    if "RTLD_DEEPBIND" in done.stderr or (done.returncode == 3 and "model" in done.stderr):
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stderr
    assert json.loads(run("collection", "stats", "c", "--json", *at).stdout)["count"] == 6
    hits = json.loads(run("search", "c", pictures / "a.png", "--json", *at).stdout)["hits"]
    assert hits[0]["brief"]["path"] == "a.png" and hits[0]["distance"] < 1e-4
    done = run("import", "c", pictures, "--resume", "--json", *at)
    assert events(done)[-1]["unchanged"] == 6
    done = run("doctor", *at)
    assert done.returncode == 0 and "Healthy" in done.stdout, done.stdout
    found = [json.loads(line) for line in run("doctor", "--json", *at).stdout.splitlines()]
    assert {"cpu", "port", "folder", "disk", "store", "model"} <= {f["topic"] for f in found}
    assert run("collection", "drop", "c", *at).returncode == 0
    assert json.loads(run("collection", "list", "--json", *at).stdout) == {"collections": []}


def test_data_of_a_running_server(run, server, pictures):
    done = run("import", "c", pictures, "--create", "--data", server.data)
    assert done.returncode == 3 and str(server.process.pid) in done.stderr
    done = run("doctor", "--data", server.data)
    assert done.returncode == 1 and "--server" in done.stdout


def test_doctor(run, server, tmp_path):
    done = run("doctor", "--server", server.url)
    assert done.returncode == 0 and "Healthy" in done.stdout
    quiet = run("doctor", "--quiet", "--server", server.url)
    assert (quiet.returncode, quiet.stdout) == (0, "")
    away = run("doctor", "--server", "http://127.0.0.1:1")
    assert away.returncode == 1 and "127.0.0.1:1" in away.stdout
    missing = run("doctor", "--data", tmp_path / "nothing")
    assert missing.returncode == 1 and "nothing" in missing.stdout and not (tmp_path / "nothing").exists()
