"""A small pipeline with random weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from soar.errors import ConfigError
from soar.subgoals.small_pipeline import SmallConfig, small_pipeline, words_as_tokens

TEXTS = ["put the green block in the bowl", "put up the red fruit"]
WORDS = ["put", "the", "bowl", "green", "xylophone", "ut", "pu"]
CONFIG = SmallConfig(vae_channels=(8, 8), channels=(8, 16), head_width=8, text_width=16, text_layers=1, max_tokens=12, groups=4)


@pytest.fixture(scope="module")
def pipeline() -> Any:
    return small_pipeline(CONFIG, TEXTS, 16, 0)


@settings(max_examples=100)
@given(text=st.one_of(st.text(max_size=40), st.lists(st.sampled_from(WORDS)).map(" ".join)))
def test_every_text_becomes_tokens_of_the_encoder(pipeline: Any, text: str) -> None:
    ids = pipeline.tokenizer(text, padding="max_length", max_length=12, truncation=True).input_ids
    assert len(ids) == 12
    assert max(ids) < pipeline.text_encoder.config.vocab_size


def test_a_known_word_is_one_token_and_others_are_spelled(pipeline: Any) -> None:
    def tokens(text: str) -> list[str]:
        return list(pipeline.tokenizer.convert_ids_to_tokens(pipeline.tokenizer(text).input_ids))[1:-1]

    for text in TEXTS:
        assert tokens(text.upper()) == [word + "</w>" for word in text.split()]
    assert tokens("putt") == ["pu", "t", "t</w>"]


def test_words_of_other_alphabets_have_no_tokens() -> None:
    vocabulary, merges = words_as_tokens(["größe 桌子 bowl"])
    assert "bowl</w>" in vocabulary
    assert not any("ö" in part or "桌" in part for pair in merges for part in pair)


def test_equal_arguments_give_equal_weights(pipeline: Any) -> None:
    again, other = small_pipeline(CONFIG, TEXTS, 16, 0), small_pipeline(CONFIG, TEXTS, 16, 1)
    for part in ("unet", "vae", "text_encoder"):
        ours, same, different = (getattr(p, part).state_dict() for p in (pipeline, again, other))
        assert all(torch.equal(value, same[name]) for name, value in ours.items())
        assert not all(torch.equal(value, different[name]) for name, value in ours.items())


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ConfigError, match="image_size must be a multiple of 4 for this network, got 18"):
        small_pipeline(CONFIG, TEXTS, 18, 0)
    for change in ({"channels": (8,)}, {"vae_channels": (6, 8)}, {"channels": (8, 20)}, {"text_width": 20}, {"max_tokens": 2}):
        with pytest.raises(ConfigError, match=next(iter(change))):
            SmallConfig(**{"groups": 4, "head_width": 8, "vae_channels": (8, 8), "channels": (8, 16)} | change)  # type: ignore[arg-type]
