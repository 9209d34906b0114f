"""Small files that would swell: what they make is bounded before it is made.

Unbounded, most of these would not end: each test ends because the bound holds.
"""

import struct
import zipfile
import zlib

import hostile_pickles
import numpy as np
import pytest
import torch_format as torch

from resgen_jax.convert import pickles, safetensors_files, torch_files
from resgen_jax.core import errors

DOUBLINGS = 60  # of a tuple within a tuple: 2^60 of them, were they written out


def nested(doublings=DOUBLINGS):
    """Opcodes of a tuple that holds the one before twice, and so on; it takes two bytes a turn."""
    return b"(t" + b"2\x86" * doublings


def refused(path, match):
    with pytest.raises(errors.UserError, match=match) as caught:
        torch_files.read(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    "opcodes",
    [
        nested() + b"X\x01\x00\x00\x00a\x93",  # as the module of a name
        b"(" + nested() + torch.plain("k") * 4 + b"tQ",  # as the kind of a storage
        b"(" + torch.plain("storage") + nested() + torch.plain("k") * 3 + b"tQ",  # as its type
        b"}" + nested() + b"K\x01s",  # as a key
        nested() + b")R",  # as what is called
    ],
    ids=["name", "kind", "type", "key", "function"],
)
def test_nested_tuples_are_neither_hashed_nor_written_out(write, opcodes):
    refused(write(opcodes), "is damaged|wants to run")


def test_keys_that_could_be_made_equal_in_hash_are_not_hashed():
    same = {number * (2**61 - 1) for number in range(3)}
    found = pickles.mapping([(key, None) for key in (*same, 1.5, None, "w")])
    assert [key for key in found if isinstance(key, str)] == ["w"]
    assert sum(isinstance(key, pickles.Opaque) for key in found) == 5


def test_few_bytes_cannot_have_a_long_list_copied_again_and_again(write):
    pair = b"(" + torch.plain("k") + b"K\x01t"
    long_list = b"](" + pair * 20_000 + b"eq\x07"
    copies = (torch.name("collections", "OrderedDict") + b"h\x07\x85R0") * 5000
    refused(write(long_list + b"0" + copies + b"}"), "more would be made of it than it holds")


def test_large_dicts_of_honest_files_pass(write):
    items = {f"w{number}": torch.plain(number) for number in range(30_000)}
    pairs = b"](" + b"".join(b"(" + torch.plain(k) + v + b"t" for k, v in items.items()) + b"e"
    ordered = torch.call(torch.name("collections", "OrderedDict"), pairs)
    weights = torch.mapping({"w": torch.tensor("0", "Float", 4, (4,)), "more": ordered})
    assert torch_files.read(write(weights, {"0": bytes(16)})).keys() == {"w"}


@pytest.mark.parametrize(
    ("shape", "strides", "match"),
    [
        ((1,) * 80_000, (1,) * 80_000, "more than 32 dimensions"),
        ((2**40,), (0,), "numbers out of 4"),
        ((2**60, 2), (0, 0), "absurd size"),
    ],
)
def test_shapes_that_no_weights_have_are_refused(write, shape, strides, match):
    tensor = torch.tensor("0", "Float", 4, shape, strides=strides)
    refused(write(torch.mapping({"w": tensor}), {"0": bytes(16)}), match)


def test_safetensors_of_too_many_dimensions_are_refused(tmp_path):
    path = tmp_path / "x.safetensors"
    shape = ",".join("1" * 80_000)
    header = f'{{"w":{{"dtype":"F32","shape":[{shape}],"data_offsets":[0,4]}}}}'.encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    with pytest.raises(errors.UserError, match="80000 dimensions"):
        safetensors_files.read(path)


def test_entries_of_an_archive_that_share_their_bytes_are_refused(tmp_path):
    refused(hostile_pickles.overlapping(tmp_path, None), "its entries overlap")


def test_arrays_that_would_swell_a_thousandfold_are_refused(tmp_path):
    path = tmp_path / "x.npz"
    np.savez_compressed(path, w=np.zeros(2**24, np.uint8), v=np.zeros(2**25, np.uint8))
    refused(path, "would unpack to")


def test_header_that_claims_terabytes_is_refused(tmp_path):
    path = tmp_path / "x.npz"
    npy = tmp_path / "x.npy"
    with open(npy, "wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "<f4", "fortran_order": False, "shape": (2**44,)}
        )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("w.npy", npy.read_bytes() + zlib.compress(b"x"))
    refused(path, "x.npz (is damaged|holds an array)")
