"""The built server as a process, and the pictures that the tests of the page put into it."""

import json
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / os.environ.get("LOOKALIKE_BUILD", "build")
PICTURES = ROOT.parent / "shared" / "data" / "clothing"
SCREENSHOTS = BUILD / "screenshots"

PICTURE_COUNT = 60  # more than one page of hits
BEYOND_DOUBLE = 2**53  # fileids from here on have an odd neighbour that a double cannot hold
HOSTILE = '<script>document.title="bad"</script><img src=x onerror="document.title=\'bad\'">'
RIGHT_TO_LEFT = '"quoted" \' & \u202eright to left\u200f עברית'
LONGEST_NAME = "c" * 255  # of a collection


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def environment():
    """Nothing that would configure the program, except where its models are."""
    return {name: value for name, value in os.environ.items()
            if name == "LOOKALIKE_MODELS" or not name.startswith(("LOOKALIKE_", "MILVUS_", "VECTOR_", "METRIC_"))}


class Server:
    """A `lookalike serve` of our own, with nothing in it."""

    def __init__(self, *flags, rights=None):
        """With `rights` the server asks for a key, and `key` has them."""
        self.folder = tempfile.mkdtemp(prefix="lookalike-page-")
        self.key = self.make_key("operator", rights) if rights else None
        listen = f"127.0.0.1:{free_port()}"
        self.base = f"http://{listen}"
        self.log = open(pathlib.Path(self.folder) / "log", "w+", encoding="utf-8")
        self.process = subprocess.Popen(
            [BUILD / "lookalike", "serve", "--data", f"{self.folder}/data", "--listen", listen, *flags],
            stdout=self.log, stderr=self.log, cwd=ROOT, env=environment())
        deadline = time.monotonic() + 60
        while not self.ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.log.seek(0)
                text = self.log.read()
                self.stop()
                raise AssertionError(f"the server did not start:\n{text}")
            time.sleep(0.1)

    def make_key(self, name, rights):
        done = subprocess.run(
            [BUILD / "lookalike", "key", "create", name, "--rights", rights, "--data", f"{self.folder}/data", "--quiet"],
            capture_output=True, text=True, check=True, env=environment(), timeout=60)
        return done.stdout.strip()

    def ready(self):
        try:
            with urllib.request.urlopen(self.base + "/readyz", timeout=2) as reply:
                return reply.status == 200
        except OSError:
            return False

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def send(self, method, path, body=None, content_type="application/json"):
        request = urllib.request.Request(self.base + path, data=body, method=method)
        if body is not None:
            request.add_header("Content-Type", content_type)
        if self.key:
            request.add_header("Authorization", f"Bearer {self.key}")
        with urllib.request.urlopen(request, timeout=60) as reply:
            return reply.status, reply.headers, reply.read()

    def create(self, collection):
        try:
            self.send("PUT", f"/v1/collections/{collection}")
        except urllib.error.HTTPError as error:
            if error.code != 409:
                raise

    def add(self, collection, fileid, picture, tags=(), brief=None, itemid=None):
        given = {"tags": json.dumps(list(tags)), "brief": json.dumps(brief or {})}
        if itemid is not None:
            given["itemid"] = itemid
        parameters = urllib.parse.urlencode(given)
        self.send("PUT", f"/v1/collections/{collection}/images/{fileid}?{parameters}", picture.read_bytes(), "image/jpeg")


def gallery():
    """
    (fileid, file) of the pictures imported, of all classes; every third fileid has more digits than a double. The query's
    picture is one of the first twelve, so that there is always a good match.
    """
    classes = [sorted(folder.glob("*.jpg")) for folder in sorted((PICTURES / "train").iterdir())]
    chosen = [files[index] for index in range(PICTURE_COUNT) for files in classes if index < len(files)][:PICTURE_COUNT]
    chosen[10] = query_picture()  # a dress for a dress
    return [(number if number % 3 else BEYOND_DOUBLE + 2 * number + 1, file) for number, file in enumerate(chosen, 1)]


def query_picture():
    return sorted((PICTURES / "test" / "dress").glob("*.jpg"))[3]
