"""Files of weights: what was written is read, whatever would run is refused, damage is told."""

import io
import json
import pickle
import struct
import zipfile

import ml_dtypes
import numpy as np
import pytest
import torch_format as torch

from resgen_jax.convert import safetensors_files, torch_files
from resgen_jax.core import errors

NUMBERS = np.arange(24, dtype=np.float32)


def refused(path, match, section=None):
    with pytest.raises(errors.UserError, match=match) as caught:
        torch_files.read(path, section)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_state_dict_is_read_and_sections_are_chosen(tmp_path, legacy):
    weights = {"a.weight": NUMBERS.reshape(2, 3, 4), "a.bias": NUMBERS[:3]}
    path = tmp_path / "x.pth"
    tree = {"epoch": 3, "state_dict": weights, "more": {"ema": {"w": NUMBERS}}, "note": "none"}
    torch.save(path, tree, legacy)
    found = torch_files.read(path, "state_dict")
    assert found.keys() == weights.keys()
    for name, array in weights.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == np.float32
    assert torch_files.sections(path) == ("state_dict", "more/ema")
    np.testing.assert_array_equal(torch_files.read(path, "more/ema")["w"], NUMBERS)
    refused(path, "no arrays at its top; sections with arrays: 'state_dict', 'more/ema'")
    refused(path, "no section 'ema'; sections with arrays", "ema")


def test_tensors_share_storages_with_offsets_and_strides(write):
    tensors = {
        "all": torch.tensor("0", "Float", 24, (4, 6)),
        "turned": torch.tensor("0", "Float", 24, (6, 4), strides=(1, 6)),
        "part": torch.tensor("0", "Float", 24, (2, 3), offset=7, strides=(6, 2)),
        "repeated": torch.tensor("0", "Float", 24, (3, 5), offset=9, strides=(1, 0)),
        "scalar": torch.tensor("0", "Float", 24, (), offset=5),
        "empty": torch.tensor("0", "Float", 24, (0, 7)),
    }
    found = torch_files.read(write(torch.mapping(tensors), {"0": NUMBERS.tobytes()}))
    grid = NUMBERS.reshape(4, 6)
    np.testing.assert_array_equal(found["all"], grid)
    np.testing.assert_array_equal(found["turned"], grid.T)
    np.testing.assert_array_equal(found["part"], grid[1:3, 1:6:2])
    np.testing.assert_array_equal(found["repeated"], np.tile(NUMBERS[9:12, None], 5))
    assert found["scalar"] == 5
    assert found["empty"].shape == (0, 7)
    with pytest.raises(ValueError, match="read-only"):
        found["all"][0] = 1


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        ("Double", np.float64),
        ("Half", np.float16),
        ("BFloat16", ml_dtypes.bfloat16),
        ("Long", np.int64),
        ("Char", np.int8),
        ("Bool", np.bool_),
    ],
)
def test_types_of_storages(tmp_path, kind, dtype):
    expected = np.array([0, 1, 1, 0]).astype(dtype)
    opcodes = torch.mapping({"w": torch.tensor("0", kind, 4, (4,))})
    torch.write_zip(tmp_path / "x.pth", opcodes, {"0": expected.tobytes()})
    found = torch_files.read(tmp_path / "x.pth")["w"]
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


def test_ordered_dicts_parameters_and_attributes_are_read_through(write):
    weight = torch.tensor("0", "Float", 24, (24,))
    parameter = torch.call(
        torch.name("torch._utils", "_rebuild_parameter"), weight, torch.plain(True), b"N"
    )
    ordered = torch.call(torch.name("collections", "OrderedDict"))
    items = ordered + b"(" + torch.plain("w") + parameter + b"u"
    state = items + torch.mapping({"_metadata": torch.mapping({}), "items": b"N"}) + b"b"
    found = torch_files.read(write(state, {"0": NUMBERS.tobytes()}))
    np.testing.assert_array_equal(found["w"], NUMBERS)


def test_known_companions_of_weights_come_to_nothing(write):
    checkpoint = torch.name("pytorch_lightning.callbacks.model_checkpoint", "ModelCheckpoint")
    tree = torch.mapping(
        {
            "w": torch.tensor("0", "Float", 24, (24,)),
            "callbacks": b"}(" + checkpoint + torch.mapping({"best": torch.plain(0.5)}) + b"u",
            "args": torch.call(torch.name("argparse", "Namespace")) + torch.mapping({}) + b"b",
            "groups": torch.call(torch.name("__builtin__", "set"), torch.plain([1, 2])),
            "size": torch.call(torch.name("torch", "Size"), torch.plain((1, 2))),
        }
    )
    assert torch_files.read(write(tree, {"0": NUMBERS.tobytes()})).keys() == {"w"}


