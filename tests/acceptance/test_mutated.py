"""The short form of mutated.py: 1,500 damaged pictures of every format (LOOKALIKE_MUTATED: another number)."""
import argparse
import os

import mutated


def test_mutated_pictures(tmp_path):
    options = argparse.Namespace(pictures=int(os.environ.get("LOOKALIKE_MUTATED", "1500")), clients=8, seed=20, sandbox="auto")
    assert mutated.run(options, tmp_path, print) is None
