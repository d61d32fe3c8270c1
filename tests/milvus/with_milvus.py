"""Runs a command with a Milvus of its own at LOOKALIKE_TEST_MILVUS: with_milvus.py milvus|lite COMMAND…"""
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile

os.environ["LOOKALIKE_MILVUS_KIND"] = sys.argv[1]
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from conftest import Milvus  # noqa: E402


def main():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="lookalike-milvus-"))
    milvus = Milvus(folder)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        milvus.start()
        return subprocess.run(sys.argv[2:], env=os.environ | {"LOOKALIKE_TEST_MILVUS": milvus.address}).returncode
    finally:
        milvus.kill()
        shutil.rmtree(folder, ignore_errors=True)


sys.exit(main())
