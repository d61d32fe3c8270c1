"""tools/join_models.py: one model of two, and what either would have said."""
import hashlib
import json
import subprocess
import sys

import numpy
import openvino
import pytest
from PIL import Image

from test_prepare_model import ROOT, fixture_wheel, prepare  # noqa: F401  the wheel is a fixture

TOOL = ROOT / 'tools' / 'join_models.py'


def join(*arguments):
    return subprocess.run([sys.executable, '-B', TOOL, *arguments], capture_output=True, text=True, check=False)


@pytest.fixture(scope='module', name='models')
def fixture_models(wheel, tmp_path_factory):
    """Folders of Lite0 at two sizes of input."""
    top = tmp_path_factory.mktemp('models')
    for side in (96, 128):
        assert prepare(wheel, top / str(side), '--size', str(side), '--name', f'lite0-{side}').returncode == 0
    return top


def picture(side):
    """Soft shapes, so that scaling is much the same however it is done."""
    y, x = numpy.mgrid[0:side, 0:side] / side
    waves = [numpy.sin(7 * x + c) * numpy.cos(5 * y - 2 * c) for c in range(3)]
    return numpy.uint8(127.5 + 120 * numpy.stack(waves, axis=-1))


def scaled(pixels):
    return ((numpy.float32(pixels) - 127) / 128).transpose(2, 0, 1)[None]


def outputs(folder, pixels):
    """{name of the output: its row}"""
    model = openvino.Core().read_model(folder / json.loads((folder / 'model.json').read_text())['file'])
    compiled = openvino.Core().compile_model(model, 'CPU', {'INFERENCE_PRECISION_HINT': 'f32'})
    result = compiled(scaled(pixels))
    return {name: row[0] for port, row in result.items() for name in port.get_names()}


def cosine(a, b):
    return float(a @ b / numpy.sqrt((a @ a) * (b @ b)))


def test_says_what_both_say(models, tmp_path):
    done = join(tmp_path / 'both', models / '128', models / '96')
    assert done.returncode == 0, done.stderr
    manifest = json.loads((tmp_path / 'both' / 'model.json').read_text())
    first = json.loads((models / '128' / 'model.json').read_text())
    blocks = first['output']['descriptor']['blocks']
    assert manifest['output']['descriptor'] == {'name': 'joined', 'blocks': blocks + [1280] + blocks}
    assert manifest['input'] == first['input'] and manifest['name'] == 'both' and 'onnx' not in manifest
    both = (tmp_path / 'both' / 'model.xml').read_bytes() + (tmp_path / 'both' / 'model.bin').read_bytes()
    assert manifest['sha256'] == hashlib.sha256(both).hexdigest()

    pixels = picture(128)
    smaller = numpy.asarray(Image.fromarray(pixels).resize((96, 96), Image.Resampling.BILINEAR))
    joined, one, two = (outputs(folder, p) for folder, p in ((tmp_path / 'both', pixels), (models / '128', pixels), (models / '96', smaller)))
    assert set(joined) == {'embedding', 'joined'}
    assert cosine(joined['embedding'], one['embedding']) > 0.999999
    length = 1280 + sum(blocks)
    assert cosine(joined['joined'][:length], one['descriptor']) > 0.999999
    assert 0.995 < cosine(joined['joined'][length:], two['descriptor']) <= 1.000001 # the pixels are not rounded to bytes inside
    # The two see differently, or the figure above would say nothing.
    assert cosine(joined['joined'][length:], one['descriptor']) < 0.99


def test_other_pixels(models, tmp_path):
    """A second model that wants its channels the other way round, on another scale, at the same size."""
    folder = tmp_path / 'other'
    folder.mkdir()
    for name in ('model.xml', 'model.bin'):
        (folder / name).write_bytes((models / '128' / name).read_bytes())
    manifest = json.loads((models / '128' / 'model.json').read_text())
    manifest['input'].update(channels='bgr', mean=[10, 20, 30], std=[50, 60, 70])
    (folder / 'model.json').write_text(json.dumps(manifest))
    assert join(tmp_path / 'both', models / '128', folder).returncode == 0
    pixels = picture(128)
    joined = outputs(tmp_path / 'both', pixels)['joined']
    model = openvino.Core().read_model(models / '128' / 'model.xml')
    compiled = openvino.Core().compile_model(model, 'CPU', {'INFERENCE_PRECISION_HINT': 'f32'})
    as_wanted = ((numpy.float32(pixels[:, :, ::-1]) - [10, 20, 30]) / [50, 60, 70]).transpose(2, 0, 1)[None]
    wanted = next(row[0] for port, row in compiled(numpy.float32(as_wanted)).items() if 'descriptor' in port.get_names())
    assert cosine(joined[len(joined) // 2:], wanted) > 0.99999


def test_marks_stay(models, tmp_path):
    """What is to be computed in f32 is said in the file, which OpenVINO forgets when it writes one."""
    assert join(tmp_path / 'both', models / '128', models / '96').returncode == 0
    marks = [(folder / 'model.xml').read_text().count('name="precise"') for folder in (tmp_path / 'both', models / '128', models / '96')]
    assert marks[1] > 10 and marks[0] == marks[1] + marks[2]


def test_refusals(models, tmp_path):
    def refused(word, *arguments):
        done = join(tmp_path / 'both', *arguments)
        assert done.returncode == 1 and word in done.stderr and 'Traceback' not in done.stderr, done.stderr
        assert not (tmp_path / 'both').exists()
    refused('no folder of a model', models / '128', tmp_path / 'absent')
    (tmp_path / 'damaged').mkdir()
    (tmp_path / 'damaged' / 'model.json').write_text('{"file": "model.xml"}')
    refused('no folder of a model', tmp_path / 'damaged', models / '128')
    pooled = tmp_path / 'pooled'
    pooled.mkdir()
    manifest = json.loads((models / '96' / 'model.json').read_text())
    for name in ('model.xml', 'model.bin'):
        (pooled / name).write_bytes((models / '96' / name).read_bytes())
    manifest['output']['pooling'] = 'mean'
    (pooled / 'model.json').write_text(json.dumps(manifest))
    refused('pooling', models / '128', pooled)
    manifest['output']['pooling'] = 'none'
    (pooled / 'model.json').write_text(json.dumps(manifest | {'kind': 'mask'}))
    refused('background', models / '128', pooled)
    (pooled / 'model.json').write_text(json.dumps({key: value for key, value in manifest.items() if key != 'output'}))
    refused('no folder of a model', models / '128', pooled)
    manifest['output'].update(descriptor={'name': 'descriptor', 'blocks': [1] * 25})
    (pooled / 'model.json').write_text(json.dumps(manifest))
    refused('36 blocks', models / '128', pooled)
    assert join(tmp_path / '1', models / '128', models / '96').returncode == 0
    assert 'exists' in join(tmp_path / '1', models / '128', models / '96').stderr
