from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from soar.baselines.dial import LabellingConfig, label_episodes, label_quality, maker_of
from soar.baselines.labeller import Labeller, LabellerConfig, LabellerNetwork, LabellerNetworkConfig
from soar.baselines.labeller_training import LabellerTrainingConfig, train_labeller
from soar.cli import main
from soar.datasets import load_arrays
from soar.datasets.relabelled import instruction_labels, makers, relabelled
from soar.episodes import EpisodeStore
from soar.errors import CheckpointError, ConfigError, StoreError
from soar.policies.encoders import EncoderConfig
from soar.policies.instructions import InstructionConfig
from soar.policies.learned import LearnedPolicy
from soar.training.augment import NO_AUGMENTATION
from soar.training.config import PolicyTrainingConfig
from soar.training.cotraining import AutonomousData, cotrain
from soar.training.loop import FitConfig
from soar.types import Label
from tests.baselines.test_actor_critic import NETWORK as POLICY
from tests.baselines.tiny import TASKS, store

NETWORK = LabellerNetworkConfig(
    encoder=EncoderConfig(name="small", width=4),
    instruction=InstructionConfig(encoder="hashed-words", features=32, hidden=16),
    features=8,
)
RECIPE = LabellerTrainingConfig(
    fit=FitConfig(steps=40, batch_size=6, learning_rate=1e-2, warmup_steps=1, checkpoint_every=20),
    network=NETWORK,
    augmentation=NO_AUGMENTATION,
    held_out=0.34,
)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("labeller")
    # Two worlds of all three tasks, so that what is held out was learned.
    demonstrations = store(folder / "demonstrations")
    return train_labeller(RECIPE, folder / "labeller", pretraining=demonstrations)


def commanded_wrongly(folder: Path) -> EpisodeStore:
    """Episodes that were all commanded the first task, and ended as the demonstrations do."""
    episodes = EpisodeStore(store(folder), mode="open")
    copy = EpisodeStore(folder.with_name("wrong"), mode="create")
    for record in episodes.episodes():
        done = Label(success=None, probability=None, source="instruction:simulator", answer=record.instruction)
        verdict = Label(success=True, probability=0.9, source="judge")
        truth = Label(success=record.instruction == TASKS[0], probability=None, source="simulator")
        copy.append(dataclasses.replace(episodes.read(record.id), instruction=TASKS[0], labels=(verdict, truth, done)))
    return copy


def test_a_labeller_names_what_was_done_in_demonstrations_held_out_of_its_tuning(tuned: Path) -> None:
    quality = json.loads((tuned / "quality.json").read_text())
    assert (quality["episodes"], quality["top1_among_all"]) == (2, "2/2 = 1.00 [.34, 1.00]")
    assert set(Labeller.load(tuned).texts) <= set(TASKS)


def test_an_interrupted_tuning_ends_at_the_same_weights(tmp_path: Path, tuned: Path) -> None:
    class Stop(Exception):
        pass

    def stop(done: int, *_: object) -> None:
        if done == 25:
            raise Stop

    demonstrations = tuned.parent / "demonstrations"
    with pytest.raises(Stop):
        train_labeller(RECIPE, tmp_path / "again", pretraining=demonstrations, on_step=stop)
    train_labeller(RECIPE, tmp_path / "again", pretraining=demonstrations)
    assert Labeller.load(tmp_path / "again").id == Labeller.load(tuned).id


def test_episodes_of_one_text_are_no_negatives_of_each_other() -> None:
    torch.manual_seed(0)
    network = LabellerNetwork(LabellerConfig(network=NETWORK))
    first, last = torch.rand(2, 1, 3, 64, 64).expand(2, 4, 3, 64, 64)
    alone = network.loss(first[:1], last[:1], ["open the drawer"])
    same = network.loss(first, last, ["open the drawer"] * 4)
    assert float(alone["loss"].detach()) == pytest.approx(0, abs=1e-6)
    assert float(same["loss"].detach()) == pytest.approx(0, abs=1e-6)
    same["loss"].backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)


def test_labels_stand_beside_the_verdicts_and_say_what_was_done(tmp_path: Path, tuned: Path) -> None:
    episodes = commanded_wrongly(tmp_path / "own")
    labeller, config = Labeller.load(tuned), LabellingConfig(top_k=2)
    maker = maker_of(labeller, config)
    assert label_episodes(episodes, labeller, config) == 6
    assert label_episodes(episodes, labeller, config) == 0  # a repeated call goes on
    records = episodes.episodes()
    assert all(record.success is True and record.probability == 0.9 for record in records)  # the verdict counts as before
    labels = [instruction_labels(record, maker) for record in records]
    assert [len(found) for found in labels] == [2] * 6
    assert all(one.probability is not None and two.probability is not None and one.probability >= two.probability
               for one, two in labels)  # fmt: skip
    assert [found[0].answer for found in labels] == [TASKS[number % 3] for number in range(6)]
    (row, *_) = label_quality(records, maker)
    assert (row["as commanded"][:3], row["true"][:3], row["truth unknown"]) == ("2/6", "6/6", 0)
    assert makers(records) == sorted([maker, "simulator"])


