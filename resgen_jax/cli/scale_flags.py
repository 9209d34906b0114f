"""Flags of the actions of `resgen scale`."""

from collections.abc import Callable, Mapping

from resgen_jax.cli import flags, known
from resgen_jax.cli.actions import Action


def _with_config(parser: flags.Parser) -> None:
    parser.add_argument("--config", metavar="FILE[:words]", help="of a run")
    _with_output(parser)


def _with_output(parser: flags.Parser) -> None:
    parser.add_argument(
        "--output",
        metavar="FILE",
        help="also write the figures as JSON; of `bench` with --depths a picture beside it, too",
    )
    parser.allow_buckets("output")


def _with_steps(parser: flags.Parser) -> None:
    parser.add_argument("--num_steps", type=int, default=20, help="timed steps (%(default)s)")


def _count_flags(parser: flags.Parser) -> None:
    _with_config(parser)
    _add_space(parser)


def _bench_flags(parser: flags.Parser) -> None:
    _count_flags(parser)
    parser.add_argument("--num_steps", type=int, default=20, help="timed runs (%(default)s)")
    parser.add_argument(
        "--beside",
        metavar="FILE[:words]",
        action="append",
        default=[],
        help="another config, timed in turn with the first; may be given more than once",
    )
    parser.add_argument(
        "--programs", default="", help="some of train,sample,quantize,encode,decode; all if empty"
    )
    parser.add_argument(
        "--depths", type=flags.integers, default=(), help="of codes, like 2,4,8,16: each is timed"
    )


def _add_space(parser: flags.Parser) -> None:
    parser.add_argument(
        "--space",
        metavar="SIZES",
        help="of codes, where a config does not say: grid, depth, entries, channels and classes, "
        "like 4x4,8,512,32,10",
    )


def _data_flags(parser: flags.Parser) -> None:
    _with_config(parser)
    _with_steps(parser)
    parser.add_argument(
        "--step_seconds",
        type=float,
        help="of a training step, from a run's metrics; measured here on noise if left out",
    )


def _sampler_flags(parser: flags.Parser) -> None:
    _with_steps(parser)
    _with_output(parser)
    named = ", ".join(known.HEADS)
    parser.add_argument("--head", default="mixture", help=f"one of {named} (%(default)s)")


def _compile_flags(parser: flags.Parser) -> None:
    _with_config(parser)
    parser.add_argument(
        "--topology", metavar="NAME", help="a TPU slice, v5e-256 or v5p-256 (cores), say"
    )
    named = ", ".join(known.PROGRAMS)
    parser.add_argument("--program", default="train", help=f"one of {named} (%(default)s)")
    parser.add_argument(
        "--table", metavar="DIR", help="only print what earlier ones wrote as DIR/*.json"
    )


def _of_a_study(add_flags: Callable[[flags.Parser], None]) -> Callable[[flags.Parser], None]:
    """The flags of an action on studies."""

    def add(parser: flags.Parser) -> None:
        add_flags(parser)
        _with_output(parser)
        parser.allow_buckets("workdir", "output")

    return add


def _plan_flags(parser: flags.Parser) -> None:
    _add_study_config(parser)
    flags.add_workdir(parser, "of the study, where it has begun: how far its runs are, their rates")
    parser.add_argument("--chip", metavar="KIND", help="predict hours on this chip, by --mfu")
    parser.add_argument("--mfu", type=float, help="share of the chip's peak, say 0.4")
    parser.add_argument("--flops_per_second", type=float, help="or this rate of one chip")


def _run_flags(parser: flags.Parser) -> None:
    _add_study_config(parser)
    flags.add_workdir(parser, "of the study: made, or gone on with")
    parser.add_argument("--only", metavar="PATTERN", help="runs with names such as 'w32_*' alone")


def _compare_flags(parser: flags.Parser) -> None:
    parser.add_argument("--config", metavar="FILE[:words]", help="of a comparison")
    flags.add_workdir(parser, "of the comparison: made, or gone on with")
    parser.add_argument("--only", metavar="PATTERN", help="runs with names such as 'codes_*' alone")
    parser.add_argument("--features", metavar="NAME", help="network of the distances")
    parser.add_argument("--weights", metavar="DIR", help="its weights ($RESGEN_WEIGHTS)")
    parser.add_argument("--judge", metavar="DIR", help="of a judge of the training images")


def _fit_flags(parser: flags.Parser) -> None:
    flags.add_workdir(parser, "of the study; fit.json and fit.png go there too")
    parser.add_argument(
        "--law", default="joint", help=f"one of {', '.join(known.LAWS)} (%(default)s)"
    )
    parser.add_argument("--title", default="", help="above the plot")


def _add_study_config(parser: flags.Parser) -> None:
    parser.add_argument("--config", metavar="FILE[:words]", help="of a study")


ACTIONS: Mapping[str, Action] = {
    "count": Action(
        _count_flags,
        "count the parameters and FLOPs of a config, by part and module, without building it",
        "resgen scale count --config=generators/resgen_imagenet256.py:depth16,576m",
    ),
    "bench": Action(
        _bench_flags,
        "time training, sampling, encoding and quantizing of configs here, on made-up data",
        "resgen scale bench --config=tokenizers/rq_vae_digits.py --num_steps=20",
    ),
    "data": Action(
        _data_flags,
        "hold a config's data pipeline against its training step",
        "resgen scale data --config=tokenizers/rq_vae_digits.py --step_seconds=0.3",
    ),
    "sampler": Action(
        _sampler_flags,
        "measure what sampling costs beside its network calls, and how it grows with depth",
        "resgen scale sampler --num_steps=3 --head=levels",
    ),
    "compile": Action(
        _compile_flags,
        "predict memory and speed on a TPU slice that need not be there (extra tpu)",
        "resgen scale compile --config=generators/resgen_imagenet256.py --topology=v5e-256",
    ),
    "plan": Action(
        _of_a_study(_plan_flags),
        "list the runs of a study with their cost, and how far they are",
        'resgen scale plan --config=scaling/resgen_digits.py --chip="TPU v5e" --mfu=0.4',
    ),
    "run": Action(
        _of_a_study(_run_flags),
        "train the runs of a study that are not finished",
        "resgen scale run --config=scaling/resgen_digits.py --workdir=runs/study",
    ),
    "fit": Action(
        _of_a_study(_fit_flags),
        "fit a power law through the runs of a study that are finished, and plot it",
        "resgen scale fit --workdir=runs/study",
    ),
    "compare": Action(
        _of_a_study(_compare_flags),
        "train methods alike on the same codes, measure their samples, and put them in one table",
        "resgen scale compare --config=comparisons/cifar10.py --config.codes=CODES --workdir=DIR",
    ),
}
