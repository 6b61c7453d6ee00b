"""Training image editors on a store: squares that an instruction moves to the left or to the right."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from soar.cli import main
from soar.cli.pictures import read_picture, write_picture
from soar.episodes import EpisodeStore
from soar.errors import CheckpointError, ConfigError, StoreError
from soar.subgoals.diffusion import DiffusionSubgoals
from soar.subgoals.diffusion_sampling import DiffusionSamplingConfig
from soar.subgoals.loading import load_subgoal_model
from soar.subgoals.small_pipeline import SmallConfig, small_pipeline
from soar.testing import check_subgoal_model
from soar.training import diffusion_subgoals
from soar.training.diffusion_subgoals import DiffusionSubgoalTrainingConfig, fine_tuning, train_diffusion_subgoals
from soar.training.frame_pairs import StorePairs, pinned, split
from soar.training.loop import FitConfig
from soar.training.subgoal_metrics import held_out_error
from tests.episodes.builders import make_episode
from tests.subgoals.tiny_diffusion import save_tiny_pipeline

SIZE = 16
FIT = FitConfig(steps=12, batch_size=8, learning_rate=2e-3, warmup_steps=2, ema=0.9, checkpoint_every=4, log_every=4)
SMALL = DiffusionSubgoalTrainingConfig(
    network=SmallConfig(
        vae_channels=(8, 8), channels=(8, 16), head_width=8, text_width=16, text_layers=1, max_tokens=12, groups=4
    ),
    fit=FIT,
    autoencoder=replace(FIT, steps=4),
    horizon=3,
    held_out=0.25,
    validation_pairs=8,
    sampling=DiffusionSamplingConfig(guidance=1.5, image_guidance=1.0, sampler="dpm", steps=2, image_size=SIZE),
)


def picture(column: int) -> np.ndarray:
    image = np.full((SIZE, SIZE, 3), 60, np.uint8)
    image[6:10, column : column + 4] = (250, 40, 40)
    return image


def save_store(folder: Path, count: int = 8) -> Path:
    store = EpisodeStore(folder, mode="create")
    episodes = []
    for e in range(count):
        side, target = ("left", 1) if e % 2 else ("right", 11)
        images = np.stack([picture(6 + (target - 6) * min(t, 3) // 3) for t in range(5)])
        episodes.append(make_episode(f"e{e}", steps=4, images_THWC=images, instruction=f"move to the {side}"))
    store.append([*episodes, make_episode("mute", steps=4, instruction="")])
    return folder


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_store(tmp_path_factory.mktemp("pairs") / "store")


@pytest.fixture(scope="module")
def trained(store: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, float]]:
    folder = tmp_path_factory.mktemp("editor") / "small"
    return folder, train_diffusion_subgoals(SMALL, store, folder, lineage={"revision": "abc"})


@pytest.fixture
def one_thread() -> Iterator[None]:
    """The number of threads decides how sums are rounded."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    parts = [path for part in ("unet", "vae", "text_encoder") for path in (folder / part).glob("*.safetensors")]
    assert len(parts) == 3
    return {f"{path.parent.name}.{name}": value for path in parts for name, value in load_file(path).items()}


def test_a_small_editor_is_made_from_nothing_and_is_a_subgoal_model(trained: tuple[Path, dict[str, float]]) -> None:
    folder, metrics = trained
    model = load_subgoal_model(str(folder))
    assert isinstance(model, DiffusionSubgoals)
    check_subgoal_model(model)
    assert model.id.endswith("-dpm2-1.5-1")  # as sampling.yaml says
    lineage = json.loads((folder / "lineage.json").read_text())
    assert (lineage["episodes"], lineage["held_out"], lineage["horizon"], lineage["revision"]) == (6, 2, 3, "abc")
    assert lineage["metrics"] == metrics
    assert {"validation/changed_error", "validation/unchanged_error", "validation/painted_error", "loss"} <= set(metrics)
    grid = read_picture(folder / "samples.png")
    assert grid.shape == (3 * SIZE, 8 * SIZE, 3)
    for name in ("autoencoder", "editor"):
        assert list((folder / "training" / name / "tensorboard").iterdir())
    # The latents that the UNet sees have a spread of about one.
    assert 0.1 < json.loads((folder / "vae" / "config.json").read_text())["scaling_factor"] != 1.0


