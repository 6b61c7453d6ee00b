"""Sampling subgoals by flow matching."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from soar.errors import CheckpointError, ConfigError
from soar.nn.model_files import save_model
from soar.nn.text_encoder import TextConfig, tokenize
from soar.seeding import generator
from soar.subgoals.flow import (
    KIND,
    FlowConfig,
    FlowNetwork,
    FlowSubgoalModel,
    Reading,
    SamplingConfig,
    sample,
    to_float,
    to_uint8,
)
from soar.testing.contracts import check_subgoal_model
from soar.types import Image

TEXT = TextConfig(vocabulary=("drawer", "open", "the"), width=16, heads=2, layers=1, max_words=12)
CONFIG = FlowConfig(image_size=16, patch=2, width=16, heads=2, text=TEXT)


@pytest.fixture
def network() -> FlowNetwork:
    """A network whose outputs depend on all of its inputs (a fresh one copies the observation)."""
    torch.manual_seed(0)
    network = FlowNetwork(CONFIG)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.Conv2d) and not module.weight.any():
                module.weight.normal_(0, 0.03)
    return network


def noise_image(size: int = 16, seed: int = 0) -> Image:
    return generator(seed, "test").integers(0, 256, (size, size, 3), dtype=np.uint8)


def test_it_keeps_the_contract_of_subgoal_models(network: FlowNetwork) -> None:
    model = FlowSubgoalModel(network, "flow-test", SamplingConfig(steps=2))
    check_subgoal_model(model, size=16)
    check_subgoal_model(model, size=40)


def test_where_the_gate_is_shut_the_observation_is_copied(network: FlowNetwork) -> None:
    with torch.no_grad():
        network.head.bias.view(4, -1)[3] = -100.0
    model = FlowSubgoalModel(network, "shut", SamplingConfig(steps=3))
    for size in (16, 50):
        image = noise_image(size)
        np.testing.assert_array_equal(model.generate([image], ["open the drawer"], [3])[0], image)


def test_a_subgoal_depends_on_image_text_and_seed_and_on_nothing_else(network: FlowNetwork) -> None:
    model = FlowSubgoalModel(network, "flow-test", SamplingConfig(steps=2))
    image, text = noise_image(), "open the drawer"
    reference = model.generate([image], [text], [5])[0]
    np.testing.assert_array_equal(model.generate([noise_image(seed=1), image], ["the", text], [9, 5])[1], reference)
    for other in ((noise_image(seed=1), text, 5), (image, "the", 5), (image, text, 6)):
        assert not np.array_equal(model.generate(*([value] for value in other))[0], reference)


def test_a_single_step_is_the_guided_prediction(network: FlowNetwork) -> None:
    network.eval()
    observation, noise = to_float(torch.from_numpy(noise_image())[None]), torch.randn(1, CONFIG.latent)
    tokens, empty = (torch.from_numpy(tokenize(TEXT, [text])) for text in ("open the drawer", ""))
    with torch.inference_mode():
        seen = network.see(observation)

        def read(kept: float, text: torch.Tensor) -> Reading:
            return network.read_scene(seen, network.text(text), torch.tensor([kept]))

        def predict(kept: float, text: torch.Tensor) -> torch.Tensor:
            return network.flow(noise, torch.zeros(1), read(kept, text).whole_BF)

        neither, only_image, both = predict(0, empty), predict(1, empty), predict(1, tokens)
        for w_text, w_image in ((7.5, 2.0), (2.0, 1.0), (1.0, 1.0), (3.0, 3.0)):
            config = SamplingConfig(steps=1, text_weight=w_text, image_weight=w_image)
            expected = neither + w_image * (only_image - neither) + w_text * (both - only_image)
            found = sample(network, observation, tokens, noise, config)
            torch.testing.assert_close(found, network.decode(seen, read(1, tokens), expected).clamp(-1, 1), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("text_weight", "image_weight", "branches"), [(7.5, 2.0, 3), (2.0, 1.0, 2), (1.0, 1.0, 1), (2.0, 2.0, 2)]
)
def test_predictions_without_weight_are_not_computed(
    network: FlowNetwork, text_weight: float, image_weight: float, branches: int
) -> None:
    calls = []
    network.condition.register_forward_hook(lambda *_: calls.append(1))
    model = FlowSubgoalModel(network, "x", SamplingConfig(steps=2, text_weight=text_weight, image_weight=image_weight))
    model.generate([noise_image()], ["open"], [0])
    assert len(calls) == branches


def test_colours_survive_the_way_into_the_network_and_back() -> None:
    images = torch.arange(256, dtype=torch.uint8).repeat(3).reshape(1, 16, 48)[..., None].repeat(1, 1, 1, 3)
    assert torch.equal(to_uint8(to_float(images)), images)


def test_unknown_words_are_warned_about_once(network: FlowNetwork, caplog: pytest.LogCaptureFixture) -> None:
    model = FlowSubgoalModel(network, "flow-test", SamplingConfig(steps=1))
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            model.generate([noise_image()], ["open the zebra"], [0])
    assert [record.getMessage() for record in caplog.records] == ["flow-test does not know the words zebra of 'open the zebra'"]
    assert model.unknown_words("open the zebra") == ["zebra"]


def test_a_saved_model_makes_the_same_subgoals(network: FlowNetwork, tmp_path: Path) -> None:
    save_model(tmp_path, KIND, CONFIG, network, {})
    first, second = FlowSubgoalModel.load(tmp_path), FlowSubgoalModel.load(tmp_path)
    assert first.id == second.id
    assert first.id.startswith("flow-")
    image = noise_image()
    goals = [model.generate([image], ["open"], [1])[0] for model in (first, second)]
    np.testing.assert_array_equal(*goals)
    assert not np.array_equal(goals[0], image)


def test_another_models_folder_is_refused(network: FlowNetwork, tmp_path: Path) -> None:
    save_model(tmp_path, "VQA model", CONFIG, network, {})
    with pytest.raises(CheckpointError, match="holds a VQA model, not a flow subgoal model"):
        FlowSubgoalModel.load(tmp_path)


def test_the_default_network_is_small() -> None:
    parameters = sum(p.numel() for p in FlowNetwork(FlowConfig()).parameters())
    assert parameters < 8_000_000


@pytest.mark.parametrize(
    ("change", "message"), [({"image_size": 60}, "twice the patch"), ({"width": 12}, "multiple of 8"), ({"heads": 3}, "heads")]
)
def test_an_invalid_network_is_refused(change: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        FlowConfig(**change)


@pytest.mark.parametrize("change", [{"steps": 0}, {"text_weight": -1.0}, {"image_weight": float("nan")}])
def test_invalid_sampling_is_refused(change: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(change))):
        SamplingConfig(**change)  # type: ignore[arg-type]
