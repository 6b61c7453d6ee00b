"""`soar data score`: what episodes are worth to whoever learns from them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass(frozen=True, kw_only=True)
class ScoreEpisodes:
    """Make weights and advantages of verdicts: of people's (the audit), else of the judge's probability and its curve.

    Scores stand beside the labels with their maker, and none is overwritten. `soar data export … --scores NAME` writes them as
    columns. Episodes without a verdict, or with an undecidable one, get none, which is said.

    Example: soar data score runs/mine/episodes --name night-1

    Example: soar data export lerobot runs/mine/episodes --out dataset --scores night-1
    """

    store: Annotated[Path, tyro.conf.Positional]
    """Folder of the store."""
    name: str
    """Whose scores they are: any name that this store has no other scores by."""
    where: str = ""
    """SQL that selects some of the episodes; an advantage is over those."""
    horizon: int = 20
    """Steps over which a curve's rise is a step's advantage."""

    def run(self) -> None:
        """Run it."""
        from soar.cli.progress import progress_bars
        from soar.cli.tables import say
        from soar.episodes import EpisodeStore
        from soar.tasks.scoring import store_scores

        store = EpisodeStore(self.store)
        with progress_bars() as report:
            done = store_scores(
                store,
                self.name,
                where=self.where or None,
                horizon=self.horizon,
                report=lambda count, total: report("episodes", count, total),
            )
        count, judged = len(done.scores), len(done.scores) - done.by_people - done.bare
        say(
            f"{count} episodes scored by {self.name}: {done.by_people} by a person's verdict, {judged} by a judge's "
            f"probability, {done.bare} by its bare verdict; {done.curves} with a curve."
        )
        if done.contradicted:
            say(f"{done.contradicted} curves were not taken: a person says that they ended wrongly.")
        if done.left_out:
            say(f"{done.left_out} left out: no verdict, or an undecidable one.")
        say(f"`soar data export lerobot {self.store} --out FOLDER --scores {self.name}` writes them as columns.")
