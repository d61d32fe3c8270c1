"""Fixtures. See support.py for what they are made of.

The one server of the session is shared by all tests; each test works in a collection of its own. When the session ends
the server gets SIGTERM and must end with status 0, and its log must hold no sanitizer report.
"""
import itertools
import pathlib
import shutil
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import support  # noqa: E402


TUNE = "Milvus keeps the vector alone, as the Python service does: there is no tune"
NOT_ON_MILVUS = {  # where the records are in one: scripts/check-milvus
    "test_tune_finds_products_it_did_not_learn_from": TUNE,
    "test_a_tuned_collection_answers_every_kind_of_query": TUNE,
    "test_min_similarity_keeps_what_is_over_it": TUNE,
    "test_tune_without_labels_learns_from_changed_copies": TUNE,
    "test_statistics_bytes": "what a collection takes on Milvus's disk is Milvus's own, and it does not say: 0",
    "test_a_second_server_on_the_same_data_does_not_start": "several servers may share a Milvus",
    "test_doctor_finds_nothing_wrong": "the doctor looks at the files of the embedded store",
    "test_mixed_writes_survive_kill_9": "tune and backup go on beside its writes, and a Milvus has neither here",
}


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: takes minutes; left out unless --slow is given")


def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", help="also run the tests that take minutes")


def pytest_collection_modifyitems(config, items):
    for item in items:
        if "slow" in item.keywords and not config.getoption("--slow"):
            item.add_marker(pytest.mark.skip(reason="takes minutes: give --slow"))
        if support.ON_MILVUS and item.originalname in NOT_ON_MILVUS:
            item.add_marker(pytest.mark.skip(reason=NOT_ON_MILVUS[item.originalname]))
        if support.ON_MILVUS and item.path.name == "test_reembed.py":
            item.add_marker(pytest.mark.skip(reason="a Milvus keeps no originals, and its vectors have the length they were made with"))


@pytest.fixture(scope="session")
def servers(tmp_path_factory):
    """start(*flags, data=None) → a running server; all are stopped, and looked at, when the session ends."""
    if not support.PROGRAM.exists():
        pytest.fail(f"{support.PROGRAM} does not exist: build it, or set LOOKALIKE_BUILD", pytrace=False)
    running, number = [], itertools.count()

    def start(*flags, data=None, timeout=60):
        folder = tmp_path_factory.mktemp(f"server{next(number)}")
        server = support.Server(data or folder / "data", *flags, log=folder / "log.txt")
        server.start(timeout)
        running.append(server)
        return server

    yield start
    problems = []
    for server in running:
        try:
            server.stop_cleanly()
        except AssertionError as problem:
            problems.append(str(problem))
        shutil.rmtree(server.data, ignore_errors=True)
    assert not problems, "\n\n".join(problems)


@pytest.fixture(scope="session")
def server(servers):
    return servers("--fetch-allow", "127.0.0.0/8")


@pytest.fixture(autouse=True)
def still_the_same_process(request):
    """A test that ends the session's server fails itself, and not the ones after it."""
    yield
    if "server" in request.fixturenames:
        server = request.getfixturevalue("server")
        assert server.alive(), f"the server ended with {server.process.returncode}:\n{server.tail()}"


@pytest.fixture(scope="session")
def api(server):
    client = support.Api(server.url)
    yield client
    client.close()


@pytest.fixture(scope="session")
def post(api):
    return api.post


_names = itertools.count(1)


@pytest.fixture
def collection(api):
    """The name of a new, empty collection; dropped after the test."""
    name = f"test_{next(_names)}"
    assert api.create(name).code == support.OK
    yield name
    api.drop(name)


@pytest.fixture(scope="module")
def catalogue(api):
    """A collection to be read only: 30 pictures, two for each of 15 items. → (name, {fileid: picture})"""
    name = f"catalogue_{next(_names)}"
    assert api.create(name).code == support.OK
    pictures = {fileid: support.picture(fileid) for fileid in range(1, 31)}
    for fileid, data in pictures.items():
        api.add(name, fileid, data, itemid=1000 + (fileid - 1) // 2, tags=[f"tag{fileid % 3}"], brief={"n": fileid}).data
    yield name, pictures
    api.drop(name)


@pytest.fixture(scope="session")
def site():
    site = support.PictureSite()
    yield site
    site.close()


@pytest.fixture(scope="session")
def real_pictures():
    """real_pictures("clothing/train") → paths; the test is skipped where they are not on this machine."""
    def find(folder):
        paths = support.shared_pictures(folder)
        if not paths:
            pytest.skip(f"{support.SHARED / folder} is not on this machine")
        return paths
    return find


def all_records(api, collection):
    """Every record of a collection by the native route, page by page."""
    records, after = [], None
    while True:
        page = api.http.get(f"/v1/collections/{collection}/images", params={"limit": 500} | ({} if after is None else {"after": after}))
        records += page.json()["images"]
        after = page.json()["next"]
        if after is None:
            return records


@pytest.fixture(scope="session")
def clothing(server, api, real_pictures, tmp_path_factory):
    """clothing/train, imported once by the command line from a copy that has unreadable files mixed in."""
    from test_import import BAD
    paths = real_pictures("clothing/train")
    folder = tmp_path_factory.mktemp("clothing")
    for path in paths:
        link = folder / path.relative_to(support.SHARED / "clothing/train")
        link.parent.mkdir(exist_ok=True)
        shutil.copyfile(path, link)
    for n, (name, data) in enumerate(BAD.items()):
        (sorted(p for p in folder.iterdir() if p.is_dir())[n] / name).write_bytes(data)
    started = time.monotonic()
    done = support.run_program("import", "clothing", folder, "--create", "--server", server.url)
    took = time.monotonic() - started
    yield {"import": done, "took": took, "files": len(paths), "paths": paths, "folder": folder, "records": all_records(api, "clothing")}
    api.drop("clothing")
    shutil.rmtree(folder, ignore_errors=True)
