#!/usr/bin/env python3
"""Makes one model of two: the vectors of the first, and a descriptor for `tune` that holds what both see.

    join_models.py FOLDER FIRST SECOND

FIRST and SECOND are folders of models, OpenVINO IR or ONNX, whose output is one row a picture; FOLDER gets model.xml, model.bin and
model.json. A picture is decoded and scaled once, for FIRST; inside the joined network SECOND gets the same pixels, scaled to its
own size. What a client sees is FIRST's vector, number by number; `tune` learns from FIRST's descriptor and SECOND's vector and
descriptor. The weights stay in the precision they have, and so do the nodes marked to be computed in f32 (see ir.py).
"""
import argparse
import hashlib
import json
import os
import pathlib
import sys

import numpy
import openvino
from openvino import opset11

import ir
from prepare_model import write_whole

SECOND = 'second/'  # before the names of the second model's nodes
BLOCKS_MAX = 31  # MANIFEST_BLOCKS_MAX of src/embed/manifest.h


class CannotJoin(Exception):
    """With a sentence for the person who asked."""


def read(folder):
    """-> (manifest, model, the port of its longest output, the nodes to be computed in f32)"""
    try:
        manifest = json.loads((folder / 'model.json').read_text())
        output = manifest['output']
        file = folder / manifest['file']
        model = openvino.Core().read_model(file)
        precise = ir.precise_names(file.read_bytes()) if file.suffix == '.xml' else set()
        name = output.get('descriptor', output)['name']
        port = model.output(name)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise CannotJoin(f'{folder} is no folder of a model: {error}') from error
    if output.get('pooling', 'none') != 'none':
        raise CannotJoin(f'{manifest["name"]} is averaged by the server after it was run ("pooling"): it cannot be joined')
    if manifest.get('kind') == 'mask' or manifest.get('background', 'none') != 'none':
        raise CannotJoin(f'{manifest["name"]} is about the background of pictures: it cannot be joined')
    if len(port.get_partial_shape()) != 2:
        raise CannotJoin(f'the output {name} of {manifest["name"]} is not one row a picture: it cannot be joined')
    return manifest, model, port, precise


def pixels_for(second, first, image):
    """`image`, pixels as `first` gets them, as `second` would: size, order of the channels, scale."""
    mean, std = (numpy.float32(first[key]) for key in ('mean', 'std'))
    if first['channels'] != second['channels']:
        image = opset11.gather(image, opset11.constant(numpy.int64([2, 1, 0])), opset11.constant(numpy.int64(1)))
        mean, std = mean[::-1], std[::-1]
    other_mean, other_std = (numpy.float32(second[key]) for key in ('mean', 'std'))
    if (mean != other_mean).any() or (std != other_std).any():
        scale, shift = std / other_std, (mean - other_mean) / other_std
        image = opset11.add(opset11.multiply(image, opset11.constant(scale.reshape(1, 3, 1, 1))), opset11.constant(shift.reshape(1, 3, 1, 1)))
    size = numpy.int64([second['height'], second['width']])
    if (size == [first['height'], first['width']]).all():
        return image
    # Antialiased, as the pictures that it was trained on were scaled.
    return opset11.interpolate(image, opset11.constant(size), 'bilinear_pillow', 'sizes', axes=opset11.constant(numpy.int64([2, 3])))


def blocks_of(manifest):
    return manifest['output'].get('descriptor', {}).get('blocks', [])


def join(folders):
    """-> (model, manifest without its sums, the nodes to be computed in f32)"""
    (first, one, whole, precise), (second, two, more, precise_too) = (read(folder) for folder in folders)
    blocks = blocks_of(first) + [second['output']['dimension']] + blocks_of(second)
    if len(blocks) > BLOCKS_MAX:
        raise CannotJoin(f'the descriptor would have {len(blocks)} blocks behind the vector, and {BLOCKS_MAX} are the most')
    if one.input(0).get_partial_shape()[1] != 3 or two.input(0).get_partial_shape()[1] != 3:
        raise CannotJoin('both models must take their channels before height and width: [n, 3, height, width]')
    for node in two.get_ops():  # the names of a family's models are the same
        node.set_friendly_name(SECOND + node.get_friendly_name())
        for port in node.outputs():
            port.get_tensor().set_names(set())
    image = one.input(0).get_node()
    pixels = pixels_for(second['input'], first['input'], image).output(0)
    for target in two.input(0).get_node().output(0).get_target_inputs():
        target.replace_source_output(pixels)
    descriptor = opset11.concat([whole.get_node().input_value(0), more.get_node().input_value(0)], axis=1)
    descriptor.set_friendly_name('joined')
    vector = one.output(first['output']['name']).get_node().input_value(0)
    results = [opset11.result(vector), opset11.result(descriptor)]
    model = openvino.Model(results, [image], f'{first["name"]} and {second["name"]}')
    model.outputs[1].get_tensor().set_names({'joined'})
    manifest = dict(first)
    for key in ('int8', 'onnx', 'sha256'):
        manifest.pop(key, None)
    licences = dict.fromkeys(m.get('licence') for m in (first, second) if m.get('licence'))
    manifest.update(file='model.xml', source=f'{first["name"]} and {second["name"]}, joined', licence=' and '.join(licences))
    manifest['output'] = dict(first['output'], descriptor={'name': 'joined', 'blocks': blocks})
    return model, manifest, precise | {SECOND + name for name in precise_too}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ('folder', 'first', 'second'):
        parser.add_argument(name, metavar=name.upper(), type=pathlib.Path)
    options = parser.parse_args()
    try:
        if options.folder.exists():
            raise CannotJoin(f'{options.folder} exists')
        model, manifest, precise = join((options.first, options.second))
    except CannotJoin as error:
        sys.exit(f'join_models.py: {error}')
    manifest['name'] = options.folder.name
    xml, weights = ir.save(model, precise)
    manifest['sha256'] = hashlib.sha256(xml + weights).hexdigest()
    os.makedirs(options.folder)
    for name, data in (('model.bin', weights), ('model.xml', xml), ('model.json', json.dumps(manifest, indent=2).encode() + b'\n')):
        write_whole(str(options.folder / name), data)
    output = manifest['output']
    print(f'a vector of {output["dimension"]} numbers, and a descriptor of {output["dimension"] + sum(output["descriptor"]["blocks"])}')


if __name__ == '__main__':
    main()
