"""Exports and run directories that lie, or were changed by hand.

EXPORTS and RUNS: by name, the whole directory that is changed, in RUNS what reads it, and the
function that changes it in its place.
"""

import json

import hostile_codes
import mutations

from resgen_jax.io import files
from resgen_jax.training.checkpoints import manifest

LARGE = 10**6  # of a width: nothing of it may be allocated, traced or drawn


def _field(file, path, value):
    def make(folder, rng):
        fields = mutations.replaced(json.loads((folder / file).read_text()), path, value)
        (folder / file).write_text(json.dumps(fields))

    return make


def _with_config(path, value):
    return _field("config.json", path, value)


def _export(path, value):
    """In the section that is read by itself, and in the run's config."""

    def make(folder, rng):
        fields = json.loads((folder / "config.json").read_text())
        for where in (("export", *path), path):
            if _has(fields, where):
                fields = mutations.replaced(fields, where, value)
        (folder / "config.json").write_text(json.dumps(fields))

    return make


def _has(fields, path):
    for name in path:
        if not isinstance(fields, dict) or name not in fields:
            return False
        fields = fields[name]
    return True


def resealed(folder, change):
    """The record of the checkpoint after `change` of its content, with a digest that fits."""
    path = folder / "checkpoints/2/record/data.json"
    found = json.loads(path.read_text())
    sealed = manifest.seal(change(found["content"]), found["format"], found["written_by"])
    path.write_text(json.dumps(sealed))


def of_record(path, rng):
    """Damage to the fields of a record, whose digest fits again."""
    resealed(path.parents[3], lambda content: mutations.of_fields(content, rng))


def described_anew(folder):
    """The checksum of an export's weights as they are now."""
    config = json.loads((folder / "config.json").read_text())
    config["export"]["sha256"] = files.sha256(folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))


def _record(change):
    return lambda folder, rng: resealed(folder, change)


def _far_ahead(content):
    states = [json.dumps(dict.fromkeys(json.loads(t), 10**30)) for t in content["iterators"]]
    return content | {"iterators": states}


def _without(name):
    return _record(lambda content: {k: v for k, v in content.items() if k != name})


def _metrics(content):
    return hostile_codes.text("metrics.jsonl", content)


