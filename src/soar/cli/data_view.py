"""Commands that show episodes to people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

if TYPE_CHECKING:
    from soar.episodes import EpisodeStore


@dataclass(frozen=True, kw_only=True)
class _Shown:
    store: Annotated[Path, tyro.conf.Positional]
    """Folder of the store."""
    episodes: tuple[str, ...] = ()
    """Ids of the episodes; by default the newest of those that --where selects."""
    where: str = ""
    """SQL that selects some of the episodes."""
    count: int = 1
    """At most so many, where no ids are given."""

    def _open(self, camera: str = "main") -> tuple[EpisodeStore, Sequence[str]]:
        """Return the store, and the ids of what is shown."""
        from soar.episodes import EpisodeStore
        from soar.formats.exporting import chosen

        store = EpisodeStore(self.store, camera=camera)
        return store, self.episodes or [record.id for record in chosen(store, self.where or None)[-self.count :]]


@dataclass(frozen=True, kw_only=True)
class View(_Shown):
    """Open episodes in the viewer Rerun: frames, subgoals, actions, states and labels on one time line.

    It is an extra: pip install 'soar-robot[view]'. Without a screen, --save writes files that `rerun FILE` opens elsewhere.

    Example: soar data view runs/scene1/episodes --where "not success" --save failure.rrd
    """

    save: Path | None = None
    """Instead of opening a window: the file, FILE.rrd, of one episode, or a folder of such files."""

    def run(self) -> None:
        """Run it."""
        from soar.cli.tables import say
        from soar.reports.rerun_viewer import save_recording, show

        store, ids = self._open()
        if self.save is None:
            show([store.read_encoded(id) for id in ids])
            return
        for id, path in _files(ids, self.save, ".rrd"):
            save_recording(store.read_encoded(id), path)
            say(f"{id}: {path}")


@dataclass(frozen=True, kw_only=True)
class ContactSheet(_Shown):
    """Draw an episode as one picture: a row a subgoal, with the frames while it was pursued.

    Example: soar data contact-sheet runs/scene1/episodes --where "success and not simulator_success" --count 12 --out sheets
    """

    out: Path
    """The picture, FILE.png, of one episode, or a folder of pictures."""
    columns: int = 8
    """Frames in a row."""
    camera: str = "main"
    """Whose frames: those of the main camera, or of a further one by name; subgoals are what the policy was given."""

    def run(self) -> None:
        """Run it."""
        import numpy as np

        from soar.cli.pictures import write_picture
        from soar.cli.tables import say
        from soar.errors import ConfigError
        from soar.reports.video import contact_sheet

        if self.columns < 2:
            raise ConfigError(f"--columns must be 2 or more, a row begins and ends with a frame; got {self.columns}")
        store, ids = self._open(self.camera)
        for id, path in _files(ids, self.out, ".png"):
            write_picture(path, np.asarray(contact_sheet(store.read(id, further=False), self.columns)))
            say(f"{id}: {path}")


def _files(ids: Sequence[str], out: Path, ending: str) -> list[tuple[str, Path]]:
    """Return the file of each episode: `out`, or one in the folder `out` that is named like the episode."""
    from soar.errors import ConfigError

    if out.suffix != ending:
        names = [id.replace("/", "_") for id in ids]
        # Two ids may give one name.
        numbered = [
            f"{name}-{names[:place].count(name)}" if name in names[:place] else name for place, name in enumerate(names)
        ]
        return [(id, out / f"{name}{ending}") for id, name in zip(ids, numbered, strict=True)]
    if len(ids) != 1:
        raise ConfigError(f"{out} is one file, and there are {len(ids)} episodes; name a folder, or fewer episodes")
    return [(ids[0], out)]
