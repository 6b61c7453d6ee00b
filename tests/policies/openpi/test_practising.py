"""Robots that practise and are evaluated with a policy behind openpi's protocol, whose server errs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from soar.cli import main
from soar.episodes import EpisodeStore
from soar.evaluation import read_evaluation
from soar.event_log import read_journal
from soar.testing.openpi_server import OpenPIServer, one_motion
from tests.robots.test_workcell import cell

from .servers import FILE

PRACTICE = ["--subgoals", "soar.testing:FakeSubgoals", "--vlm", "soar.testing:FakeVLM", "--sigma", "0"]
SHORT = ["--improvement.collection.rollout.subgoals", "1", "--improvement.collection.rollout.steps_per_subgoal", "4"]


def policy_file(folder: Path, server: OpenPIServer) -> str:
    path = folder / "pi0.yaml"
    path.write_text(yaml.safe_dump({"backend": "openpi", "url": server.url, **FILE}))
    return str(path)


def collected(folder: Path, policy: str) -> int:
    words = ["collect", "--workcell", cell(folder), "--policy", policy, "--run", str(folder / "run"), "--episodes", "2"]
    return main([*words, *PRACTICE, *SHORT, "--improvement.collection.watch_objects", "false"])


def test_an_episode_in_which_the_server_errs_is_dropped_and_the_next_one_is_whole(tmp_path: Path) -> None:
    def infer(observation: Any) -> Any:
        answer = one_motion(observation)
        if len(server.asked) == 3:  # of the first episode the second look
            answer["actions"] = answer["actions"] * np.nan
        return answer

    with OpenPIServer(infer) as server:
        assert collected(tmp_path, policy_file(tmp_path, server)) == 0
    store = EpisodeStore(tmp_path / "run" / "episodes")
    records = store.episodes()
    assert len(records) == 2
    assert records[0].provenance.policy.startswith("openpi-")
    assert records[0].provenance.faults[0].startswith("unsafe: policy openpi-")
    assert "gives actions that are not finite" in records[0].provenance.faults[0]
    assert store.read(records[0].id).actions_TD[:, 2] == pytest.approx([-0.004] * 4)
    (fault,) = read_journal(tmp_path / "run" / "events.jsonl", "fault")
    assert fault["kind"] == "unsafe"


def test_nothing_is_made_when_the_server_is_away_or_answers_what_the_file_does_not_say(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with OpenPIServer(lambda observation: {"actions": np.zeros((10, 14), np.float32)}) as server:
        path = policy_file(tmp_path, server)
        assert collected(tmp_path, path) == 2
        assert "of shape (10, 14), and a chunk of actions of 7 numbers" in capsys.readouterr().err
    assert collected(tmp_path, path) == 2
    assert "Start the policy's server, or correct `url`" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_it_is_evaluated_as_any_policy_is(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    with OpenPIServer(one_motion) as server:
        words = ["evaluate", "--workcell", cell(tmp_path, "Cell"), "--policy", policy_file(tmp_path, server), "--trials", "1"]
        assert main([*words, "--out", str(out)]) == 0
    evaluation = read_evaluation(out)
    assert evaluation.policy.startswith("openpi-")
    assert (evaluation.subgoal_model, evaluation.rate().trials) == ("", 1)
