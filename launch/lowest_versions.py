"""Prints the lowest version of every package that setup.cfg names, as constraints for pip.

python launch/lowest_versions.py [EXTRA ...]: of what is always installed, and of these extras.
"""

import configparser
import pathlib
import re
import sys
from collections.abc import Iterator, Sequence

SETUP = pathlib.Path(__file__).parents[1] / "setup.cfg"
REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)(\[[\w,]+\])?>=(?P<version>[\w.]+)")


def requirements(extras: Sequence[str] = ()) -> Iterator[str]:
    """The lines of setup.cfg, of what is always installed and of these extras."""
    setup = configparser.ConfigParser()
    setup.read(SETUP)
    written = [setup["options"]["install_requires"]]
    written += [setup["options.extras_require"][extra] for extra in extras]
    for text in written:
        yield from filter(None, text.splitlines())


def lowest(requirement: str) -> str:
    """`name==version` of a requirement `name[extra]>=version`; ValueError without that bound."""
    match = REQUIREMENT.fullmatch(requirement)
    if match is None:
        raise ValueError(f"setup.cfg names {requirement!r}; expected NAME>=VERSION")
    return f"{match['name']}=={match['version']}"


if __name__ == "__main__":
    sys.stdout.writelines(f"{lowest(text)}\n" for text in requirements(sys.argv[1:]))
