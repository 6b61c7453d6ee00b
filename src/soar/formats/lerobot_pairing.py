"""Which frame belongs to which row of a LeRobotDataset: by time, and only where everything that says so agrees.

A row's frame is the one at `from_timestamp + timestamp` (v3.0; v2.1 begins at 0 in each file). Beside that, files say how many
rows and frames there are, where each episode begins in both, and which rows are its own. Where two of these differ, frames
would be paired with the rows of another moment or episode, so all episodes of that file are refused, with both numbers.

Shape suffixes: N rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from soar.errors import FormatError

_SHARE = 0.1
"""How far a frame may be from its row's time, as a share of the time between two frames."""
_LEAST_S = 1e-4
_HALF = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Where an episode says that it is in a video.

    Attributes:
        episode: Its number.
        start_s: Time of its first frame in the video.
        end_s: Time at which it ends, exclusive; None where the files do not say.
        steps: Its rows.
    """

    episode: int
    start_s: float
    end_s: float | None
    steps: int


def tolerance_s(fps: float) -> float:
    """Return how far a frame may be from the time of its row."""
    return max(_LEAST_S, _SHARE / fps)


def row_times(table: pa.Table, fps: float, place: str) -> NDArray[np.float64]:
    """Return the times (N,) of an episode's rows, from its beginning.

    Raises:
        FormatError: They are missing or do not increase.
    """
    if "timestamp" not in table.column_names:
        return np.arange(len(table)) / fps
    column = table["timestamp"].combine_chunks()
    if pa.types.is_fixed_size_list(column.type) or pa.types.is_list(column.type):
        column = column.flatten() if len(column.flatten()) == len(table) else column
    if column.null_count or not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        raise FormatError(
            f"{place}: timestamp must be a number of seconds in each row; it is {column.type}, and missing in "
            f"{column.null_count} rows"
        )
    times_N = np.asarray(column, np.float64)
    wrong = np.flatnonzero(~(np.diff(times_N) > 0))
    if not np.isfinite(times_N).all() or wrong.size:
        at = int(wrong[0]) if wrong.size else int(np.flatnonzero(~np.isfinite(times_N))[0])
        after = f", then {times_N[at + 1]:.4f} s" if at + 1 < len(times_N) else ""
        raise FormatError(f"{place}: its timestamps do not increase, {times_N[at]:.4f} s at step {at}{after}")
    # A float32 of a time is up to some 1e-7 of it away.
    steps_N = np.round(times_N * fps)
    near = np.abs(times_N * fps - steps_N) < 1e-3
    return np.where(near, steps_N / fps, times_N)


def frame_times(times_N: NDArray[np.float64], span: Span, fps: float, place: str) -> NDArray[np.float64]:
    """Return the times (N,) of an episode's frames in its video.

    Raises:
        FormatError: The episode's part of the video is longer or shorter than its rows.
    """
    if span.end_s is not None:
        lasts_s = float(times_N[-1]) + 1 / fps
        if abs(span.end_s - span.start_s - lasts_s) * fps > _HALF:
            raise FormatError(
                f"{place}: its part of the video, {span.start_s:.4f} s to {span.end_s:.4f} s, is of "
                f"{_count((span.end_s - span.start_s) * fps)} frames, and its {len(times_N)} rows last "
                f"{_count(lasts_s * fps)} frames at {fps:g} fps; which frame is whose cannot be told"
            )
    return times_N + span.start_s


def check_spans(
    spans: Sequence[Span], path: Path, frames: tuple[int, float] | None, fps: float, *, whole: Callable[[int], bool]
) -> None:
    """Refuse a video whose episodes do not follow one another in it.

    Args:
        spans: Of the episodes in the video.
        path: Of the video.
        frames: How many frames it has, and how many a second; None where that is not known.
        fps: Of the dataset.
        whole: Whether the dataset says where the episode of a number is, or has none of that number.

    Raises:
        FormatError: Two of them overlap, frames between them are nobody's, or the video has more or fewer frames.
    """
    ordered = sorted(spans, key=lambda span: (span.start_s, span.episode))
    ends = [span.start_s + span.steps / fps if span.end_s is None else span.end_s for span in ordered]
    for (before, end_s), after in zip(zip(ordered, ends, strict=True), ordered[1:], strict=False):
        apart = (after.start_s - end_s) * fps
        if apart < -_HALF:
            raise FormatError(
                f"{path}: episode {before.episode} ends at {end_s:.4f} s, and episode {after.episode} begins at "
                f"{after.start_s:.4f} s: they overlap by {_count(-apart)} frames. Restore the times in meta/episodes"
            )
        if apart > _HALF and all(whole(episode) for episode in range(before.episode + 1, after.episode)):
            raise FormatError(
                f"{path}: episode {before.episode} ends at {end_s:.4f} s, and episode {after.episode} begins at "
                f"{after.start_s:.4f} s: {_count(apart)} frames between them are nobody's, so one of them is off. Restore the "
                "times in meta/episodes"
            )
    first, last, end_s = ordered[0], ordered[-1], max(ends)
    early = first.start_s * fps
    if early < -_HALF or (early > _HALF and whole(first.episode - 1)):
        raise FormatError(
            f"{path}: its first episode, {first.episode}, begins at {first.start_s:.4f} s and not at 0, {_count(abs(early))} "
            "frames away. Restore the times in meta/episodes"
        )
    if frames is None:
        return
    count, rate = frames
    surplus = (count / rate - end_s) * fps
    if surplus < -_HALF or (surplus > _HALF and whole(last.episode + 1)):
        raise FormatError(
            f"{path} has {count} frames at {rate:g} fps, which is {count / rate:.4f} s, and its episodes end at {end_s:.4f} s "
            f"({_count(end_s * fps)} frames at {fps:g} fps); which frame is whose cannot be told"
        )


def check_rows(table: pa.Table, row: Mapping[str, Any], offset: int | None, *, path: Path, place: str) -> pa.Table:
    """Return the rows of one episode of a data file, which must be the rows that the list of episodes says.

    Args:
        table: All rows of the file.
        row: Of the list of episodes.
        offset: Which row of the dataset the file's first one is; None where it is not known.
        path: Of the file.
        place: The episode, for messages.

    Raises:
        FormatError: They are not, or are not in order.
    """
    if "episode_index" not in table.column_names:
        raise FormatError(f"{path} has no column episode_index; it has {', '.join(table.column_names)}")
    index, length = row["episode_index"], row["length"]
    own = pc.equal(table["episode_index"], index)
    found = table.filter(own)
    if len(found) != length:
        there = sorted(set(table["episode_index"].to_pylist()), key=str)
        raise FormatError(
            f"{place}: {len(found)} rows of {path} have episode_index {index}, and meta/episodes says {length}; its rows are "
            f"of episodes {', '.join(map(str, there[:8]))}{' …' if len(there) > 8 else ''}. Is it truncated?"
        )
    if not length:
        raise FormatError(f"{place}: it has no rows in {path}, and meta/episodes says 0, too; it is no episode")
    begin, end = row.get("dataset_from_index"), row.get("dataset_to_index")
    if begin is not None and end is not None:
        if end - begin != length:
            raise FormatError(
                f"{place}: meta/episodes says rows {begin} to {end}, which are {end - begin}, and a length of {length}"
            )
        at = {"its place in the file": None if offset is None else offset + int(np.argmax(np.asarray(own)))}
        if "index" in found.column_names:
            at["its column index"] = found["index"][0].as_py()
        for what, first in at.items():
            if first is not None and first != begin:
                raise FormatError(
                    f"{place}: its rows in {path} begin at {first} by {what}, and at {begin} by dataset_from_index; which rows "
                    "are its own cannot be told"
                )
    if "frame_index" in found.column_names:
        wrong = np.flatnonzero(np.asarray(found["frame_index"]) != np.arange(len(found)))
        if wrong.size:
            number = found["frame_index"][int(wrong[0])].as_py()
            raise FormatError(f"{place}: the steps are not in order, frame_index is {number} where {wrong[0]} is expected")
    return found


def _count(frames: float) -> str:
    return f"{frames:.2f}".rstrip("0").rstrip(".")
