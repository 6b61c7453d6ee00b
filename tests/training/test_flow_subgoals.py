"""Training the subgoal model, on squares that an instruction moves to the left or to the right."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soar.datasets.arrays import StepArrays
from soar.errors import ConfigError
from soar.nn.text_encoder import TextConfig
from soar.subgoals.flow import FlowConfig, FlowSubgoalModel, SamplingConfig
from soar.training.flow_subgoals import SubgoalTrainingConfig, train_subgoal_model
from soar.training.frame_pairs import PairSampler
from soar.training.loop import FitConfig

SIZE, LEFT, RIGHT = 16, 1, 11
CONFIG = SubgoalTrainingConfig(
    network=FlowConfig(image_size=SIZE, patch=4, width=16, heads=2, text=TextConfig(width=16, heads=2, layers=1, max_words=4)),
    fit=FitConfig(steps=200, batch_size=32, learning_rate=4e-3, warmup_steps=10, ema=0.95, checkpoint_every=200, log_every=40),
    horizon=3,
    held_out=0.2,
    sampling=SamplingConfig(steps=2, text_weight=1.0),
)


def picture(column: int) -> np.ndarray:
    image = np.full((SIZE, SIZE, 3), 60, np.uint8)
    image[6:10, column : column + 4] = (250, 40, 40)
    return image


def episodes(lengths: list[int]) -> StepArrays:
    """Episode e shows a square that goes from the middle to the side that its instruction says, within its first 3 steps."""
    images, instructions = [], []
    for e, length in enumerate(lengths):
        side, target = ("left", LEFT) if e % 2 else ("right", RIGHT)
        instructions.append(f"move to the {side}")
        images += [picture(6 + (target - 6) * min(t, 3) // 3) for t in range(length + 1)]
    lengths_E, count = np.array(lengths), len(images)
    return StepArrays(
        images_NHWC=np.stack(images),
        states_ND=np.zeros((count, 7), np.float32),
        actions_ND=np.zeros((count, 7), np.float32),
        starts_E=np.cumsum(lengths_E + 1) - (lengths_E + 1),
        lengths_E=lengths_E,
        ids=tuple(str(e) for e in range(len(lengths))),
        instructions=tuple(instructions),
        probabilities_E=np.ones(len(lengths)),
    )


@settings(max_examples=30)
@given(
    lengths=st.lists(st.integers(0, 12).filter(lambda length: length != 1), min_size=1, max_size=5),
    horizon=st.integers(1, 8),
    jitter=st.sampled_from([0.0, 0.5]),
    data=st.data(),
)
def test_a_goal_is_the_frame_a_horizon_later_in_the_same_episode(
    lengths: list[int], horizon: int, jitter: float, data: st.DataObject
) -> None:
    arrays = episodes(lengths)
    chosen = np.array(sorted(data.draw(st.sets(st.integers(0, len(lengths) - 1), min_size=1))))
    tokens = np.zeros((len(lengths), 1), np.int64)
    sampler = PairSampler(arrays, chosen, tokens, horizon=horizon, horizon_jitter=jitter)
    rows, goals, owners = sampler.draw_rows(np.random.default_rng(0), 400)
    assert set(owners) == {e for e in chosen}
    np.testing.assert_array_equal(arrays.episode_N[rows], owners)
    last = arrays.starts_E[owners] + arrays.lengths_E[owners]
    ahead = goals - rows
    assert (goals <= last).all()
    whole = goals < last
    assert (ahead[whole] >= max(1, horizon * (1 - jitter) - 0.5)).all()
    assert (ahead[whole] <= horizon * (1 + jitter) + 0.5).all()
    assert (last - rows)[~whole].max(initial=0) <= horizon * (1 + jitter) + 0.5
    expected = sum(lengths[e] + 1 for e in chosen)
    assert len(set(rows)) == expected or expected > 40


def test_episodes_of_one_action_are_pairs_and_make_up_their_share() -> None:
    arrays = episodes([1, 40, 1, 40])
    sampler = PairSampler(arrays, np.arange(4), np.zeros((4, 1), np.int64), horizon=3, pair_share=0.4)
    rows, goals, owners = sampler.draw_rows(np.random.default_rng(0), 4000)
    paired = arrays.lengths_E[owners] == 1
    assert 0.35 < paired.mean() < 0.45
    np.testing.assert_array_equal(rows[paired], arrays.starts_E[owners[paired]])
    np.testing.assert_array_equal(goals[paired], rows[paired] + 1)


def test_whole_worlds_are_held_out(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at least 2 worlds, got 1"):
        train_subgoal_model(CONFIG, episodes([4] * 4), tmp_path, groups_E=np.zeros(4, np.int64))


def test_training_continues_from_a_model_and_learns_new_words(trained: tuple[Path, dict[str, float]], tmp_path: Path) -> None:
    folder, metrics = trained
    new = replace(episodes([4] * 20), instructions=("shove it left", "shove it right") * 10)
    short = replace(CONFIG, fit=replace(CONFIG.fit, steps=1, warmup_steps=0, learning_rate=1e-6))
    train_subgoal_model(short, new, tmp_path / "next", initial=folder)
    text = FlowSubgoalModel.load(tmp_path / "next").network.config.text
    assert text.vocabulary == ("left", "move", "right", "the", "to", "it", "shove")
    again = train_subgoal_model(short, episodes([4] * 20), tmp_path / "again", initial=folder)
    assert abs(again["validation/flow"] - metrics["validation/flow"]) < 0.02
    other = replace(CONFIG, network=replace(CONFIG.network, latent=8))
    with pytest.raises(ConfigError, match=r"cannot continue from .* latent \(24 there, 8 now\)"):
        train_subgoal_model(other, new, tmp_path / "other", initial=folder)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, float]]:
    folder = tmp_path_factory.mktemp("subgoal")
    metrics = train_subgoal_model(CONFIG, episodes([4] * 20), folder, lineage={"store": 3})
    return folder, metrics


def test_it_learns_where_the_instruction_moves_the_square(trained: tuple[Path, dict[str, float]]) -> None:
    folder, metrics = trained
    assert metrics["validation/changed_error"] < 0.4
    model = FlowSubgoalModel.load(folder, CONFIG.sampling)
    goals = model.generate([picture(6)] * 2, ["move to the left", "move to the right"], [0, 0])
    for goal, near, far in ((goals[0], LEFT, RIGHT), (goals[1], RIGHT, LEFT)):
        assert goal[7:9, near + 1 : near + 3, 0].mean() > 150
        assert goal[7:9, far + 1 : far + 3, 0].mean() < 120


def test_the_folder_says_what_the_model_saw(trained: tuple[Path, dict[str, float]]) -> None:
    folder, metrics = trained
    lineage = json.loads((folder / "lineage.json").read_text())
    assert lineage["store"] == 3
    assert lineage["metrics"] == metrics
    assert (lineage["episodes"], lineage["held_out_worlds"], lineage["frames"]) == (20, 4, 100)
    assert json.loads((folder / "config.json").read_text())["config"]["text"]["vocabulary"] == [
        "left",
        "move",
        "right",
        "the",
        "to",
    ]
    grid = cv2.imread(str(folder / "samples.png"))
    assert grid.shape == (3 * SIZE, 8 * SIZE, 3)
    observations, goals, samples = grid[:, :, ::-1].reshape(3, SIZE, 8 * SIZE, 3)
    np.testing.assert_array_equal(np.unique(observations[..., 0]), [60, 250])
    assert not np.array_equal(observations, goals)
    assert np.abs(samples.astype(int) - goals).mean() < np.abs(observations.astype(int) - goals).mean()


def test_a_finished_training_is_not_repeated(trained: tuple[Path, dict[str, float]]) -> None:
    folder, metrics = trained
    before = FlowSubgoalModel.load(folder).id
    steps: list[int] = []
    again = train_subgoal_model(CONFIG, episodes([4] * 20), folder, on_step=lambda step, _total, _metrics: steps.append(step))
    assert (steps, again) == ([], metrics)
    assert FlowSubgoalModel.load(folder).id == before


def test_data_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at least 2 episodes"):
        train_subgoal_model(CONFIG, episodes([4]), tmp_path)
    with pytest.raises(ConfigError, match="image_size is 32"):
        train_subgoal_model(replace(CONFIG, network=replace(CONFIG.network, image_size=32)), episodes([4, 4]), tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"horizon": 0}, "horizon"),
        ({"horizon_jitter": 1.0}, "horizon_jitter"),
        ({"image_dropout": 0.5}, "image_dropout <= text_dropout"),
        ({"changed_weight": -1.0}, "changed_weight"),
        ({"held_out": 0.0}, "held_out"),
    ],
)
def test_an_invalid_recipe_is_refused(change: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SubgoalTrainingConfig(**change)  # type: ignore[arg-type]
