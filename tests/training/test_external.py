"""Somebody else's learner: real commands on real datasets, that go well, fail, hang, or leave something else."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from soar.configuration import validate
from soar.episodes import EpisodeStore
from soar.errors import CheckpointError, ConfigError, LearnerError
from soar.policies.learned import read_lineage
from soar.policies.loading import load_policy
from soar.policies.named import id_in, read_named
from soar.robots.safety import SafetyLimits
from soar.testing import FakeRobot
from soar.testing.contracts import check_learner
from soar.testing.fakes import FAKE_WORKSPACE
from soar.training.cotraining import AutonomousData
from soar.training.external import ExternalLearner, ExternalLearnerConfig
from soar.training.learner import LearningData
from soar.training.served import served
from tests.episodes.builders import judged, make_episode

PROGRAM = f"{sys.executable} {Path(__file__).with_name('commands.py')}"
SERVED = {
    "backend": "openpi",
    "url": "ws://127.0.0.1:{port}",
    "images": {"image": {"size": 32}},
    "action": ["x", "y", "z", "roll", "pitch", "yaw", {"gripper": [0, 1]}],
    "execute": 2,
    "patience_s": 0,
}


def config(manner: str = "well", **changes: Any) -> ExternalLearnerConfig:
    said = {
        "command": f"{PROGRAM} learn {{dataset}} {{out}} '{manner}'",
        "checkpoint": "last",
        "policy": {"backend": "tests.training.commands:open_checkpoint", "path": "{checkpoint}"},
    }
    return validate(ExternalLearnerConfig, said | changes, "preset")


def learner(manner: str = "well", **changes: Any) -> ExternalLearner:
    return ExternalLearner(config(manner, **changes), SafetyLimits(), FAKE_WORKSPACE)


@pytest.fixture
def data(tmp_path: Path) -> LearningData:
    store = EpisodeStore(tmp_path / "episodes", mode="open_or_create")
    store.append([make_episode(f"e{i}", steps=4, size=32, seed=i) for i in range(2)])
    autonomous = AutonomousData(store=tmp_path / "episodes", success_only=False)
    return LearningData(pretraining=tmp_path / "episodes", autonomous=autonomous)


@pytest.fixture
def policies(tmp_path: Path) -> Path:
    """Where a run keeps its candidates; one that lies elsewhere runs nothing."""
    folder = tmp_path / "run" / "policies"
    folder.mkdir(parents=True)
    (folder.parent / "config.yaml").touch()
    return folder


def runs(folder: Path) -> int:
    return len((folder / "training" / "runs").read_text())


def test_it_keeps_the_contract_of_learners(data: LearningData, policies: Path) -> None:
    check_learner(learner(), data, policies, lambda folder: load_policy(str(folder)))


def test_the_command_gets_the_chosen_episodes_and_its_checkpoint_becomes_a_policy_with_a_lineage(
    data: LearningData, tmp_path: Path, policies: Path
) -> None:
    first = learner().learn(None, data, policies / "1", seed=0)
    info = json.loads((first / "training" / "dataset" / "meta" / "info.json").read_text())
    assert info["total_episodes"] == 2
    assert (first / "training" / "command.log").read_text().endswith("2 episodes\n")
    policy = load_policy(str(first))
    assert policy.id == id_in(first)
    assert policy.id.startswith("own@")
    assert policy.conditioning == "language"
    second = learner().learn(first, data, policies / "2", seed=0)
    lineage = read_lineage(second)
    assert (lineage.parent, lineage.data["autonomous"]) == (policy.id, EpisodeStore(tmp_path / "episodes").version)
    assert id_in(second) == policy.id, "equal weights have equal ids"


def test_a_command_never_sees_what_a_reflex_did(data: LearningData, tmp_path: Path, policies: Path) -> None:
    EpisodeStore(tmp_path / "episodes").append([make_episode("e9", steps=9, size=32, reflex_steps=(2, 3, 8))])
    candidate = learner().learn(None, data, policies / "1", seed=0)
    rows = pq.read_table(candidate / "training" / "dataset" / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    assert [(row["soar/id"], row["length"]) for row in rows] == [("e0", 5), ("e1", 5), ("e9-own-4-8", 5)]


@pytest.mark.parametrize(
    "format",
    [
        {},
        {
            "format": "rlds",
            "command": "cp -r {dataset} {out}",
            "checkpoint": "dataset_info.json",
            "policy": "soar.testing:FakePolicy",
        },
    ],
    ids=["lerobot", "rlds"],
)
def test_with_co_training_the_dataset_has_the_demonstrations_too(
    tmp_path: Path, policies: Path, format: dict[str, str]
) -> None:
    for name, ids in (("demonstrations", ("d0", "d1", "bad")), ("episodes", ("good", "bad"))):
        labels = {"bad": (judged(False, probability=0.1),), "good": (judged(True, probability=0.9),)}
        episodes = [make_episode(id, steps=4, size=32, labels=labels.get(id, ())) for id in ids]
        EpisodeStore(tmp_path / name, mode="create").append(episodes)
    data = LearningData(pretraining=tmp_path / "demonstrations", autonomous=AutonomousData(store=tmp_path / "episodes"))
    candidate = learner(cotrain=True, **format).learn(None, data, policies / "1", seed=0)
    known = next((candidate / "training" / "dataset").rglob("soar/episodes.parquet"))
    assert sorted(pq.read_table(known)["id"].to_pylist()) == ["d0", "d1", "good"]
    assert not (candidate / "training" / "episodes").exists()
    assert read_lineage(candidate).data["pretraining"] == EpisodeStore(tmp_path / "demonstrations").version
    assert config(cotrain=True).wants_pretraining
    with pytest.raises(ConfigError, match="demonstrations have no scores"):
        config(cotrain=True, scores=True)


def test_demonstrations_that_do_not_fit_are_a_round_without_a_candidate_and_can_be_mended(
    tmp_path: Path, policies: Path
) -> None:
    EpisodeStore(tmp_path / "episodes", mode="create").append([make_episode("own", steps=4, size=32)])
    data = LearningData(
        pretraining=tmp_path / "demonstrations", autonomous=AutonomousData(store=tmp_path / "episodes", success_only=False)
    )
    demonstrations = EpisodeStore(tmp_path / "demonstrations", mode="create")
    with pytest.raises(LearnerError, match="has no demonstration that is not a failure"):
        learner(cotrain=True).learn(None, data, policies / "1", seed=0)
    demonstrations.append([make_episode("larger", steps=4, size=64)])
    with pytest.raises(LearnerError, match=r"do not fit in one dataset \(episode 'own' has frames of 32x32"):
        learner(cotrain=True).learn(None, data, policies / "1", seed=0)
    demonstrations.delete("larger")
    demonstrations.append([make_episode("fits", steps=4, size=32)])
    candidate = learner(cotrain=True).learn(None, data, policies / "1", seed=0)
    known = next((candidate / "training" / "dataset").rglob("soar/episodes.parquet"))
    assert sorted(pq.read_table(known)["id"].to_pylist()) == ["fits", "own"]


def test_what_it_goes_on_from_is_the_checkpoint_of_the_base(data: LearningData, policies: Path) -> None:
    going_on = learner(command=f"{PROGRAM} learn {{dataset}} {{out}} {{base}}", base="the first weights")
    first = going_on.learn(None, data, policies / "1", seed=0)
    second = going_on.learn(first, data, policies / "2", seed=0)
    said = [(folder / "training" / "command.log").read_text().partition("\n")[0] for folder in (first, second)]
    assert said[0].endswith("'the first weights'")
    assert said[1].endswith(str(first / "training" / "out" / "last"))


@pytest.mark.parametrize(
    ("manner", "words"),
    [
        ("fails", r"ended with status 1\. It said last: 2 episodes / out of memory; all of it is in .*command\.log"),
        ("leaves nothing", r"left no last in .*out\. It said last: 2 episodes"),
        ("nothing", "cannot be opened: .*there are no weights"),
        ("other", r"cannot be used: answer: for one observation it gives float32 \(1, 3\)"),
        ("units", r"cannot be used: translation of a step: up to 4 m; 4 of 4 exceed the limit of 0\.05 m"),
        ("gripper", "cannot be used: gripper: its targets are 9 … 9"),
    ],
)
def test_what_goes_wrong_is_said_in_the_commands_words(data: LearningData, policies: Path, manner: str, words: str) -> None:
    with pytest.raises(LearnerError, match=words):
        learner(manner).learn(None, data, policies / "1", seed=0)
    assert read_named(policies / "1") is None


def test_a_command_that_hangs_is_stopped(data: LearningData, policies: Path) -> None:
    with pytest.raises(LearnerError, match=r"did not end in 0\.5 s \(timeout_s\), and was stopped"):
        learner("hangs", timeout_s=0.5).learn(None, data, policies / "1", seed=0)


def test_one_that_was_interrupted_begins_anew_and_what_was_finished_is_not_done_again(
    data: LearningData, policies: Path
) -> None:
    class Interrupted(Exception):
        pass

    def interrupt(done: int, total: int, metrics: dict[str, float]) -> None:
        if (policies / "1" / "training" / "begun").exists():
            raise Interrupted

    with pytest.raises(Interrupted):
        learner("hangs").learn(None, data, policies / "1", seed=0, on_step=interrupt)
    exported = (policies / "1" / "training" / "dataset").stat().st_mtime_ns
    learner().learn(None, data, policies / "1", seed=0)
    assert (runs(policies / "1"), (policies / "1" / "training" / "dataset").stat().st_mtime_ns) == (2, exported)
    (policies / "1" / "config.json").unlink()  # as if it had been killed while it looked at the checkpoint
    learner("fails").learn(None, data, policies / "1", seed=0)
    assert runs(policies / "1") == 2


def test_a_candidate_that_is_served_can_be_used_while_it_is(data: LearningData, tmp_path: Path, policies: Path) -> None:
    serving = learner(serve=f"{PROGRAM} serve {{checkpoint}} {{port}}", policy=SERVED)
    folder = serving.learn(None, data, policies / "1", seed=0)
    for _ in range(2):
        with served(folder):
            policy = load_policy(str(folder))
            policy.reset()
            assert policy.act([FakeRobot().observe()], ["open the drawer"])[0, 0] == pytest.approx(0.004)
    assert id_in(folder).startswith("openpi-")
    assert "openpi" in (folder / "policy.yaml").read_text()


@pytest.mark.parametrize(
    ("program", "within_s", "words"),
    [
        ("import sys; sys.exit('no weights in ' + sys.argv[1])", 600, "candidate ended. It said last: no weights in /"),
        ("import time; time.sleep(3600)", 0.3, r"did not serve it in 0\.3 s \(serve_timeout_s\): ws://127"),
    ],
    ids=["ends", "hangs"],
)
def test_a_server_that_does_not_serve_is_no_candidate(
    data: LearningData, policies: Path, program: str, within_s: float, words: str
) -> None:
    serve = f'{sys.executable} -c "{program}" {{checkpoint}} {{port}}'
    with pytest.raises(LearnerError, match=words):
        learner(serve=serve, policy=SERVED, serve_timeout_s=within_s).learn(None, data, policies / "1", seed=0)


def test_a_policy_that_is_another_one_than_when_it_was_taken_is_refused(data: LearningData, policies: Path) -> None:
    folder = learner().learn(None, data, policies / "1", seed=0)
    named = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(named | {"behind": "another"}))
    load_policy.cache_clear()
    with pytest.raises(CheckpointError, match="is own now, and was another when this folder was written"):
        load_policy(str(folder))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"command": "train {out}"}, r"improvement\.learner\.command: \{dataset\} is missing"),
        ({"command": "train {dataset}"}, r"command: \{out\} is missing"),
        ({"command": "train {dataset} {out} {lr}"}, r"there is no \{lr\}; there are: \{dataset\}, \{out\}, \{base\}"),
        ({"command": "train '{dataset} {out}"}, "no words of a command"),
        ({"command": "train {dataset} {out} {base}"}, "say with `base` what that is"),
        ({"serve": "serve {port}"}, r"serve: \{checkpoint\} is missing"),
        ({"policy": "http://127.0.0.1:{port}"}, r"policy: there is no \{port\}"),
        ({"policy": SERVED}, r"asks at \{port\}, and nobody serves there"),
        ({"timeout_s": 0}, "must be positive"),
    ],
)
def test_what_cannot_be_meant_is_refused_at_once(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        config(**change)


def test_a_program_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match="there is no program 'lerobot-training'"):
        dataclasses.replace(config(), command="lerobot-training {dataset} {out}").check_programs()


def test_a_learner_that_wants_weights_gets_them_over_all_attempts_at_a_task(
    data: LearningData, tmp_path: Path, policies: Path
) -> None:
    store = EpisodeStore(tmp_path / "episodes")
    for number, probability in enumerate((0.9, 0.1)):
        store.add_label(f"e{number}", judged(probability > 0.5, probability=probability))
    only = dataclasses.replace(data, autonomous=AutonomousData(store=tmp_path / "episodes", success_only=True))
    folder = learner(scores=True).learn(None, only, policies / "1", seed=0)
    episodes = pq.read_table(folder / "training" / "dataset" / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    assert [(row["soar/id"], row["soar/weight"], row["soar/advantage"]) for row in episodes] == [("e0", 0.9, 0.4)]


def test_rlds_is_the_other_format(data: LearningData, policies: Path) -> None:
    copying = learner(
        format="rlds", command="cp -r {dataset} {out}", checkpoint="dataset_info.json", policy="soar.testing:FakePolicy"
    )
    folder = copying.learn(None, data, policies / "1", seed=0)
    assert json.loads((folder / "training" / "out" / "dataset_info.json").read_text())["name"] == "soar_dataset"


def test_a_folder_from_elsewhere_runs_nothing(data: LearningData, policies: Path, tmp_path: Path) -> None:
    classes = learner().learn(None, data, policies / "1", seed=0)
    server = learner(serve=f"{PROGRAM} serve {{checkpoint}} {{port}}", policy=SERVED).learn(None, data, policies / "2", seed=0)
    for folder, use in ((classes, load_policy), (server, load_policy), (server, lambda name: served(Path(name)).__enter__())):
        other = tmp_path / f"downloaded-{folder.name}"
        shutil.copytree(folder, other, dirs_exist_ok=True)
        with pytest.raises(CheckpointError, match=r"names what would be run for it .* lies in no run: nothing of it was run"):
            use(str(other))
