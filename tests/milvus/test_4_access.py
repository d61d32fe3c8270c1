"""A Milvus behind TLS and a password, and what is said of settings that do not fit. Last of all, because the other Milvus is
ended for it: two of them are too much for a small machine."""
import subprocess

import pytest
from support import run_program

from conftest import KIND, Milvus

pytestmark = pytest.mark.skipif(KIND == "lite", reason="milvus-lite has neither TLS nor users nor databases")


@pytest.fixture(scope="module")
def secured(milvus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("secured")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                    "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", folder / "key.pem", "-out", folder / "cert.pem"],
                   check=True, capture_output=True)
    milvus.kill()
    server = Milvus(folder, "--authorization-enabled", "true", "--tls-mode", "1", "--server-pem-path", folder / "cert.pem",
                    "--server-key-path", folder / "key.pem", "--ca-pem-path", folder / "cert.pem")
    try:
        yield server.start()
    finally:
        server.kill()


def listing(secured, tmp_path, *flags, scheme="https", host="localhost", **options):
    return run_program("collection", "list", "--data", tmp_path / "data", "--milvus-timeout", "4000",
                       "--milvus-uri", f"{scheme}://{host}:{secured.port}", *flags, **options)


@pytest.fixture
def ca(secured):
    return ["--milvus-ca", secured.folder / "cert.pem"]


def test_password_and_certificate(secured, tmp_path, ca):
    for login in (["--milvus-user", "root", "--milvus-password", "Milvus"], ["--milvus-token", "root:Milvus"]):
        for _ in range(60):  # until it has started
            done = listing(secured, tmp_path, *ca, *login)
            if done.returncode == 0:
                break
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("flags, words", [
    (["--milvus-user", "root", "--milvus-password", "wrong"], ["refuses the user, password", "--milvus-password"]),
    (["--milvus-user", "nobody", "--milvus-password", "Milvus"], ["refuses the user, password", "--milvus-user"]),
    ([], ["refuses the user, password", "--milvus-token"]),
    (["--milvus-token", "some-key"], ["refuses the user, password", "--milvus-token"]),
    (["--milvus-user", "root", "--milvus-password", "Milvus", "--milvus-db", "nothing"], ["database \"nothing\"", "--milvus-db"]),
])
def test_wrong_login_is_named(secured, tmp_path, ca, flags, words):
    done = listing(secured, tmp_path, *ca, *flags)
    assert done.returncode == 3 and all(w in done.stderr for w in words), done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    print(done.stderr.strip())


def test_a_certificate_that_cannot_be_believed(secured, tmp_path, ca):
    login = ["--milvus-user", "root", "--milvus-password", "Milvus"]
    done = listing(secured, tmp_path, *login)
    assert done.returncode == 3 and "--milvus-ca" in done.stderr, done.stderr
    print(done.stderr.strip())
    done = listing(secured, tmp_path, *ca, *login, host="127.0.0.1")  # the certificate is of localhost
    assert done.returncode == 3 and "certificate" in done.stderr, done.stderr
    print(done.stderr.strip())


def test_http_where_https_is_wanted(secured, tmp_path):
    done = listing(secured, tmp_path, "--milvus-user", "root", "--milvus-password", "Milvus", scheme="http")
    assert done.returncode == 3 and "https://" in done.stderr, done.stderr
    print(done.stderr.strip())
