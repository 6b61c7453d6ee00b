"""The real loading and generating code, on a LLaVA of random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from soar.errors import CheckpointError, ConfigError
from soar.testing import check_vlm
from soar.vlm.answer_parsing import read
from soar.vlm.loading import load_language_model, load_vlm
from soar.vlm.transformers_model import TransformersConfig, TransformersModel

from .tiny_vlm import save_tiny_vlm

IMAGES = [np.random.default_rng(i).integers(0, 256, (20 + i, 30, 3), dtype=np.uint8) for i in range(5)]
QUESTIONS = ["Is the drawer open?", "Is the green block in the bowl?", "Is it?", "Is the drawer open?", "Is the bowl in it?"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_vlm(tmp_path_factory.mktemp("vlm") / "tiny")


def opened(folder: Path, **changes: Any) -> TransformersModel:
    return TransformersModel.load(TransformersConfig(model=str(folder), **{"answer_tokens": 1, **changes}))


def test_it_keeps_the_contract(folder: Path) -> None:
    check_vlm(opened(folder))


def test_answers_come_with_probabilities_that_do_not_depend_on_the_batch(folder: Path) -> None:
    one, many = (opened(folder, batch_size=size).answer(IMAGES, QUESTIONS) for size in (1, 3))
    for alone, together in zip(one, many, strict=True):
        assert alone.text == together.text in ("Yes", "No")
        # Random weights now and then give most of the probability to neither word.
        assert (alone.p_yes is None) is (together.p_yes is None)
        if alone.p_yes is not None:
            assert together.p_yes == pytest.approx(alone.p_yes, abs=1e-3)
            assert (alone.p_yes >= 0.5) is (alone.text == "Yes")
    assert len({answer.p_yes for answer in one} - {None}) > 1, "image and question matter"


def test_it_replies_in_words_with_and_without_an_image(folder: Path) -> None:
    model = opened(folder)
    assert len(model.reply(QUESTIONS)) == 5
    assert len(model.reply(QUESTIONS[:2], IMAGES[:2])) == 2
    with pytest.raises(ValueError, match="either all prompts have an image or none"):
        model.reply(QUESTIONS[:2], [IMAGES[0], None])


def test_it_is_named_by_a_yaml_file_beside_it(folder: Path) -> None:
    path = folder.parent / "vlm.yaml"
    path.write_text("backend: transformers\nmodel: tiny\nanswer_tokens: 1\n")
    assert load_vlm(str(path)).id == f"transformers:{folder}"
    assert load_language_model(str(path)) is load_vlm(str(path))


def test_what_is_no_model_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(CheckpointError, match=r"cannot be loaded.*image-text-to-text"):
        opened(tmp_path)


@pytest.mark.parametrize("changes", [{"batch_size": 0}, {"answer_tokens": 0}, {"prompt": "Is it?"}])
def test_wrong_numbers_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(changes))):
        TransformersConfig(model="m", **changes)


@pytest.mark.parametrize("end", ["</s>", None])
def test_a_local_models_thought_does_not_count_and_the_probability_is_its_answers(folder: Path, end: str | None) -> None:
    model = opened(folder, answer_tokens=20 if end else 7)
    tokenizer = model._tokenizer
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>", "<think>", "</think>"]})
    model = TransformersModel(model.config, model._model, model._processor)
    words = ["<think>", "Yes", "Yes", "in", "</think>", "No", *([end, "<pad>"] if end else ["the"])]
    ids = torch.tensor(tokenizer.convert_tokens_to_ids(words))
    yes, no = (list(model._sides.values()).index(word) for word in ("Yes", "No"))
    chances = torch.zeros(len(ids), len(model._sides))
    chances[:, yes], chances[:, no] = 0.94, 0.05
    chances[5, yes], chances[5, no] = 0.1, 0.8
    made = model._made(ids, chances, model.config.answer_tokens)
    text = "".join(token.text for token in made.tokens)
    assert text == tokenizer.decode(ids[:6] if end else ids)
    reading = read(text, made.tokens, finish="length" if made.cut else None)
    if end:
        assert (reading.verdict, reading.p_yes) == (False, pytest.approx(0.1 / 0.9, abs=1e-4))
    else:
        assert (reading.verdict, made.cut) == (None, True), "cut off in the middle of an answer"
