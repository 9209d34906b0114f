"""The same few images as a folder, and as every other kind of file that sources read."""

import io
import json
import pathlib
import tarfile

import numpy as np
from PIL import Image

from resgen_jax.data import array_records, folders, records, sources

CLASSES = ("ant", "bee", "cat")


def spec(**fields):
    """A spec of small colour images."""
    return sources.Spec(
        **{"source": "folder", "image_size": 8, "channels": 3, "batch_size": 4} | fields
    )


def touch(root, *names):
    """Empty files of these names below `root`, which is given back."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def make_folder(root, train=5, held_out=2):
    """DIR/train and DIR/val: every image of its own colour."""
    for part, count in (("train", train), ("val", held_out)):
        for label, name in enumerate(CLASSES):
            (root / part / name).mkdir(parents=True)
            for number in range(count):
                color = (40 * label, 10 * number, 7 if part == "train" else 70)
                Image.new("RGB", (9, 8), color).save(root / part / name / f"{number:03d}.png")
    return root


def encoded(root: pathlib.Path) -> records.Split:
    """The folder's encoded images."""
    return folders.open_folder(str(root), "")


def add_member(tar, name, content):
    """A file in a tar."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


def write_tars(place, split, how="cls", size=6):
    """Shards train-000.tar ... of `size` images, labelled by `how`: cls, json or name."""
    place.mkdir()
    for part, images in (("train", split.train), ("val", split.held_out)):
        for start in range(0, len(images), size):
            with tarfile.open(place / f"{part}-{start // size:03d}.tar", "w") as tar:
                for index in range(start, min(start + size, len(images))):
                    content, label, _ = images[index]
                    key = f"./{part}/{index:06d}"
                    name = split.class_names[label]
                    if how == "cls":
                        add_member(tar, f"{key}.cls", str(label).encode())
                    else:
                        fields = {"label": label if how == "json" else name}
                        add_member(tar, f"{key}.json", json.dumps(fields).encode())
                    add_member(tar, f"{key}.seg.txt", b"something else")
                    add_member(tar, f"{key}.PNG", content)
    return str(place)


def write_array_records(place, split):
    """Shards of five images."""
    array_records.write(str(place), *split, records_per_shard=5)
    return str(place)


def write_parquet(place, split, names=CLASSES, is_struct=True, group=4):
    """Tables of row groups of `group` images, as the hub keeps them."""
    import pyarrow
    from pyarrow import parquet

    place.mkdir()
    for part, images in (("train", split.train), ("validation", split.held_out)):
        rows = [images[index] for index in range(len(images))]
        image = [{"bytes": row.encoded, "path": None} if is_struct else row.encoded for row in rows]
        kind = (
            pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
            if is_struct
            else pyarrow.binary()
        )
        columns = {
            "image": pyarrow.array(image, kind),
            "label": pyarrow.array([row.label for row in rows], pyarrow.int64()),
        }
        note = {"info": {"features": {"label": {"names": list(names), "_type": "ClassLabel"}}}}
        table = pyarrow.table(columns)
        if names:
            table = table.replace_schema_metadata({"huggingface": json.dumps(note)})
        middle = max(1, len(rows) // 2)  # two files
        for number, some in enumerate((table[:middle], table[middle:])):
            file = place / f"{part}-{number:05d}-of-00002.parquet"
            parquet.write_table(some, file, row_group_size=group)
    return str(place)


WRITERS = {"array_record": write_array_records, "tar": write_tars, "parquet": write_parquet}


def pixels_and_labels(source):
    """All records of a source."""
    elements = [source[index] for index in range(len(source))]
    assert [int(element["index"]) for element in elements] == list(range(len(source)))
    return (
        np.stack([element["images"] for element in elements]),
        [int(element["labels"]) for element in elements],
    )
