#!/usr/bin/env python3
"""Adds a file in int8 to a model folder: int8.xml and int8.bin, named in model.json as "int8".

    quantize_model.py FOLDER PICTURES [--calibrate N] [--measure N] [--max-loss POINTS]

FOLDER is a model's, ONNX or OpenVINO IR; PICTURES a folder of pictures like those that will be searched, in a folder for each
item or class if there are such. NNCF chooses the scales from N of them (300). Then both models see up to N (400) others:
how alike the vectors are, and how often the nearest other picture is of the same folder, before and after, is printed and
written into the manifest. Nothing is written where a vector's cosine to f32 falls below 0.9 on average, or more than --max-loss
points (0.5) of the nearest pictures are lost: chance alone moves that figure by a point or two on a few hundred pictures, so
measure on many.

A model that makes masks (U2-Net) is judged by its masks: nothing is written where a pixel, 0 to 1, differs by more than 0.02 on
average. How much of what either finds both find is printed as well: the median, for where there is hardly a subject, half of
a mask comes and goes by itself.
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
WORST_MEAN_DIFFERENCE = 0.02


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
    if wanted.get('range') == 'maximum':
        pixels = pixels * (255 / max(pixels.max(), 1))
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


def masks(model, output, pictures, wanted):
    """0 … 1 each, as the server spreads what the model says over the whole range."""
    compiled = openvino.Core().compile_model(model, 'CPU', {'INFERENCE_PRECISION_HINT': 'f32'})
    for path in pictures:
        mask = compiled(scaled(path, wanted)[None])[output].ravel()
        yield (mask - mask.min()) / max(mask.max() - mask.min(), 1e-6)


def compare_masks(models, output, pictures, wanted):
    differ, overlap = [], []
    for a, b in zip(*(masks(m, output, pictures, wanted) for m in models)):
        differ.append(numpy.abs(a - b).mean())
        either = numpy.count_nonzero((a >= 0.5) | (b >= 0.5))
        overlap.append(numpy.count_nonzero((a >= 0.5) & (b >= 0.5)) / either if either else 1)
    return {'difference_mean': round(float(numpy.mean(differ)), 5), 'difference_max': round(float(numpy.max(differ)), 5),
            'overlap_median': round(float(numpy.median(overlap)), 4)}


def compare_vectors(models, output, dimension, pictures, wanted):
    labels = [p.parent.name for p in pictures]
    before, after = (vectors(m, output, pictures, wanted)[:, :dimension] for m in models)
    alike = (before * after).sum(1) / numpy.linalg.norm(before, axis=1) / numpy.linalg.norm(after, axis=1)
    measured = {'cosine_mean': round(float(alike.mean()), 5), 'cosine_min': round(float(alike.min()), 5)}
    r1 = [first_is_right(v / numpy.linalg.norm(v, axis=1, keepdims=True), labels) for v in (before, after)]
    if r1[0] is not None:
        measured.update(r1_f32=round(r1[0], 2), r1_int8=round(r1[1], 2), r1_loss=round(r1[0] - r1[1], 2))
    return measured


def too_bad(measured, max_loss):
    """A sentence, or None."""
    if measured.get('difference_mean', 0) > WORST_MEAN_DIFFERENCE:
        return f'in int8 the masks are too different ({measured["difference_mean"]:.3f} a pixel on average)'
    if measured.get('cosine_mean', 1) < WORST_MEAN_COSINE:
        return f'in int8 the vectors are too different (mean cosine {measured["cosine_mean"]:.3f})'
    if measured.get('r1_loss', 0) > max_loss:
        return f'in int8 {measured["r1_loss"]} points are lost, more than --max-loss {max_loss}'
    return None


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
    measured = {'pictures': len(others), 'calibrated_on': len(seen)}
    if manifest.get('kind') == 'mask':
        measured.update(compare_masks((model, small), output, others, wanted))
    else:
        measured.update(compare_vectors((model, small), output, manifest['output'].get('dimension'), others, wanted))
    print(json.dumps(measured))
    why = too_bad(measured, options.max_loss)
    if why:
        raise ValueError(f'{why}; nothing was changed')
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
