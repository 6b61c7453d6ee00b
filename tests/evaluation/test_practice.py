"""What a policy did while it practised, as its store says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from soar.episodes import EpisodeStore
from soar.episodes.browsing import Browser
from soar.episodes.encoded import encode
from soar.episodes.schema import DONE_BEFORE, UNDONE_BEFORE
from soar.evaluation.practice import ACHIEVED, attempts_of, practice_of
from soar.evaluation.statistics import Rate
from soar.types import Label
from tests.console.building import episode

BEGUN = ((True, DONE_BEFORE), (True, UNDONE_BEFORE), (True, ""), (False, DONE_BEFORE), (False, UNDONE_BEFORE), None)
"""What the simulator said of an attempt at its end, and what of its beginning; None: nothing at all."""


def practised(folder: Path, *, simulated: bool = True) -> EpisodeStore:
    """A store in which each beginning occurs twice, in one order and in the other."""
    store = EpisodeStore(folder / "store", mode="create")
    for number, begun in enumerate((*BEGUN, *reversed(BEGUN))):
        made = encode(episode(number, size=16, steps=2))
        if begun is not None and simulated:
            truth = Label(success=begun[0], probability=None, source="simulator", answer=begun[1])
            # What others say of it, in the same words, is no simulator's.
            other = Label(success=None, probability=None, source="instruction:simulator", answer=DONE_BEFORE)
            made = replace(made, labels=(*made.labels, truth, other))
        store.append([made])
    return store


def test_what_was_done_before_an_attempt_began_is_no_success_of_practice(tmp_path: Path) -> None:
    store = practised(tmp_path)
    records, table = store.episodes(), attempts_of(Browser(store.uri))
    assert table["id"].to_pylist() == [record.id for record in records]
    expected = [None if record.simulator_success is None else record.achieved for record in records]
    assert table[ACHIEVED].to_pylist() == expected
    assert expected.count(True) == 4
    practice = practice_of(Browser(store.uri), "gcbc-0")
    assert practice.judged.trials == 12
    assert practice.true == Rate(successes=4, trials=10)


def test_without_a_simulator_nothing_is_true_or_false(tmp_path: Path) -> None:
    browser = Browser(practised(tmp_path, simulated=False).uri)
    assert attempts_of(browser)[ACHIEVED].to_pylist() == [None] * 12
    assert practice_of(browser, "gcbc-0").true is None
