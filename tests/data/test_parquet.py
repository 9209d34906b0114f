"""Parquet tables: the hub's class names, plain binary columns, and tables of other things."""

import sys

import image_files
import pytest

from resgen_jax.core import errors
from resgen_jax.data import images, parquet

pyarrow = pytest.importorskip("pyarrow")


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    return image_files.encoded(image_files.make_folder(tmp_path_factory.mktemp("pq") / "folder"))


@pytest.mark.parametrize("is_struct", [True, False])
def test_struct_and_binary_columns_hold_the_same_bytes(tmp_path, split, is_struct):
    place = image_files.write_parquet(tmp_path / "tables", split, is_struct=is_struct)
    opened = parquet.open_tables(place, "")
    assert opened.class_names == image_files.CLASSES
    for part in ("train", "held_out"):
        found, wanted = getattr(opened, part), getattr(split, part)
        assert len(found) == len(wanted)
        for index in [*range(len(wanted)), 0]:
            assert found[index][:2] == wanted[index][:2]


def test_only_some_row_groups_are_kept(tmp_path, split):
    place = image_files.write_parquet(tmp_path / "tables", split, group=1)
    opened = parquet.open_tables(place, "").train
    for index in range(15):
        assert opened[index].encoded == split.train[index].encoded
        assert opened._loaded.cache_info().currsize == min(index + 1, parquet.MOST_GROUPS)


def test_without_names_classes_are_numbers_and_too_few_names_are_refused(tmp_path, split):
    place = image_files.write_parquet(tmp_path / "none", split, names=())
    assert parquet.open_tables(place, "").class_names == ("0", "1", "2")
    place = image_files.write_parquet(tmp_path / "few", split, names=("ant", "bee"))
    with pytest.raises(errors.UserError, match="label 2, but its schema names 2 classes"):
        parquet.open_tables(place, "")


def write(path, **columns):
    from pyarrow import parquet as pq

    pq.write_table(pyarrow.table(columns), path)
    return str(path)


def test_names_in_the_column_are_the_classes(tmp_path):
    path = write(tmp_path / "x.parquet", image=[b"1", b"2", b"3"], label=["b", "a", "b"])
    opened = parquet.open_tables(path, path)
    assert opened.class_names == ("a", "b")
    assert [opened.train[index][:2] for index in range(3)] == [(b"1", 1), (b"2", 0), (b"3", 1)]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"picture": [b"1"], "label": [0]}, "no column 'image' or .*; it has picture, label"),
        ({"image": [b"1"], "kind": [0]}, "no column 'label' or .*; it has image, kind"),
        ({"image": [b"1", b"2"], "label": [0, None]}, "x.parquet row 1 has the label null; exp"),
        ({"image": [b"1"], "label": [[0, 1]]}, "x.parquet row 0 has the label of type list"),
        ({"image": [b"1"], "label": [0.5]}, "x.parquet row 0 has the label 0.5; expected"),
        ({"image": [b"1"], "label": [-1]}, "has labels such as -1; expected numbers"),
    ],
)
def test_tables_of_other_things_are_told(tmp_path, columns, message):
    with pytest.raises(errors.UserError, match=message) as info:
        parquet.open_tables(write(tmp_path / "x.parquet", **columns), "")
    assert "\n" not in str(info.value)


@pytest.mark.parametrize(
    "note",
    [
        *(b"{", b"[]", b"null", b'{"info": null}', b'{"info": {"features": null}}', b"[" * 10**5),
        *(b'{"info": {"features": {"label": null}}}', b'{"info": {"features": {"label": [1]}}}'),
    ],
)
def test_notes_that_name_no_classes_are_passed_over(tmp_path, note):
    from pyarrow import parquet as pq

    table = pyarrow.table({"image": [b"1", b"2"], "label": [0, 1]})
    path = tmp_path / "x.parquet"
    pq.write_table(table.replace_schema_metadata({b"huggingface": note}), path)
    assert parquet.open_tables(str(path), str(path)).class_names == ("0", "1")


@pytest.mark.parametrize("column", [["a.jpg", "b.jpg"], [[b"1"], [b"2"]], [None, None], [1, 2]])
def test_images_that_are_no_bytes_are_told(tmp_path, column):
    path = write(tmp_path / "x.parquet", image=column, label=[0, 1])
    with pytest.raises(images.UnreadableImage, match="row 1 .*the table holds no bytes of it"):
        parquet.open_tables(path, path).train[1]


