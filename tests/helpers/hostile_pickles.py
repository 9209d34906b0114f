"""Files of weights that want to hang, to fill the memory or to run code, and how each is made.

HOSTILE: what `file_readers.weights` has to refuse, by name; each makes a file in a folder.
"""

import json
import struct
import zipfile

import numpy as np
import torch_format as torch

DOUBLINGS = 60  # of a tuple within a tuple: 2^60 of them, were they written out


def nested(doublings=DOUBLINGS):
    """Opcodes of a tuple that holds the one before twice, and so on; it takes two bytes a turn."""
    return b"(t" + b"2\x86" * doublings


def _pickled(opcodes, storages=None, legacy=False):
    def make(folder, rng):
        path = folder / ("weights.pth" if legacy else "weights.pt")
        write = torch.write_legacy if legacy else torch.write_zip
        write(path, opcodes, {"0": bytes(16)} if storages is None else storages)
        return path

    return make


def _both(name, opcodes):
    """In the old format and in the new one."""
    forms = {f"{name} (.pt)": False, f"{name} (.pth)": True}
    return {form: _pickled(opcodes, legacy=legacy) for form, legacy in forms.items()}


def _with_shape(shape, **more):
    return torch.mapping({"w": torch.tensor("0", "Float", 4, shape, **more)})


def equal_hashes(number=2000):
    """Opcodes of a dict whose keys are integers of one hash: quadratic, were they hashed."""
    keys = b"".join(torch.plain(k * (2**61 - 1)) + b"N" for k in range(1, number))
    return b"}(" + keys + b"u"


def copies(calls=5000, length=20_000):
    """Opcodes that hand a long list to OrderedDict again and again, three bytes each time."""
    pair = b"(" + torch.plain("k") + b"K\x01t"
    call = (torch.name("collections", "OrderedDict") + b"h\x07\x85R0") * calls
    return b"](" + pair * length + b"eq\x07" + b"0" + call + b"}"


def _safetensors(header, body=bytes(16)):
    def make(folder, rng):
        path = folder / "weights.safetensors"
        text = header if isinstance(header, bytes) else json.dumps(header).encode()
        path.write_bytes(struct.pack("<Q", len(text)) + text + body)
        return path

    return make


def _entry(**changes):
    return {"w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]} | changes}


def overlapping(folder, rng):
    """A zip archive whose storages all lie at the same place."""
    path = folder / "weights.pt"
    weights = torch.mapping({"w": torch.tensor("0", "Float", 2**12, (2**12,))})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/data.pkl", b"\x80\x02" + weights + b".")
        archive.writestr("model/data/0", bytes(2**14))
        for number in range(1, 50):
            entry = zipfile.ZipInfo(f"model/data/{number}")
            held = archive.getinfo("model/data/0")
            entry.header_offset, entry.CRC = held.header_offset, held.CRC
            entry.file_size = entry.compress_size = held.file_size
            archive.filelist.append(entry)
    return path


def compressed(folder, rng):
    """A pickle that is packed a thousandfold."""
    path = folder / "weights.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model/data.pkl", b"\x80\x02" + b"N0" * 2**26 + b"}.")
    return path


def many_entries(folder, rng):
    """An archive of a hundred thousand empty entries."""
    path = folder / "weights.pt"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(30_000):
            archive.writestr(f"model/data/{number}", b"")
    return path


def web_page(folder, rng):
    """What a server says instead of a file."""
    path = folder / "weights.pt"
    path.write_text("<!DOCTYPE html>\n<title>404\x1b[2J</title>")
    return path


_CALLS = {
    "pickle that calls os.system": torch.call(torch.name("os", "system"), torch.plain("true")),
    "pickle that calls eval": torch.call(torch.name("builtins", "eval"), torch.plain("1")),
    "pickle with control characters in a name": torch.call(torch.name("o\x1b[2Js", "system")),
}
_OPCODES = {
    "nested tuples as a name": nested() + b"X\x01\x00\x00\x00a\x93",
    "nested tuples as a storage": b"(" + nested() + torch.plain("k") * 4 + b"tQ",
    "nested tuples as a key": b"}" + nested() + b"K\x01s",
    "nested tuples that are called": nested() + b")R",
    "nested tuples as a shape": torch.call(
        torch.name("torch._utils", "_rebuild_tensor_v2"),
        torch.storage("0", "Float", 4),
        b"K\x00",
        nested(),
        nested(),
        b"N",
        b"N",
    ),
    "integer keys of one hash": equal_hashes(),
    "OrderedDict made again and again": copies(),
    "300,000 dimensions": _with_shape((1,) * 300_000, strides=(1,) * 300_000),
    "tensor larger than its storage": _with_shape((2**40,), strides=(0,)),
    "storage of 2^62 numbers": torch.mapping({"w": torch.tensor("0", "Float", 2**62, (4,))}),
    "tensor of negative sizes": _with_shape((-1, -4)),
    "marks without an end": b"(" * 200_000,
    "a number of a million bytes": b"\x8b" + struct.pack("<i", 10**6) + b"\x7f" * 10**6,
    "a number of 200,000 digits": b"I" + b"9" * 200_000 + b"\n",
    "lists within lists": b"]" * 100_000 + b"a" * 99_999,
    **_CALLS,
}
HOSTILE = {
    **{form: make for name, code in _OPCODES.items() for form, make in _both(name, code).items()},
    "zip entries that overlap": overlapping,
    "pickle packed a thousandfold": compressed,
    "zip of 30,000 entries": many_entries,
    "web page": web_page,
    "safetensors of 80,000 dimensions": _safetensors(_entry(shape=[1] * 80_000)),
    "safetensors of 2^40 rows": _safetensors(_entry(shape=[2**40], data_offsets=[0, 2**42])),
    "safetensors of a shape with zeros": _safetensors(_entry(shape=[2**62, 2**62, 0])),
    "safetensors that end before they begin": _safetensors(_entry(data_offsets=[16, 0])),
    "safetensors of deep JSON": _safetensors(b'{"w":' + b"[" * 10**6 + b"]" * 10**6 + b"}"),
    "safetensors of a number of 10^6 digits": _safetensors(
        b'{"w":{"dtype":"F32","shape":[' + b"9" * 10**6 + b'],"data_offsets":[0,4]}}'
    ),
    "safetensors of a name of 10^6 letters": _safetensors(
        {"n" * 10**6 + "\x1b": _entry(data_offsets=[0, 99])["w"]}
    ),
    "safetensors of sizes that are booleans": _safetensors(_entry(shape=[True, 4.0])),
    "safetensors of NaN": _safetensors(
        _entry(), np.array([1, np.nan, np.inf, 0], np.float32).tobytes()
    ),
    "safetensors whose header is no text": _safetensors(b"\x7b\xff\xfe" * 50),
}
