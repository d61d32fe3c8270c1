"""/metrics, log lines and request ids of a server that runs."""

import json
import pathlib
import re

import httpx
import pytest

from support import SOURCE, Server, picture


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("watched") / "data", "--log", "json", "--access-log", "yes").start()
    with httpx.Client(base_url=server.url, trust_env=False, timeout=60) as client:
        yield server, client
    server.stop_cleanly()


def numbers(client):
    """{series: value}, every line checked for the form."""
    reply = client.get("/metrics")
    assert reply.status_code == 200 and reply.headers["content-type"].startswith("text/plain; version=0.0.4")
    found, typed = {}, set()
    for line in reply.text.splitlines():
        if line.startswith("# TYPE "):
            typed.add(line.split()[2])
        elif not line.startswith("#"):
            match = re.fullmatch(r'([a-z_]+)(\{(?:[a-z]+="[^"]*",?)*\})? (-?[0-9.e+]+)', line)
            assert match, line
            assert match[1] in typed or re.sub("_(bucket|sum|count)$", "", match[1]) in typed, line
            assert line.rsplit(" ", 1)[0] not in found, line
            found[line.rsplit(" ", 1)[0]] = float(match[3])
    return found


def test_metrics_move(watched):
    _, client = watched
    before = numbers(client)
    assert client.put("/v1/collections/seen").status_code == 201
    assert client.put("/v1/collections/seen/images/1", content=picture(1)).is_success
    assert client.post("/v1/collections/seen/search", content=picture(1)).status_code == 200
    assert client.get("/v1/collections/not_there").status_code == 404
    assert client.get("/made/up/path").status_code == 404
    after = numbers(client)

    def grew(series, by):
        assert after.get(series, 0) - before.get(series, 0) == by, (series, before.get(series), after.get(series))

    grew('lookalike_http_requests_total{method="PUT",route="/v1/collections/{c}",status="201"}', 1)
    grew('lookalike_http_requests_total{method="GET",route="/v1/collections/{c}",status="404"}', 1)
    grew('lookalike_http_requests_total{method="",route="none",status="404"}', 1)
    grew('lookalike_decodes_total{outcome="ok"}', 2)
    grew('lookalike_stage_seconds_count{stage="embed"}', 2)
    grew('lookalike_stage_seconds_count{stage="search"}', 1)
    grew('lookalike_stage_seconds_count{stage="write"}', 1)
    assert after['lookalike_collection_records{collection="seen"}'] == 1
    assert after["lookalike_connections"] >= 1
    assert "made/up" not in client.get("/metrics").text


def test_the_dashboard_asks_for_what_there_is(watched):
    _, client = watched
    names = {re.sub(r"[{].*", "", series) for series in numbers(client)}
    board = json.loads((pathlib.Path(SOURCE) / "contrib/grafana/lookalike.json").read_text())
    asked = {name for panel in board["panels"] for target in panel["targets"]
             for name in re.findall(r"\b(?:lookalike|process)_[a-z_]+", target["expr"])}
    assert len(asked) > 10
    assert asked <= names | {"lookalike_http_requests_total"}, asked - names


def test_request_ids_and_log_lines(watched):
    server, client = watched
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    reply = client.get("/v1/collections/nothing", headers={"X-Request-Id": "mine-1", "traceparent": trace})
    assert reply.headers["x-request-id"] == "mine-1"
    for bad in ("with blank", "x" * 65, 'quote"'):
        other = client.get("/healthz", headers={"X-Request-Id": bad}).headers["x-request-id"]
        assert re.fullmatch("[0-9a-f]{16}", other)
    client.get("/healthz", headers={"traceparent": "00-" + "0" * 32 + "-b7ad6b7169203331-01", "X-Request-Id": "mine-2"})
    lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    mine = next(line for line in lines if line.get("request_id") == "mine-1")
    assert mine["message"] == "request" and mine["status"] == 404 and mine["path"] == "/v1/collections/nothing"
    assert mine["trace_id"] == trace[3:35] and mine["client"] == "127.0.0.1" and mine["ms"] >= 0
    assert "trace_id" not in next(line for line in lines if line.get("request_id") == "mine-2")
