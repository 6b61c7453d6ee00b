from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from soar.errors import SoarError
from soar.evaluation import Evaluation, Rate, not_worse
from soar.evaluation.promotion import Practice, practised_not_worse
from soar.reports.html import Ancestor, Collected, Report, write_report
from tests.evaluation.examples import TASKS, episode, evaluation

BEFORE = evaluation([1, 0, 0, 0] * 10)
AFTER = evaluation([1, 0, 1, 1] * 10, variant="improved", policy="policy-001")
REPORT = Report(
    title="Run kitchen, scene 1",
    summary="Collected 60 episodes & learned from 21 <of them>.",
    compared=(BEFORE, AFTER),
    promotions=(not_worse(AFTER, BEFORE),),
    variants=(BEFORE, evaluation([1, 0, 0, 0, 0] * 8, variant="control", policy="policy-002"), AFTER),
    models={"success detector": "judge"},
    phases_s={"evaluate": 61.0, "collect": 4000.0, "train": 9.6},
    collected=(Collected(task=TASKS[0], attempts=33, judged_successes=12, undecided=1, successes=10),),
    successes=(episode("good"),),
    failures=(episode("bad", subgoals=0),),
    lineage=(
        Ancestor(policy="policy-000", parent="", data="demonstrations", promoted=True),
        Ancestor(policy="policy-001", parent="policy-000", data="60 autonomous episodes", promoted=True),
    ),
    dataset="runs/kitchen/episodes",
)


class Balanced(HTMLParser):
    """Notes what a page refers to, and fails where tags do not nest."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def page(tmp_path: Path, report: Report) -> str:
    write_report(tmp_path / "report.html", report)
    text = (tmp_path / "report.html").read_text()
    parser = Balanced()
    parser.feed(text)
    assert parser.open == []
    assert all(source.startswith("data:image/webp;base64,") for source in parser.sources), "the page must be self-contained"
    return text


def test_the_page_shows_tasks_verdict_arms_statistics_films_and_lineage(tmp_path: Path) -> None:
    text = page(tmp_path, REPORT)
    for expected in (
        *TASKS,
        "Promoted policy-001: it is not worse than policy-000",
        "control",
        "1 h 7 min",
        "episode good",
        "episode bad",
        "judge: success (.91)",
        "60 autonomous episodes",
        "runs/kitchen/episodes",
        "<strong>.25</strong> <small>[.14, .40] 10/40</small>",
        "<strong>.75</strong>",
    ):
        assert expected in text
    assert len(re.findall("data:image/webp", text)) == 4


def test_a_legend_says_which_bar_is_which(tmp_path: Path) -> None:
    text = page(tmp_path, REPORT)
    legend = text.partition('<p class="legend">')[2].partition("</p>")[0]
    assert re.findall(r'<span class="(\w+)"><i></i>([^<]*)</span>', legend) == [
        ("old", "pretrained"),
        ("new", "improved"),
        ("interval", "95 % interval"),
    ]


def test_without_evaluations_the_page_shows_what_was_judged_while_practising_and_says_so(tmp_path: Path) -> None:
    practised = (
        Practice(policy="policy-000", judged=Rate(successes=12, trials=40), judge="vqa-1", true=Rate(successes=9, trials=40)),
        Practice(policy="policy-001", judged=Rate(successes=20, trials=40), judge="vqa-1"),
    )
    verdict = practised_not_worse(practised[1], practised[0])
    text = page(tmp_path, Report(title="t", summary="s", practised=practised, promotions=(verdict,)))
    assert re.findall("<h2>(.*?)</h2>", text) == ["Practice", "Promotion"]
    assert "12/40" in text
    assert "9/40" in text
    assert "Not evaluated; judged by vqa-1 while practising: candidate 20/40 = .50" in text


def test_text_is_escaped(tmp_path: Path) -> None:
    assert "Collected 60 episodes &amp; learned from 21 &lt;of them&gt;." in page(tmp_path, REPORT)


def test_the_p_values_compare_the_last_policy_with_every_other_variant(tmp_path: Path) -> None:
    values = re.findall(r'<td class="n">([^<]*)</td></tr>', page(tmp_path, dataclasses.replace(REPORT, collected=())))
    assert values == ["&lt; .001", "&lt; .001", "-"]


def test_a_learned_system_gets_no_oracle_warning(tmp_path: Path) -> None:
    assert "Not a result" not in page(tmp_path, REPORT)


@pytest.mark.parametrize(
    "changes",
    [
        {"models": {"success detector": "oracle-vlm-92"}},
        {"compared": (BEFORE, dataclasses.replace(AFTER, subgoal_model="oracle-vlm-92"))},
        {"practised": (Practice(policy="p", judged=Rate(successes=0, trials=1), judge="oracle-vlm-92"),)},
        {"variants": (dataclasses.replace(BEFORE, policy="oracle-vlm-92"),)},
        {"failures": (episode(vlm="oracle-vlm-92"),)},
    ],
)
def test_an_oracle_anywhere_is_announced(tmp_path: Path, changes: dict[str, object]) -> None:
    text = page(tmp_path, dataclasses.replace(REPORT, **changes))
    assert "<strong>Not a result.</strong> oracle-vlm-92 looked at" in text


def test_the_least_report_has_no_empty_sections(tmp_path: Path) -> None:
    empty = Evaluation(variant="pretrained", policy="policy-000")
    text = page(tmp_path, Report(title="t", summary="Stopped early.", compared=(empty,)))
    assert re.findall("<h2>(.*?)</h2>", text) == ["Success by task"]
    assert "no trials" in text


def test_a_report_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SoarError, match="cannot write"):
        write_report(tmp_path / "file" / "report.html", REPORT)
