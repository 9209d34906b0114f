"""NPZ files and tars that would swell, hang or mislead.

NPZ are for `file_readers.image_array`, `weights` and `statistics`, TARS for `tars`; by name, each
makes a file or a folder of them in a folder.
"""

import io
import json
import struct
import tarfile
import zipfile

import numpy as np
import valid_files


def npy(shape, kind="|u1", content=b"x" * 16):
    """A header that claims a shape, and a few bytes."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_2_0(
        buffer, {"descr": kind, "fortran_order": False, "shape": shape}
    )
    return buffer.getvalue() + content


def _raw_npy(text):
    header = text.encode()
    return b"\x93NUMPY\x02\x00" + struct.pack("<I", len(header)) + header


def _npz(content, name="arr_0", packing=zipfile.ZIP_STORED):
    def make(folder, rng):
        path = folder / "samples.npz"
        with zipfile.ZipFile(path, "w", packing) as archive:
            made = content() if callable(content) else content
            archive.writestr(f"{name}.npy", made)
        return path

    return make


def packed_zeros(folder, rng):
    """Images of one colour, packed a thousandfold."""
    path = folder / "samples.npz"
    np.savez_compressed(path, arr_0=np.zeros((3000, 128, 128, 3), np.uint8))
    return path


def many_members(folder, rng):
    """An archive of very many arrays."""
    path = folder / "samples.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(20_000):
            archive.writestr(f"arr_{number}.npy", b"")
    return path


NPZ = {
    "npz of zeros, packed": packed_zeros,
    "npz of 20,000 arrays": many_members,
    "npz that claims terabytes": _npz(npy((2**44,))),
    "npz that claims terabytes, packed": _npz(npy((2**44,)), packing=zipfile.ZIP_DEFLATED),
    "npz that claims images of terabytes": _npz(npy((2**20, 2**10, 2**10, 3))),
    "npz of 2^62 rows of nothing": _npz(npy((2**62, 0, 8, 3), content=b"")),
    "npz of sizes whose product is over 2^64": _npz(npy((2**33, 2**33, 2**33, 3))),
    "npz of a negative size": _npz(
        _raw_npy("{'descr':'|u1','fortran_order':False,'shape':(-4,2)}")
    ),
    "npz of 10,000 dimensions": _npz(
        _raw_npy("{'descr':'|u1','fortran_order':False,'shape':(" + "1," * 10_000 + ")}")
    ),
    "npz of a deep header": _npz(_raw_npy("(" * 5000 + ")" * 5000)),
    "npz of a header of 10 MB": _npz(lambda: _raw_npy("{" + " " * 10**7 + "}")),
    "npz of Python objects": _npz(npy((1,), "|O", b"cos\nsystem\n(S'true'\ntR.")),
    "npz of a dtype of 2^31 bytes": _npz(npy((1,), f"|V{2**31 - 1}")),
    "npz whose note is deep JSON": _npz(
        lambda: npy((), f"<U{200_000}", ("[" * 200_000).encode("utf-32-le")), "sampler"
    ),
    "npz of control characters": _npz(npy((2,)), "x\x1b[2J"),
}
STATISTICS = {
    "statistics of deep JSON": _npz(
        lambda: npy((), f"<U{200_000}", ("[" * 200_000).encode("utf-32-le")), "meta"
    ),
    "statistics of 2^40 features": _npz(npy((2**40,), "<f8"), "mu"),
}


def _tar(*members, form=tarfile.PAX_FORMAT, index=None):
    def make(folder, rng):
        place = folder / "tars"
        place.mkdir()
        path = place / "train-000.tar"
        with tarfile.open(path, "w", format=form) as tar:
            for name, content, more in members:
                info = tarfile.TarInfo(name)
                info.size, info.pax_headers = len(content), dict(more.get("pax", {}))
                info.type = more.get("type", tarfile.REGTYPE)
                info.linkname = more.get("link", "")
                tar.addfile(info, io.BytesIO(content))
        if index is not None:
            kept = {"format": 3, "size": path.stat().st_size, "mtime_ns": path.stat().st_mtime_ns}
            text = index if isinstance(index, str) else json.dumps(kept | {"members": index})
            (place / f"{path.name}.index.json").write_text(text)
        return place

    return make


def _sparse(size):
    more = {"GNU.sparse.map": "0,1", "GNU.sparse.size": str(size), "GNU.sparse.numblocks": "1"}
    return {"pax": more}


def old_sparse(folder, rng):
    """A sparse member as GNU tar wrote them: its size stands in the header, and means 1.5 GB."""
    place = _tar(("a.jpg", b"x" * 512, {}), form=tarfile.GNU_FORMAT)(folder, rng)
    path = next(place.iterdir())
    header = bytearray(path.read_bytes())
    header[156:157] = tarfile.GNUTYPE_SPARSE
    header[386:410] = b"%011o\0%011o\0" % (0, 512)
    header[483:495] = b"%011o\0" % 1_500_000_000
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header[:512])
    path.write_bytes(header)
    return place


_PNG = valid_files.encoded_picture("PNG")
_LABEL = ("a.cls", b"0", {})
TARS = {
    "sparse image in a tar": _tar(("a.jpg", b"x", _sparse(2**31)), _LABEL),
    "sparse label in a tar": _tar(("a.jpg", b"x", {}), ("a.cls", b"x", _sparse(2**40))),
    "sparse member as of old": old_sparse,
    "name of 2 MB in a tar": _tar(("a" * 2**21 + ".jpg", b"x", {}), _LABEL),
    "name of 2 MB in a GNU tar": _tar(
        ("a" * 2**21 + ".jpg", b"x", {}), _LABEL, form=tarfile.GNU_FORMAT
    ),
    "label of 2 MB in a tar": _tar(("a.jpg", _PNG, {}), ("a.cls", b"7" * 2**21, {})),
    "header of 3 MB in a tar": _tar(("a.jpg", _PNG, {"pax": {"x": "y" * 3_000_000}}), _LABEL),
    "20,000 fields in a tar's header": _tar(
        ("a.jpg", _PNG, {"pax": {f"x{n}": "y" for n in range(20_000)}}), _LABEL
    ),
    "name in a tar that is no text": _tar(
        ("caf\udce9.jpg", b"no", {}), ("caf\udce9.cls", b"0", {})
    ),
    "name in a tar that clears the terminal": _tar(
        ("a\x1b[2J\n.jpg", b"no", {}), ("a\x1b[2J\n.cls", b"0", {})
    ),
    "links in a tar": _tar(
        ("a.jpg", b"", {"type": tarfile.SYMTYPE, "link": "/etc/hostname"}), _LABEL
    ),
    "device in a tar": _tar(("a.jpg", b"", {"type": tarfile.CHRTYPE}), _LABEL),
    "folders out of a tar": _tar(("../../a.jpg", b"no", {}), ("../../a.cls", b"0", {})),
    "deep JSON in a tar": _tar(("a.jpg", _PNG, {}), ("a.json", b'{"label":' * 10**5, {})),
    "label of 10^18 in a tar": _tar(("a.jpg", _PNG, {}), ("a.cls", b"9" * 17, {})),
    "label of infinity in a tar": _tar(("a.jpg", _PNG, {}), ("a.json", b'{"label":1e999}', {})),
    "negative label in a tar": _tar(("a.jpg", _PNG, {}), ("a.cls", b"-3", {})),
    "tar's index beyond its end": _tar(("a.jpg", _PNG, {}), _LABEL, index=[["a", 0, 2**62, 0]]),
    "tar's index of negative places": _tar(("a.jpg", _PNG, {}), _LABEL, index=[["a", -9, 5, 0]]),
    "tar's index of fractions": _tar(("a.jpg", _PNG, {}), _LABEL, index=[["a", 0.5, 2.5, 0]]),
    "tar's index of control characters": _tar(
        ("a.jpg", _PNG, {}), _LABEL, index=[["a\x1b[2J\n", 0, 5, 0]]
    ),
    "tar's index of a lone surrogate": _tar(
        ("a.jpg", _PNG, {}), _LABEL, index=[["a\ud83d", 0, 5, 0]]
    ),
    "tar's index of 10^5 brackets": _tar(("a.jpg", _PNG, {}), _LABEL, index="[" * 10**5),
    "tar's index of a long name": _tar(
        ("a.jpg", _PNG, {}), _LABEL, index=[["a" * 5_000_000, 0, 5, 0], *[["b", 0, 5, 0]] * 99]
    ),
    "tar's index of huge numbers": _tar(
        ("a.jpg", _PNG, {}), _LABEL, index=[["a", 10**30, 10**30, 10**30]]
    ),
}
