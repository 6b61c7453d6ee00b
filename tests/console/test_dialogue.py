"""Trials that a person judges on a page: a real evaluation asks, the console answers for the person."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from soar.cli import main
from soar.evaluation import read_evaluation
from soar.evaluation.dialogue import PageDialogue
from soar.evaluation.person import Judged, evaluate_by_person
from tests.console.building import Client, console
from tests.evaluation.test_person import POLICIES
from tests.robots.test_workcell import cell


def asked(client: Client, name: str = "run") -> dict[str, Any]:
    """Wait until something is asked."""
    while True:
        for one in client.get(f"/s/{name}/dialogue/now").json()["asked"]:
            if one["number"]:
                return dict(one)
        time.sleep(0.05)


def test_two_policies_are_judged_on_a_page_without_being_named(tmp_path: Path) -> None:
    run = tmp_path / "run"
    out = run / "evaluations" / "mine.json"
    outs = [out.with_name(f"mine-{number}.json") for number in (1, 2)]
    (run / "evaluations").mkdir(parents=True)
    dialogue, done = PageDialogue(out), list[Judged]()

    def work() -> None:
        done.append(
            evaluate_by_person(
                POLICIES,
                name="ada",
                workcell=cell(tmp_path, "Arm"),
                subgoals="",
                trials=1,
                outs=outs,
                variants=["mine-1", "mine-2"],
                out=out,
                terminal=dialogue,
            )
        )
        dialogue.close()

    (run / "events.jsonl").touch()
    with console(run) as url:
        client = Client(url, "labeller")
        assert "Nothing is asked now" in client.page("/s/run/dialogue")
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        seen, verdicts = [], 0
        while verdicts < 2:
            one = asked(client)
            seen.append(json.dumps(one))
            said = "y" if "Did it work" in one["text"] else "g"
            assert one["picture"]
            body = {"which": one["which"], "number": one["number"], "said": said, "remark": "well" if said == "y" else ""}
            assert Client(url, "viewer").post("/s/run/dialogue", **body).status_code == 403
            assert client.post("/s/run/dialogue", **body | {"said": "x"}).status_code == 409
            assert client.post("/s/run/dialogue", **body | {"number": "0" * 16}).status_code == 409
            assert client.post("/s/run/dialogue", **body).status_code == 200
            verdicts += said == "y"
            while any(one["number"] == now["number"] for now in client.get("/s/run/dialogue/now").json()["asked"]):
                time.sleep(0.02)
        thread.join(30)
        assert client.get("/s/run/dialogue/now").json() == {"asked": []}
    assert done[0].finished
    for path in outs:
        trial = read_evaluation(path).trials[0]
        assert (trial.success, trial.note) == (True, "well")
    assert not any(name.partition(":")[2] in text for text in seen for name in POLICIES)


def test_an_answer_to_another_question_is_none(tmp_path: Path) -> None:
    dialogue = PageDialogue(tmp_path / "mine.json")
    dialogue.check()
    heard = list[str]()
    thread = threading.Thread(target=lambda: heard.append(dialogue.ask(None, "Which?", ["a", "b"])), daemon=True)
    thread.start()
    while not (number := json.loads(dialogue.question.read_text())["number"]):
        time.sleep(0.01)
    for wrong in ("nonsense", json.dumps({"number": "other", "said": "a", "remark": ""}), json.dumps([1])):
        dialogue.answer.write_text(wrong)
        time.sleep(0.25)
        assert thread.is_alive()
    dialogue.answer.write_text(json.dumps({"number": number, "said": "b", "remark": "x"}))
    thread.join(10)
    assert heard == ["b"]
    dialogue.close()
    assert list(tmp_path.iterdir()) == []


def test_a_page_asks_people_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--scene", "scene1", "--out", str(tmp_path / "a.json"), "--ask", "page"]) == 2
    assert "use it with --judge person" in capsys.readouterr().err
