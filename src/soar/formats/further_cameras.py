"""Further cameras of a foreign dataset: which come along, under which names, and which stay behind; that is said.

One camera is the main one (`--camera`). The others come along as further ones, unless nobody wants them; a name that no camera
can have here stays behind, and so do pictures that are none to an eye, such as depth.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from soar.cameras import MOST, is_camera_name
from soar.errors import FormatError
from soar.formats.pictures import DeepImageError, ImageRange, jpeg

_log = logging.getLogger(__name__)
WITHOUT = "--no-other-cameras imports without it"


@dataclass(frozen=True, slots=True)
class FurtherCameras:
    """What is said once a dataset.

    Attributes:
        place: The dataset, for messages.
    """

    place: str
    _said: set[str] = field(default_factory=set)

    def usable(self, names: Iterable[str]) -> list[str]:
        """Return the names that a camera can have; what cannot come along is said."""
        known = list(names)
        found = [name for name in known if is_camera_name(name)][:MOST]
        for name in known:
            if name not in found:
                self.left(name, f"a name is short and plain, and there are at most {MOST}")
        return found

    def left(self, name: str, why: str) -> None:
        """Say, once, that a camera stays behind."""
        if name not in self._said:
            self._said.add(name)
            _log.warning("%s: the camera %s is not imported: %s", self.place, name, why)

    def frames(
        self, readers: Mapping[str, Callable[[], Sequence[bytes]]], place: str, image_range: ImageRange | None
    ) -> dict[str, tuple[bytes, ...]]:
        """Return the JPEGs of an episode's further cameras.

        Args:
            readers: Return a camera's encoded images.
            place: File and episode, for messages.
            image_range: Of images of more than 8 bits; cameras that have some stay behind without.

        Raises:
            FormatError: One cannot be read; the message says how to do without.
        """
        found: dict[str, tuple[bytes, ...]] = {}
        for name, read in readers.items():
            try:
                found[name] = tuple(jpeg(image, place, image_range) for image in read())
            except DeepImageError as error:
                self.left(name, str(error))
            except FormatError as error:
                raise FormatError(f"{error}. That is the further camera {name}: {WITHOUT}") from error
        return found


def check_complete(row: Mapping[str, Any], main: str, further: Iterable[str], place: str) -> None:
    """Refuse an exported episode that came back without one of its cameras.

    Args:
        row: Of the sidecar.
        main: Name of the main camera in the dataset.
        further: Those that are there besides.
        place: File and episode, for messages.

    Raises:
        FormatError: So it is.
    """
    if missing := sorted(set(row.get("cameras") or ()) - {main, *further}):
        raise FormatError(
            f"{place}: its camera {missing[0]} is not in the dataset any more, and soar/episodes.parquet says that it was "
            f"exported with it; {WITHOUT}"
        )


def main_of(rows: Iterable[Mapping[str, Any]], cameras: Sequence[str]) -> str:
    """Return which camera was the main one when a dataset was exported; empty where that cannot be told.

    Args:
        rows: Of the sidecar.
        cameras: Names of all cameras of the dataset.
    """
    further = {name for row in rows for name in row.get("cameras") or ()}
    left = [name for name in cameras if name not in further]
    return left[0] if further and len(left) == 1 else ""
