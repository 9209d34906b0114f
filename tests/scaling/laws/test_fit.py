"""Fits find the law that losses were drawn from, as a brute-force search does, or refuse."""

import itertools

import numpy as np
import pytest

from resgen_jax.core import errors
from resgen_jax.scaling.laws import fit

SIZES, DATA = np.geomspace(1e6, 1e9, 5), np.geomspace(1e8, 1e11, 5)
# Chinchilla's own numbers (Hoffmann et al., 2022, table A3).
TRUTH = fit.Law(("parameters", "examples"), 1.69, (406.4, 410.7), (0.34, 0.28))


def grid(sizes=SIZES, data=DATA):
    """Every size with every amount of data."""
    pairs = np.asarray(list(itertools.product(sizes, data)))
    return {"parameters": pairs[:, 0], "examples": pairs[:, 1]}, pairs


def test_losses_of_a_law_without_noise_give_it_back():
    columns, pairs = grid()
    found = fit.fit(columns, TRUTH(pairs), num_replicates=5)
    for name, value in TRUTH.numbers().items():
        assert found.law.numbers()[name] == pytest.approx(value, rel=1e-3), name
    assert found.share_explained == pytest.approx(1)
    assert found.num_failed == 0


def test_a_negative_floor_is_found_too():
    truth = fit.Law(("flops",), -0.5, (3.0,), (0.2,))
    compute = np.geomspace(1e2, 1e6, 8)
    found = fit.fit({"flops": compute}, truth(compute[:, None]), num_replicates=0)
    assert found.law.floor == pytest.approx(-0.5, abs=1e-3)
    assert found.law.exponents[0] == pytest.approx(0.2, rel=1e-3)


@pytest.mark.parametrize("name", ["exponent_parameters", "exponent_examples", "floor"])
def test_intervals_hold_the_truth_as_often_as_they_say(name):
    columns, pairs = grid()
    held, num_draws = 0, 20
    for seed in range(num_draws):
        noise = np.random.default_rng(seed).normal(0, 0.01, len(pairs))
        low, high = fit.fit(columns, TRUTH(pairs) + noise, num_replicates=60).interval(name, 0.9)
        held += low <= TRUTH.numbers()[name] <= high
    assert held >= 15  # of 20 at 90 %: 18 are expected, below 15 has a chance of 1 %


def test_the_fit_is_no_worse_than_any_law_on_a_fine_grid():
    columns, pairs = grid(SIZES[:4], DATA[:3])
    losses = TRUTH(pairs) + np.random.default_rng(1).normal(0, 0.02, len(pairs))
    found = fit.fit(columns, losses, num_replicates=0)
    best = np.inf
    for powers in itertools.product(np.linspace(0.02, 1.5, 75), repeat=2):
        scaled = (pairs / np.exp(np.log(pairs).mean(axis=0))) ** -np.asarray(powers)
        design = np.column_stack([np.ones(len(pairs)), scaled])
        numbers = np.linalg.lstsq(design, losses, rcond=None)[0]
        if (numbers[1:] > 0).all():
            best = min(best, np.sum((design @ numbers - losses) ** 2))
    assert np.sum(found.residuals**2) <= best * (1 + 1e-6)


def test_units_of_the_variables_do_not_matter():
    columns, pairs = grid(SIZES[:4], DATA[:3])
    losses = TRUTH(pairs) + np.random.default_rng(2).normal(0, 0.01, len(pairs))
    found = fit.fit(columns, losses, num_replicates=0).law
    kilo = {name: values / 1e3 for name, values in columns.items()}
    other = fit.fit(kilo, losses, num_replicates=0).law
    np.testing.assert_allclose(other.exponents, found.exponents, rtol=1e-3)
    np.testing.assert_allclose(other(pairs / 1e3), found(pairs), rtol=1e-5)


def test_the_same_seed_gives_the_same_intervals_and_noise_widens_them():
    columns, pairs = grid()
    noise = np.random.default_rng(3).normal(0, 0.005, len(pairs))
    quiet, again, loud = (
        fit.fit(columns, TRUTH(pairs) + scale * noise, num_replicates=50).interval("floor")
        for scale in (1, 1, 4)
    )
    assert quiet == again
    assert loud[1] - loud[0] > 2 * (quiet[1] - quiet[0])


def test_the_best_size_grows_as_the_exponents_say():
    # Along C = 6 N D, the best N by brute force at two budgets.
    def best(compute):
        sizes = np.geomspace(1e5, 1e12, 20001)
        losses = TRUTH(np.column_stack([sizes, compute / (6 * sizes)]))
        return sizes[np.argmin(losses)]

    slope = np.log(best(1e22) / best(1e19)) / np.log(1e3)
    assert slope == pytest.approx(fit.best_size_exponent(TRUTH, "parameters", "examples"), abs=1e-3)


def test_an_exponent_that_the_losses_do_not_determine_is_told():
    compute = np.geomspace(1, 1e3, 8)
    found = fit.fit({"flops": compute}, 5 - 0.1 * np.log(compute), num_replicates=0)
    assert found.law.at_bound() == ("flops",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c, y: ({k: v[:5] for k, v in c.items()}, y[:5]), "5 runs cannot determine the 5"),
        (lambda c, y: (c, np.where(np.arange(len(y)) == 3, np.nan, y)), "leave out the runs"),
        (lambda c, y: (c, np.full_like(y, 2.0)), "all losses are 2"),
        (lambda c, y: (c, 4 - y), "the losses do not fall with parameters and examples"),
        (lambda c, y: (c | {"parameters": np.full_like(y, 7.0)}, y), "parameters has 1 different"),
        (lambda c, y: (c | {"examples": c["examples"] - 1e8}, y), "not a positive, finite number"),
    ],
)
def test_losses_that_determine_no_law_are_refused(change, message):
    columns, pairs = grid()
    with pytest.raises(errors.UserError, match=message):
        fit.fit(*change(columns, TRUTH(pairs)), num_replicates=0)