_TOKENIZER_SIZES = {
    "width": LARGE,
    "code_dim": LARGE,
    "num_res_blocks": 900,
    "num_decoder_res_blocks": 900,
    "num_middle_blocks": 900,
    "multipliers": [1] * 16,
    "patch_size": 2**20,
}
_GENERATOR_SIZES = {
    ("model", "trunk", "width"): LARGE,
    ("model", "trunk", "num_layers"): LARGE,
    ("model", "trunk", "mlp_width"): LARGE,
    ("model", "num_components"): LARGE,
    ("model", "rank"): LARGE,
}
EXPORTS = {
    **{
        f"export whose {'.'.join(path)} is {value}": ("generator_export", _export(path, value))
        for path, value in _GENERATOR_SIZES.items()
    },
    **{
        f"export whose model.{name} is {str(value)[:9]}": (
            "tokenizer_export",
            _export(("model", name), value),
        )
        for name, value in _TOKENIZER_SIZES.items()
    },
    "export whose quantizer.depth is 10^6": (
        "tokenizer_export",
        _export(("quantizer", "depth"), LARGE),
    ),
    "export whose codebook is of 10^6": (
        "tokenizer_export",
        _export(("quantizer", "codebook_size"), LARGE),
    ),
    "export whose space.grid is 4,000 x 4,000": (
        "generator_export",
        _export(("space", "grid"), [4000, 4000]),
    ),
    "export of 10^6 classes": ("generator_export", _export(("space", "num_classes"), LARGE)),
    "export of VAR of 10^6 scales": (
        "scales_export",
        _export(("scales", "scales"), list(range(1, LARGE))),
    ),
    "export of VAR of 10^6 convolutions": (
        "scales_export",
        _export(("scales", "num_phi"), LARGE),
    ),
    "export of VAR of a codebook of texts": ("scales_export", _export(("codebook_size",), "x")),
    "export of VAR of a codebook of 10^9": ("scales_export", _export(("codebook_size",), 10**9)),
    "export of an RQ-Transformer of 10^6 layers": (
        "predictor_export",
        _export(("model", "num_body_layers"), LARGE),
    ),
    "export of an RQ-Transformer of depth 10^6": (
        "predictor_export",
        _export(("space", "depth"), LARGE),
    ),
}
RUNS = {
    **{
        f"run whose model.{name} is {str(value)[:9]}": (
            "tokenizer_run",
            "tokenizer",
            _with_config(("model", name), value),
        )
        for name, value in _TOKENIZER_SIZES.items()
    },
    **{
        f"run whose {'.'.join(path)} is {value}": (
            "generator_run",
            "generator",
            _with_config(path, value),
        )
        for path, value in _GENERATOR_SIZES.items()
    },
    "run whose codes are of depth 10^6": (
        "generator_run",
        "generator",
        _field("codes.json", ("depth",), LARGE),
    ),
    "run of no task": ("tokenizer_run", "tokenizer", _with_config(("task",), None)),
    "record without arrays": ("tokenizer_run", "tokenizer", _without("arrays")),
    "record without facts": ("tokenizer_run", "resumed", _without("facts")),
    "record without iterators": ("tokenizer_run", "resumed", _without("iterators")),
    "record of no iterators": (
        "generator_run",
        "resumed",
        _record(lambda content: content | {"iterators": []}),
    ),
    "record of an iterator of another kind": (
        "generator_run",
        "resumed",
        _record(lambda content: content | {"iterators": ["[" * 10**5]}),
    ),
    "record of an iterator far ahead": ("generator_run", "resumed", _record(_far_ahead)),
    "record of arrays without forms": (
        "generator_run",
        "generator",
        _record(lambda content: content | {"arrays": dict.fromkeys(content["arrays"])}),
    ),
    "record that is a list": ("generator_run", "generator", _record(lambda content: [content])),
    "metrics of binary zeros": ("tokenizer_run", "notes_of_runs", _metrics(bytes(10**6))),
    "metrics of one line of 20 MB": (
        "tokenizer_run",
        "notes_of_runs",
        _metrics(b'{"step":1,"split":"train","x":' + b"9" * 2 * 10**7),
    ),
    "metrics of deep JSON": ("tokenizer_run", "notes_of_runs", _metrics(b"[" * 10**6 + b"\n")),
    "metrics of other types": (
        "tokenizer_run",
        "resumed",
        _metrics(b'[]\n7\n{"step":null}\n{"step":1e400,"split":"train"}\n{"step":1,"split":{}}\n'),
    ),
    "metrics of a lone surrogate": (
        "tokenizer_run",
        "resumed",
        _metrics(b'{"step":1,"split":"a\\ud800","x":1}\n' * 3),
    ),
    "metrics of numbers over 10^308": (
        "tokenizer_run",
        "resumed",
        _metrics(b'{"step":1,"split":"train","x":1e999,"y":' + b"9" * 400 + b"}\n"),
    ),
    **{
        f"{file} of {what}": ("tokenizer_run", "notes_of_runs", hostile_codes.text(file, content))
        for file in (
            "wandb.json",
            "local_checkpoints.json",
            "phases.json",
            "heartbeat/process_0.json",
            "lock/3.json",
            "config.json",
        )
        for what, content in {
            "a list": b"[7]",
            "deep JSON": b"[" * 10**5,
            "no text": b"\xff\xfe{",
            "folders above": b'{"id":"/../../../x","demo":{"seconds":"x"},"pid":[],"host":{}}',
            "numbers": b'{"id":7,"demo":7,"pid":1e999,"host":"a\\u001b[2J\\n"}',
        }.items()
    },
}
