"""Power laws through the losses of a study: exponents, their intervals, and the best sizes."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from scipy import optimize

from resgen_jax.core import errors

# Exponents are looked for in here; published ones lie between 0.05 and 0.8.
LEAST_EXPONENT, MOST_EXPONENT = 0.01, 3.0
NUM_EXPONENTS = 48  # a variable, of the first search
Rows = Float[np.ndarray, "n"]
Table = Float[np.ndarray, "n k"]


@dataclasses.dataclass(frozen=True)
class Law:
    """L(x) = floor + sum over i of coefficient_i / x_i^exponent_i, one term a variable.

    With the variables parameters and examples: equation 2 of Hoffmann et al., "Training
    Compute-Optimal Large Language Models", 2022. The floor may be negative: losses that are
    densities have no zero.
    """

    names: tuple[str, ...]
    floor: float
    coefficients: tuple[float, ...]
    exponents: tuple[float, ...]

    def __call__(self, values: Table) -> Rows:
        """The losses at a table of values, a column a variable."""
        scale, power = np.asarray(self.coefficients), np.asarray(self.exponents)
        return self.floor + np.sum(scale[None, :] * values ** -power[None, :], axis=-1)

    def numbers(self) -> dict[str, float]:
        """Every fitted number by name."""
        found = {"floor": self.floor}
        for name, scale, power in zip(self.names, self.coefficients, self.exponents, strict=True):
            found |= {f"coefficient_{name}": scale, f"exponent_{name}": power}
        return found

    def at_bound(self) -> tuple[str, ...]:
        """Variables whose exponent is at the end of its range: the losses do not determine it."""
        return tuple(
            name
            for name, power in zip(self.names, self.exponents, strict=True)
            if not 1.01 * LEAST_EXPONENT < power < 0.99 * MOST_EXPONENT
        )


@dataclasses.dataclass(frozen=True)
class Fit:
    """A law, how far the losses are from it, and what other draws of the noise would give."""

    law: Law
    residuals: Rows  # loss - law
    share_explained: float  # 1 - residual variance over variance: R^2
    replicates: tuple[Law, ...]  # of the bootstrap
    num_failed: int  # replicates without a falling law

    def interval(self, name: str, level: float = 0.9) -> tuple[float, float]:
        """The central `level` of a number of the replicates."""
        return interval([law.numbers()[name] for law in self.replicates], level)

    def band(self, values: Table, level: float = 0.9) -> tuple[Rows, Rows]:
        """The central `level` of the replicates' losses at each row of `values`."""
        losses = np.stack([law(values) for law in self.replicates])
        low, high = np.quantile(losses, [(1 - level) / 2, (1 + level) / 2], axis=0)
        return low, high


