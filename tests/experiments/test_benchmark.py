"""Somebody's learner, written from the page alone, has its row."""

from __future__ import annotations

import dataclasses
import importlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from soar.cli import main
from soar.configuration import load
from soar.episodes import EpisodeStore
from soar.errors import CheckpointError, ConfigError, StoreError
from soar.evaluation.results import read_results
from soar.experiments.benchmark import SCENES, benchmark, digest, opened, policy_in, share
from soar.experiments.benchmark_data import small_store
from soar.experiments.config import Experiment
from soar.testing import ContractError
from soar.types import Label, Provenance

PAGE = Path(__file__).parents[2] / "docs" / "baselines.md"


@pytest.fixture
def method(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The page's learner, as `my_method.py` in the current directory."""
    for name in ("my_method", "test_my_method"):
        found = re.search(rf"```python\n(# {name}\.py\n.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
        assert found
        assert found[1].count("\n") < 25
        (tmp_path / f"{name}.py").write_text(found[1])
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in ("my_method", "test_my_method"):
        sys.modules.pop(name, None)


def check(method: Path) -> None:
    """Run the page's test of the page's learner."""
    importlib.import_module("test_my_method").test_my_learner(method / "tried")


def collected(folder: Path) -> EpisodeStore:
    """A store as a simulated collector leaves it, with the truth in it."""
    small_store(folder, judged=True)
    store = EpisodeStore(folder)
    for record in store.episodes():
        store.add_label(record.id, Label(success=True, probability=None, source="simulator"))
        store.add_label(record.id, Label(success=None, probability=None, source="instruction:simulator", answer="x"))
        # What somebody made of the episodes, perhaps with the truth in it, is no verdict of the VLM either.
        store.add_label(record.id, Label(success=None, probability=0.9, source="instruction:dial-1", answer="x"))
        store.add_label(record.id, Label(success=None, probability=0.9, source="score:mine"))
    return store


def test_the_pages_learner_keeps_the_contract_and_has_its_row(method: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check(method)
    collected(method / "collected")
    small_store(method / "demonstrations")
    flags = [
        "--episodes",
        "collected",
        "--pretraining",
        "demonstrations",
        "--scenes",
        "scene6",
        "--trials",
        "2",
        "--seeds",
        "1",
    ]
    assert main(["benchmark", "my_method:MyLearner", *flags, "--workers", "1"]) == 0
    out = capsys.readouterr().out
    assert "| method | scene6 | all |" in out
    assert re.search(r"\| MyLearner \| \d/\d = ", out)
    rows = read_results(method / "results/benchmark-mylearner.json")["rows"]
    assert [(row["scene"], row["training_seed"], row["trials"]) for row in rows] == [("scene6", seed, 1) for seed in (0, 0)]
    assert {row["policy"][:5] for row in rows} == {"mean-"}
    shared = EpisodeStore(method / "runs/benchmark-mylearner/shared")
    assert {label.source for record in shared.episodes() for label in record.labels} == {"judge"}
    said = json.loads((method / "runs/benchmark-mylearner/shared.json").read_text())
    assert said == {"episodes": 6, "digest": digest(shared)}
    assert main(["benchmark", "my_method:MyLearner", *flags, "--checksum", "0" * 16]) != 0
    assert f"have digest {said['digest']}" in capsys.readouterr().err


def test_the_shared_episodes_of_two_people_have_one_digest(tmp_path: Path) -> None:
    store = collected(tmp_path / "collected")
    first = share(store, tmp_path / "first")
    assert share(store, tmp_path / "first") == first  # goes on
    assert share(EpisodeStore(tmp_path / "first"), tmp_path / "published") == first
    with_one_more = EpisodeStore(tmp_path / "published")
    episode = with_one_more.read(with_one_more.episodes()[0].id)
    with_one_more.append(dataclasses.replace(episode, id="another"))
    assert digest(with_one_more) != first


def test_what_is_neither_learner_nor_policy_is_refused(method: Path) -> None:
    with pytest.raises(ConfigError, match=r"neither a learner \(it lacks check, learn\) nor a policy \(it lacks act"):
        opened("collections:OrderedDict")
    (method / "nothing").mkdir()
    with pytest.raises(CheckpointError, match=r"the learner left no policy in nothing .* policy\.yaml"):
        policy_in(Path("nothing"))


@pytest.mark.parametrize(
    ("line", "instead", "promise"),
    [
        ("        return folder", "        return data", "returns the folder that it was given"),
        ("np.stack([self.mean for _ in goals])", "np.stack([self.mean for _ in goals]) * np.nan", "actions are finite"),
        (".hex()}", ".hex()}{id(self)}", "equal id"),
        ('if not (folder / "policy.yaml").exists():', "if True:", ""),
    ],
)
def test_a_broken_promise_is_named(method: Path, line: str, instead: str, promise: str) -> None:
    file = method / "my_method.py"
    said = file.read_text()
    assert line in said
    file.write_text(said.replace(line, instead).replace("parents=True)", "parents=True, exist_ok=True)"))
    if not promise:
        check(method)  # it writes the same again: no promise is broken
        return
    with pytest.raises(ContractError, match=promise):
        check(method)


def test_the_scenes_are_figure_5s() -> None:
    assert load(Experiment, "reproduce", "figure5").scenes == SCENES


def test_a_policy_is_measured_as_it_is(method: Path) -> None:
    (method / "still.py").write_text(
        "import my_method, numpy as np\n\ndef still():\n    return my_method.MyPolicy(np.array([0] * 6 + [1.0]))\n"
    )
    rows = benchmark(
        "still:still",
        run=method / "run",
        results=method / "results" / "still.json",
        pretraining=method / "none",
        collected=method / "none",
        subgoals="",
        scenes=("scene6",),
        trials=2,
        workers=1,
        report=lambda *_: None,
    )
    assert [(row["variant"], row["successes"]) for row in rows] == [("still", 0)] * 2


def measure(method: Path, name: str = "my_method:MyLearner", **changes: Any) -> list[dict[str, Any]]:
    """The benchmark in one scene, as small as it gets."""
    given: dict[str, Any] = {
        "run": method / "run",
        "results": method / "results" / "mine.json",
        "pretraining": method / "demonstrations",
        "collected": method / "collected",
        "subgoals": "",
        "scenes": ("scene6",),
        "trials": 2,
        "seeds": 1,
        "workers": 1,
        "report": lambda *_: None,
    }
    return benchmark(name, **(given | changes))


def test_a_trial_counts_once_whatever_is_named_twice(method: Path) -> None:
    collected(method / "collected")
    small_store(method / "demonstrations")
    # Both seeds make the policy of the mean action, and the starts of all seeds are the same.
    rows = measure(method, trials=4, seeds=2, scenes=("scene6", "scene6"))
    assert [(row["training_seed"], row["trials"]) for row in rows] == [(0, 2), (0, 2)]
    assert [row["trials"] for row in measure(method, trials=2)] == [1, 1]  # not what another call has tried


def test_a_run_is_one_learners_and_of_the_same_episodes(method: Path) -> None:
    store = collected(method / "collected")
    small_store(method / "demonstrations")
    (method / "lazy.py").write_text(
        "class Lazy:\n"
        "    def check(self, base):\n        return base.name\n"
        "    def learn(self, base, data, folder, *, seed, device='cpu', on_step=None):\n        return folder\n"
    )
    (method / "other.py").write_text("from lazy import Lazy\n")
    for _ in range(2):
        with pytest.raises(CheckpointError, match="the learner left no policy"):
            measure(method, "lazy:Lazy")
    # `soar benchmark` names the folder of a run by the class alone.
    with pytest.raises(ConfigError, match=r"another configuration: method \(lazy:Lazy there, other:Lazy now\)"):
        measure(method, "other:Lazy")
    store.append(dataclasses.replace(store.read("small-00000"), id="small-00009"))
    with pytest.raises(ConfigError, match=r"another configuration: episodes \("):
        measure(method, "lazy:Lazy")


def test_a_learner_that_changes_its_copy_of_the_episodes_is_refused(method: Path) -> None:
    collected(method / "collected")
    small_store(method / "demonstrations")
    (method / "vandal.py").write_text(
        "from my_method import MyLearner\nfrom soar.episodes import EpisodeStore\nfrom soar.types import Label\n\n"
        "class Vandal(MyLearner):\n"
        "    def learn(self, base, data, folder, **given):\n"
        "        if not folder.exists():\n"
        "            label = Label(success=True, probability=None, source='mine')\n"
        "            EpisodeStore(data.autonomous.store).add_label('small-00001', label)\n"
        "        return super().learn(base, data, folder, **given)\n"
    )
    with pytest.raises(ConfigError, match=r"seed 0 changed .*shared, from which other seeds learn, too"):
        measure(method, "vandal:Vandal")
    with pytest.raises(ConfigError, match="another configuration: episodes"):
        measure(method, "vandal:Vandal")


def test_what_the_simulator_judged_is_not_shared(tmp_path: Path) -> None:
    store = collected(tmp_path / "collected")
    oracle = Label(success=True, probability=0.6, source="oracle-recall1-precision0.63")
    by_oracle = EpisodeStore(tmp_path / "by_oracle", mode="create")
    by_oracle.append(dataclasses.replace(store.read("small-00000"), labels=(oracle,)))
    later = EpisodeStore(tmp_path / "later", mode="create")
    later.append(dataclasses.replace(store.read("small-00000"), provenance=Provenance(policy="p", round=1)))
    with pytest.raises(StoreError, match=r"judged by the simulator \(oracle-recall1-precision0\.63\)"):
        share(by_oracle, tmp_path / "shared")
    with pytest.raises(StoreError, match="no episode that a base collected"):
        share(later, tmp_path / "shared")
    assert not (tmp_path / "shared").exists()


class Counting(EpisodeStore):
    """Counts how often its vectors are read, from end to end each time."""

    reads = 0

    def vectors(self, indices: Any) -> Any:
        self.reads += 1
        return super().vectors(indices)


def test_a_digest_reads_a_store_once_however_many_episodes_it_has(tmp_path: Path) -> None:
    store = Counting(small_store(tmp_path / "small"))
    assert (digest(store), store.reads) == (digest(EpisodeStore(tmp_path / "small")), 1)
    assert digest(store) == "7327c0327b6aadbf"  # as it always was
