"""`resgen VERB ...`: finds the verb, runs it, and turns a user's mistake into one line."""

import importlib
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import resgen_jax
from resgen_jax.cli import actions, flags, outputs
from resgen_jax.core import build, errors

FAULT, USER_ERROR, STOPPED, INTERRUPTED = 1, 2, 3, 130


class Verb(NamedTuple):
    """What the help says of a verb, and its file; its flags stand beside it, in *_flags.py."""

    module: str
    purpose: str
    example: str


VERBS = {
    "demo": Verb(
        "demo",
        "train both stages on digits or your images, sample, and write a report",
        "resgen demo --images=photos --workdir=runs/photos",
    ),
    "train": Verb(
        "train",
        "train a tokenizer on images, or a generator on codes; goes on where it stopped",
        "resgen train --config=tokenizers/rq_vae_digits.py --workdir=runs/tokenizer",
    ),
    "reconstruct": Verb(
        "reconstruct",
        "encode and decode held-out images: a picture, PSNR and code usage by depth",
        "resgen reconstruct --workdir=runs/tokenizer",
    ),
    "encode": Verb(
        "encode",
        "write the codes of all images, for a generator to train on",
        "resgen encode --workdir=runs/tokenizer --output=runs/codes",
    ),
    "sample": Verb(
        "sample",
        "generate images by class, or fill in a part of one",
        "resgen sample --workdir=runs/generator --classes=3,7 --guidance_scale=1.5",
    ),
    "evaluate": Verb(
        "evaluate",
        "measure samples, reconstructions or a generator: FID and its kin, PSNR, SSIM, LPIPS",
        "resgen evaluate --samples=samples.npz --reference=statistics.npz",
    ),
    "convert": Verb(
        "convert",
        "export a run as safetensors, or read published weights of other libraries",
        "resgen convert --workdir=runs/tokenizer --to=safetensors --output=exported",
    ),
    "config": Verb(
        "config",
        "list the fields of a config with values, choices and meanings, or all configs",
        "resgen config tokenizers/rq_vae_digits.py",
    ),
    "scale": Verb(
        "scale",
        "count a config's parameters, measure or predict its speed, study how its loss scales",
        "resgen scale count --config=generators/resgen_imagenet256.py:depth16,576m",
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command line and returns its exit code.

    0 done, 2 the user's mistake, 3 stopped after saving, 130 interrupted; faults of the library
    itself keep their traceback. With several processes, 1 where a fault is in another one.
    Where nobody reads what it prints any more (`| head`), it goes on without.
    """
    with outputs.lasting():
        return _main(arguments)


def _main(arguments: Sequence[str] | None) -> int:
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments:
        print(help_text())
        return USER_ERROR
    name, *rest = arguments
    if name in ("-h", "--help", "help"):
        print(help_text())
        return 0
    if name == "--version":
        print(f"resgen_jax {resgen_jax.__version__}")
        return 0
    try:
        if name not in VERBS:
            hint = build.nearest(name, VERBS)
            raise errors.UserError(f"unknown verb {name!r}; {hint}; see `resgen --help`")
        return run(name, rest)
    except errors.UserError as failure:
        where = f"resgen {name}" if name in VERBS else "resgen"
        _say(f"{where}: {' '.join(str(failure).split())}")
        _leave_others(USER_ERROR, failure)
        return USER_ERROR
    except KeyboardInterrupt as failure:
        _say(f"resgen {name}: interrupted; what was finished is on disk, run the same again")
        _leave_others(INTERRUPTED, failure)
        return INTERRUPTED
    except Exception as failure:
        if not _has_others():
            raise
        if _is_elsewhere(failure):
            _say(f"resgen {name}: {failure}")
        else:
            traceback.print_exc()
        _leave_others(FAULT, failure)
        return FAULT


def run(name: str, arguments: Sequence[str]) -> int:
    """Parses the flags of the verb `name` and runs it.

    The flags stand in a file of their own: what the verb does, and all that needs JAX, is imported
    once it is known to be wanted.
    """
    page, values, overrides = _parse(name, arguments)
    if values is None:
        print(page)
        return 0
    module = importlib.import_module(f"resgen_jax.cli.{VERBS[name].module}")
    from resgen_jax.cli import compiling
    from resgen_jax.runs import consensus, progress
    from resgen_jax.runtime import compile_cache, joining

    _quiet_libraries()
    compile_cache.switch_on()
    joining.join(values.distributed, values.join_timeout, _say)
    consensus.on_command(name, values, overrides, _say)
    with compiling.told(progress.say):
        return module.run(values, overrides) or 0


def _parse(name: str, arguments: Sequence[str]) -> tuple[str, Any, Any]:
    """The page of help, and the flags' values and the config fields; None where help is asked."""
    verb = VERBS[name]
    module = importlib.import_module(f"resgen_jax.cli.{verb.module}_flags")
    if known := getattr(module, "ACTIONS", None):
        if actions.is_help(arguments, known):
            return actions.help_text(name, verb.purpose, known), None, None
        parser, arguments = actions.parser_of(name, known, arguments)
    else:
        parser = flags.Parser(name, verb.purpose, verb.example)
        module.add_flags(parser)
    values, overrides = parser.parse(arguments)
    return parser.format_help(), values, overrides


def help_text() -> str:
    """What `resgen --help` prints."""
    lines = [
        f"resgen_jax {resgen_jax.__version__}: image generation with residual vector quantization",
        "",
        "usage: resgen VERB [flags]      (resgen VERB --help lists the flags of a verb)",
        "",
    ]
    for name, verb in VERBS.items():
        lines += [f"  {name:<12} {verb.purpose}", f"  {'':<12}   $ {verb.example}"]
    lines += [
        "",
        "Begin with `resgen demo`: minutes on two CPU cores, nothing to download.",
        "A config is a Python file of yours or one that travels with the package. Words after a",
        "colon choose a variant (--config=generators/resgen_digits.py:tiny), and every field can",
        "be set: --config.optimizer.learning_rate=1e-3. Runs stop with Ctrl-C, after saving.",
    ]
    return "\n".join(lines)


def _has_others() -> bool:
    from resgen_jax.runtime import processes

    return processes.group() is not None


def _is_elsewhere(failure: Exception) -> bool:
    """Whether it is the failure of another process."""
    from resgen_jax.runtime import processes

    return isinstance(failure, processes.ProcessError)


def _leave_others(code: int, failure: BaseException) -> None:
    """Does not let the other processes of the run, if there are any, wait for this one."""
    if "jax" in sys.modules:  # a mistake in the verb is found before that is imported
        from resgen_jax.runtime import processes

        processes.leave(code, failure)


def _say(line: str) -> None:
    print(errors.shown(line), file=sys.stderr, flush=True)


def _quiet_libraries() -> None:
    """Keeps the libraries' notices off the screen; warnings that users can act on are ours."""
    from absl import logging

    logging.set_verbosity(logging.ERROR)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")


if __name__ == "__main__":
    sys.exit(main())
