"""The files that `check_files.py` opens: known hostile ones, each field wrong, and mutations.

Every trial is made anew from its seed and its number, whatever else is made.
"""

import json
import pathlib
import shutil
import zlib
from collections.abc import Callable
from typing import NamedTuple

import hostile_archives
import hostile_codes
import hostile_images
import hostile_pickles
import hostile_runs
import hostile_tables
import mutations
import numpy as np
import valid_files

# What is whole: its name, the function that makes it, its file's name, and what reads it.
WHOLE = {
    **{
        f"weights.{suffix}": (valid_files.weights, ("weights",))
        for suffix in ("pt", "pth", "safetensors", "npz")
    },
    **{
        f"picture.{suffix}": (valid_files.picture, ("picture",))
        for suffix in valid_files.IMAGE_FORMATS
    },
    "samples.npz": (valid_files.samples, ("image_array",)),
    "packed.npz": (valid_files.packed_samples, ("image_array",)),
    "statistics.npz": (valid_files.statistics, ("statistics",)),
    "tars": (valid_files.tar, ("tars",)),
    "indexed_tars": (valid_files.indexed_tar, ("tars",)),
    "tables": (valid_files.parquet, ("tables",)),
    "shards": (valid_files.shards, ("shards",)),
    "codes": (valid_files.codes, ("codes_directory",)),
    "tokenizer_export": (valid_files.tokenizer_export, ("pretrained",)),
    "generator_export": (valid_files.generator_export, ("pretrained",)),
    "scales_export": (valid_files.scales_export, ("pretrained",)),
    "predictor_export": (valid_files.predictor_export, ("pretrained",)),
    "tokenizer_run": (valid_files.tokenizer_run, ("tokenizer", "resumed", "notes_of_runs")),
    "generator_run": (valid_files.generator_run, ("generator", "resumed")),
}
# Shares of the mutations, by the group that the table tells of.
SHARES = {
    "weights": 0.2,
    "pictures": 0.18,
    "npz": 0.12,
    "tar": 0.12,
    "parquet": 0.1,
    "ArrayRecord": 0.06,
    "codes": 0.1,
    "exports": 0.06,
    "runs": 0.06,
}


class Trial(NamedTuple):
    """A file to be made and opened: `make` puts it into a folder."""

    group: str
    name: str
    reader: str
    make: Callable[["Whole", pathlib.Path], pathlib.Path]


class Whole:
    """Whole files of all forms, made when they are first wanted."""

    def __init__(self, place):
        self._place = place
        place.mkdir(parents=True, exist_ok=True)

    def path(self, name):
        """Where a whole file or directory lies, which is not to be changed."""
        path = self._place / name
        if not path.exists():
            WHOLE[name][0](path)
        return path

    def copy(self, name, folder):
        """A copy of it in a folder."""
        path = self.path(name)
        copy = shutil.copytree if path.is_dir() else shutil.copy2
        return pathlib.Path(copy(path, folder / name))

    def by_reader(self, readers):
        """Copies of what each of these readers reads."""
        found = {}
        for name, (_, names) in WHOLE.items():
            for reader in names:
                if reader in readers:
                    folder = self._place / f"for_{reader}"
                    folder.mkdir(exist_ok=True)
                    found.setdefault(reader, []).append(str(self.copy(name, folder)))
        return found


