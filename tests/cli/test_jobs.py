"""`lookalike jobs`, the events of /v1/jobs, and `search --fileid`, over a server with backups as its long work."""
import http.client
import json
import urllib.request

import pytest
from test_cli import Server, name, pictures, run, state  # noqa: F401 (fixtures)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("server"), flags=("--backup-dir", str(tmp_path_factory.mktemp("backups"))))
    yield server
    assert server.stop() == 0, server.log.read_text("utf-8", "replace")[-2000:]


def start_backup(server):
    request = urllib.request.Request(f"{server.url}/v1/backup", b"{}", {"Content-Type": "application/json"}, method="POST")
    return json.load(urllib.request.urlopen(request))["job"]


def events(server, path, count=None):
    """The data of the events of a stream, to its end or the first `count`."""
    connection = http.client.HTTPConnection(server.url.split("//")[1], timeout=30)
    connection.request("GET", path, headers={"Accept": "text/event-stream"})
    response = connection.getresponse()
    assert response.status == 200 and response.getheader("Content-Type") == "text/event-stream"
    found = []
    for line in response:
        if line.startswith(b"data: "):
            found.append(json.loads(line[6:]))
            if len(found) == count:
                break
    connection.close()
    return found


def test_jobs(run, server, name, pictures):
    done = run("jobs", "--server", server.url)
    assert done.returncode == 0 and "no long work" in done.stderr and not done.stdout
    run("import", name, pictures, "--create", "--server", server.url)
    job = start_backup(server)
    done = run("jobs", "watch", job, "--server", server.url)
    assert done.returncode == 0 and "done" in done.stdout and job in done.stdout
    assert job in run("jobs", "list", "--server", server.url).stdout
    shown = json.loads(run("jobs", "show", job, "--json", "--server", server.url).stdout)
    assert set(shown) == {"id", "kind", "collection", "state", "done", "total", "message", "started", "finished", "result"}
    assert (shown["id"], shown["kind"], shown["state"]) == (job, "backup", "done")
    assert shown["started"] <= shown["finished"] and shown["finished"].endswith("Z") and shown["result"]
    assert run("jobs", "cancel", job, "--server", server.url).returncode == 0  # it has ended: nothing changes
    assert json.loads(run("jobs", "show", job, "--json", "--server", server.url).stdout) == shown


def test_jobs_as_events(server):
    job = start_backup(server)
    seen = events(server, f"/v1/jobs/{job}")
    assert seen[-1]["state"] == "done" and seen[-1]["finished"] and {e["id"] for e in seen} == {job}
    [again] = events(server, f"/v1/jobs/{job}")
    assert again == seen[-1]
    [first] = events(server, "/v1/jobs", 1)
    assert first["jobs"][0]["id"] == job


def test_more_watchers_than_workers(server):
    """Whoever watches holds no worker: 40 do, and the server answers. Those beyond the limit are told so."""
    watchers = []
    try:
        for _ in range(40):
            connection = http.client.HTTPConnection(server.url.split("//")[1], timeout=30)
            connection.request("GET", "/v1/jobs", headers={"Accept": "text/event-stream"})
            watchers.append((connection, connection.getresponse()))
        assert {response.status for _, response in watchers} == {200}
        assert json.load(urllib.request.urlopen(server.url + "/healthz", timeout=10))["status"] == "ok"
        for _ in range(30):
            connection = http.client.HTTPConnection(server.url.split("//")[1], timeout=30)
            connection.request("GET", "/v1/jobs", headers={"Accept": "text/event-stream"})
            watchers.append((connection, connection.getresponse()))
        assert watchers[-1][1].status == 503 and watchers[-1][1].getheader("Retry-After")
    finally:
        for connection, _ in watchers:
            connection.close()


def test_wrong_jobs(run, server):
    done = run("jobs", "show", "nothing", "--server", server.url)
    assert done.returncode == 3 and "nothing" in done.stderr
    for arguments in (["paint"], ["show"], ["list", "x"], ["--data", "d"]):
        assert run("jobs", *arguments).returncode == 2


def test_search_by_fileid(run, server, name, pictures):
    run("import", name, pictures, "--create", "--server", server.url)
    first = json.load(urllib.request.urlopen(f"{server.url}/v1/collections/{name}/images"))["images"][0]["fileid"]
    hits = json.loads(run("search", name, "--fileid", first, "--json", "--server", server.url).stdout)["hits"]
    assert hits[0]["fileid"] == first and hits[0]["distance"] == 0
    others = json.loads(run("search", name, "--fileid", first, "--filter", f"fileid != {first}", "--json", "--server", server.url).stdout)["hits"]
    assert others and first not in [h["fileid"] for h in others]
    done = run("search", name, "--fileid", "12345", "--server", server.url)
    assert done.returncode == 3 and "12345" in done.stderr
    done = run("search", name, "--fileid", first, "--filter", "fileid = 1", "--server", server.url)
    assert done.returncode == 3 and "column" in done.stderr