class Marker:
    """Pickles as a call that would leave a file behind."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def poisons(marker):
    """Opcodes that run something when an ordinary unpickler reads them, by the way they do it."""
    command = f"open({str(marker)!r}, 'w').close()"
    text, code = torch.plain(f"touch {marker}"), torch.plain(command)
    system = torch.name("os", "system")
    nested = pickle.dumps({"a": [Marker(exec, command)]}, 2)[2:-1]
    return {
        "os.system": torch.call(system, text),
        "posix.system": b"(" + text + b"iposix\nsystem\n",
        "builtins.eval": b"\x8c\x08builtins\x8c\x04eval\x93(" + code + b"tR",
        "builtins.exec": b"(" + torch.name("builtins", "exec") + code + b"o",
        "__builtin__.exec": nested,
        "builtins.getattr": torch.call(
            torch.name("builtins", "getattr"), torch.name("torch._utils", "x"), torch.plain("a")
        ),
        "os.popen": torch.name("os", "popen") + b"(" + text + b"t\x81",
        "subprocess.Popen": torch.name("subprocess", "Popen") + b"(" + text + b"t}\x92",
        "torch.hub.load": torch.call(torch.name("torch.hub", "load"), text),
        "collections.OrderedDict.update": torch.name("collections", "OrderedDict.update"),
        "torch._utils._rebuild_tensor_v2.__globals__": torch.name(
            "torch._utils", "_rebuild_tensor_v2.__globals__"
        ),
    }


@pytest.mark.parametrize("name", poisons(""))
def test_what_would_run_is_refused_by_name_and_does_not_run(write, tmp_path, name):
    marker = tmp_path / "it_ran"
    opcodes = torch.mapping({"w": poisons(marker)[name]})
    refused(write(opcodes), f"wants to run {name}, refused: only weights are read")
    assert not marker.exists()


def test_the_poison_would_have_worked(tmp_path):
    # So that the test above is not passed by opcodes that do nothing anyway.
    marker = tmp_path / "it_ran"
    for name in ("os.system", "posix.system", "builtins.eval", "builtins.exec", "__builtin__.exec"):
        pickle.loads(b"\x80\x02" + poisons(marker)[name] + b".")
        assert marker.exists(), name
        marker.unlink()


@pytest.mark.parametrize(
    ("opcodes", "what"),
    [
        (torch.plain("a string") + b"(tR", "a str"),
        (torch.name("torch._utils", "_rebuild_tensor_v2") + b"}b", "sets the state of a Name"),
        (torch.name("collections", "OrderedDict") + b")}" + torch.plain("a") + b"Ns\x92", "named"),
        (b"\x82\x01", "the opcode EXT1"),
    ],
)
def test_other_ways_to_run_or_change_something_are_refused(write, opcodes, what):
    refused(write(torch.mapping({"w": opcodes})), f"wants to run .*{what}.*refused")


@pytest.mark.parametrize(
    ("opcodes", "detail"),
    [
        (torch.mapping({"w": torch.tensor("0", "Float", 24, (5, 5))}), "reaches behind the end"),
        (torch.mapping({"w": torch.tensor("0", "Float", 24, (2,), -1)}), "negative"),
        (torch.mapping({"w": torch.storage("0", "Odd", 1)}), "OddStorage"),
        (b"}(" + torch.plain(((1,),)) + torch.plain(1) + b"u", "a key is a tuple"),
        (b"}" + torch.plain(1) + b"a", "more of a dict"),
        (b"R", "empty"),
        (b"h\x07", "7"),
    ],
)
def test_nonsense_is_told_as_damage(write, opcodes, detail):
    match = f"is damaged or cut short|wants to run torch.{detail}"
    refused(write(opcodes, {"0": NUMBERS.tobytes()}), match)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_file_cut_anywhere_is_told_in_one_line(tmp_path, legacy):
    path = tmp_path / "x.pth"
    torch.save(path, {"a": NUMBERS, "b": NUMBERS.reshape(4, 6)}, legacy)
    content = path.read_bytes()
    for length in range(0, len(content), 23):
        path.write_bytes(content[:length])
        refused(path, "damaged or cut short|is no file of weights")


def test_a_changed_byte_in_the_weights_is_noticed(tmp_path):
    path = tmp_path / "x.pth"
    torch.save(path, {"a": NUMBERS})
    content = bytearray(path.read_bytes())
    content[content.index(NUMBERS.tobytes()) + 5] ^= 1
    path.write_bytes(content)
    refused(path, "damaged or cut short .a: Bad CRC-32")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<!DOCTYPE html><html>not found</html>", "it is a web page"),
        (b"\n <html>", "it is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (pickle.dumps({"a": 1}), "a pickle that PyTorch did not write"),
        (b"", "expected .safetensors, .npz or what torch.save writes"),
        (b"GIF89a", "expected .safetensors, .npz or what torch.save writes"),
        (b"\xff" * 8 + b"{}", "no whole safetensors file"),
    ],
)
def test_other_files_are_named_for_what_they_are(tmp_path, content, message):
    (tmp_path / "x.pth").write_bytes(content)
    refused(tmp_path / "x.pth", message)


def test_other_archives_are_named_for_what_they_are(tmp_path):
    path = tmp_path / "x.pt"
    torch.write_zip(path, torch.mapping({}), **{"constants.pkl": b""})
    refused(path, "is a TorchScript program")
    torch.write_zip(path, torch.mapping({}), byteorder=b"big")
    refused(path, "big-endian")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "x")
    refused(path, "an archive without weights")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model/data.pkl", bytes(10**6))
    refused(path, "data.pkl is compressed")
    refused(tmp_path / "none.pth", "cannot read .*No such file")


def test_npz_files(tmp_path):
    np.savez(tmp_path / "x.npz", **{"a.b": NUMBERS})
    np.testing.assert_array_equal(torch_files.read(tmp_path / "x.npz")["a.b"], NUMBERS)
    content = io.BytesIO()
    np.savez(content, a=np.array([Marker(print)], dtype=object))
    (tmp_path / "x.npz").write_bytes(content.getvalue())
    refused(tmp_path / "x.npz", "not plain numbers")


def test_safetensors_are_read_by_this_and_by_their_own_library(tmp_path):
    numpy_files = pytest.importorskip("safetensors.numpy")
    path = tmp_path / "x.safetensors"
    arrays = {"a": NUMBERS.reshape(4, 6), "s": np.array(3, np.float32), "i": np.arange(3)}
    numpy_files.save_file(arrays, path)
    ours = tmp_path / "ours.safetensors"
    safetensors_files.write(ours, arrays, {"step": "7"})
    assert safetensors_files.metadata(ours) == {"step": "7"}
    for found in (torch_files.read(path), torch_files.read(ours), numpy_files.load_file(ours)):
        assert found.keys() == arrays.keys()
        for name, array in arrays.items():
            np.testing.assert_array_equal(found[name], array)
            assert found[name].dtype == array.dtype
    half = {"b": np.array([1.5, -2]).astype(ml_dtypes.bfloat16)}
    safetensors_files.write(ours, half, {})
    np.testing.assert_array_equal(torch_files.read(ours)["b"], half["b"])


def test_safetensors_of_float8_are_read_beside_others(tmp_path):
    eighths = np.array([1.5, -2, 0.25, 0]).astype(ml_dtypes.float8_e4m3fn)
    header = {
        "a": {"dtype": "F8_E4M3", "shape": [2, 2], "data_offsets": [0, 4]},
        "b": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]},
    }
    text = json.dumps(header).encode()
    path = tmp_path / "x.safetensors"
    path.write_bytes(
        struct.pack("<Q", len(text)) + text + eighths.tobytes() + np.float32(3).tobytes()
    )
    found = torch_files.read(path)
    np.testing.assert_array_equal(found["a"], eighths.reshape(2, 2))
    np.testing.assert_array_equal(found["b"], np.array([3], np.float32))
    assert safetensors_files.shapes(path) == {"a": (2, 2), "b": (1,)}


def test_safetensors_of_ours_are_equal_where_their_contents_are_and_for_everybody(tmp_path):
    arrays = {"b": NUMBERS.reshape(4, 6).T, "a": np.zeros((0, 3), np.float32)}
    one, other = tmp_path / "one", tmp_path / "other"
    safetensors_files.write(one, arrays, {"what": "x"})
    safetensors_files.write(other, dict(reversed(arrays.items())), {"what": "x"})
    assert one.read_bytes() == other.read_bytes()
    np.testing.assert_array_equal(safetensors_files.read(one)["b"], arrays["b"])
    (tmp_path / "plain").touch()
    assert one.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_damaged_safetensors_are_told(tmp_path):
    path = tmp_path / "x.safetensors"
    safetensors_files.write(path, {"a": NUMBERS}, {})
    content = path.read_bytes()
    for changed in (content[:-1], content.replace(b"24", b"23"), content.replace(b"F32", b"F99")):
        path.write_bytes(changed)
        refused(path, "no whole safetensors file")
