"""Practice online in a simulated scene, a few actions long."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from soar.baselines.online import OnlineConfig, arrays_of, finetune_online
from soar.baselines.robofume import load_actor_critic, train_robofume
from soar.cli import main
from soar.episodes import EpisodeStore
from soar.episodes.schema import DONE_BEFORE, UNDONE_BEFORE
from soar.errors import CheckpointError, ConfigError, UnknownNameError
from soar.policies.learned import LearnedPolicy, read_lineage
from soar.types import Episode
from tests.baselines.tiny import RECIPE, store
from tests.improve.judges import mood

FORWARD = "put the green block in the wooden bowl"
BACK = "remove the green block from inside the wooden bowl and put it on the table"
SCENE = f"objects: [wooden bowl, green block]\ntasks:\n  - {FORWARD}\n  - {BACK}\n"
CONFIG = OnlineConfig(steps=8, reset_every=4, episode_steps=3)


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("online")
    (folder / "scene.yaml").write_text(SCENE)
    store(folder / "old")
    train_robofume(RECIPE, folder / "offline", pretraining=folder / "old")
    return folder


def practise(begun: Path, run: Path, config: OnlineConfig = CONFIG, **changes: object) -> Path:
    given: dict[str, object] = {
        "initial": begun / "offline",
        "workcell": f"sim:{begun}/scene.yaml",
        "tasks": (FORWARD, BACK),
        "vlm": "oracle",
        "pretraining": begun / "old",
    }
    return finetune_online(config, RECIPE, run, **(given | changes))  # type: ignore[arg-type]


def weights(folder: Path) -> str:
    return hashlib.sha256((folder / "critic" / "model.safetensors").read_bytes()).hexdigest()


def test_practice_alternates_learns_and_goes_on_where_it_was_interrupted(tmp_path: Path, begun: Path) -> None:
    class Stop(Exception):
        pass

    seen: list[tuple[int, int]] = []

    def watch(done: int, total: int, last: Episode) -> None:
        seen.append((done, total))

    def stop(done: int, total: int, last: Episode) -> None:
        if done > 4:
            raise Stop

    whole = practise(begun, tmp_path / "whole", on_episode=watch)
    assert seen[-1] == (8, 8)
    with pytest.raises(Stop):
        practise(begun, tmp_path / "cut", on_episode=stop)
    cut = practise(begun, tmp_path / "cut")
    assert weights(cut) == weights(whole) != weights(begun / "offline")
    records = EpisodeStore(whole / "episodes").episodes()
    # An update an action, attempts of three at most, and two blocks of four actions.
    assert sum(record.length for record in records) == 8
    assert {record.provenance.round for record in records} == {0, 1}
    assert max(record.length for record in records) <= 3
    assert all(record.simulator_success is not None and record.labels[0].source for record in records)
    # What was done before an attempt began is not its doing (`EpisodeRecord.achieved`).
    assert all(record.labels[1].answer in (DONE_BEFORE, UNDONE_BEFORE) for record in records)
    for block in (0, 1):
        own = [record for record in records if record.provenance.round == block]
        assert (own[0].instruction, own[0].labels[1].answer) == (FORWARD, UNDONE_BEFORE)
        for one, following in itertools.pairwise(own):
            assert (following.instruction != one.instruction) == (one.success is True)
    assert [one.id for one in EpisodeStore(cut / "episodes").episodes()] == [one.id for one in records]
    policy = LearnedPolicy.load(whole)
    assert read_lineage(whole).parent == LearnedPolicy.load(begun / "offline").id != policy.id
    before = weights(whole)
    practise(begun, tmp_path / "whole")
    assert weights(whole) == before
    with pytest.raises(ConfigError, match="another configuration"):
        practise(begun, tmp_path / "whole", seed=5)


def test_what_cannot_be_practised_is_said_before_anything_moves(tmp_path: Path, begun: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown task 'fold the cloth'"):
        practise(begun, tmp_path / "run", tasks=(FORWARD, "fold the cloth"))
    with pytest.raises(ConfigError, match=r"steps \(10\) must be a multiple of reset_every \(4\)"):
        OnlineConfig(steps=10, reset_every=4)
    with pytest.raises(ConfigError, match="old_share"):
        OnlineConfig(old_share=1.0)


def test_the_command_practises(tmp_path: Path, begun: Path) -> None:
    flags = ["--initial", str(begun / "offline"), "--scene", str(begun / "scene.yaml"), "--tasks", FORWARD, BACK]
    flags += ["--vlm", "oracle", "--pretraining", str(begun / "old"), "--steps", "2", "--reset-every", "2"]
    small = ["robofume.policy.network.encoder.width=4", "robofume.critic.hidden=[8]", "robofume.policy.network.head.hidden=[8]"]
    small += ["robofume.policy.network.instruction.features=16", "robofume.policy.network.instruction.hidden=8"]
    run = ["--run", str(tmp_path / "run"), "--batch-size", "4", "--set", *small]
    assert main(["train", "robofume-online", *flags, *run]) == 0
    assert LearnedPolicy.load(tmp_path / "run").conditioning == "language"


def test_practice_learns_from_the_camera_that_the_actor_looks_at(tmp_path: Path, begun: Path) -> None:
    old, seen = EpisodeStore(begun / "old"), EpisodeStore(tmp_path / "seen", mode="create")
    for record in old.episodes():
        episode = old.read(record.id)
        seen.append(dataclasses.replace(episode, extra_images={"wrist": 255 - episode.images_THWC}))
    network = dataclasses.replace(RECIPE.policy.network, camera="wrist")
    recipe = dataclasses.replace(RECIPE, policy=dataclasses.replace(RECIPE.policy, network=network))
    train_robofume(recipe, tmp_path / "offline", pretraining=seen.uri)
    (tmp_path / "cell.yaml").write_text(f"robot: widowx-sim\nscene: {begun}/scene.yaml\ncameras: [wrist]\n")
    changes: dict[str, Any] = {"initial": tmp_path / "offline", "pretraining": seen.uri, "tasks": (FORWARD, BACK)}
    changes |= {"workcell": str(tmp_path / "cell.yaml"), "vlm": "oracle"}
    with pytest.raises(CheckpointError, match="it has another network: camera"):
        finetune_online(CONFIG, RECIPE, tmp_path / "blind", **changes)

    class Stop(Exception):
        pass

    def stop(done: int, total: int, last: Episode) -> None:
        if done > 4:
            raise Stop

    whole = finetune_online(CONFIG, recipe, tmp_path / "whole", **changes)
    with pytest.raises(Stop):
        finetune_online(CONFIG, recipe, tmp_path / "cut", on_episode=stop, **changes)
    assert weights(finetune_online(CONFIG, recipe, tmp_path / "cut", **changes)) == weights(whole)
    own = EpisodeStore(whole / "episodes")
    episode = own.read(own.episodes()[0].id)
    assert np.array_equal(arrays_of([episode], "wrist").images_NHWC, episode.extra_images["wrist"])


def test_how_critics_learn_in_practice_is_what_the_recipe_says(tmp_path: Path, begun: Path) -> None:
    critic = dataclasses.replace(RECIPE.critic, bc_weight=0.0, target_rate=0.5)
    given: dict[str, Any] = {"initial": begun / "offline", "workcell": f"sim:{begun}/scene.yaml", "tasks": (FORWARD, BACK)}
    given |= {"vlm": "oracle", "pretraining": begun / "old"}
    config = OnlineConfig(steps=2, reset_every=2)
    changed = finetune_online(config, dataclasses.replace(RECIPE, critic=critic), tmp_path / "changed", **given)
    assert load_actor_critic(changed).config.critic == critic
    assert weights(changed) != weights(finetune_online(config, RECIPE, tmp_path / "same", **given))


def test_a_way_back_that_was_done_before_it_began_is_no_success_of_practice(tmp_path: Path, begun: Path) -> None:
    # To whoever answers yes the block is in the bowl after one action, and there is nothing to bring back.
    mood["says"] = True
    once = dataclasses.replace(CONFIG, episode_steps=1)
    run = practise(begun, tmp_path / "run", once, vlm="tests.improve.judges:moody")
    back = [record for record in EpisodeStore(run / "episodes").episodes() if record.instruction == BACK]
    assert back
    assert all(record.simulator_success for record in back)
    assert {record.labels[1].answer for record in back} == {DONE_BEFORE}
    assert not any(record.achieved for record in back)
