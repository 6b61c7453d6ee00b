"""`soar data label-dial`: what was done in episodes, says a labeller."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass(frozen=True, kw_only=True)
class LabelDial:
    """Let a labeller say what was done in each episode (DIAL), whatever was commanded. Verdicts on success stay as they are.

    The labels stand beside the verdicts, with who made them. `soar train lcbc --instructions-by MAKER` learns from them. In the
    end stands a table of how good they are, as far as the store knows what was done.

    Example: soar data label-dial runs/mine/episodes --labeller labellers/mine

    Example: soar data label-dial runs/mine/episodes --labeller labellers/mine --top-k 3 --nothing --where success
    """

    store: Annotated[Path, tyro.conf.Positional]
    """Folder of the store."""
    labeller: Path
    """Folder of the labeller; `soar train dial-labeller` makes one."""
    top_k: int = 1
    """Labels an episode; whoever trains on them may take fewer."""
    nothing: bool = False
    """Let the labeller say that nothing happened."""
    scene_tasks: bool = True
    """Choose among what was commanded in the scene, too, besides the instructions that the labeller was tuned on."""
    where: str = ""
    """SQL that selects some of the episodes: `success` for successes only."""
    out: Path | None = None
    """Results file for the table."""

    def run(self) -> None:
        """Run it."""
        from soar.baselines.dial import LabellingConfig, label_episodes, label_quality, maker_of
        from soar.baselines.labeller import Labeller
        from soar.cli.flags import invocation
        from soar.cli.progress import progress_bars
        from soar.cli.tables import say
        from soar.episodes import EpisodeStore
        from soar.evaluation.results import write_results
        from soar.reports.docs_tables import results_to_markdown

        store, labeller = EpisodeStore(self.store), Labeller.load(self.labeller)
        config = LabellingConfig(top_k=self.top_k, nothing=self.nothing, scene_tasks=self.scene_tasks)
        maker = maker_of(labeller, config)
        with progress_bars() as report:
            done = label_episodes(
                store,
                labeller,
                config,
                where=self.where or None,
                report=lambda count, total: report("episodes", count, total),
            )
        rows = label_quality(store.episodes(self.where or None), maker)
        command = invocation(f"soar data label-dial {self.store}", self, "labeller", "top_k", "nothing", "scene_tasks", "where")
        say(results_to_markdown({"rows": rows, "command": command}))
        if self.out is not None:
            write_results(self.out, command, rows)
        say(f"{done} episodes labelled by {maker}; learn from them with `soar train lcbc --instructions-by {maker}`")
