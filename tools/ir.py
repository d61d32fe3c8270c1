"""ONNX to OpenVINO IR, with some nodes marked to be computed in f32.

Where the CPU has it, the server computes in bf16, which halves the time. A few nodes can need more than
that, and only in an IR can a node say so: with the attribute "precise", which OpenVINO's CPU plugin
respects. Python's interface cannot set it, so it is put into the XML.
"""
import os
import tempfile
import xml.etree.ElementTree as ElementTree

import openvino


def _mark(layer):
    info = layer.find('rt_info')
    if info is None:
        info = ElementTree.Element('rt_info')
        layer.insert(0 if layer.find('data') is None else 1, info)
    ElementTree.SubElement(info, 'attribute', name='precise', version='0')


def _mark_precise(xml, beginnings):
    root = ElementTree.fromstring(xml)
    layers = [layer for layer in root.iter('layer') if layer.get('type') != 'Const']
    for beginning in beginnings:
        found = [layer for layer in layers if layer.get('name').startswith(beginning)]
        if not found:
            raise RuntimeError(
                'this OpenVINO names nodes in another way; install the version of requirements.txt')
        for layer in found:
            _mark(layer)
    return ElementTree.tostring(root)


def precise_names(xml):
    """Of the nodes that are marked in an IR."""
    return {layer.get('name') for layer in ElementTree.fromstring(xml).iter('layer')
            if any(mark.get('name') == 'precise' for mark in layer.iter('attribute'))}


def mark_again(xml, names):
    """OpenVINO forgets the marks of what it has read when it writes it."""
    root = ElementTree.fromstring(xml)
    found = [layer for layer in root.iter('layer') if layer.get('name') in names]
    if len(found) != len(names):
        raise RuntimeError('nodes have other names than they had')
    for layer in found:
        _mark(layer)
    return ElementTree.tostring(root)


def convert(onnx_bytes, precise):
    """-> (bytes of the .xml, bytes of the .bin). `precise`: how the names of the nodes to mark begin."""
    model = openvino.Core().read_model(onnx_bytes, b'')
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, 'model.xml')
        openvino.save_model(model, path, compress_to_fp16=False)
        with open(path, 'rb') as xml, open(os.path.join(folder, 'model.bin'), 'rb') as weights:
            return _mark_precise(xml.read(), precise), weights.read()
