"""The protocol's words are found for every metric's name, whatever network it is of."""

import resgen_jax
from resgen_jax.evaluation import protocol


def test_names_find_the_words_of_their_family():
    words = protocol.words(
        ["FID", "rFID", "sFID", "rFD-mobilenet", "IS", "recall-mobilenet", "LPIPS-squeeze", "new"]
    )
    assert words["rFID"] == words["FID"]
    assert "not FID" in words["rFD-mobilenet"]
    assert "reference images in the manifold" in words["recall-mobilenet"]
    assert words.keys() == {
        "FID", "rFID", "sFID", "rFD-mobilenet", "IS", "recall-mobilenet", "LPIPS-squeeze",
    }  # fmt: skip


def test_version_is_the_packages():
    assert protocol.version()["resgen_jax"] == resgen_jax.__version__
