#!/usr/bin/env python3
"""Adds a file in int8 to a model folder: int8.xml and int8.bin, named in model.json as "int8".

    quantize_model.py FOLDER PICTURES [--calibrate N] [--measure N] [--max-loss POINTS]

FOLDER is a model's, ONNX or OpenVINO IR; PICTURES a folder of pictures like those that will be searched, in a folder for each
item or class if there are such. NNCF chooses the scales from N of them (300). Then both models see up to N (400) others:
how alike the vectors are, and how often the nearest other picture is of the same folder, before and after, is printed and
written into the manifest. Nothing is written where a vector's cosine to f32 falls below 0.9 on average, or more than --max-loss
points (0.5) of the nearest pictures are lost: chance alone moves that figure by a point or two on a few hundred pictures, so
measure on many.
"""
import argparse
import hashlib
import json
import os
import pathlib
import random
import sys
import tempfile
import xml.etree.ElementTree as ElementTree

import nncf
import numpy
import openvino
from PIL import Image, ImageOps

KINDS = {'.jpg', '.jpeg', '.png', '.webp'}
WORST_MEAN_COSINE = 0.9


def scaled(path, wanted):
    """A picture as the server gives it to the model, near enough for scales: [3, h, w]."""
    picture = ImageOps.exif_transpose(Image.open(path)).convert('RGB')
    size = (wanted['width'], wanted['height'])
    if wanted['resize'] == 'short-side-crop':
        grown = tuple(int(side / wanted.get('crop', 1)) for side in size)
        picture = ImageOps.fit(picture, grown, Image.Resampling.BICUBIC)
        left, top = ((a - b) // 2 for a, b in zip(grown, size))
        picture = picture.crop((left, top, left + size[0], top + size[1]))
    elif wanted['resize'] == 'stretch':
        picture = picture.resize(size, Image.Resampling.BICUBIC)
    else:
        picture = ImageOps.pad(picture, size, Image.Resampling.BICUBIC, 'black' if 'black' in wanted['resize'] else 'white')
    pixels = numpy.asarray(picture, numpy.float32)
    if wanted['channels'] == 'bgr':
        pixels = pixels[:, :, ::-1]
    return ((pixels - numpy.float32(wanted['mean'])) / numpy.float32(wanted['std'])).transpose(2, 0, 1)


def vectors(model, output, pictures, wanted):
    compiled = openvino.Core().compile_model(model, 'CPU', {'INFERENCE_PRECISION_HINT': 'f32'})
    rows = []
    for path in pictures:
        row = compiled(scaled(path, wanted)[None])[output][0]
        rows.append(row.reshape(row.shape[0], -1).mean(1) if row.ndim == 3 else row.ravel())
    rows = numpy.array(rows, numpy.float64)
    return rows / numpy.linalg.norm(rows, axis=1, keepdims=True)


def first_is_right(rows, labels):
    """Percent of pictures whose nearest other picture is of the same folder; None without such."""
    alike = rows @ rows.T
    numpy.fill_diagonal(alike, -9)
    counted = [i for i, label in enumerate(labels) if labels.count(label) > 1]
    if len(set(labels)) < 2 or not counted:
        return None
    return 100 * float(numpy.mean([labels[alike[i].argmax()] == labels[i] for i in counted]))


def write_whole(path, data):
    handle, aside = tempfile.mkstemp(dir=path.parent, prefix='.' + path.name)
    with os.fdopen(handle, 'wb') as file:
        file.write(data)
    os.chmod(aside, 0o644)
    os.rename(aside, path)


def sensitive(model_file):
    """Names of the layers that the IR marks to be computed in f32 even where the rest is not (tools/ir.py)."""
    if model_file.suffix != '.xml':
        return []
    layers = ElementTree.parse(model_file).getroot().iter('layer')
    return [layer.get('name') for layer in layers
            if layer.get('type') != 'Const' and any(a.get('name') == 'precise' for a in layer.iterfind('rt_info/attribute'))]


def quantize(options):
    folder = options.folder
    manifest = json.loads((folder / 'model.json').read_text())
    wanted, output = manifest['input'], manifest['output'].get('descriptor', {}).get('name') or manifest['output']['name']
    found = sorted(p for p in options.pictures.rglob('*') if p.suffix.lower() in KINDS)
    if len(found) < 20:
        raise ValueError(f'{options.pictures} has {len(found)} pictures; at least 20 are needed')
    random.Random(1).shuffle(found)
    seen, others = found[:options.calibrate], found[options.calibrate:][:options.measure] or found[:options.measure]
    model = openvino.Core().read_model(folder / manifest['file'])
    small = nncf.quantize(model, nncf.Dataset(seen, lambda path: scaled(path, wanted)[None]), preset=nncf.QuantizationPreset.MIXED,
                          subset_size=len(seen), fast_bias_correction=True,
                          ignored_scope=nncf.IgnoredScope(names=sensitive(folder / manifest['file']), validate=False))
    labels = [p.parent.name for p in others]
    before, after = (vectors(m, output, others, wanted)[:, :manifest['output'].get('dimension')] for m in (model, small))
    alike = (before * after).sum(1) / numpy.linalg.norm(before, axis=1) / numpy.linalg.norm(after, axis=1)
    measured = {'pictures': len(others), 'calibrated_on': len(seen), 'cosine_mean': round(float(alike.mean()), 5),
                'cosine_min': round(float(alike.min()), 5)}
    r1 = [first_is_right(v / numpy.linalg.norm(v, axis=1, keepdims=True), labels) for v in (before, after)]
    if r1[0] is not None:
        measured.update(r1_f32=round(r1[0], 2), r1_int8=round(r1[1], 2), r1_loss=round(r1[0] - r1[1], 2))
    print(json.dumps(measured))
    if alike.mean() < WORST_MEAN_COSINE:
        raise ValueError(f'in int8 the vectors are too different (mean cosine {alike.mean():.3f}); nothing was changed')
    if measured.get('r1_loss', 0) > options.max_loss:
        raise ValueError(f'in int8 {measured["r1_loss"]} points are lost, more than --max-loss {options.max_loss}; nothing was changed')
    with tempfile.TemporaryDirectory() as scratch:
        openvino.save_model(small, os.path.join(scratch, 'int8.xml'), compress_to_fp16=False)
        xml, weights = (pathlib.Path(scratch, name).read_bytes() for name in ('int8.xml', 'int8.bin'))
    write_whole(folder / 'int8.bin', weights)
    write_whole(folder / 'int8.xml', xml)
    manifest['int8'] = {'file': 'int8.xml', 'sha256': hashlib.sha256(xml + weights).hexdigest(), 'measured': measured}
    write_whole(folder / 'model.json', json.dumps(manifest, indent=2).encode() + b'\n')


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('folder', type=pathlib.Path, metavar='FOLDER')
    parser.add_argument('pictures', type=pathlib.Path, metavar='PICTURES')
    parser.add_argument('--calibrate', type=int, default=300, metavar='N')
    parser.add_argument('--measure', type=int, default=400, metavar='N')
    parser.add_argument('--max-loss', type=float, default=0.5, metavar='POINTS')
    try:
        quantize(parser.parse_args())
    except (ValueError, OSError, KeyError) as error:
        sys.exit(f'quantize_model.py: {error}')


if __name__ == '__main__':
    main()
