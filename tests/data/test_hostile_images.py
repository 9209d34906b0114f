"""Small files that take much to unpack, and tars whose members are not what they claim."""

import io
import json
import struct
import tarfile
import zlib

import image_files
import numpy as np
import pytest
from PIL import Image

from resgen_jax.core import errors
from resgen_jax.data import images, png_text, tars, views


def progressive(passes):
    """A JPEG in which the last pass comes again until there are so many."""
    encoded = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (16, 16), np.uint8)
    Image.fromarray(noise).save(encoded, "JPEG", progressive=True)
    content = encoded.getvalue()
    start, end = content.rindex(b"\xff\xda"), content.rindex(b"\xff\xd9")
    missing = passes - content.count(b"\xff\xda")
    return content[:end] + content[start:end] * missing + content[end:]


def test_jpeg_of_many_passes_is_refused_and_a_usual_one_is_read(tmp_path):
    (tmp_path / "many.jpg").write_bytes(progressive(images.MAX_SCANS + 1))
    with pytest.raises(images.UnreadableImage, match="many.jpg .*unpacked in 65 passes"):
        images.read(tmp_path / "many.jpg", 16, 3)
    (tmp_path / "usual.jpg").write_bytes(progressive(10))
    assert images.read(tmp_path / "usual.jpg", 16, 3).shape == (16, 16, 3)


def test_far_more_pixels_than_bytes_are_refused_where_they_are_many(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "LARGE", 1000)
    for side, name in ((200, "many.png"), (30, "few.png")):
        Image.new("L", (side, side)).save(tmp_path / name)
    with pytest.raises(images.UnreadableImage, match="claims 40,000 pixels in [0-9]+ bytes"):
        images.read(tmp_path / "many.png", 16, 3)
    assert images.read(tmp_path / "few.png", 16, 3).shape == (16, 16, 3)


def test_a_large_jpeg_may_have_the_usual_passes_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "MAX_PIXELS_OF_MANY", 100)
    for passes, is_read in ((images.USUAL_SCANS, True), (images.USUAL_SCANS + 1, False)):
        (tmp_path / "x.jpg").write_bytes(progressive(passes))
        if is_read:
            assert images.read(tmp_path / "x.jpg", 16, 3).shape == (16, 16, 3)
        else:
            with pytest.raises(images.UnreadableImage, match="unpacked in 17 passes"):
                images.read(tmp_path / "x.jpg", 16, 3)


def text_chunk(kind, content):
    """A PNG's chunk."""
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + checksum


PIXELS = np.random.default_rng(0).integers(0, 256, (16, 24), np.uint8)
LONG = b"x" * 70_000_000  # more than Pillow lets all text of a picture take
XMP = b"XML:com.adobe.xmp\0\0\0\0\0"
SIDEWAYS = b'<tiff:Orientation="6"/>'


@pytest.mark.parametrize("place", [b"IDAT", b"IEND"])
@pytest.mark.parametrize(
    "chunk",
    [
        text_chunk(b"tEXt", b"parameters\0" + LONG),
        text_chunk(b"zTXt", b"parameters\0\0" + zlib.compress(LONG)),
        text_chunk(b"iTXt", b"workflow\0\1\0\0\0" + zlib.compress(LONG)),
        text_chunk(b"iCCP", b"profile\0\0" + zlib.compress(LONG)),
        text_chunk(b"tEXt", b"transparency\0much"),  # Pillow's own word for something else
    ],
    ids=["tEXt", "zTXt", "iTXt", "iCCP", "transparency"],
)
def test_text_of_a_png_is_not_unpacked(tmp_path, chunk, place):
    encoded = io.BytesIO()
    Image.fromarray(PIXELS).save(encoded, "PNG")
    before, after = encoded.getvalue().split(place)
    turned = text_chunk(b"iTXt", XMP + SIDEWAYS)
    content = before[:-4] + chunk + turned + before[-4:] + place + after
    (tmp_path / "x.png").write_bytes(content)
    with images.opened(content) as image:
        image.load()
        np.testing.assert_array_equal(images.upright(image, 1), np.rot90(PIXELS, -1))
    assert images.read(tmp_path / "x.png", 16, 1).shape == (16, 16, 1)


