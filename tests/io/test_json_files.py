"""JSON of strangers: fields, or one line that says what is wrong and what to do."""

import json

import pytest

from resgen_jax.core import errors
from resgen_jax.io import json_files


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{", "is damaged"),
        (b"\xff\xfe\x00", "is damaged"),
        (b"[1]", "holds no fields"),
        (b"[" * 100_000, "levels within each other"),
        (b'{"a":' * 40 + b"1" + b"}" * 40, "levels within each other"),
        (b'{"a": ' + b"9" * 5000 + b"}", "is damaged"),
        (b'{"a":"' + b"x" * json_files.MAX_BYTES + b'"}', "more than [0-9]+ bytes"),
    ],
)
def test_what_holds_no_fields_is_told_with_the_way_out(tmp_path, content, words):
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(errors.UserError, match=f"x.json .*{words}.*; write it again$") as caught:
        json_files.read(tmp_path / "x.json", "write it again")
    assert "\n" not in str(caught.value)


def test_fields_are_read_and_missing_files_are_left_to_the_caller(tmp_path):
    fields = {"a": [1, {"b": None}], "c": "Zoë"}
    (tmp_path / "x.json").write_text(json.dumps(fields))
    assert json_files.read(tmp_path / "x.json", "") == fields
    with pytest.raises(FileNotFoundError):
        json_files.read(tmp_path / "y.json", "")
    with pytest.raises(errors.UserError, match="cannot read"):
        json_files.read(tmp_path, "")


def test_any_text_in_json_is_parsed_within_a_depth():
    assert json_files.parse("[1, [2]]") == [1, [2]]
    assert json_files.parse(b"7") == 7
    for text in ("[" * 100_000, "[" * 40 + "]" * 40, "{"):
        with pytest.raises(ValueError, match="levels|Expecting"):
            json_files.parse(text)
