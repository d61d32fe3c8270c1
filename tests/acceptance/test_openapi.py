"""What /openapi.json describes is sent, and what comes back compared with it: status, content type, schema.

schemathesis makes the requests: what the document allows and what it does not. Few for each operation, always the same.
"""
import pytest

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed: see tests/requirements.txt")

from hypothesis import HealthCheck, Phase, given, settings  # noqa: E402
from schemathesis.checks import CHECKS  # noqa: E402

from support import b64, picture  # noqa: E402

COLLECTION = "described"
WANTED = ("status_code_conformance", "content_type_conformance", "response_schema_conformance")


@pytest.fixture(scope="module")
def document(server, api):
    """The document of the server, which has a collection for the requests to meet."""
    assert api.http.put(f"/v1/collections/{COLLECTION}").status_code == 201
    for n in range(3):
        api.http.put(f"/v1/collections/{COLLECTION}/images/{n}", json={"image": b64(picture(n)), "tags": ["a"], "brief": {"n": n}})
    yield schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    api.http.delete(f"/v1/collections/{COLLECTION}")


def try_operation(operation, seen):
    @settings(max_examples=6, deadline=None, derandomize=True, database=None, phases=[Phase.explicit, Phase.generate],
              suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy())
    def replies_are_what_is_described(case):
        if "c" in (case.path_parameters or {}) and operation.path != "/v1/collections/{c}":
            case.path_parameters["c"] = COLLECTION
        response = case.call(timeout=30)
        seen.append(response.status_code)
        assert response.status_code not in (500, 501), response.text
        case.validate_response(response, checks=CHECKS.get_by_names(WANTED))

    replies_are_what_is_described()


def test_replies_are_what_is_described(document):
    tried, problems = {}, []
    for result in document.get_all_operations():
        operation = result.ok()
        name = f"{operation.method.upper()} {operation.path}"
        if name == "POST /v1/collections/{c}/images":  # lines of JSON: test_bulk.py
            continue
        tried[name] = []
        try:
            try_operation(operation, tried[name])
        except BaseException as problem:  # a group of failures is no Exception
            if isinstance(problem, KeyboardInterrupt):
                raise
            parts = getattr(problem, "exceptions", [problem])
            problems.append(f"{name}: " + "\n".join(str(part) for part in parts))
    assert not problems, "\n\n".join(problems)[:8000]
    assert len(tried) > 35 and all(tried.values())
    fine = [name for name, statuses in tried.items() if any(status < 300 for status in statuses)]
    assert len(fine) > 15, f"only these were answered with success: {fine}"