def trials(whole, num_files, seed, groups=tuple(SHARES)):
    """All known files and all wrong fields of some groups, and mutations until there are so many.

    The mutations are half of the files at least: the more there are, the more is seen.
    """
    found = [trial for trial in known(seed) if trial.group in groups]
    found += wrong_fields(whole, seed, groups)
    rest = max(num_files // 2, num_files - len(found))
    return [*found, *mutated(whole, rest, seed, groups)]


def known(seed):
    """Each hostile file that has a name."""
    groups = [
        ("weights", "weights", hostile_pickles.HOSTILE),
        ("pictures", "picture", hostile_images.HOSTILE),
        ("npz", "image_array", hostile_archives.NPZ),
        ("npz", "weights", hostile_archives.NPZ),
        ("npz", "statistics", hostile_archives.NPZ | hostile_archives.STATISTICS),
        ("tar", "tars", hostile_archives.TARS),
        ("parquet", "tables", hostile_tables.TABLES),
        ("ArrayRecord", "shards", hostile_tables.SHARDS),
    ]
    found = [
        Trial(group, name, reader, _alone(make, seed, name))
        for group, reader, makers in groups
        for name, make in makers.items()
    ]
    for name, change in hostile_codes.CODES.items():
        found.append(Trial("codes", name, "codes_directory", _changed("codes", change, seed, name)))
    for name, (whole, change) in hostile_runs.EXPORTS.items():
        found.append(Trial("exports", name, "pretrained", _changed(whole, change, seed, name)))
    for name, (whole, reader, change) in hostile_runs.RUNS.items():
        found.append(Trial("runs", name, reader, _changed(whole, change, seed, name)))
    return found


FIELDS = (  # whole directory, its file, group, reader
    ("codes", "codes.json", "codes", "codes_directory"),
    ("generator_run", "codes.json", "runs", "generator"),
    ("generator_run", "config.json", "runs", "generator"),
    ("tokenizer_run", "config.json", "runs", "tokenizer"),
    ("tokenizer_export", "config.json", "exports", "pretrained"),
    ("generator_export", "config.json", "exports", "pretrained"),
    ("scales_export", "config.json", "exports", "pretrained"),
    ("predictor_export", "config.json", "exports", "pretrained"),
)


def wrong_fields(whole, seed, groups=tuple(SHARES)):
    """Every section and field of JSON files removed, and once of a wrong type."""
    found = []
    for name, file, group, reader in FIELDS:
        if group not in groups:
            continue
        paths = mutations.fields_in(json.loads((whole.path(name) / file).read_text()))
        for path in paths:
            if group == "exports" and path[0] != "export":  # as in the runs, which are here too
                continue
            for how in ("removed", "wrong"):
                what = f"{'.'.join(map(str, path))} {how} in {file} of {name}"
                found.append(Trial(group, what, reader, _of_field(name, file, path, how, seed)))
    return found


def mutated(whole, number, seed, groups=tuple(SHARES)):
    """So many whole files with damage, shared out over the groups."""
    chosen = {name: share for name, share in SHARES.items() if name in groups}
    found = []
    for group, share in chosen.items():
        count = max(1, round(number * share / sum(chosen.values())))
        for index in range(count):
            name, file, reader, damage = MUTATED[group][index % len(MUTATED[group])]
            what = f"mutation {index} of {file or name}"
            found.append(Trial(group, what, reader, _damaged(name, file, damage, seed, what)))
    return found


def _damaged(name, file, damage, seed, what):
    """`file` is a pattern of the files of a whole directory, one of which is damaged."""

    def make(whole, folder):
        place, rng = whole.copy(name, folder), _rng(seed, f"{name} {what}")
        files = sorted(f for f in place.glob(file) if f.is_file()) if file else [place]
        damage(files[rng.integers(len(files))], rng)
        if (
            name == "codes" and file != "codes.json" and rng.integers(4)
        ):  # else the checksums tell, and nothing is parsed
            hostile_codes.describe(place)
        if file == "model.safetensors" and rng.integers(4):
            hostile_runs.described_anew(place)
        return place

    return make


def _bytes(path, rng):
    path.write_bytes(mutations.of_bytes(path.read_bytes(), rng))


MUTATED = {  # whole file or directory, pattern of its files, reader, damage
    "weights": [(name, "", "weights", _bytes) for name in WHOLE if name.startswith("weights.")],
    "pictures": [(name, "", "picture", _bytes) for name in WHOLE if name.startswith("picture.")],
    "npz": [
        ("samples.npz", "", "image_array", _bytes),
        ("packed.npz", "", "image_array", _bytes),
        ("statistics.npz", "", "statistics", _bytes),
    ],
    "tar": [
        ("tars", "*.tar", "tars", _bytes),
        ("indexed_tars", "*.index.json", "tars", mutations.of_json),
        ("indexed_tars", "*.tar", "tars", _bytes),
    ],
    "parquet": [("tables", "*.parquet", "tables", _bytes)],
    "ArrayRecord": [
        ("shards", "*.array_record", "shards", _bytes),
        ("shards", "images.json", "shards", mutations.of_json),
    ],
    "codes": [
        ("codes", "codes_*", "codes_directory", _bytes),
        ("codes", "codebooks.npy", "codes_directory", _bytes),
        ("codes", "codes.json", "codes_directory", mutations.of_json),
    ],
    "exports": [
        ("predictor_export", "model.safetensors", "pretrained", _bytes),
        ("generator_export", "model.safetensors", "pretrained", _bytes),
        ("tokenizer_export", "config.json", "pretrained", mutations.of_json),
        ("scales_export", "config.json", "pretrained", mutations.of_json),
        ("generator_export", "config.json", "pretrained", mutations.of_json),
    ],
    "runs": [
        ("generator_run", "checkpoints/2/record/*", "resumed", _bytes),
        ("generator_run", "checkpoints/2/**/*[!d]", "generator", _bytes),
        ("generator_run", "metrics.jsonl", "resumed", _bytes),
        ("generator_run", "codes.json", "generator", mutations.of_json),
        ("generator_run", "config.json", "resumed", mutations.of_json),
        ("tokenizer_run", "config.json", "tokenizer", mutations.of_json),
        ("generator_run", "checkpoints/2/record/data.json", "resumed", hostile_runs.of_record),
    ],
}


def _of_field(whole, file, path, how, seed):
    def change(folder, rng):
        fields = json.loads((folder / file).read_text())
        if how == "removed":
            fields = mutations.removed(fields, path)
        else:
            value = mutations.WRONG[rng.integers(len(mutations.WRONG))]
            fields = mutations.replaced(fields, path, value)
        (folder / file).write_text(json.dumps(fields))

    return _changed(whole, change, seed, f"{file} {path} {how}")


def _rng(seed, name):
    return np.random.default_rng([seed, zlib.crc32(name.encode(errors="replace"))])


def _alone(make, seed, name):
    return lambda whole, folder: make(folder, _rng(seed, name))


def _changed(name_of_whole, change, seed, name):
    def make(whole, folder):
        place = whole.copy(name_of_whole, folder)
        change(place, _rng(seed, name))
        return place

    return make
