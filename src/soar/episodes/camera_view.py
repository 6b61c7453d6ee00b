"""Which camera's frames a store shows: the main one's, or those of a further one in their place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from soar.cameras import MAIN, listed
from soar.episodes import extra_frames
from soar.episodes.filters import quoted
from soar.episodes.schema import EpisodeRecord
from soar.errors import StoreError, UnknownNameError


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRows:
    """N rows of a store.

    Attributes:
        images_NHWC: uint8 RGB.
        states_ND: (N, 7) float32, see `soar.types.Observation`.
        actions_ND: (N, 7) float32; NaN at the last observation of an episode.
    """

    images_NHWC: NDArray[np.uint8]
    states_ND: NDArray[np.float32]
    actions_ND: NDArray[np.float32]


def cameras_in(episodes: Any) -> list[str]:
    """Return the further cameras of all rows of an open `episodes` table, by name."""
    if "cameras" not in episodes.schema.names:
        return []
    names = episodes.to_table(columns=["cameras"], filter="cameras IS NOT NULL")["cameras"]
    return sorted({name for row in names.to_pylist() for name in row})


@dataclass(frozen=True, slots=True)
class CameraView:
    """What is shown of the store at `uri`."""

    uri: str
    camera: str

    @property
    def is_main(self) -> bool:
        """Whether it is what the store holds, which may be written to then."""
        return self.camera == MAIN

    @property
    def column(self) -> str:
        """The column of `steps` that the frames are in."""
        return "frame" if self.is_main else extra_frames.COLUMN

    def check_known(self, cameras: Sequence[str]) -> None:
        """Refuse a camera that no episode has.

        Raises:
            UnknownNameError: So it is.
        """
        if not self.is_main and self.camera not in cameras:
            raise UnknownNameError("camera", self.camera, [MAIN, *cameras], f"Of the episodes in {self.uri}.")

    def check(self, records: Sequence[EpisodeRecord]) -> None:
        """Refuse episodes some of which do not have the camera.

        Raises:
            StoreError: So it is; the message says how many, and how to select the others.
        """
        without = [record for record in records if not self.is_main and self.camera not in record.cameras]
        if without:
            has = f"array_has(cameras, {quoted(self.camera)})"
            raise StoreError(
                f"{self.uri}: {len(without)} of {len(records)} episodes have no camera {self.camera!r}, for example "
                f"{without[0].id!r}, whose cameras are {listed(without[0].cameras)}. Make a store of those that have it: soar "
                f'data merge {self.uri} --into NEW --where "{has}"'
            )

    def of(self, steps: pa.Table) -> pa.Table:
        """Return rows of `steps` whose column `frame` is the camera's.

        Raises:
            StoreError: A row has none.
        """
        if self.is_main:
            return steps
        frames_N = extra_frames.frames_of(steps[extra_frames.COLUMN], self.camera)
        if frames_N is None:
            raise StoreError(f"{self.uri}: rows without a frame of camera {self.camera}; run `soar data doctor --frames` on it")
        return steps.append_column("frame", pa.array(frames_N, pa.binary()))
