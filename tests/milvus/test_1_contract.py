"""The store's contract in C, run on this Milvus. First of all, because it drops what is there."""
import os
import re
import subprocess

import pytest
from support import BUILD

from conftest import KIND

SLOW_ON_LITE = {"contract_search"}  # milvus-lite compares in Python: minutes


@pytest.mark.parametrize("part", ["contract", "contract_search", "contract_filter", "migrate"])
def test_contract(milvus, client, part):
    if KIND == "lite" and part in SLOW_ON_LITE and "LOOKALIKE_TEST_LONG" not in os.environ:
        pytest.skip("takes three minutes on milvus-lite: set LOOKALIKE_TEST_LONG=1")
    done = subprocess.run([BUILD / "tests" / "store" / f"test_store_{part}", "milvus"], text=True, capture_output=True, timeout=900,
                          env=os.environ | {"LOOKALIKE_TEST_MILVUS": milvus.address})
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert re.search(r"\[  PASSED  \] \d+ test", done.stdout + done.stderr)
