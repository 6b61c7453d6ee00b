"""The images of a LeRobotDataset's episode: frames of a video, or cells of a table, which hold an image or the path of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from soar.episodes import jpeg as frames
from soar.errors import FormatError
from soar.files import is_inside
from soar.formats.lerobot_info import Info
from soar.formats.lerobot_pairing import Span, check_spans, frame_times, row_times, tolerance_s
from soar.formats.pictures import ImageRange
from soar.formats.video import frame_count, read_at


@dataclass(frozen=True, slots=True, kw_only=True)
class Videos:
    """The videos of one camera, and which episodes are in each.

    Attributes:
        info: Of the dataset.
        spans: By video; empty for v2.1, which has a video an episode.
        episodes: The numbers of all episodes that the dataset lists.
    """

    info: Info
    spans: Mapping[Path, Sequence[Span]]
    episodes: frozenset[int]
    _checked: dict[Path, str] = field(default_factory=dict)

    def read(
        self, path: Path, row: Mapping[str, Any], table: pa.Table, image_range: ImageRange | None, place: str
    ) -> list[bytes]:
        """Return the frames of an episode's rows as JPEGs.

        Args:
            path: Of its video.
            row: Of the list of episodes.
            table: Its rows.
            image_range: What becomes black and white in frames of more than 8 bits.
            place: File and episode, for messages.

        Raises:
            FormatError: The video cannot be read, or which frame is whose cannot be told.
        """
        fps = self.info.fps
        times_N = row_times(table, fps, place)
        if path in self.spans:
            span = next(span for span in self.spans[path] if span.episode == row["episode_index"])
            self._check(path, self.spans[path])
        else:
            span = Span(episode=row["episode_index"], start_s=0.0, end_s=float(times_N[-1]) + 1 / fps, steps=len(times_N))
            check_spans([span], path, frame_count(path), fps, whole=lambda _: True)
        times_s = frame_times(times_N, span, fps, place)
        return [frames.encode(image) for image in read_at(path, times_s.tolist(), tolerance_s(fps), image_range)]

    def _check(self, path: Path, spans: Sequence[Span]) -> None:
        """Refuse a video whose episodes do not follow one another; once looked at, it is known."""
        if path not in self._checked:
            try:
                check_spans(spans, path, frame_count(path), self.info.fps, whole=self._whole)
                self._checked[path] = ""
            except FormatError as error:
                self._checked[path] = str(error)
        if self._checked[path]:
            raise FormatError(self._checked[path])

    def _whole(self, episode: int) -> bool:
        """Whether an episode is listed, or is none of the dataset's: a part of a dataset may leave some out."""
        total = max(self.info.total or 0, max(self.episodes) + 1)
        return episode in self.episodes or not 0 <= episode < total


def image_cells(column: pa.ChunkedArray, folder: Path, camera: str, episode: int, place: str) -> list[bytes]:
    """Return the images in a column of the table.

    Args:
        column: Bytes, paths, or both in a struct, as the `datasets` library has them.
        folder: Of the dataset; what is outside of it is not read.
        camera: Name of the column.
        episode: Number of the episode.
        place: File and episode, for messages.

    Raises:
        FormatError: An image is missing, or its path leads elsewhere.
    """
    images = []
    for step, cell in enumerate(column.to_pylist()):
        data, path = (cell.get("bytes"), cell.get("path")) if isinstance(cell, dict) else (cell, None)
        if isinstance(data, str):
            data, path = None, data
        if data:
            images.append(data)
            continue
        if not isinstance(path, str) or not path:
            raise FormatError(f"{place}: the image {camera} of step {step} is missing, it has neither bytes nor a path")
        images.append(
            _read(path, folder, f"images/{camera}/episode_{episode:06d}", f"{place}: the image {camera} of step {step}")
        )
    return images


def _read(path: str, folder: Path, usual: str, place: str) -> bytes:
    """Return a file of the dataset, named from its folder on, or by its name alone in the folder where recordings put it."""
    root = folder.resolve()
    named = Path(path)
    if named.is_absolute():
        named = named.resolve()
        inside = str(named.relative_to(root)) if named.is_relative_to(root) else ""
    else:
        inside = path if is_inside(path) else ""
    if not inside:
        raise FormatError(f"{place} is said to be {path}, which is not in the folder of the dataset, {root}; copy it there")
    for candidate in (root / inside, root / usual / inside):
        if not candidate.is_file():
            continue
        # A link could still lead out of it.
        if not candidate.resolve().is_relative_to(root):
            raise FormatError(f"{place} is {path}, a link that leaves the folder of the dataset, {root}; copy the file there")
        try:
            return candidate.read_bytes()
        except OSError as error:
            raise FormatError(f"{place} is {candidate}, which cannot be read: {error.strerror or error}") from error
    raise FormatError(f"{place} is said to be {path}, which is neither in {root} nor in {usual} below it; restore the file")
