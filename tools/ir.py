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


def _names(xml, beginnings):
    """Of the nodes whose names begin so; weights are none."""
    names = [layer.get('name') for layer in ElementTree.fromstring(xml).iter('layer') if layer.get('type') != 'Const']
    if not all(any(name.startswith(beginning) for name in names) for beginning in beginnings):
        raise RuntimeError('this OpenVINO names nodes in another way; install the version of requirements.txt')
    return {name for name in names if name.startswith(beginnings)}


def precise_names(xml):
    """Of the nodes that are marked in an IR."""
    return {layer.get('name') for layer in ElementTree.fromstring(xml).iter('layer')
            if any(mark.get('name') == 'precise' for mark in layer.iter('attribute'))}


def _mark_precise(xml, names):
    root = ElementTree.fromstring(xml)
    found = [layer for layer in root.iter('layer') if layer.get('name') in names]
    if len(found) != len(names):
        raise RuntimeError('nodes have other names than they had')
    for layer in found:
        _mark(layer)
    return ElementTree.tostring(root)


def _saved(model):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, 'model.xml')
        openvino.save_model(model, path, compress_to_fp16=False)
        with open(path, 'rb') as xml, open(os.path.join(folder, 'model.bin'), 'rb') as weights:
            return xml.read(), weights.read()


def save(model, precise):
    """-> (bytes of the .xml, bytes of the .bin). `precise`: names of the nodes to mark; marks of what was read are forgotten."""
    xml, weights = _saved(model)
    return _mark_precise(xml, precise), weights


def convert(onnx_bytes, precise):
    """-> (bytes of the .xml, bytes of the .bin). `precise`: how the names of the nodes to mark begin."""
    xml, weights = _saved(openvino.Core().read_model(onnx_bytes, b''))
    return _mark_precise(xml, _names(xml, precise)), weights
