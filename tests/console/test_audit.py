"""The audit: the order of episodes, two people at once, what is in the store afterwards, and what it says of the judge."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from soar.console.audit import CLAIM_S, EVERY, Queue
from soar.console.calibration import calibrate
from soar.console.judgements import judgements, sample
from soar.console.run_journal import RunJournals
from soar.console.sources import open_sources
from soar.console.values import episode_values
from soar.episodes import EpisodeStore
from soar.episodes.browsing import Browser
from soar.episodes.encoded import encode
from soar.episodes.scores import Score, score_label
from soar.evaluation.detector_metrics import judge, score
from soar.instruction_grammar import task_from_instruction
from soar.types import Label
from tests.console.building import TASKS, Client, console, episode, make_run


def store_of(folder: Path, count: int, labels: dict[int, tuple[Label, ...]] | None = None, **changes: object) -> Browser:
    store = EpisodeStore(folder / "s", mode="create")
    one = encode(episode(0, steps=2, size=16))
    store.append(
        [
            replace(one, id=f"e{n}", instruction=TASKS[n % 3], labels=(labels or {}).get(n, (sure(n),)), **changes)  # type: ignore[arg-type]
            for n in range(count)
        ]
    )
    return Browser(folder / "s")


def sure(number: int, p: float = 0.99, source: str = "vqa-1") -> Label:
    return Label(success=p >= 0.5, probability=p, source=source, time_s=float(number))


def undecided() -> Label:
    return Label(success=None, probability=None, source="vqa-1", time_s=1.0)


def by(name: str, success: bool | None, time_s: float = 9.0) -> Label:
    return Label(success=success, probability=None, source=f"person:{name}", time_s=time_s)


def apart(count: int) -> list[int]:
    """Numbers of episodes that are not in the random share."""
    in_sample, _ = sample([f"e{n}" for n in range(count)])
    return np.flatnonzero(~in_sample).tolist()


def test_everybodys_words_are_read_as_the_store_resolves_them(tmp_path: Path) -> None:
    labels = {
        0: (sure(1), sure(2, 0.1, "vqa-2"), Label(success=True, probability=None, source="simulator")),
        1: (undecided(), by("ada", True, 5), by("bob", False, 4)),
        2: (Label(success=None, probability=None, source="instruction:dial", answer="x"),),
        3: (),
        4: (sure(1, 0.9), score_label("plain", Score(weight=0.7, advantage=0.1, by="vqa-1"), time_s=3.0)),
        5: (score_label("plain", Score(weight=0.7, advantage=0.1, by="vqa-1"), time_s=3.0),),
    }
    judged = judgements(store_of(tmp_path, 6, labels))
    assert judged.person_E.tolist() == [-1, 1, -1, -1, -1, -1]
    assert judged.model_E.tolist() == [0, 2, -1, -1, 1, -1]
    assert judged.disagree_E.tolist() == [True, True, False, False, False, False]
    assert judged.probability_E[[0, 4]].tolist() == [0.1, 0.9]
    assert np.isnan(judged.probability_E[[1, 2, 3, 5]]).all()
    page = episode_values(open_sources([str(tmp_path / "s")])["s"], "e4", RunJournals())
    assert page["labels"] == ["vqa-1: success (0.90)", "plain gives it the weight 0.70"]


def test_the_episodes_whose_judgement_is_worth_most_come_first(tmp_path: Path) -> None:
    first, second, third = apart(60)[10:13]
    labels = {first: (undecided(),), second: (sure(1), sure(2, 0.1, "vqa-2")), third: (sure(1, 0.48),)}
    judged = judgements(store_of(tmp_path, 60, labels))
    queue, skipped, offered = Queue(), set[str](), []
    for _ in range(3):
        offer = queue.next(judged, "ada", 0.5, frozenset(skipped))
        assert offer is not None
        skipped.add(f"e{offer.index}")
        offered.append((offer.index, offer.why.partition(";")[0]))
    assert offered == [
        (first, "the model could not decide"),
        (second, "judges disagree"),
        (third, "0.48, and the threshold is 0.50"),
    ]


def test_tasks_that_nobody_has_judged_come_before_those_that_many_have(tmp_path: Path) -> None:
    known = {n: (sure(1), by("ada", True)) for n in apart(60) if n % 3 != 2 and n > 5}
    offer = Queue().next(judgements(store_of(tmp_path, 60, known)), "ada", 0.5)
    assert offer is not None
    assert offer.index % 3 == 2
    assert "0 episodes of this task were judged by people" in offer.why


def test_every_fifth_is_drawn_at_random_and_only_those_are(tmp_path: Path) -> None:
    store = store_of(tmp_path, 80)
    queue, ids, random = Queue(), [f"e{n}" for n in range(80)], []
    in_sample, _ = sample(ids)
    assert 5 <= in_sample.sum() <= 30
    writer = EpisodeStore(tmp_path / "s")
    for number in range(10):
        offer = queue.next(judgements(store), "ada", 0.5)
        assert offer is not None
        assert in_sample[offer.index] == ("at random" in offer.why) == (number % EVERY == EVERY - 1)
        random += [offer.index] if in_sample[offer.index] else []
        writer.add_label(ids[offer.index], by("ada", True))
        queue.done(ids[offer.index], "ada")
    assert len(set(random)) == 2


def test_two_people_never_look_at_the_same_episode_until_one_of_them_is_long_away(tmp_path: Path) -> None:
    judged = judgements(store_of(tmp_path, 12))
    now = [0.0]
    queue = Queue(clock=lambda: now[0])
    given: list[int] = []
    for who in ("ada", "bob", "eve"):
        offer = queue.next(judged, who, 0.5)
        assert offer is not None
        given.append(offer.index)
        again = queue.next(judged, who, 0.5)
        assert again is not None
        assert again.index == offer.index
    assert len(set(given)) == 3
    assert queue.holder(f"e{given[0]}", "bob") == "ada"
    now[0] += CLAIM_S + 1
    later = queue.next(judged, "bob", 0.5)
    assert later is not None
    assert later.index == given[0]


def test_two_people_of_one_name_are_two_and_a_page_that_is_loaded_again_goes_on_with_its_episode(tmp_path: Path) -> None:
    judged = judgements(store_of(tmp_path, 12))
    queue, given = Queue(), list[int]()
    for page in ("left", "right", "left"):
        offer = queue.next(judged, "ada", 0.5, page=page)
        assert offer is not None
        given.append(offer.index)
    assert given[0] == given[2] != given[1]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    run = make_run(tmp_path, 20)
    with console(run) as url:
        yield url, run


def test_what_a_person_says_is_in_the_store_at_once_and_outranks_the_model(served: tuple[str, Path]) -> None:
    url, run = served
    client = Client(url, "labeller")
    seen = set()
    for verdict, expected in (("y", True), ("n", False), ("u", None)):
        offer = client.post("/s/run/audit/next", who="ada").json()
        assert client.get(f"/s/run/frame/{offer['attempt']}/{offer['first_row']}/{offer['length']}").status_code == 200
        answer = client.post("/s/run/labels", who="ada", id=offer["id"], verdict=verdict, labels=offer["labels"])
        assert answer.status_code == 200, answer.text
        record = EpisodeStore(run / "episodes").episodes(f"id = '{offer['id']}'")[0]
        assert record.success is expected
        assert [label.source for label in record.labels] == ["vqa-1", "person:ada"]
        seen.add(offer["id"])
    assert len(seen) == 3
    assert client.post("/s/run/audit/next", who="ada").json()["left"] == 17


def test_the_last_word_can_be_taken_back_by_who_said_it(served: tuple[str, Path]) -> None:
    url, run = served
    client = Client(url, "labeller")
    id = "run-000-arm-0-00002"
    before = EpisodeStore(run / "episodes").episodes(f"id = '{id}'")[0]
    said = client.post("/s/run/labels", who="ada", id=id, verdict="u").json()
    assert client.post("/s/run/labels/undo", who="bob", id=id, time_s=said["time_s"]).status_code == 409
    assert client.post("/s/run/labels/undo", who="ada", id=id, time_s=said["time_s"]).status_code == 200
    after = EpisodeStore(run / "episodes").episodes(f"id = '{id}'")[0]
    assert (after.success, after.labels) == (before.success, before.labels)
    again = client.post("/s/run/labels/undo", who="ada", id=id, time_s=said["time_s"])
    assert again.status_code == 409
    assert "taken back already" in again.text


def test_who_comes_second_hears_of_it_and_may_still_say_something_else(served: tuple[str, Path]) -> None:
    url, run = served
    client = Client(url, "labeller")
    id = "run-000-arm-0-00002"
    assert client.post("/s/run/labels", who="bob", id=id, verdict="y", labels=1).status_code == 200
    late = client.post("/s/run/labels", who="ada", id=id, verdict="n", labels=1)
    assert late.status_code == 409
    assert "bob said success while you looked at it" in late.text
    namesake = client.post("/s/run/labels", who="bob", id=id, verdict="n", labels=1)
    assert "bob said success while you looked at it" in namesake.text
    assert client.post("/s/run/labels", who="ada", id=id, verdict="n").status_code == 200
    record = EpisodeStore(run / "episodes").episodes(f"id = '{id}'")[0]
    assert [label.source for label in record.labels] == ["vqa-1", "person:bob", "person:ada"]
    assert record.success is False
    for body in ({"who": " ", "verdict": "y"}, {"who": "ada", "verdict": "maybe"}, {"who": "ada", "verdict": "y", "x": 1}):
        assert client.post("/s/run/labels", id=id, **body).status_code == 422
    assert client.post("/s/run/labels", who="ada", id="nobody", verdict="y").status_code == 404


def test_the_judge_is_measured_on_random_episodes_alone_and_a_threshold_has_its_price(tmp_path: Path) -> None:
    count = 300
    in_sample, _ = sample([f"e{n}" for n in range(count)])
    rng = np.random.default_rng(0)
    labels = {}
    for n in range(count):
        p = float(rng.random())
        truth = bool(rng.random() < p) if in_sample[n] else p < 0.5  # elsewhere the judge is always wrong
        labels[n] = (sure(1, p), by("ada", truth))
    judged = judgements(store_of(tmp_path, count, labels))
    made = calibrate(judged)
    assert made.drawn == in_sample.sum()
    assert made.audited == count
    assert made.score.accuracy.value > 0.6 > made.agree.value
    store = EpisodeStore(tmp_path / "s")
    wanted = {f"e{n}" for n in np.flatnonzero(in_sample)}
    said = judge(store, "person", task_of=task_from_instruction)
    same = score([one for one in said if one.id in wanted])
    assert made.score == same
    low, high = made.at(0.2), made.at(0.9)
    assert low is not None
    assert high is not None
    assert low.recall.value > high.recall.value
    assert low.precision.value < high.precision.value
    assert high.kept == sum(label[0].probability >= 0.9 for label in labels.values() if label[0].probability is not None)
    assert made.advised is not None
    assert made.advised.f1 == max(cost.f1 for cost in made.costs)
    with console(tmp_path / "s") as url:
        text = Client(url).page("/s/s/calibration")
        assert "loses least in both ways together" in text
        assert "--threshold" in text


def test_a_few_judgements_advise_nothing(tmp_path: Path) -> None:
    judged = judgements(store_of(tmp_path, 10, {0: (sure(1), by("ada", True))}))
    assert calibrate(judged).advised is None
    with console(tmp_path / "s") as url:
        assert "Too few to choose a threshold" in Client(url).page("/s/s/calibration")