def test_what_a_store_does_not_know_is_not_called_false(tmp_path: Path, tuned: Path) -> None:
    episodes = EpisodeStore(store(tmp_path / "own", verdicts=(True,), truth=False, tasks=TASKS[:2]))
    labeller = Labeller.load(tuned)
    label_episodes(episodes, labeller, LabellingConfig())
    (row, *_) = label_quality(episodes.episodes(), labeller.id)
    # Named as commanded and failed, as the simulator says; of any other task nobody knows.
    assert (row["true"], row["truth unknown"], row["kept truth"]) == ("0/6 = .00 [.00, .39]", 0, "")


def test_a_policy_learns_from_the_labels_it_is_told_to(tmp_path: Path, tuned: Path) -> None:
    episodes = commanded_wrongly(tmp_path / "own")
    labeller = Labeller.load(tuned)
    label_episodes(episodes, labeller, LabellingConfig(top_k=3))
    arrays, records = load_arrays(episodes), episodes.episodes()
    once = relabelled(arrays, records, labeller.id)
    assert once.instructions == tuple(TASKS[number % 3] for number in range(6))
    assert len(relabelled(arrays, records, labeller.id, top_k=3).ids) == 18
    np.testing.assert_array_equal(once.images_NHWC[np.array([9])], arrays.images_NHWC[np.array([9])])
    assert set(relabelled(arrays, records, "simulator").instructions) == set(TASKS)
    config = PolicyTrainingConfig(
        fit=FitConfig(steps=2, batch_size=4, warmup_steps=1, checkpoint_every=2), network=POLICY, augmentation=NO_AUGMENTATION
    )
    own = AutonomousData(store=episodes.uri, instructions_by=labeller.id, top_k=2, min_p=0.1)
    out = cotrain(config, tmp_path / "policy", pretraining=tuned.parent / "demonstrations", autonomous=own)
    assert set(TASKS) <= set(LearnedPolicy.load(out).instructions.known)


def test_labels_that_are_not_there_are_asked_for_by_name(tmp_path: Path, tuned: Path) -> None:
    episodes = commanded_wrongly(tmp_path / "own")
    arrays, records = load_arrays(episodes), episodes.episodes()
    with pytest.raises(StoreError, match=r"none of 6 episodes has an instruction by 'dial-1'; there are some by simulator"):
        relabelled(arrays, records, "dial-1", where="own")
    labeller = Labeller.load(tuned)
    label_episodes(episodes, labeller, LabellingConfig())
    with pytest.raises(StoreError, match=r"with a probability of 1\.01 or more"):
        relabelled(arrays, episodes.episodes(), labeller.id, min_p=1.01)


def test_a_labeller_that_knows_no_task_of_the_scene_is_refused(tmp_path: Path, tuned: Path) -> None:
    episodes = EpisodeStore(store(tmp_path / "own", tasks=("fold the cloth",)))
    with pytest.raises(ConfigError, match=r"scene 's': none of its tasks \(fold the cloth\) is among the 3 instructions"):
        label_episodes(episodes, Labeller.load(tuned), LabellingConfig(scene_tasks=False))


def test_nothing_happened_can_be_a_candidate_and_is_not_learned_from(tmp_path: Path, tuned: Path) -> None:
    episodes = EpisodeStore(store(tmp_path / "own"))
    labeller, config = Labeller.load(tuned), LabellingConfig(top_k=9, nothing=True)
    label_episodes(episodes, labeller, config)
    record = episodes.episodes()[0]
    maker = maker_of(labeller, config)
    assert maker == f"{labeller.id}+nothing"
    assert {label.answer for label in instruction_labels(record, maker)} == {*TASKS, ""}
    assert len(relabelled(load_arrays(episodes), episodes.episodes(), maker, top_k=9).ids) == 18


def test_one_instruction_is_nothing_to_tell_apart(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="these episodes have one: 'open the drawer'"):
        train_labeller(RECIPE, tmp_path / "out", pretraining=store(tmp_path / "one", tasks=TASKS[:1]))


