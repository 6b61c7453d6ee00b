"""What a policy did while it practised: all that is known of it when nobody evaluates."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from soar.episodes.browsing import LISTED, Browser
from soar.episodes.schema import DONE_BEFORE, SIMULATOR
from soar.evaluation.promotion import Practice
from soar.evaluation.statistics import Rate

COLUMNS = ("policy", "vlm", "subgoal_model", "success", "probability", "simulator_success")
"""What is read of a store's episodes."""
ACHIEVED = "achieved"
"""Column of `attempts_of`."""


def attempts_of(browser: Browser, columns: Sequence[str] = LISTED) -> pa.Table:
    """Return columns of a store's episodes, and `achieved`: what `EpisodeRecord.achieved` says; null without a simulator.

    Args:
        browser: Of the store.
        columns: As of `Browser.table`, `simulator_success` among them.

    Raises:
        StoreError: The store cannot be read.
    """
    table = browser.table(columns=columns)
    true = table["simulator_success"]
    if not pc.any(true).as_py():  # a real robot's labels are not read for this
        return table.append_column(ACHIEVED, true)
    labelled = browser.table(where="simulator_success", columns=("labels",))
    labels = pa.array(labelled["labels"].combine_chunks())
    source, answer = (pc.struct_field(labels.flatten(), name) for name in ("source", "answer"))
    before = pc.and_(pc.equal(source, SIMULATOR), pc.equal(answer, DONE_BEFORE))
    attempts = labelled["attempt"].take(pc.list_parent_indices(labels).filter(before))
    done_before = pc.is_in(table["attempt"], value_set=attempts.combine_chunks())
    return table.append_column(ACHIEVED, pc.and_(true, pc.invert(done_before)))


def practice_of(browser: Browser | None, policy: str) -> Practice:
    """Return what a policy did in a store's episodes; what could not be judged was no success.

    Nor was in truth what was done before the attempt began: it says nothing of the policy.

    Args:
        browser: Of the store; None: there is none yet.
        policy: Its id.

    Raises:
        StoreError: The store cannot be read.
    """
    if browser is None:
        return Practice(policy=policy, judged=Rate(successes=0, trials=0), judge="nobody")
    table = attempts_of(browser, COLUMNS)
    mine = table.filter(pc.equal(table["policy"], policy))
    known = [success for success in mine[ACHIEVED].to_pylist() if success is not None]
    judges = dict.fromkeys(judge for judge in mine["vlm"].to_pylist() if judge)
    return Practice(
        policy=policy,
        judged=Rate(successes=mine["success"].to_pylist().count(True), trials=len(mine)),
        judge=", ".join(judges) or "nobody",
        true=Rate(successes=sum(known), trials=len(known)) if known else None,
    )
