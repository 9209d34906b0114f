"""A Gaussian of data, all of whose predictions are known, and the laws that samplers give it.

Formulas are written out again here, in NumPy and float64; none come from the package.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

DEVIATIONS = 4.5  # of an estimate from its mean: one in 150,000 is further away


class Gaussian(NamedTuple):
    """N(mean, axes diag(variances) axes^T)."""

    mean: np.ndarray
    axes: np.ndarray
    variances: np.ndarray

    @property
    def covariance(self):
        return self.axes * self.variances @ self.axes.T


def example():
    """Three channels with other means and variances, far from independent."""
    axes = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    return Gaussian(np.array([0.7, -1.2, 0.1]), axes, np.array([0.05, 0.6, 1.7]))


def coefficients(name, time, numpy=np):
    """alpha, sigma and their derivatives."""
    if name == "linear":
        return 1 - time, time, -1.0, 1.0
    angle, turn = numpy.pi / 2 * time, numpy.pi / 2
    sine, cosine = numpy.sin(angle), numpy.cos(angle)
    return cosine, sine, -turn * sine, turn * cosine


def means(gaussian, states, alpha, sigma):
    """The mean of the data and of the noise, given states "b c" at one level: JAX arrays."""
    cast = lambda value: jnp.asarray(value, states.dtype)  # noqa: E731
    axes, mean = cast(gaussian.axes), cast(gaussian.mean)
    variances = cast(gaussian.variances)[None]
    along = (states - alpha * mean[None]) @ axes
    shrunk = along / (alpha**2 * variances + sigma**2)
    return mean[None] + (alpha * variances * shrunk) @ axes.T, (sigma * shrunk) @ axes.T


def velocity(gaussian, name):
    """The exact velocity, as a sampler asks for it: all times are the same."""

    def at(states, times):
        alpha, sigma, alpha_rate, sigma_rate = coefficients(name, times[0], jnp)
        data, noise = means(gaussian, states, alpha, sigma)
        return alpha_rate * data + sigma_rate * noise

    return at


def denoise(gaussian, name):
    """The exact mean of the data on a path."""
    return lambda states, times: means(gaussian, states, *coefficients(name, times[0], jnp)[:2])[0]


def flow(gaussian, states, start=(0.0, 1.0), end=(1.0, 0.0)):
    """Where the exact flow leads states "b c" between two levels, (alpha, sigma): along each axis
    a state stays as many deviations from the mean."""
    deviations = [
        np.sqrt(alpha**2 * gaussian.variances + sigma**2) for alpha, sigma in (start, end)
    ]
    along = (states - start[0] * gaussian.mean) @ gaussian.axes
    return end[0] * gaussian.mean + along * (deviations[1] / deviations[0]) @ gaussian.axes.T


def law_of_affine(gaussian, steps):
    """Mean and covariance after steps (slope, constant, variance), affine along each axis.

    Slopes and constants are arrays over the axes; the start is N(0, 1).
    """
    mean, variance = np.zeros(3), np.ones(3)
    for slope, constant, added in steps:
        mean, variance = slope * mean + constant, slope**2 * variance + added
    return gaussian.axes @ mean, gaussian.axes * variance @ gaussian.axes.T


def affine_means(gaussian, alpha, sigma):
    """(slope, constant) along each axis of the means of the data and of the noise."""
    mean = gaussian.axes.T @ gaussian.mean
    total = alpha**2 * gaussian.variances + sigma**2
    slope = alpha * gaussian.variances / total
    return (slope, mean - slope * alpha * mean), (sigma / total, -sigma / total * alpha * mean)


def check_moments(samples, mean, covariance):
    """Samples "b c" have these moments, within what so many of a Gaussian may differ by."""
    count = len(samples)
    samples = np.asarray(samples, np.float64)
    spread = np.sqrt(np.diag(covariance) / count)
    np.testing.assert_array_less(np.abs(samples.mean(0) - mean), DEVIATIONS * spread)
    square = np.outer(np.diag(covariance), np.diag(covariance)) + covariance**2
    apart = np.abs(np.cov(samples.T) - covariance)
    np.testing.assert_array_less(apart, DEVIATIONS * np.sqrt(square / count))


def order(error_of, num_steps):
    """The slope of log error against log steps, with its sign turned."""
    found = [error_of(number) for number in num_steps]
    return -np.polyfit(np.log(num_steps), np.log(found), 1)[0]
