"""The ways of choosing a task beside the paper's."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soar.errors import ConfigError
from soar.tasks import ProposalConfig, SuccessDetector, TaskProposer, UCBSelector, task_from_instruction
from soar.tasks.selection import CyclingSelector, UniformSelector, ZoneSelector

from .answering import IMAGE, Answering

TASKS = "abcd"
COUNTS = st.fixed_dictionaries({task: st.integers(0, 50) for task in TASKS})
FEASIBLE = st.sets(st.sampled_from(TASKS))
AUTOMATIC = [ProposalConfig(selection=name).selector(3) for name in ("ucb", "zone", "uniform", "cycling")]


@given(FEASIBLE, COUNTS, st.sampled_from(AUTOMATIC))
def test_every_way_chooses_a_feasible_task_and_any_when_none_is(
    feasible: set[str], counts: dict[str, int], selector: UCBSelector
) -> None:
    chosen = selector.select(feasible, counts, dict.fromkeys(counts, 0))
    assert chosen in (feasible or counts)
    assert selector.select(feasible, counts, dict.fromkeys(counts, 0)) == chosen, "a restart changes nothing"
    with pytest.raises(ValueError, match="no task"):
        selector.select([], {})


def test_the_zone_prefers_the_wished_success_rate_and_counts_all_tasks() -> None:
    selector = ZoneSelector(zone_center=0.3, ucb_weight=0.0)
    counts, successes = dict.fromkeys(TASKS, 10), {"a": 0, "b": 4, "c": 9}
    assert selector.select(TASKS, counts, successes) == "b"
    score = ZoneSelector(zone_center=0.3, ucb_weight=5.0).scores(["a"], counts, successes)["a"]
    assert score == pytest.approx(0.7 + 5 * math.sqrt(math.log(41) / 11))
    assert ZoneSelector().select("ab", {"a": 9, "b": 2}, {}) == "b", "with a large weight the untried comes first"


def test_a_share_of_the_zones_choices_is_random() -> None:
    selector = ZoneSelector(ucb_weight=0.0, random_share=0.5)
    chosen = Counter(selector.select("ab", {"a": n, "b": 10}, {"a": n, "b": 3}) for n in range(10, 210))
    assert 25 < chosen["a"] < 75, "half of the random half"


def test_cycling_follows_the_scene_and_passes_over_what_is_not_feasible() -> None:
    counts = dict.fromkeys("dacb", 0)
    order = []
    for _ in range(6):
        order.append(CyclingSelector().select("dab", counts))
        counts[order[-1]] += 1
    assert order == ["d", "a", "b", "b", "d", "a"]


def test_uniform_reaches_every_feasible_task() -> None:
    counts = Counter(UniformSelector().select("abc", {"a": n, "b": 0, "c": 0, "d": 0}) for n in range(90))
    assert set(counts) == set("abc")
    assert min(counts.values()) > 10


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"zone_center": 1.5, "selection": "zone"}, "zone_center and random_share must be in 0..1"),
        ({"reproposals": -1}, "must not be negative"),
        ({"in_a_row": -1}, "in_a_row must be at least 1, or 0 for any number"),
        ({"notify": "me@example.org"}, "must be a URL"),
    ],
)
def test_wrong_numbers_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ProposalConfig(**changes)


PUT, REMOVE, OPEN = (
    task_from_instruction(text)
    for text in ("put the carrot on the plate", "remove the carrot from the plate", "open the drawer")
)


def vetting(answers: dict[str, float | str], reproposals: int = 4) -> tuple[TaskProposer, Answering, Answering]:
    proposing, judging = Answering({PUT.question: "hm", OPEN.question: "hm"}), Answering(answers)
    detector = SuccessDetector(judging, clock=lambda: 0.0)
    proposer = TaskProposer(proposing, [PUT, REMOVE, OPEN], UCBSelector(), detector=detector, reproposals=reproposals)
    return proposer, proposing, judging


def test_a_task_that_the_detector_calls_done_is_proposed_again() -> None:
    # Nobody can say what is feasible, so a random task is chosen; the detector knows that carrot and drawer are where they
    # should be, so that only taking the carrot off the plate is left.
    for count in range(8):
        proposer, _, judging = vetting({PUT.question: 0.9, OPEN.question: 0.9})
        for _ in range(count):
            proposer.record(REMOVE)
        proposal = proposer.propose(IMAGE)
        assert proposal.task == REMOVE
        assert PUT.instruction not in (proposal.task.instruction, *proposal.feasible)
        assert len(judging.asked) == len(proposal.vetoed) + (len(proposal.vetoed) < 2)


def test_after_so_many_proposals_the_last_one_stands() -> None:
    proposer, _, judging = vetting({PUT.question: 0.9, OPEN.question: 0.9}, reproposals=0)
    assert proposer.propose(IMAGE).vetoed == ()
    assert judging.asked == []
    proposer, _, judging = vetting({PUT.question: "hm", OPEN.question: "hm"})
    assert proposer.propose(IMAGE).vetoed == (), "an undecidable answer vetoes nothing"


def test_successes_are_counted_and_survive_a_restart() -> None:
    vlm = Answering({})
    proposer = TaskProposer(vlm, [PUT, OPEN], UCBSelector(), past=[PUT.instruction] * 3, past_successes=[PUT.instruction])
    proposer.record(PUT, True)
    proposer.record(PUT, None)
    assert proposer.counts == {PUT.instruction: 5, OPEN.instruction: 0}
    assert proposer.successes == {PUT.instruction: 2, OPEN.instruction: 0}
