"""Tiny configs, and run directories of models that were never trained: enough for every verb."""

import contextlib
import io
import pathlib
import signal

import jax
import pytest
from tiny_configs import GENERATOR, TOKENIZER

from resgen_jax.cli import __main__ as cli
from resgen_jax.runs import experiments, run_directory
from resgen_jax.runs.configs import configuration
from resgen_jax.runtime import mesh as meshes
from resgen_jax.training import loop, placement
from resgen_jax.training.checkpoints import checkpoint


class Place:
    """A folder with both configs, and the command line run in it."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        self.tokenizer_config = folder / "tokenizer.py"
        self.generator_config = folder / "generator.py"
        self.tokenizer, self.codes = folder / "tokenizer", folder / "codes"
        self.generator = folder / "generator"
        self.tokenizer_config.write_text(TOKENIZER)
        self.generator_config.write_text(GENERATOR)

    def resgen(self, *arguments) -> tuple[int, str, str]:
        """Exit code, standard output and standard error of one command line."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = cli.main([str(argument) for argument in arguments])
        return code, out.getvalue(), err.getvalue()

    def succeed(self, *arguments) -> str:
        """Standard output of a command line that has to succeed."""
        code, out, err = self.resgen(*arguments)
        assert code == 0, err
        return out

    def stop_after(self, step, *arguments):
        """Runs a training that Ctrl-C ends after this step; what it wrote to standard error."""
        run = loop.run

        def stopping(*args, progress, **options):
            def interrupt(event):
                progress(event)
                if event.step == step:
                    signal.raise_signal(signal.SIGINT)

            return run(*args, progress=interrupt, **options)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(loop, "run", stopping)
            code, _, err = self.resgen(*arguments)
        assert code == 3, err
        return err

    def save_untrained(self, config, workdir, seed=0):
        """A run directory as if training had stopped before its first step."""
        experiment = experiments.open_experiment(config, workdir, note=lambda text: None)
        shardings = placement.state_shardings(experiment.mesh, experiment.task)
        state = jax.jit(experiment.task.init, out_shardings=shardings)(jax.random.key(seed))
        with checkpoint.Checkpoints(workdir) as checkpoints:
            checkpoints.save(0, state, experiment.iterator)


@contextlib.contextmanager
def on_one_device():
    """One device of the eight: the laws of many have tests of their own, and compile longer."""
    make = meshes.make
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            meshes, "make", lambda spec, devices=None: make(spec, devices or jax.devices()[:1])
        )
        yield


@pytest.fixture
def place(tmp_path):
    """A folder of one's own."""
    return Place(tmp_path)


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    """Untrained runs of both stages with codes between them; only to be read."""
    place = Place(tmp_path_factory.mktemp("runs"))
    with on_one_device():
        config = configuration.load(str(place.tokenizer_config))
        place.save_untrained(config, place.tokenizer)
        place.succeed("encode", f"--workdir={place.tokenizer}", f"--output={place.codes}")
        config = configuration.load(str(place.generator_config), [("data.codes", str(place.codes))])
        place.save_untrained(config, place.generator)
    assert (place.generator / run_directory.FILE).is_file()
    return place
