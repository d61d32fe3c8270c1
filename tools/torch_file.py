"""Reads a file of weights in PyTorch's old format (before 1.6) without PyTorch.

Such a file is five pickles and then raw memory: a magic number, a protocol version, facts about the machine
that wrote it, the dictionary of tensors, the list of storage keys; then, for each key, a 64-bit count and
that many values. A tensor is a view (offset, shape, strides) of a storage.

A pickle can name any function for the reader to call, so a file from elsewhere could run anything. Here
only the names that a dictionary of tensors needs are known; every other name stops the reading.
"""
import collections
import io
import pickle

import numpy as np

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
MAX_VALUES = 1 << 28  # in one storage; the largest one of an EfficientNet-Lite has 1.3 million

DTYPES = {'FloatStorage': np.dtype('<f4'), 'LongStorage': np.dtype('<i8')}

Storage = collections.namedtuple('Storage', 'dtype key count')
View = collections.namedtuple('View', 'storage offset shape strides')


class WeightsError(Exception):
    """The file is not what it should be; the text is a sentence for the user."""


def _view(storage, offset, shape, strides, *_gradient):
    """Stands in for torch._utils._rebuild_tensor_v2."""
    return View(storage, offset, tuple(shape), tuple(strides))


class _Unpickler(pickle.Unpickler):
    NAMES = {('collections', 'OrderedDict'): collections.OrderedDict,
             ('torch._utils', '_rebuild_tensor_v2'): _view}
    NAMES |= {('torch', name): name for name in DTYPES}

    def find_class(self, module, name):
        if (module, name) not in self.NAMES:
            raise WeightsError(f'it asks for "{module}.{name}", which has no place in a file of weights')
        return self.NAMES[module, name]

    def persistent_load(self, pid):
        kind, storage_name, key, _device, count = pid[:5]
        if kind != 'storage' or storage_name not in DTYPES:
            raise WeightsError(f'it has a storage of an unknown kind, {kind} {storage_name}')
        return Storage(DTYPES[storage_name], key, count)


def _storages(tensors):
    return {view.storage.key: view.storage for view in tensors.values()}


def _read_storage(file, storage):
    count = int.from_bytes(file.read(8), 'little')
    if count != storage.count or count > MAX_VALUES:
        raise WeightsError(f'storage {storage.key} should hold {storage.count} values and says {count}')
    data = file.read(count * storage.dtype.itemsize)
    if len(data) != count * storage.dtype.itemsize:
        raise WeightsError('it ends too early; it was probably not downloaded completely')
    return np.frombuffer(data, storage.dtype)


def _to_array(name, view, values):
    if view.offset < 0 or min(view.shape + view.strides, default=0) < 0:
        raise WeightsError(f'the tensor {name} has a negative size')
    last = view.offset + sum((n - 1) * stride for n, stride in zip(view.shape, view.strides))
    if 0 in view.shape or last >= len(values):
        raise WeightsError(f'the tensor {name} is larger than its storage')
    strides = [stride * values.itemsize for stride in view.strides]
    return np.lib.stride_tricks.as_strided(values[view.offset:], view.shape, strides).copy()


def _read_header(file):
    if _Unpickler(file).load() != MAGIC or _Unpickler(file).load() != PROTOCOL:
        raise WeightsError('it is not in the old PyTorch format (protocol 1001)')
    if not _Unpickler(file).load().get('little_endian'):
        raise WeightsError('it was written by a big-endian machine')


def read_weights(data):
    """The bytes of a .pth file -> {name: array}. WeightsError where it is anything else."""
    file = io.BytesIO(data)
    try:
        _read_header(file)
        tensors = _Unpickler(file).load()
        if not isinstance(tensors, dict) or not all(isinstance(view, View) for view in tensors.values()):
            raise WeightsError('it holds something else than a dictionary of tensors')
        keys, known = _Unpickler(file).load(), _storages(tensors)
        if sorted(keys) != sorted(known):
            raise WeightsError('its tensors and its storages do not belong together')
        values = {key: _read_storage(file, known[key]) for key in keys}
    except WeightsError:
        raise
    except Exception as error:  # pickle promises nothing about what it raises on bytes that are no pickle
        kind = type(error).__name__
        raise WeightsError(f'it is not in the old PyTorch format ({kind}: {error})') from error
    return {name: _to_array(name, view, values[view.storage.key]) for name, view in tensors.items()}
