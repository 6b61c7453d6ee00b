"""Trials that a person judges on a page: a real evaluation asks, the console answers for the person."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from soar.cli import main
from soar.evaluation import Evaluation, read_evaluation
from soar.evaluation.dialogue import PageDialogue
from soar.evaluation.person import Judged, evaluate_by_person
from soar.improve.config import check
from soar.improve.person import judged_by_person
from soar.run_folder import RunFolder
from tests.console.building import Client, console
from tests.evaluation.test_person import POLICIES
from tests.improve.test_without_truth import configured
from tests.improve.tiny import random_policy
from tests.robots.test_workcell import cell


def asked(client: Client, name: str = "run") -> dict[str, Any]:
    """Wait until something is asked."""
    while True:
        for one in client.get(f"/s/{name}/dialogue/now").json()["asked"]:
            if one["number"]:
                return dict(one)
        time.sleep(0.1)


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
                time.sleep(0.1)
        thread.join()
        assert client.get("/s/run/dialogue/now").json() == {"asked": []}
    assert done[0].finished
    for path in outs:
        trial = read_evaluation(path).trials[0]
        assert (trial.success, trial.note) == (True, "well")
    assert not any(name.partition(":")[2] in text for text in seen for name in POLICIES)


def test_an_answer_to_another_question_is_none(tmp_path: Path) -> None:
    looked = threading.Semaphore(0)

    class Watched(PageDialogue):
        def _answered(self, asked: dict[str, Any]) -> tuple[str, str] | None:
            said = super()._answered(asked)
            looked.release()
            return said

    dialogue = Watched(tmp_path / "mine.json")
    dialogue.check()
    heard = list[str]()
    thread = threading.Thread(target=lambda: heard.append(dialogue.ask(None, "Which?", ["a", "b"])), daemon=True)
    thread.start()
    while not (number := json.loads(dialogue.question.read_text())["number"]):
        time.sleep(0.01)
    for wrong in ("nonsense", json.dumps({"number": "other", "said": "a", "remark": ""}), json.dumps([1])):
        dialogue.answer.write_text(wrong)
        while looked.acquire(blocking=False):
            pass
        for _ in range(2):  # the first of them may have begun before
            looked.acquire()
        assert thread.is_alive()
    dialogue.answer.write_text(json.dumps({"number": number, "said": "b", "remark": "x"}))
    thread.join()
    assert heard == ["b"]
    dialogue.close()
    assert list(tmp_path.iterdir()) == []


def test_a_round_of_improvement_is_judged_on_a_page_and_nothing_is_asked_before_it(tmp_path: Path) -> None:
    config = replace(configured(tmp_path, evaluate="person"), judge_name="ada", ask="page")
    check(config)  # no terminal is needed, and nothing is made
    assert not config.run.exists()
    folder, done = RunFolder(config.run), list[tuple[Evaluation, Evaluation]]()
    for number in (0, 1):
        random_policy(folder.policy(number), seed=number)
    thread = threading.Thread(
        target=lambda: done.append(judged_by_person(config, folder, 1, candidate=1, deployed=0)), daemon=True
    )
    thread.start()
    config.run.joinpath("events.jsonl").touch()
    with console(config.run) as url:
        client = Client(url, "labeller")
        while thread.is_alive():
            for one in client.get("/s/run/dialogue/now").json()["asked"]:
                said = next((choice for choice in ("y", "g") if choice in one["choices"]), None)
                if one["number"] and said:
                    client.post("/s/run/dialogue", which=one["which"], number=one["number"], said=said)
            time.sleep(0.1)
        assert client.get("/s/run/dialogue/now").json() == {"asked": []}
    ((after, before),) = done
    assert [trial.success for trial in after.trials] == [trial.success for trial in before.trials] == [True] * len(after.trials)
    assert after.judge == "person:ada"


def test_a_page_asks_people_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--scene", "scene1", "--out", str(tmp_path / "a.json"), "--ask", "page"]) == 2
    assert "use it with --judge person" in capsys.readouterr().err
    assert main(["improve", "--scene", "scene1", "--run", str(tmp_path / "run"), "--ask", "page"]) == 2
    assert "use it with --evaluate person" in capsys.readouterr().err