def interval(values: Sequence[float], level: float) -> tuple[float, float]:
    """The central `level` of some numbers; not a number where there are none."""
    if not len(values):
        return float("nan"), float("nan")
    low, high = np.quantile(np.asarray(values, float), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def fit(
    variables: Mapping[str, Rows], losses: Rows, *, num_replicates: int = 200, seed: int = 0
) -> Fit:
    """The law of least squared error, each run counting alike, and a bootstrap of its residuals.

    Residuals are centred and widened by sqrt(n / (n - number of fitted numbers)), since a fit
    leaves them too small, then drawn with replacement and added to the law (Efron and Tibshirani,
    "An Introduction to the Bootstrap", 1993, section 9.4). Raises UserError where the losses cannot
    determine a law.
    """
    names = tuple(variables)
    values = np.stack([np.asarray(variables[name], float) for name in names], axis=-1)
    losses = np.asarray(losses, float)
    check(names, values, losses)
    search = _Search(names, values)
    law = search.best(losses)
    if law is None:
        raise errors.UserError(
            f"no law fits: the losses do not fall with {' and '.join(names)}; look for runs that "
            f"overfit (their held-out losses rise) and for noise, and add sizes, budgets or seeds"
        )
    residuals = losses - law(values)
    num_runs, num_numbers = len(losses), 1 + 2 * len(names)
    widened = (residuals - residuals.mean()) * np.sqrt(num_runs / (num_runs - num_numbers))
    rng = np.random.default_rng(seed)
    draws = law(values)[None, :] + rng.choice(widened, (num_replicates, num_runs))
    found = [search.best(row) for row in draws]
    replicates = tuple(each for each in found if each is not None)
    explained = 1 - residuals.var() / losses.var()
    return Fit(law, residuals, float(explained), replicates, len(found) - len(replicates))


def check(names: Sequence[str], values: Table, losses: Rows) -> None:
    """Raises UserError where these runs cannot determine a law."""
    least = 2 + 2 * len(names)
    if len(losses) < least:
        raise errors.UserError(
            f"{len(losses)} runs cannot determine the {least - 1} numbers of a law of "
            f"{' and '.join(names)}; finish at least {least}, or fit fewer variables"
        )
    if not (np.isfinite(values).all() and np.isfinite(losses).all() and (values > 0).all()):
        raise errors.UserError(
            f"a loss or a size is not a positive, finite number: losses {losses.tolist()}, "
            f"{', '.join(names)} {values.tolist()}; leave out the runs that diverged"
        )
    for name, column in zip(names, values.T, strict=True):
        if len(np.unique(column)) < 3:
            raise errors.UserError(
                f"{name} has {len(np.unique(column))} different values; a law with a floor needs "
                f"3 or more: add to the study"
            )
    if np.ptp(losses) <= 1e-9 * max(np.abs(losses).max(), 1e-30):
        raise errors.UserError(f"all losses are {losses[0]:g}: there is no law in a constant")


class _Search:
    """Least squares over the exponents: the other numbers are linear, once these are known.

    The tables of the first search depend on the sizes alone, and serve every bootstrap replicate.
    """

    def __init__(self, names: tuple[str, ...], values: Table):
        self.names, self.values = names, values
        # Sizes of order one, or columns of 1e-9 would drown in rounding.
        self.unit = np.exp(np.log(values).mean(axis=0))
        powers = np.geomspace(LEAST_EXPONENT, MOST_EXPONENT, NUM_EXPONENTS)
        self.grid = np.asarray(list(itertools.product(powers, repeat=len(names))))
        designs = np.stack([self._design(exponents) for exponents in self.grid])
        self.designs, self.inverses = designs, np.linalg.pinv(designs)

    def best(self, losses: Rows) -> Law | None:
        """The best law whose every term falls, or None if no law on the grid does."""
        numbers = np.einsum("gjn,n->gj", self.inverses, losses)
        misfits = np.einsum("gnj,gj->gn", self.designs, numbers) - losses[None, :]
        squares = np.where((numbers[:, 1:] > 0).all(axis=-1), np.sum(misfits**2, axis=-1), np.inf)
        start = int(np.argmin(squares))
        if not np.isfinite(squares[start]):
            return None
        scale = losses.std()  # so that tolerances mean the same for every loss
        found = optimize.least_squares(
            lambda exponents: self._solve(exponents, losses)[1] / scale,
            self.grid[start],
            bounds=(LEAST_EXPONENT * 0.999, MOST_EXPONENT * 1.001),
            x_scale=np.maximum(self.grid[start], 0.1),
        )
        exponents = found.x
        numbers, _ = self._solve(exponents, losses)
        if (numbers[1:] <= 0).any():  # refined across the border where a term vanishes
            exponents = self.grid[start]
            numbers, _ = self._solve(exponents, losses)
        coefficients = numbers[1:] * self.unit**exponents
        return Law(self.names, float(numbers[0]), _floats(coefficients), _floats(exponents))

    def _design(self, exponents: Float[np.ndarray, "k"]) -> Float[np.ndarray, "n j"]:
        terms = (self.values / self.unit[None, :]) ** -exponents[None, :]
        return np.concatenate([np.ones((len(terms), 1)), terms], axis=-1)

    def _solve(self, exponents, losses: Rows) -> tuple[np.ndarray, Rows]:
        """The floor and the coefficients in units of `unit`, and what they leave of the losses."""
        design = self._design(exponents)
        numbers = np.linalg.lstsq(design, losses, rcond=None)[0]
        return numbers, design @ numbers - losses


def best_size_exponent(law: Law, size: str, data: str) -> float:
    """p where, of a given compute, the best size grows as compute^p: beta / (alpha + beta).

    Hoffmann et al., equation 4; holds where the compute is proportional to size times data.
    """
    powers = dict(zip(law.names, law.exponents, strict=True))
    return powers[data] / (powers[size] + powers[data])


def _floats(values: np.ndarray) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
