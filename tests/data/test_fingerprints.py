"""Fingerprints: the same for a copy elsewhere, another one for other names, sizes or bytes."""

import shutil

import image_files
import pytest

from resgen_jax.data import fingerprints, sources


@pytest.fixture
def folder(tmp_path):
    """A hundred files of 100 bytes."""
    for number in range(100):
        place = tmp_path / "one" / f"class{number % 3}" / f"{number}.bin"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(bytes([number]) * 100)
    return tmp_path / "one"


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def of(folder):
    return fingerprints.of_files(files(folder))


def test_a_copy_elsewhere_is_the_same(folder, monkeypatch):
    before = of(folder)
    other = folder.parent / "two" / "deeper"
    shutil.copytree(folder, other)
    assert of(other) == before
    monkeypatch.chdir(other)
    assert fingerprints.of_files(path.relative_to(other) for path in files(other)) == before


@pytest.mark.parametrize(
    "change",
    [
        lambda file: file.write_bytes(file.read_bytes()[:-1] + b"x"),
        lambda file: file.write_bytes(file.read_bytes() + b"x"),
        lambda file: file.rename(file.with_name("other.bin")),
        lambda file: file.unlink(),
        lambda file: (file.unlink(), file.symlink_to("nowhere")),  # cannot be read
    ],
)
def test_other_bytes_sizes_names_and_numbers_are_told(folder, change):
    before = of(folder)
    change(folder / "class1" / "1.bin")
    assert fingerprints.of_files(sorted(folder.rglob("*.bin"))) != before


def test_no_more_than_so_many_pieces_are_read_and_sizes_looked_up(folder, monkeypatch):
    """Spread over the list, so that other images of any large part of it are met."""
    read, looked_up = [], []
    piece, size = fingerprints._piece, fingerprints._size
    monkeypatch.setattr(
        fingerprints, "_piece", lambda file, start: read.append(file) or piece(file, start)
    )
    monkeypatch.setattr(fingerprints, "_size", lambda file: looked_up.append(file) or size(file))
    monkeypatch.setattr(fingerprints, "MOST_PIECES", 10)
    monkeypatch.setattr(fingerprints, "MOST_SIZES", 50)
    before = of(folder)
    assert (len(set(read)), len(set(looked_up))) == (10, 50)
    for file in files(folder)[20:40]:
        file.write_bytes(file.read_bytes()[::-1].replace(file.read_bytes()[:1], b"~"))
    assert of(folder) != before


def test_a_large_file_is_met_at_many_places(tmp_path):
    """Of 20 MB a stretch of 80 kB, wherever it is."""
    file = tmp_path / "a.tar"
    content = bytes(20_000_000)
    file.write_bytes(content)
    before = fingerprints.of_files([file])
    for start in (0, 7_123_456, len(content) - 80_000):
        file.write_bytes(content[:start] + b"x" * 80_000 + content[start + 80_000 :])
        assert fingerprints.of_files([file]) != before


@pytest.mark.parametrize("kind", ["folder", *image_files.WRITERS])
def test_moved_images_are_the_same_whatever_files_they_are_in(tmp_path, kind):
    split = image_files.encoded(image_files.make_folder(tmp_path / "folder"))
    place = tmp_path / "folder"
    if kind != "folder":
        place = tmp_path / kind
        image_files.WRITERS[kind](place, split)

    def found(path):
        dataset = sources.open_images(image_files.spec(path=str(path), source=kind))
        return [part.fingerprint() for part in dataset[:2]]

    before = found(place)
    moved = place.rename(tmp_path / "moved")
    assert found(moved) == before
    victim = next(path for path in files(moved) if "train" in str(path) and "json" not in path.name)
    content = bytearray(victim.read_bytes())
    content[len(content) // 3] ^= 1
    victim.write_bytes(bytes(content))
    assert found(moved)[0] != before[0]
