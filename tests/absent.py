"""A process in which packages are not installed, as on a robot's computer."""

from __future__ import annotations

from collections.abc import Iterable

_SCRIPT = """
import sys
from importlib.machinery import PathFinder
class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in {absent} else PathFinder.find_spec(name, path, target)
sys.meta_path = [Without if finder is PathFinder else finder for finder in sys.meta_path]
"""


def without(modules: Iterable[str]) -> str:
    """The lines that a script begins with, in which these modules are not to be found."""
    return _SCRIPT.replace("{absent}", repr(set(modules)))
