"""What pages say of a run's policies: evaluations, verdicts, practice, and what does not count as a result."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import replace
from pathlib import Path

import pytest

from soar.console.findings import Findings, Lead, decisions_of, findings_of
from soar.console.run_journal import RunJournals
from soar.console.sources import open_sources
from soar.episodes import EpisodeStore
from soar.episodes.encoded import encode
from soar.episodes.schema import DONE_BEFORE, UNDONE_BEFORE
from soar.evaluation import Evaluation, not_worse
from soar.evaluation.statistics import fisher_p, p_value, paired
from soar.evaluation.trials import write_evaluation
from soar.event_log import Journal
from soar.improve.run_report import round_rows
from soar.policies.lineage import Lineage
from soar.policies.named import Named, write_named
from soar.run_folder import RunFolder
from soar.types import Label
from tests.console.building import Client, console, episode, make_run
from tests.evaluation.examples import TASKS, evaluation

BEFORE = evaluation([1, 0, 0, 0] * 10)
AFTER = evaluation([1, 0, 1, 1] * 10, variant="round 1", policy="policy-001")
CONTROL = evaluation([1, 0, 0, 0, 0] * 8, variant="round 2", policy="policy-002")


def found(run: Path) -> Findings:
    (source,) = open_sources([str(run)]).values()
    return findings_of(source, RunJournals().of(source))


def improved(folder: Path, *evaluations: Evaluation, promote: tuple[bool, ...] = (True,)) -> Path:
    """A run with policies, their evaluations, and what was decided about each candidate."""
    run = make_run(folder, 3)
    (run / "events.jsonl").unlink()
    for number, one in enumerate(evaluations):
        policy = RunFolder(run).policy(number)
        parent = evaluations[number - 1].policy if number else ""
        write_named(Named(id=one.policy, behind=one.policy, name="x", folder=policy), Lineage(parent=parent))
        write_evaluation(RunFolder(run).evaluation(number), one)
    journal = Journal(run / "events.jsonl")
    for number, good in enumerate(promote, start=1):
        sentence = not_worse(evaluations[number], evaluations[0]).sentence
        journal.append("promotion", round=number, candidate=number, deployed=0, promote=good, sentence=sentence)
        journal.append("round_finished", round=number)
    return run


def test_before_and_after_stand_beside_each_other_with_intervals_the_verdict_and_every_variant(tmp_path: Path) -> None:
    run = improved(tmp_path, BEFORE, AFTER, CONTROL, promote=(True, False))
    with console(run) as url:
        text = Client(url).page("/s/run/run")
    for part in (
        *TASKS,
        "before: policy-000<br>judged by truth",
        "after: policy-001<br>judged by truth",
        "Promoted policy-001: it is significantly better than policy-000",
        "<b>.25</b> <small>[.14, .40] 10/40</small>",
        "<b>.75</b>",
        "Success rates, from the same starts: before: 10/40 = .25 [.14, .40]; after: 30/40",
        "policy-000</b>, deployed before",
        "policy-001</b> from policy-000, deployed.",
        "policy-002</b> from policy-001, never deployed",
    ):
        assert part in text
    leads = [lead for _, lead in found(run).variants]
    assert leads[1] is None
    assert [round(lead.better, 3) for lead in leads if lead] == [0.0, 0.0]
    assert text.count('is better, p">&lt; .001</td>') == 2


def test_a_pair_has_one_test_the_one_that_decided_about_the_candidate(tmp_path: Path) -> None:
    before, after = evaluation([1, 1, 1, 0, 0] * 4), evaluation([1, 0, 1, 0, 1] * 4, variant="round 1", policy="policy-001")
    decided = not_worse(after, before)
    run = improved(tmp_path, before, after)
    (_, lead), (_, itself) = found(run).variants
    assert itself is None
    assert lead == Lead(
        better=paired(after.outcomes(), before.outcomes()).p_first_better, worse=decided.p_worse, test="McNemar's"
    )
    with console(run) as url:
        text = Client(url).page("/s/run/run")
    assert f'is worse, p">{p_value(decided.p_worse)}</td>' in text
    assert f"p = {p_value(decided.p_worse)}" in text
    assert "McNemar&#39;s exact test on the same starts" in text.replace("'", "&#39;")
    assert "Fisher" not in text


@pytest.mark.parametrize("how", ["nobody restored the starts", "other starts"])
def test_fishers_test_is_named_where_starts_are_not_the_same(tmp_path: Path, how: str) -> None:
    after = replace(AFTER, restored=False) if how == "nobody restored the starts" else replace(AFTER, trials=AFTER.trials[:30])
    run = improved(tmp_path, BEFORE, after, promote=())
    Journal(run / "events.jsonl").append("promotion", round=1, candidate=1, deployed=0, promote=True, sentence="So it is.")
    lead = found(run).variants[0][1]
    assert lead == Lead(
        better=fisher_p(after.rate(), BEFORE.rate()), worse=fisher_p(BEFORE.rate(), after.rate()), test="Fisher's"
    )
    with console(run) as url:
        text = Client(url).page("/s/run/run")
    assert "exact test where the starts were not the same" in text
    assert "McNemar" not in text


def test_a_candidate_that_was_refused_stands_beside_what_stays(tmp_path: Path) -> None:
    findings = found(improved(tmp_path, AFTER, replace(BEFORE, policy="policy-9"), promote=(False,)))
    assert [one.variant for one in findings.compared] == ["deployed, before and after", "candidate 1, not deployed"]
    assert "No candidate was promoted: the policy is the one that the run began with." in findings.summary
    assert [one.good for one in findings.decisions] == [False]


LEARNING = "command: soar improve\npreset: {improvement: {rounds: 1, success_only: %s, threshold: %s}}\n"


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("command: soar collect\n", "6 autonomous episodes, 4 judged successes, 3 of them true; "),
        (
            LEARNING % ("true", 0.85),
            "6 autonomous episodes, 4 judged successes, 2 of them sure enough to be learned from (p at least .85), 1 of these "
            "true; ",
        ),
        (LEARNING % ("true", 0), "6 autonomous episodes, 4 judged successes, 3 of them true; "),
        (LEARNING % ("false", 0), "6 autonomous episodes, all of them learned from, 4 judged successes, 3 of them true; "),
    ],
    ids=["collect", "threshold", "no threshold", "everything"],
)
def test_what_was_judged_what_is_learned_from_and_what_is_true_are_all_said(tmp_path: Path, config: str, said: str) -> None:
    run = tmp_path / "run"
    # What the judge thought, what the simulator knows, and whether the task was done before the attempt began.
    known = [
        (0.9, True, UNDONE_BEFORE),
        (0.95, True, DONE_BEFORE),
        (0.5, True, UNDONE_BEFORE),
        (None, True, ""),  # a person's word has no probability, and is not filtered by one
        (0.1, True, UNDONE_BEFORE),
        (0.05, False, UNDONE_BEFORE),
    ]
    made = []
    for number, (p, true, before) in enumerate(known):
        verdict = Label(success=p is None or p >= 0.2, probability=p, source="vqa-1" if p else "person:ada")
        truth = Label(success=true, probability=None, source="simulator", answer=before)
        made.append(replace(encode(episode(number)), labels=(verdict, truth)))
    EpisodeStore(run / "episodes", mode="create").append(made)
    (run / "config.yaml").write_text(config)
    assert found(run).summary.startswith(f"{said}4 true successes in all, and 1 whose task was done before they began. No")
    with console(run) as url:
        text = Client(url).page("/s/run/run")
    assert ".67 [.30, .90] 4/6" in re.sub(r"<[^>]+>", "", text[text.index("<td>all tasks") :])
    assert "What was done before an attempt began is no true success." in text


def test_without_evaluations_practice_is_shown_and_who_is_on_trial(tmp_path: Path) -> None:
    run = make_run(tmp_path, 40)
    for number, id in enumerate(("gcbc-0", "gcbc-1", "gcbc-2")):
        write_named(Named(id=id, behind=id, name="x", folder=RunFolder(run).policy(number)), Lineage())
    Journal(run / "events.jsonl").append("on_trial", round=2, candidate=2)
    findings = found(run)
    assert findings.compared == ()
    assert [(one.policy, one.judged.trials, one.judge, one.true) for one in findings.practised] == [
        ("gcbc-0", 20, "vqa-1", None),
        ("gcbc-1", 20, "vqa-1", None),
        ("gcbc-2", 0, "nobody", None),
    ]
    assert findings.decisions[-1].sentence.startswith("Candidate 2 (gcbc-2) is deployed on trial: it was not evaluated and has")
    with console(run) as url:
        text = Client(url).page("/s/run/run")
    for part in ("<h2>Practice</h2>", "No policy was evaluated", "Candidate 2 is deployed on trial; another round decides"):
        assert part in text
    assert "What evaluations found" not in text


def test_a_round_without_a_candidate_says_why(tmp_path: Path) -> None:
    run = improved(tmp_path, BEFORE, AFTER)
    Journal(run / "events.jsonl").append("not_learned", round=2, detail="the command ended with 3")
    (source,) = open_sources([str(run)]).values()
    newest = decisions_of(source, RunJournals().of(source))[0]
    assert (newest.good, newest.sentence) == (
        False,
        "Kept policy-001: round 2 has no candidate. The command ended with 3",
    )


def test_a_fleets_promotion_and_a_persons_return_are_decisions_with_their_sentences(tmp_path: Path) -> None:
    run = improved(tmp_path, BEFORE, AFTER)
    journal = Journal(run / "events.jsonl")
    journal.append("deployed", round=1, version="x", policy="policy-001", done="promoted", sentence="Promoted by the canary.")
    back = {"candidate": 0, "deployed": 1, "promote": True, "by": "ada"}
    journal.append("promotion", round=2, sentence="Went back to policy-000 from policy-001: ada said so.", **back)
    (source,) = open_sources([str(run)]).values()
    said = [(one.good, one.sentence) for one in decisions_of(source, RunJournals().of(source))[:2]]
    assert said == [(True, "Went back to policy-000 from policy-001: ada said so."), (True, "Promoted by the canary.")]
    findings = found(run)
    assert [one.variant for one in findings.compared] == ["deployed, before and after", "candidate 1, not deployed"]
    assert findings.summary.endswith("A person went back to the first policy: the policy is the one that the run began with.")
    rows = round_rows(RunFolder(run))
    assert [row["variant"] for row in rows] == ["round 0"] * 2 + ["round 1"] * 2  # a task, and all of them


def test_an_evaluation_that_cannot_be_read_is_said_and_the_rest_is_shown(tmp_path: Path) -> None:
    run = improved(tmp_path, BEFORE, AFTER)
    RunFolder(run).evaluation(1).write_text("{")
    findings = found(run)
    assert [one.variant for one in findings.compared] == ["before"]
    assert "001.json" in findings.unreadable[0]
    with console(run) as url:
        assert "001.json" in Client(url).page("/s/run/run")


def test_tasks_that_nobody_chose_and_models_that_were_away_are_counted(tmp_path: Path) -> None:
    run = make_run(tmp_path, 2)
    journal = Journal(run / "events.jsonl")
    journal.append("proposal", robot="arm-0", index=3, instruction="x", random=True, asked=4, undecidable=4)
    for times in (2, 3):
        journal.append("fallback", robot="arm-0", index=1, model="gpt<b>", instead="a random task", times=times, detail="away")
        journal.append("asked", robot="bench-1", looks=1, fallbacks=times)
    with console(run) as url:
        text = Client(url).page("/s/run/run")
    assert "Tasks were chosen 3 times, 1 times at random because none was feasible. 4 of 10 answers about" in text
    plain = re.sub(r' (class|data-name)="[^"]*"', "", text)
    assert "<td>gpt&lt;b&gt;</td><td>a random task</td><td>5</td><td>2</td>" in plain
    assert "<td>models of bench-1</td><td>told in its own journal</td><td>5</td><td>2</td>" in plain


def test_a_learned_system_gets_no_warning(tmp_path: Path) -> None:
    assert found(improved(tmp_path, BEFORE, AFTER)).oracles == ()


@pytest.mark.parametrize("where", ["judge of practice", "policy", "subgoals of an evaluation", "policy of an evaluation"])
def test_an_oracle_anywhere_is_announced(tmp_path: Path, where: str) -> None:
    name = "oracle-vlm-92"
    before = replace(BEFORE, policy=name) if where == "policy of an evaluation" else BEFORE
    run = improved(tmp_path, before, replace(AFTER, subgoal_model=name) if where == "subgoals of an evaluation" else AFTER)
    if where in ("judge of practice", "policy"):
        changes = {"vlm" if where == "judge of practice" else "policy": name}
        made = encode(episode(9))
        EpisodeStore(run / "episodes").append(replace(made, provenance=dataclasses.replace(made.provenance, **changes)))
    with console(run) as url:
        assert f"<b>Not a result.</b> {name} looked at the simulator" in Client(url).page("/s/run/run")