def test_files_that_are_no_tables_and_images_elsewhere_are_told(tmp_path):
    (tmp_path / "x.parquet").write_bytes(b"no table")
    with pytest.raises(errors.UserError, match="x.parquet cannot be read as a parquet table"):
        parquet.open_tables(str(tmp_path / "x.parquet"), "")
    rows = [{"bytes": None, "path": "a.jpg"}, {"bytes": b"1", "path": "b.jpg"}]
    path = write(tmp_path / "y.parquet", image=rows, label=[0, 1])
    opened = parquet.open_tables(path, path).train
    with pytest.raises(errors.UserError, match="y.parquet row group 0 row 0 .*holds no bytes"):
        opened[0]


def test_later_tables_are_looked_at_too(tmp_path):
    write(tmp_path / "train-0.parquet", image=[b"1", b"2"], label=[0, 1])
    later = tmp_path / "train-1.parquet"
    whole = (tmp_path / "train-0.parquet").read_bytes()
    for content in (b"", b"<html></html>", whole[: len(whole) // 2]):
        later.write_bytes(content)
        with pytest.raises(errors.UserError, match="train-1.parquet cannot be read as a parquet"):
            parquet.open_tables(str(tmp_path), "")
    write(later, other=[1])
    with pytest.raises(errors.UserError, match="train-1.parquet has no column 'image'; it has oth"):
        parquet.open_tables(str(tmp_path), "")


def test_tables_without_rows_are_told(tmp_path):
    empty = pyarrow.array([], pyarrow.binary()), pyarrow.array([], pyarrow.int64())
    path = write(tmp_path / "x.parquet", image=empty[0], label=empty[1])
    with pytest.raises(errors.UserError, match="x.parquet holds tables without rows"):
        parquet.open_tables(path, "")


def test_damaged_row_group_is_an_unreadable_image(tmp_path):
    path = write(tmp_path / "x.parquet", image=[b"1" * 99, b"2" * 99], label=[0, 1])
    opened = parquet.open_tables(path, path).train
    content = bytearray((tmp_path / "x.parquet").read_bytes())
    content[4:40] = b"\xff" * 36
    (tmp_path / "x.parquet").write_bytes(content)
    with pytest.raises(images.UnreadableImage, match="x.parquet row group 0 row 1 cannot be read"):
        opened[1]


def test_missing_pyarrow_names_the_extra(tmp_path, monkeypatch):
    (tmp_path / "x.parquet").touch()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(errors.UserError, match=r"pip install resgen_jax\[parquet\]"):
        parquet.open_tables(str(tmp_path / "x.parquet"), "")


def test_more_rows_than_bytes_are_refused_before_they_are_unpacked(tmp_path):
    count = 3_000_000
    nothing = pyarrow.DictionaryArray.from_arrays(
        pyarrow.array([0] * count, pyarrow.int8()), pyarrow.array([b""])
    )
    path = write(tmp_path / "x.parquet", image=nothing, label=pyarrow.nulls(count, pyarrow.int8()))
    with pytest.raises(errors.UserError, match=rf"claims {count} rows in [0-9]+ bytes"):
        parquet.open_tables(path, path)


def test_a_table_that_would_swell_a_hundredfold_is_refused(tmp_path):
    from pyarrow import parquet as pq

    path = tmp_path / "x.parquet"
    table = pyarrow.table({"image": [bytes(2**26)], "label": [0]})
    pq.write_table(table, path, compression="zstd")
    with pytest.raises(errors.UserError, match="bytes would unpack to 67"):
        parquet.open_tables(str(path), str(path))


def test_what_a_table_holds_once_for_many_rows_is_kept_once(tmp_path):
    large = bytes(2**20)
    path = write(tmp_path / "x.parquet", image=[large] * 300, label=["a"] * 300)
    opened = parquet.open_tables(path, path).train
    assert opened[299].encoded == large
    assert opened._loaded(0).nbytes < 3 * len(large)


def test_a_text_is_no_name_of_a_class(tmp_path):
    path = write(tmp_path / "x.parquet", image=[b"1"] * 2, label=["a", "n" * 2000])
    with pytest.raises(errors.UserError, match="row 1 has the label 'n"):
        parquet.open_tables(path, path)