def test_text_that_tells_the_orientation_is_bounded(tmp_path):
    encoded = io.BytesIO()
    Image.fromarray(PIXELS).save(encoded, "PNG")
    before, after = encoded.getvalue().split(b"IDAT")
    for inside in (SIDEWAYS, LONG):
        packed = text_chunk(b"iTXt", XMP[:-4] + b"\1\0\0\0" + zlib.compress(inside))
        content = before[:-4] + packed * 9 + before[-4:] + b"IDAT" + after
        assert png_text.without(content).count(b"iTXt") == png_text.MOST_KEPT
    with pytest.raises(images.UnreadableImage, match="(?i)x.png .*too large"):
        images.read_views(content, "x.png", [views.PLAIN], 16, 1)
    ends_too_early = before[:-4] + text_chunk(b"tEXt", b"parameters\0")[:12]
    assert png_text.without(ends_too_early) == before[:-4]


def tiled(side):
    """A TIFF of 64x64 pixels in one tile of this side."""
    data = bytes(side * side)
    tags = {256: 64, 257: 64, 258: 8, 259: 1, 262: 1, 277: 1}
    tags |= {322: side, 323: side, 324: 8, 325: len(data)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory


def test_tiles_far_larger_than_the_image_are_refused(tmp_path):
    (tmp_path / "large.tif").write_bytes(tiled(4096))
    with pytest.raises(images.UnreadableImage, match="large.tif .*tiles of 4096x4096 pixels"):
        images.read(tmp_path / "large.tif", 64, 1)
    (tmp_path / "usual.tif").write_bytes(tiled(256))
    assert images.read(tmp_path / "usual.tif", 64, 1).shape == (64, 64, 1)


def write_tar(path, *members):
    """A tar of members with their content."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, content, headers in members:
            member = tarfile.TarInfo(name)
            member.size, member.pax_headers = len(content), headers
            tar.addfile(member, io.BytesIO(content))
    return path


SPARSE = {"GNU.sparse.map": "0,1", "GNU.sparse.size": str(2**31), "GNU.sparse.numblocks": "1"}


@pytest.mark.parametrize(
    ("member", "words"),
    [
        (("a" * 5000 + ".jpg", b"x", {}), "a name of 5004 characters"),
        (("a.cls", bytes(2**20 + 1), {}), "a label of 1048577 bytes"),
        (("a.CLS", bytes(2**20 + 1), {}), "a label of 1048577 bytes"),
        (("a.json", b"x", SPARSE), "the sparse file"),
        (("a.jpg", b"x", SPARSE), "the sparse file"),
    ],
    ids=["name", "label", "LABEL", "sparse label", "sparse image"],
)
def test_members_that_claim_what_nothing_is_are_refused(tmp_path, member, words):
    path = write_tar(tmp_path / "x.tar", member)
    with pytest.raises(errors.UserError, match=words) as caught:
        tars.index(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "entry",
    [
        ["a", 0, 2**40, 0],
        ["a", -5, 10, 0],
        [3, 0, 10, 0],
        ["\ud83d", 0, 1, 0],
        ["a" * 5000, 0, 1, 0],
        7,
    ],
)
def test_index_that_points_outside_of_its_tar_is_made_anew(tmp_path, entry):
    source = image_files.encoded(image_files.make_folder(tmp_path / "folder"))
    place = image_files.write_tars(tmp_path / "tars", source)
    first = tars.open_tars(place, "").train
    for kept in (tmp_path / "tars").glob("*.index.json"):
        fields = json.loads(kept.read_text())
        kept.write_text(json.dumps(fields | {"members": [entry]}))
    again = tars.open_tars(place, "").train
    assert [again[i] for i in range(len(again))] == [first[i] for i in range(len(first))]


def test_names_that_are_no_text_are_read_and_shown_escaped(tmp_path):
    broken = b"not an image"
    tar = write_tar(tmp_path / "x.tar", ("caf\udce9.jpg", broken, {}), ("caf\udce9.cls", b"0", {}))
    for _ in range(2):  # looked through, then out of the index
        found = tars.TarImages([tar], [tars.index(tar)], ["0"])
        with pytest.raises(images.UnreadableImage, match=r"caf\\udce9 cannot be read"):
            images.read_views(found[0].encoded, found[0].name, [views.PLAIN], 8, 1)
