"""The paper's tables beside ours, claim by claim: what it says of two methods, and whether ours says the same.

A claim is that one variant succeeds more often than another one. Ours agrees where the paired test on equal starts says so
(p below .05), contradicts where it says the opposite, and is undecided otherwise. All training seeds count, but a start counts
once: the share of a variant's policies that succeed there is compared with the other's. Seeds that share a start are not
independent trials of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from soar.evaluation.statistics import Rate, common, p_value, paired, short
from soar.evaluation.trials import Evaluation, TrialKey

SURE = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperTable:
    """A table of the paper.

    Attributes:
        rates: The paper's success rate by our name of the variant, a mean over its tasks.
        claims: Pairs of variants, the better one by the paper first.
        differs: What is different in ours, for the caption.
    """

    rates: Mapping[str, float]
    claims: Sequence[tuple[str, str]]
    differs: str


def _table1(whole: str) -> PaperTable:
    """Return Table 1, in which the policies of all scenes are called so."""
    return PaperTable(
        rates={
            "pretrained": 0.33,
            "scene": 0.58,
            whole: 0.65,
            "language pretrained": 0.0,
            "language scene": 0.32,
            f"language {whole}": 0.28,
        },
        claims=(
            ("scene", "pretrained"),
            (whole, "pretrained"),
            ("language scene", "language pretrained"),
            ("pretrained", "language pretrained"),
            ("scene", "language scene"),
            (whole, f"language {whole}"),
        ),
        differs=(
            "Ours is a simulated robot, networks of a few million weights, and demonstrations whose instructions are right and "
            "of one grammar; the paper's are a real one, ResNet-34, and BridgeData v2, in whose many words an instruction of a "
            "new scene says little to the policy."
        ),
    )


PAPER: Mapping[str, PaperTable] = {
    "table1": _table1("all"),
    "table1-scenes": _table1("all scenes"),
    "table2": PaperTable(
        rates={"scene": 0.75, "robofume": 0.0, "dial": 0.0, "language scene": 0.45},
        claims=(
            ("scene", "robofume"),
            ("scene", "dial"),
            ("language scene", "dial"),
            ("scene", "language scene"),
        ),
        differs=(
            "Ours is a simulated robot; RoboFuME has a small encoder and a hundredth of the published steps, and DIAL's "
            "labeller learns on the demonstrations alone where the paper's begins with CLIP."
        ),
    ),
}


def paper_rows(name: str, evaluations: Mapping[tuple[str, str], Sequence[Evaluation]]) -> list[dict[str, Any]]:
    """Return a row a claim of the paper's table of that name whose variants were measured; empty for other experiments."""
    if name not in PAPER:
        return []
    table, rows = PAPER[name], []
    for better, worse in table.claims:
        ours = {variant: _of(evaluations, variant) for variant in (better, worse)}
        if not all(ours.values()) or ours[better].keys() != ours[worse].keys():
            continue
        outcomes = [_by_start(ours[variant]) for variant in (better, worse)]
        found = paired(*common(*outcomes))
        certain = {"agrees": found.p_first_better, "contradicts": found.p_second_better}
        verdict = next((name for name, p in certain.items() if p < SURE), "undecided")
        rows.append(
            {
                "the paper": f"{better} above {worse}",
                "its rates": f"{_paper(table, better)} and {_paper(table, worse)}",
                "ours": f"{_rate(ours[better])} and {_rate(ours[worse])}",
                "starts where either did better": f"{found.only_first} and {found.only_second}",
                "p": p_value(min(found.p_first_better, found.p_second_better)),
                "ours says": verdict,
            }
        )
    return rows


def caption(name: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """Return what is to be said under our version of a table: where it contradicts the paper, and what differs."""
    if name not in PAPER or not rows:
        return ""
    said = {
        verdict: [row["the paper"] for row in rows if row["ours says"] == verdict] for verdict in ("contradicts", "undecided")
    }
    parts = []
    if said["contradicts"]:
        parts.append(
            f"Ours contradicts the paper: it has {', '.join(said['contradicts'])}, and here it is the other way round."
        )
    if said["undecided"]:
        parts.append(f"Ours does not decide: {', '.join(said['undecided'])}.")
    if not parts:
        parts.append("Ours says what the paper says in all that was compared.")
    return " ".join([*parts, PAPER[name].differs])


def _of(evaluations: Mapping[tuple[str, str], Sequence[Evaluation]], variant: str) -> dict[str, Sequence[Evaluation]]:
    return {scene: group for (scene, name), group in evaluations.items() if name == variant}


def _by_start(groups: Mapping[str, Sequence[Evaluation]]) -> dict[TrialKey, float]:
    """Return the share of a variant's policies that succeed, by start: of those that all of them tried."""
    found: dict[TrialKey, float] = {}
    for group in groups.values():
        outcomes = [one.outcomes() for one in group]
        for key in outcomes[0]:
            if all(key in one for one in outcomes):
                found[key] = sum(one[key] for one in outcomes) / len(outcomes)
    return found


def _paper(table: PaperTable, variant: str) -> str:
    return short(table.rates[variant]) if variant in table.rates else "-"


def _rate(groups: Mapping[str, Sequence[Evaluation]]) -> str:
    return str(sum((one.rate() for group in groups.values() for one in group), Rate(successes=0, trials=0)))
