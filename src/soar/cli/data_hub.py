"""Commands that publish datasets on the Hugging Face Hub and fetch them."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from soar.cli.data_import import Known, Numbers

Format = Literal["lerobot", "rlds", "store"]


@dataclass(frozen=True, kw_only=True)
class Push:
    """Publish episodes on the Hugging Face Hub, as a dataset with a card that describes it.

    A store is written in FORMAT first, below TMPDIR; a folder that `soar data export` made is uploaded as it is. Files that
    the Hub has already do not travel again. HF_TOKEN or `hf auth login` says who you are, HF_ENDPOINT names another server.

    Example: soar data push runs/scene1/episodes me/my_robot --where "success" --format lerobot
    """

    source: Annotated[Path, tyro.conf.Positional]
    """Folder of a store, or of an exported dataset."""
    repo: Annotated[str, tyro.conf.Positional]
    """OWNER/NAME on the Hub; it is made when it is missing. What it holds is replaced, and stays in its history."""
    format: Format = "lerobot"
    """What a store is published as; `store` is SOAR's own format, without loss."""
    where: str = ""
    """SQL that selects some of a store's episodes."""
    codec: Literal["av1", "h264"] = "av1"
    """Of the video, for lerobot."""
    other_cameras: bool = True
    """For lerobot and rlds: write further cameras, too; episodes must have the same."""
    license: str = "cc-by-4.0"
    """For the dataset's card."""
    private: bool = False
    """Only you may see it; for a repository that is made now."""
    message: str = "Episodes"
    """Of the commit."""

    def run(self) -> None:
        """Run it."""
        from tempfile import TemporaryDirectory

        from soar.cli.tables import say
        from soar.errors import ConfigError
        from soar.formats.detecting import format_of
        from soar.formats.hub import push

        with ExitStack() as stack:
            folder, format = self.source, format_of(self.source)
            if format == "store":
                # A store holds more than its episodes: earlier versions, also of what was deleted. None of that is published.
                folder = self._written(Path(stack.enter_context(TemporaryDirectory(prefix="soar-push-"))))
                format = self.format
            elif self.where:
                raise ConfigError(f"--where selects episodes of a store; {self.source} is a dataset of format {format}")
            # LeRobot looks for a tag that says which version of its format a repository has.
            tag = "v3.0" if format == "lerobot" else None
            say(f"pushed: {push(folder, self.repo, private=self.private, message=self.message, tag=tag)}")

    def _written(self, aside: Path) -> Path:
        """Write the store's episodes in the format, and return the folder of the dataset."""
        from soar.cli.progress import progress_bars
        from soar.episodes import EpisodeStore
        from soar.episodes.copying import merge
        from soar.formats.exporting import chosen, write_card
        from soar.formats.lerobot_export import export_lerobot
        from soar.formats.rlds_export import export_rlds

        store, where, name = EpisodeStore(self.source), self.where or None, self.repo.rpartition("/")[2]
        with progress_bars() as bars:

            def report(done: int, total: int) -> None:
                bars("episodes", done, total)

            if self.format == "lerobot":
                return export_lerobot(
                    store,
                    aside / name,
                    where=where,
                    other_cameras=self.other_cameras,
                    codec=self.codec,
                    license=self.license,
                    report=report,
                )
            if self.format == "rlds":
                plain = "".join(letter if letter.isalnum() else "_" for letter in name)
                return export_rlds(
                    store,
                    aside,
                    where=where,
                    name=plain,
                    other_cameras=self.other_cameras,
                    license=self.license,
                    report=report,
                )
            records = chosen(store, where)
            merge([store], aside / name, where=where, report=report)
        write_card(aside / name, records, name=name, license=self.license, tags=("soar-store",))
        return aside / name


@dataclass(frozen=True, kw_only=True)
class Pull:
    """Fetch a dataset from the Hugging Face Hub, verify every file, and import it into a store if you name one.

    The same command goes on where a stopped one was.

    Example: soar data pull me/my_robot --out downloads/my_robot --store my-robot
    """

    repo: Annotated[str, tyro.conf.Positional]
    """OWNER/NAME on the Hub."""
    out: Path
    """Folder that gets the files."""
    revision: str | None = None
    """Branch, tag or commit; the newest state by default."""
    store: Path | None = None
    """Folder of a store that gets the episodes; it is made when it is missing."""
    camera: str | None = None
    """Which is the main camera, where the dataset has several."""
    other_cameras: bool = True
    """Bring the other cameras along, as further ones of the episodes; or this one alone."""
    skip_bad: bool = False
    """Go on after an episode that cannot be read, and list them all at the end."""
    numbers: Numbers = field(default_factory=Numbers)
    known: Known = field(default_factory=Known)

    def run(self) -> None:
        """Run it."""
        from soar.cli.tables import say
        from soar.formats.hub import pull

        commit = pull(self.repo, self.out, revision=self.revision)
        say(f"{self.repo} at {commit} is in {self.out}")
        if self.store is not None:
            self._import(self.store)

    def _import(self, target: Path) -> None:
        from soar.cli.data_import import import_dataset
        from soar.cli.tables import say
        from soar.episodes import EpisodeStore
        from soar.episodes.copying import merge
        from soar.formats.detecting import format_of, open_dataset

        if format_of(self.out) == "store":
            say(f"{merge([EpisodeStore(self.out)], target)}; {target}")
            return
        dataset = open_dataset(
            self.out,
            camera=self.camera,
            other_cameras=self.other_cameras,
            vectors=self.numbers.config(),
            unsaid=self.known.unsaid(),
        )
        import_dataset(dataset, target, skip_bad=self.skip_bad)
