from __future__ import annotations

from soar.evaluation.trials import Evaluation, Trial
from soar.experiments.paper import PAPER, caption, paper_rows


def evaluation(variant: str, successes: int, trials: int = 40) -> Evaluation:
    made = [Trial(scene="scene1", task="t", seed=seed, success=seed < successes, steps=1) for seed in range(trials)]
    return Evaluation(variant=variant, policy="p", trials=tuple(made))


def test_a_claim_of_the_paper_is_tested_on_equal_starts_and_contradictions_are_said() -> None:
    measured = {"pretrained": [10], "scene": [30, 30, 30], "language pretrained": [12], "language scene": [39, 39, 39]}
    evaluations = {
        ("scene1", variant): [evaluation(variant, successes) for successes in group] for variant, group in measured.items()
    }
    rows = paper_rows("table1", evaluations)
    assert {row["the paper"]: row["ours says"] for row in rows} == {
        "scene above pretrained": "agrees",
        "language scene above language pretrained": "agrees",
        "pretrained above language pretrained": "undecided",
        "scene above language scene": "contradicts",
    }
    (contradicted,) = [row for row in rows if row["ours says"] == "contradicts"]
    assert contradicted["its rates"] == ".58 and .32"
    assert contradicted["starts where either did better"] == "0 and 9"  # three seeds at a start are one start
    said = caption("table1", rows)
    assert said.startswith("Ours contradicts the paper: it has scene above language scene, and here it is the other way round.")
    assert "Ours does not decide: pretrained above language pretrained." in said
    assert said.endswith(PAPER["table1"].differs)


def test_other_experiments_have_no_claims() -> None:
    assert paper_rows("figure5", {("scene1", "pretrained"): [evaluation("pretrained", 1)]}) == []
    assert caption("figure5", []) == ""


def test_every_variant_of_a_claim_is_one_of_its_experiment() -> None:
    from soar.configuration import load
    from soar.experiments.config import Experiment

    for name, table in PAPER.items():
        variants = load(Experiment, "reproduce", name).variants
        assert {variant for claim in table.claims for variant in claim} <= set(variants)
        assert set(table.rates) <= set(variants)
