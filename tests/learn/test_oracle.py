"""The projection of src/learn against the same mathematics in NumPy.

learn_dump is built with the tests (LOOKALIKE_BUILD, "build" without).
"""
import os
import pathlib
import subprocess

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
DUMP = pathlib.Path(os.environ.get('LOOKALIKE_BUILD', ROOT / 'build')) / 'tests' / 'learn' / 'learn_dump'
BLOCKS = (40, 12, 12, 20)


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def balance(x, plain_weight):
    parts, at = [], 0
    for number, length in enumerate(BLOCKS):
        part = x[:, at:at + length]
        parts.append(unit(np.sign(part) * np.sqrt(np.abs(part))) * (plain_weight if number == 0 else 1))
        at += length
    return unit(np.concatenate(parts, 1))


def reference(x, group, shrink, out, plain_weight):
    """As ../shared/lab/tune_reference.py does it, in double precision."""
    x = balance(x.astype(np.float64), plain_weight)
    x = unit(x - x.mean(0))
    kept = [np.flatnonzero(group == g) for g in np.unique(group)]
    within = np.concatenate([x[rows] - x[rows].mean(0) for rows in kept if len(rows) > 1])
    covariance = within.T @ within
    covariance *= len(covariance) / np.trace(covariance)
    value, vector = np.linalg.eigh(covariance)
    white = vector / np.sqrt(np.maximum(value, 0) + shrink)
    _, axes = np.linalg.eigh(np.cov(((x - x.mean(0)) @ white).T))
    return unit(x @ white @ axes[:, ::-1][:, :out])


def made(seed, items, singles):
    random = np.random.default_rng(seed)
    d = sum(BLOCKS)
    group = np.concatenate([np.repeat(np.arange(items), random.integers(2, 9, items)), 10_000 + np.arange(singles)])
    centre = {g: random.normal(size=d) for g in np.unique(group)}
    x = np.stack([centre[g] for g in group]) + random.normal(size=(len(group), d)) @ random.normal(size=(d, d)) * 0.1
    order = random.permutation(len(group))
    return (x[order] + 1).astype(np.float32), group[order].astype(np.int64)


def dump(x, group, shrink, out, plain_weight):
    run = subprocess.run([DUMP, str(shrink), str(out), str(plain_weight), ','.join(map(str, BLOCKS))],
                         input=np.uint64(len(x)).tobytes() + group.tobytes() + x.tobytes(), capture_output=True, check=False)
    assert run.returncode == 0, run.stderr
    return np.frombuffer(run.stdout, np.float32).reshape(len(x), -1), run.stderr.decode()


@pytest.mark.parametrize('shrink', (0.1, 1.0, 10.0))
@pytest.mark.parametrize('out', (16, 84))
def test_projection(shrink, out):
    x, group = made(1, 60, 40)
    vectors, _ = dump(x, group, shrink, out, 2)
    expected = reference(x, group, shrink, out, 2)
    assert vectors.shape == expected.shape
    # Axes may be turned within equal eigenvalues and have either sign; what a search sees is inner products.
    assert np.abs(vectors @ vectors.T - expected @ expected.T).max() < 2e-3


def test_cross_validation_chooses():
    x, group = made(2, 80, 0)
    vectors, said = dump(x, group, 0, 0, 0)
    assert vectors.shape[1] in (84,) and 'groups 80' in said
    assert any(f'shrink {value} ' in said for value in ('0.5', '2', '8'))


def test_without_groups():
    x, _ = made(3, 30, 10)
    vectors, said = dump(x, np.arange(len(x)), 0, 84, 1)
    assert 'groups 0' in said
    expected = balance(x.astype(np.float64), 1)
    expected = unit(expected - expected.mean(0))
    assert np.abs(vectors @ vectors.T - expected @ expected.T).max() < 2e-3
