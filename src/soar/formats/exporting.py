"""What all exports share: a folder that appears whole or not at all, and a card that says what is in it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from soar.cameras import listed
from soar.episodes.counts import statistics_of
from soar.episodes.schema import EpisodeRecord
from soar.episodes.scores import Score, only_scored
from soar.episodes.store import EpisodeStore
from soar.errors import FormatError, StoreError

Report = Callable[[int, int], None]
"""Is told how many of how many episodes are written."""

_CARD = """---
license: {license}
task_categories:
- robotics
tags:
- robotics
- soar
{tags}---

# {name}

{count} episodes, {steps} actions, {scenes} scenes; {successes} judged successful and {failures} failed, {unlabelled} without
a verdict. {autonomous:.0%} of the episodes were collected autonomously.

| task | episodes | judged | successes |
|---|---|---|---|
{tasks}

An action takes 0.2 s: dx dy dz [m], droll dpitch dyaw [rad] in the base frame, gripper target (1 open, 0 closed). A state is
x y z [m], roll pitch yaw [rad] in the base frame, and the opening 0..1. The last step of an episode has an observation whose
action was not carried out.

`soar/episodes.parquet` holds what this format has no place for: all labels with who judged and when, the models and the run
that made each episode, and the images of the subgoals. Written by `soar data export`, read again by `soar data import`.
"""


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Yield a folder beside `out`; on success it becomes `out`, otherwise it is removed.

    Raises:
        FormatError: `out` holds something already, or cannot be written.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FormatError(f"{out} exists already; choose a new folder, an export never writes over anything")
    aside: Path | None = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
        yield aside
        aside.chmod(0o755)
        if out.exists():
            out.rmdir()
        aside.rename(out)
    except OSError as error:
        raise FormatError(
            f"cannot write {out}: {error.strerror or error}. Free some space or choose a folder that you may write to; "
            "nothing is left behind"
        ) from error
    finally:
        if aside is not None and aside.exists():
            shutil.rmtree(aside, ignore_errors=True)


def chosen(store: EpisodeStore, where: str | None, scores: Mapping[str, Score] | None = None) -> list[EpisodeRecord]:
    """Return the episodes to export, with scores only those that have one; says how many have none.

    Raises:
        StoreError: There are none.
    """
    records = store.episodes(where)
    if not records:
        raise StoreError(f"{store.uri} has no episode" + (f" where {where}" if where else "") + "; there is nothing to export")
    if scores is None:
        return records
    if not (kept := only_scored(records, scores)):
        raise StoreError(f"{store.uri}: none of the {len(records)} chosen episodes has a score; `soar data score` gives some")
    return kept


def further_cameras(records: Sequence[EpisodeRecord], main: str, *, wanted: bool) -> tuple[str, ...]:
    """Return the further cameras that are exported.

    Args:
        records: The episodes.
        main: What the main camera is called in the dataset.
        wanted: Whether further ones are exported at all.

    Raises:
        FormatError: The episodes have different ones, and a dataset has the same in all, or one has the main camera's name.
    """
    if not wanted:
        return ()
    first = records[0]
    for record in records:
        if set(record.cameras) != set(first.cameras):
            differing = sorted(set(record.cameras) ^ set(first.cameras))[0]
            raise FormatError(
                f"episode {record.id!r} has the cameras {listed(record.cameras)}, and {first.id!r} {listed(first.cameras)}; "
                f"a dataset has the same in all. Select episodes with --where \"array_has(cameras, '{differing}')\", or leave "
                "further cameras out with --no-other-cameras"
            )
    if main in first.cameras:
        raise FormatError(f"a further camera is called {main!r}, as the main one would be; name the main one with --camera")
    return first.cameras


def write_card(folder: Path, records: Sequence[EpisodeRecord], *, name: str, license: str, tags: tuple[str, ...]) -> None:
    """Write README.md, the card of a dataset of these episodes on the Hugging Face Hub."""
    statistics = statistics_of(records)
    total, table6 = statistics["total"], statistics["table6"]
    rows = [
        f"| {task or '(none)'} | {group['attempts']} | {group['labelled']} | {group['successes']} |"
        for task, group in statistics["by_task"].items()
    ]
    text = _CARD.format(
        license=license,
        tags="".join(f"- {tag}\n" for tag in tags),
        name=name,
        count=total["attempts"],
        steps=total["steps"],
        scenes=table6["environments"],
        successes=total["successes"],
        failures=total["failures"],
        unlabelled=total["attempts"] - total["labelled"],
        autonomous=table6["autonomous_share"],
        tasks="\n".join(rows),
    )
    (folder / "README.md").write_text(text, encoding="utf-8")