def test_a_yaml_file_beside_it_changes_how_it_is_sampled(trained: tuple[Path, dict[str, float]]) -> None:
    path = trained[0].parent / "slow.yaml"
    path.write_text("backend: diffusion\nmodel: small\nsampler: ddim\nsteps: 5\n")
    assert load_subgoal_model(str(path)).id.endswith("-ddim5-1.5-1")


def test_a_finished_training_is_not_repeated(trained: tuple[Path, dict[str, float]], store: Path) -> None:
    folder, metrics = trained
    before = weights(folder)
    said: list[str] = []
    assert train_diffusion_subgoals(SMALL, store, folder, on_step=lambda phase, *_: said.append(phase)) == metrics
    assert said == []
    assert all(torch.equal(value, before[name]) for name, value in weights(folder).items())


CHILD = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from tests.training.test_diffusion_subgoals import SMALL, train_diffusion_subgoals
def report(phase, step, steps, metrics):
    print(phase, step, flush=True)
    sys.stdin.readline()  # The parent lets each step go, or kills.
train_diffusion_subgoals(SMALL, Path(sys.argv[1]), Path(sys.argv[2]), on_step=report)
"""


def kill_at(moment: str, store: Path, folder: Path) -> None:
    """Train in a process of its own, and SIGKILL it at a moment."""
    root = str(Path(__file__).parents[2])
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(store), str(folder)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")]), "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == moment:
            process.kill()
            break
        process.stdin.write("\n")
        process.stdin.flush()
    assert process.wait() == -signal.SIGKILL
    process.communicate()


@pytest.mark.usefixtures("one_thread")
def test_a_killed_training_resumes_to_the_very_same_model_although_the_store_has_grown(tmp_path: Path) -> None:
    store = save_store(tmp_path / "store")
    train_diffusion_subgoals(SMALL, store, tmp_path / "whole")
    kill_at("editor 7", store, tmp_path / "killed")
    EpisodeStore(store).append(make_episode("late", steps=4))
    said: list[tuple[str, int]] = []
    train_diffusion_subgoals(SMALL, store, tmp_path / "killed", on_step=lambda phase, step, *_: said.append((phase, step)))
    assert said[0] == ("editor", 5)
    whole = weights(tmp_path / "whole")
    for name, value in weights(tmp_path / "killed").items():
        assert torch.equal(value, whole[name]), name


def test_a_checkpoint_is_fine_tuned_and_only_its_unet_changes(store: Path, tmp_path: Path) -> None:
    base = save_tiny_pipeline(tmp_path / "base")
    recipe = fine_tuning(str(base))
    assert (recipe.horizon, recipe.fit.ema, recipe.dropout) == (20, 0.999, 0.05)
    assert (recipe.sampling.guidance, recipe.sampling.image_guidance, recipe.sampling.steps) == (7.5, 2.0, 50)
    config = replace(
        recipe,
        fit=replace(FIT, steps=2),
        horizon=3,
        validation_pairs=2,
        sampling=replace(recipe.sampling, steps=2, image_size=32),
    )
    train_diffusion_subgoals(replace(config, gradient_checkpointing=True), store, tmp_path / "tuned")
    before, after = weights(base), weights(tmp_path / "tuned")
    changed = {name.partition(".")[0] for name, value in after.items() if not torch.equal(value, before[name])}
    assert changed == {"unet"}
    check_subgoal_model(load_subgoal_model(str(tmp_path / "tuned")))


def test_the_parts_of_a_batch_add_up_to_the_batch(store: Path, tmp_path: Path) -> None:
    pairs = drawn_from(store)
    batch = pairs.draw(np.random.default_rng(0), 6)
    whole = pairs.read(batch)
    parts = [pairs.read(batch, slice(part, None, 2)) for part in range(2)]
    for part, piece in enumerate(parts):
        assert torch.equal(piece.images[0], whole.images[0][part::2])
        assert piece.instructions == batch.instructions[part::2]
    train_diffusion_subgoals(replace(SMALL, fit=replace(FIT, steps=1, accumulate=2)), store, tmp_path)


def drawn_from(store: Path) -> StorePairs:
    opened = EpisodeStore(store)
    return StorePairs(opened, split(opened, "", 0.25, 0)[0], SIZE, 3, 0.0)


def test_pairs_are_frames_of_one_episode_with_its_instruction(store: Path) -> None:
    pairs = drawn_from(store)
    batch = pairs.read(pairs.draw(np.random.default_rng(1), 60))
    observation, goal = (images.numpy().astype(int) for images in batch.images)
    assert set(batch.instructions) == {"move to the left", "move to the right"}
    for before, after, text in zip(observation, goal, batch.instructions, strict=True):
        columns = [int(image[8, :, 0].argmax()) for image in (before, after)]
        assert columns[1] <= columns[0] if text.endswith("left") else columns[1] >= columns[0]
        assert columns[1] in (1, 11), "three steps later the square has arrived"
    assert "whose batch is from the episodes e" in pairs.describe(batch)
    with pytest.raises(ValueError, match="not read"):
        _ = pairs.draw(np.random.default_rng(0), 1).images


def test_held_out_episodes_are_never_learned_from(store: Path) -> None:
    learned, kept = split(EpisodeStore(store), "", 0.25, 0)
    assert {record.id for record in learned} | {record.id for record in kept} == {f"e{number}" for number in range(8)}
    assert not {record.id for record in learned} & {record.id for record in kept}


def test_text_image_and_both_are_dropped_equally_often(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = small_pipeline(SMALL.network, ["move to the left", "move to the right"], SIZE, 0)
    counts = np.zeros((2, 2), int)

    def look(noisy: torch.Tensor, _times: torch.Tensor, texts: torch.Tensor) -> Any:
        empty = diffusion_subgoals.embed(pipeline, [""])[0]
        for image, text in zip(noisy[:, 4:], texts, strict=True):
            counts[int(not image.any()), int(torch.allclose(text, empty))] += 1
        return type("Output", (), {"sample": noisy[:, :4]})

    monkeypatch.setattr(pipeline.unet, "forward", look)
    pairs = drawn_from(store)
    batch = pairs.read(pairs.draw(np.random.default_rng(0), 600))
    torch.manual_seed(0)
    with torch.no_grad():
        diffusion_subgoals._loss(pipeline, diffusion_subgoals._noise_levels(pipeline), batch, 0.2, SMALL.augmentation)
    shares = counts / 600
    np.testing.assert_allclose(shares, [[0.4, 0.2], [0.2, 0.2]], atol=0.06)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_the_target_is_what_the_checkpoint_predicts(kind: str, store: Path) -> None:
    """A network that is right has no error, whatever its scheduler calls right."""
    pipeline = small_pipeline(SMALL.network, ["move"], SIZE, 0)
    pipeline.scheduler.register_to_config(prediction_type=kind)
    noises, pairs = diffusion_subgoals._noise_levels(pipeline), drawn_from(store)
    batch = pairs.read(pairs.draw(np.random.default_rng(0), 4))
    _, goal_image = batch.images
    goal = pipeline.vae.encode(goal_image.permute(0, 3, 1, 2) / 127.5 - 1).latent_dist.mode()

    def right(noisy: torch.Tensor, times: torch.Tensor, _texts: torch.Tensor) -> Any:
        level = noises.alphas_cumprod[times][:, None, None, None]
        noise = (noisy[:, :4] - level.sqrt() * goal) / (1 - level).sqrt()
        values = {"epsilon": noise, "sample": goal, "v_prediction": level.sqrt() * noise - (1 - level).sqrt() * goal}
        return type("Output", (), {"sample": values[kind]})

    pipeline.unet.forward = right
    torch.manual_seed(0)
    with torch.no_grad():
        assert float(diffusion_subgoals._loss(pipeline, noises, batch, 0.0, SMALL.augmentation)) < 1e-4


def test_the_held_out_error_of_a_copy_is_one_and_of_the_truth_zero() -> None:
    observation, goal = torch.full((2, 3, 4, 4), -0.5), torch.full((2, 3, 4, 4), -0.5)
    goal[:, :, :2] = 0.5
    assert held_out_error(observation, observation, goal) == {"changed_error": 1.0, "unchanged_error": 0.0}
    assert held_out_error(goal, observation, goal) == {"changed_error": 0.0, "unchanged_error": 0.0}
    assert held_out_error(goal + 0.1, observation, goal)["unchanged_error"] == pytest.approx(12.75)


def test_other_data_or_too_few_are_refused(store: Path, trained: tuple[Path, dict[str, float]], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"holds a training on other data: .*store where everything"):
        train_diffusion_subgoals(SMALL, store, trained[0], where="length > 1")
    with pytest.raises(ConfigError, match=r"another configuration: horizon \(3 there, 4 now\)"):
        train_diffusion_subgoals(replace(SMALL, horizon=4), store, trained[0])
    with pytest.raises(StoreError, match="has 1 episodes with an instruction where id = 'e1'; a subgoal model needs two"):
        train_diffusion_subgoals(SMALL, store, tmp_path / "few", where="id = 'e1'")
    (tmp_path / "data.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"data\.json cannot be read"):
        pinned(store, "", tmp_path / "data.json")
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        train_diffusion_subgoals(replace(SMALL, base=str(tmp_path)), store, tmp_path / "none")


def test_what_was_refused_can_be_put_right_in_the_same_folder(tmp_path: Path) -> None:
    store, out = save_store(tmp_path / "store", count=1), tmp_path / "out"
    with pytest.raises(StoreError, match="has 1 episodes with an instruction"):
        train_diffusion_subgoals(SMALL, store, out)
    moving = make_episode("later", steps=4, images_THWC=np.stack([picture(6)] * 5), instruction="move to the left")
    EpisodeStore(store).append([moving])
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        train_diffusion_subgoals(replace(SMALL, base=str(tmp_path)), store, out, where="length > 1")
    assert train_diffusion_subgoals(replace(SMALL, fit=replace(FIT, steps=1), autoencoder=replace(FIT, steps=1)), store, out)


@pytest.mark.parametrize(
    "change", [{"horizon": 0}, {"horizon_jitter": 1.0}, {"dropout": 0.34}, {"held_out": 0.0}, {"validation_pairs": 0}]
)
def test_an_invalid_recipe_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(change))):
        replace(SMALL, **change)


def test_the_command_trains_and_the_folder_is_previewed(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = save_tiny_pipeline(tmp_path / "base")
    out = tmp_path / "tuned"
    flags = ["--steps", "2", "--batch-size", "2", "--image-size", "32", "--sampling-steps", "2", "--validation-pairs", "2"]
    flags += ["--guidance", "3", "--bf16", "off", "--held-out", "0.2", "--checkpoint-every", "2"]
    assert main(["train", "subgoal", "--base", str(base), "--store", str(store), "--out", str(out), *flags]) == 0
    assert "held-out error" in capsys.readouterr().out
    assert yaml.safe_load((out / "sampling.yaml").read_text()) == {
        "guidance": 3.0,
        "image_guidance": 2.0,
        "guidance_interval": [0.0, 1.0],
        "sampler": "ddim",
        "steps": 2,
        "spacing": None,
        "image_size": 32,
    }
    write_picture(tmp_path / "a.png", picture(6))
    preview = ["subgoal", "preview", str(tmp_path / "a.png"), "move to the left", "--out", str(tmp_path / "b.png")]
    assert main([*preview, "--subgoals", str(out)]) == 0
    assert read_picture(tmp_path / "b.png").shape == (SIZE, 4 * SIZE, 3)
