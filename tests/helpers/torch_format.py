"""Writes what torch.save writes, without PyTorch: opcodes by hand, zip archive or legacy file."""

import pickle
import struct
import zipfile

import numpy as np

STORAGES = {"float32": "Float", "float64": "Double", "float16": "Half", "int64": "Long"}
MAGIC = 0x1950A86A20F9469CFC6C


def plain(value):
    """The opcodes of a plain value, without beginning and end."""
    return pickle.dumps(value, 2)[2:-1]


def name(module, attribute):
    """The opcode that names a function or class."""
    return f"c{module}\n{attribute}\n".encode()


def call(function, *arguments):
    """The opcodes that call `function`, opcodes in turn, with arguments that are opcodes."""
    return function + b"(" + b"".join(arguments) + b"tR"


def mapping(items):
    """The opcodes of a dict whose values are opcodes."""
    return b"}(" + b"".join(plain(key) + value for key, value in items.items()) + b"u"


def storage(key, kind, size):
    """The opcodes of a persistent id."""
    kind = name("torch", f"{kind}Storage")
    return b"(" + plain("storage") + kind + plain(key) + plain("cpu") + plain(size) + b"tQ"


def tensor(key, kind, size, shape, offset=0, strides=None):
    """The opcodes of a tensor in the storage `key`."""
    if strides is None:
        strides = np.cumprod([1, *shape[:0:-1]])[::-1][: len(shape)].tolist()
    hooks = call(name("collections", "OrderedDict"))
    parts = [storage(key, kind, size), plain(offset), plain(tuple(shape)), plain(tuple(strides))]
    return call(name("torch._utils", "_rebuild_tensor_v2"), *parts, plain(False), hooks)


class Writer:
    """Opcodes of nested dicts of arrays, and the bytes of the storages they name."""

    def __init__(self):
        self.storages = {}

    def opcodes(self, value):
        """Arrays become tensors in storages of their own, all else goes as it is."""
        if isinstance(value, dict):
            return mapping({key: self.opcodes(item) for key, item in value.items()})
        if not isinstance(value, np.ndarray):
            return plain(value)
        key = str(len(self.storages))
        self.storages[key] = value
        return tensor(key, STORAGES[value.dtype.name], value.size, value.shape)


def save(path, tree, legacy=False):
    """A file of nested dicts of arrays."""
    writer = Writer()
    opcodes = writer.opcodes(tree)
    write = write_legacy if legacy else write_zip
    write(path, opcodes, {key: array.tobytes() for key, array in writer.storages.items()})


def write_zip(path, opcodes, storages=None, **extra):
    """An archive around a pickle of these opcodes."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/data.pkl", b"\x80\x02" + opcodes + b".")
        for key, content in {
            **{f"data/{k}": v for k, v in (storages or {}).items()},
            **extra,
        }.items():
            archive.writestr(f"model/{key}", content)


def write_legacy(path, opcodes, storages=None):
    """The format before PyTorch 1.6; the storages are told to hold float32."""
    storages = storages or {}
    parts = [pickle.dumps(value, 2) for value in (MAGIC, 1001, {"little_endian": True})]
    parts += [b"\x80\x02" + opcodes + b".", pickle.dumps(list(storages), 2)]
    parts += [struct.pack("<q", len(content) // 4) + content for content in storages.values()]
    path.write_bytes(b"".join(parts))
