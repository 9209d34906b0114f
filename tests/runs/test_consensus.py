"""What the processes of a verb tell each other: data that differ are refused before training."""

import json

import pytest

from resgen_jax.core import errors
from resgen_jax.runs import consensus, experiments
from resgen_jax.runs.configs import configuration
from resgen_jax.runtime import processes


@pytest.mark.parametrize("stage", ["tokenizer", "generator"])
def test_hosts_that_see_other_data_under_the_same_names_are_refused(
    runs, place, monkeypatch, stage
):
    """The other host's copy differs in what is held out alone."""

    def gather(purpose, content, timeout=0.0):
        assert purpose == "the data"
        facts = json.loads(content)
        changed = [name for name in facts if "held_out" in name]
        assert changed
        return [content, json.dumps(facts | dict.fromkeys(changed, "another"))]

    monkeypatch.setattr(processes, "gather", gather)
    monkeypatch.setattr(processes, "names", lambda: ["process 0 (a)", "process 1 (b)"])
    file = {"tokenizer": place.tokenizer_config, "generator": place.generator_config}[stage]
    fields = [("data.codes", str(runs.codes))] if stage == "generator" else []
    config = configuration.load(str(file), fields)
    with pytest.raises(errors.UserError, match=r"held_out.* in process 0 \(a\) and 'another' in"):
        experiments.open_experiment(config, place.folder / "run", lambda text: None)
    assert not (place.folder / "run").exists()


def test_one_process_agrees_with_itself():
    consensus.on_data({"the images (train)": "0123456789abcdef"})
