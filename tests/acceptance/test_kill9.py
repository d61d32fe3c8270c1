"""A few rounds of kill9.py, which is a command of its own for more of them."""
import argparse

import pytest

import kill9


@pytest.mark.parametrize("rounds", [5])
def test_acknowledged_writes_survive_kill_9(tmp_path, rounds):
    options = argparse.Namespace(rounds=rounds, clients=16, seed=1)
    assert kill9.rounds(options, tmp_path / "data", print) > 0


def test_mixed_writes_survive_kill_9(tmp_path):
    options = argparse.Namespace(rounds=6, seed=3)
    assert kill9.kill9_mixed.rounds(options, tmp_path, print) > 0
