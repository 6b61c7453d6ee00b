"""The small visual question answering model."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from soar.errors import CheckpointError, ConfigError
from soar.nn.model_files import save_model
from soar.nn.text_encoder import TextConfig
from soar.seeding import generator
from soar.testing.contracts import check_vlm
from soar.types import Image
from soar.vlm.vqa import KIND, VQAConfig, VQAModel, VQANetwork

TEXT = TextConfig(vocabulary=("drawer", "is", "open", "the"), width=16, heads=2, layers=1, max_words=10)
CONFIG = VQAConfig(image_size=16, width=16, pointers=2, blocks=1, text=TEXT)
QUESTION = "Is the drawer open?"


@pytest.fixture
def model() -> VQAModel:
    torch.manual_seed(0)
    return VQAModel(VQANetwork(CONFIG), "vqa-test")


def noise_image(size: int = 16, seed: int = 0) -> Image:
    return generator(seed, "test").integers(0, 256, (size, size, 3), dtype=np.uint8)


def p_yes(model: VQAModel, image: Image, question: str) -> float:
    value = model.answer([image], [question])[0].p_yes
    assert value is not None
    return value


def test_it_keeps_the_contract_of_vision_language_models(model: VQAModel) -> None:
    check_vlm(model, size=16)
    check_vlm(model, size=64)


def test_the_answer_depends_on_the_image_and_on_the_question(model: VQAModel) -> None:
    reference = p_yes(model, noise_image(), QUESTION)
    assert p_yes(model, noise_image(seed=1), QUESTION) != reference
    assert p_yes(model, noise_image(), "Is the drawer?") != reference


def test_the_words_are_those_of_the_probability(model: VQAModel) -> None:
    for answer in model.answer([noise_image(seed=i) for i in range(100)], [QUESTION] * 100):
        assert answer.p_yes is not None
        assert answer.text == ("yes" if answer.p_yes >= 0.5 else "no")


def test_the_temperature_divides_the_logit(model: VQAModel) -> None:
    hotter = VQANetwork(replace(CONFIG, temperature=2.0))
    hotter.load_state_dict(model.network.state_dict())
    cold, hot = (p_yes(m, noise_image(), QUESTION) for m in (model, VQAModel(hotter, "hot")))
    assert np.log(hot / (1 - hot)) == pytest.approx(np.log(cold / (1 - cold)) / 2, abs=1e-4)


def test_a_different_number_of_images_and_questions_is_refused(model: VQAModel) -> None:
    with pytest.raises(ValueError, match="2 images but 1 questions"):
        model.answer([noise_image()] * 2, [QUESTION])


def test_unknown_words_are_warned_about_once(model: VQAModel, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            model.answer([noise_image()], ["Is the zebra open?"])
    assert [record.getMessage() for record in caplog.records] == [
        "vqa-test does not know the words zebra of 'Is the zebra open?'"
    ]
    assert model.unknown_words("Is the Zebra open?") == ["zebra"]


def test_a_saved_model_answers_alike(model: VQAModel, tmp_path: Path) -> None:
    save_model(tmp_path, KIND, CONFIG, model.network, {})
    loaded = VQAModel.load(tmp_path)
    assert loaded.id.startswith("vqa-")
    assert p_yes(loaded, noise_image(), QUESTION) == pytest.approx(p_yes(model, noise_image(), QUESTION), abs=0.01)


def test_a_missing_model_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no VQA model in"):
        VQAModel.load(tmp_path)


def test_the_default_network_is_small() -> None:
    assert sum(p.numel() for p in VQANetwork(VQAConfig()).parameters()) < 1_500_000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_size": 10}, "multiple of 4"),
        ({"width": 24}, "multiple of 16"),
        ({"blocks": 0}, "blocks"),
        ({"temperature": 0.0}, "temp"),
    ],
)
def test_an_invalid_network_is_refused(change: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        VQAConfig(**change)  # type: ignore[arg-type]