def test_a_clip_checkpoint_gives_both_towers(tmp_path: Path) -> None:
    from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

    words = sorted({word for task in TASKS for word in task.split()})
    vocabulary = {text: index for index, text in enumerate(["<|startoftext|>", "<|endoftext|>", *(f"{w}</w>" for w in words)])}
    text = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    config = CLIPConfig(
        text_config=text | {"vocab_size": len(vocabulary), "eos_token_id": 1, "bos_token_id": 0, "max_position_embeddings": 16},
        vision_config=text | {"image_size": 32, "patch_size": 16},
        projection_dim=8,
    )
    torch.manual_seed(0)
    clip = CLIPModel(config)
    clip.save_pretrained(tmp_path / "clip")
    CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=16).save_pretrained(str(tmp_path / "clip"))
    network = dataclasses.replace(NETWORK, clip=str(tmp_path / "clip"), image_size=32)
    recipe = dataclasses.replace(RECIPE, network=network, fit=dataclasses.replace(RECIPE.fit, steps=2, checkpoint_every=2))
    demonstrations = store(tmp_path / "demonstrations")
    with pytest.raises(CheckpointError, match=r"image_size is 64 px, and .*clip looks at 32: set it to 32"):
        train_labeller(
            dataclasses.replace(recipe, network=dataclasses.replace(network, image_size=64)),
            tmp_path / "wrong",
            pretraining=demonstrations,
        )
    folder = train_labeller(recipe, tmp_path / "out", pretraining=demonstrations)
    for path in (tmp_path / "clip").iterdir():
        path.unlink()  # what was tuned needs the checkpoint no more
    labeller = Labeller.load(folder)
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype(np.uint8)
    probability = labeller.network.probabilities(images, images, TASKS)
    assert probability.shape == (2, 3)
    np.testing.assert_allclose(probability.sum(1), 1)
    with pytest.raises(CheckpointError, match="no CLIP checkpoint"):
        train_labeller(recipe, tmp_path / "gone", pretraining=demonstrations)


def test_the_commands_tune_label_and_learn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    demonstrations, own = store(tmp_path / "demonstrations"), store(tmp_path / "own", verdicts=(True,))
    small = ["--set", "labeller.network.encoder.width=4", "labeller.held_out=0.34"]
    tune = ["train", "dial-labeller", "--pretraining", str(demonstrations), "--out", str(tmp_path / "labeller")]
    assert main([*tune, "--steps", "2", "--batch-size", "4", *small]) == 0
    label = ["data", "label-dial", str(own), "--labeller", str(tmp_path / "labeller"), "--top-k", "2"]
    assert main([*label, "--out", str(tmp_path / "labels.json")]) == 0
    said = capsys.readouterr().out
    maker = Labeller.load(tmp_path / "labeller").id
    assert f"6 episodes labelled by {maker}" in said
    assert len(json.loads((tmp_path / "labels.json").read_text())["rows"]) == 5
    learn = ["train", "lcbc", "--pretraining", str(demonstrations), "--autonomous", str(own), "--instructions-by", maker]
    learn += ["--steps", "1", "--batch-size", "2", "--encoder", "hashed-words"]
    assert main([*learn, "--out", str(tmp_path / "policy")]) == 0
    assert main(["train", "gcbc", *learn[2:-2], "--out", str(tmp_path / "goals")]) != 0


def test_candidates_are_those_of_the_scene_whichever_episodes_are_selected(tmp_path: Path, tuned: Path) -> None:
    episodes = EpisodeStore(store(tmp_path / "own", tasks=("fold the cloth", "put the spoon in the cup")))
    labeller, config = Labeller.load(tuned), LabellingConfig(top_k=5)
    assert label_episodes(episodes, labeller, config, where="instruction = 'fold the cloth'") == 3
    labelled = [labels for one in episodes.episodes() if (labels := instruction_labels(one, labeller.id))]
    assert [{label.answer for label in labels} for labels in labelled] == [
        {*labeller.texts, "fold the cloth", "put the spoon in the cup"}
    ] * 3


def test_episodes_of_a_scene_where_nothing_was_commanded_are_labelled_too(tmp_path: Path, tuned: Path) -> None:
    episodes = EpisodeStore(store(tmp_path / "own", tasks=("",)))
    labeller = Labeller.load(tuned)
    assert label_episodes(episodes, labeller, LabellingConfig()) == 6
    assert {label.answer for one in episodes.episodes() for label in one.labels} <= set(labeller.texts)


def test_an_episode_that_has_all_labels_there_are_is_not_looked_at_again(tmp_path: Path, tuned: Path) -> None:
    episodes = EpisodeStore(store(tmp_path / "own"))
    labeller, config = Labeller.load(tuned), LabellingConfig(top_k=9)
    assert label_episodes(episodes, labeller, config) == 6
    assert label_episodes(episodes, labeller, config) == 0
