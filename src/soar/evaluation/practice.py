"""What a policy did while it practised: all that is known of it when nobody evaluates."""

from __future__ import annotations

import pyarrow.compute as pc

from soar.episodes.browsing import Browser
from soar.evaluation.promotion import Practice
from soar.evaluation.statistics import Rate

COLUMNS = ("policy", "vlm", "subgoal_model", "success", "simulator_success")
"""What is read of a store's episodes."""


def practice_of(browser: Browser | None, policy: str) -> Practice:
    """Return what a policy did in a store's episodes; what could not be judged was no success.

    Args:
        browser: Of the store; None: there is none yet.
        policy: Its id.

    Raises:
        StoreError: The store cannot be read.
    """
    if browser is None:
        return Practice(policy=policy, judged=Rate(successes=0, trials=0), judge="nobody")
    table = browser.table(columns=COLUMNS)
    mine = table.filter(pc.equal(table["policy"], policy))
    known = [success for success in mine["simulator_success"].to_pylist() if success is not None]
    judges = dict.fromkeys(judge for judge in mine["vlm"].to_pylist() if judge)
    return Practice(
        policy=policy,
        judged=Rate(successes=mine["success"].to_pylist().count(True), trials=len(mine)),
        judge=", ".join(judges) or "nobody",
        true=Rate(successes=sum(known), trials=len(known)) if known else None,
    )
