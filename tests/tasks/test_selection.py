from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soar.tasks import UCBSelector

counted = st.dictionaries(st.text("abcdef", min_size=1, max_size=3), st.integers(0, 50), min_size=1)


def test_scores_are_equation_1_with_n_over_the_feasible_tasks_alone() -> None:
    scores = UCBSelector().scores(["a", "b"], {"a": 3, "b": 1, "infeasible": 100})
    assert scores == {"a": math.sqrt(math.log(5) / 4), "b": math.sqrt(math.log(5) / 2)}


@given(counts=counted, seed=st.integers(0, 1000), data=st.data())
def test_the_least_attempted_feasible_task_is_selected(counts: dict[str, int], seed: int, data: st.DataObject) -> None:
    feasible = data.draw(st.lists(st.sampled_from(sorted(counts)), min_size=1, unique=True))
    chosen = UCBSelector(seed=seed).select(feasible, counts)
    assert chosen in feasible
    assert counts[chosen] == min(counts[task] for task in feasible)


@given(counts=counted, seed=st.integers(0, 1000))
def test_the_order_of_the_tasks_does_not_matter(counts: dict[str, int], seed: int) -> None:
    selector = UCBSelector(seed=seed)
    backwards = dict(reversed(counts.items()))
    assert selector.select(list(counts), counts) == selector.select(list(backwards), backwards)


def test_ties_are_broken_by_seed_and_reach_every_task() -> None:
    counts = {"a": 2, "b": 2, "c": 2, "d": 3}
    chosen = Counter(UCBSelector(seed=seed).select(list(counts), counts) for seed in range(300))
    assert set(chosen) == {"a", "b", "c"}
    assert min(chosen.values()) > 60


def test_ties_are_broken_anew_after_every_attempt() -> None:
    selector = UCBSelector(seed=1)
    assert len({selector.select(["a", "b"], {"a": n, "b": n}) for n in range(20)}) == 2


def test_a_random_task_comes_when_none_is_feasible_however_often_it_was_attempted() -> None:
    chosen = Counter(UCBSelector(seed=seed).select([], {"a": 0, "b": 90}) for seed in range(300))
    assert min(chosen["a"], chosen["b"]) > 100


def test_there_must_be_a_task() -> None:
    with pytest.raises(ValueError, match="no task"):
        UCBSelector().select([], {})
