"""The word-level text encoder."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from soar.errors import ConfigError, SoarError
from soar.nn.text_encoder import (
    START,
    UNKNOWN,
    TextConfig,
    TextEncoder,
    collect_vocabulary,
    empty_texts,
    mean_word,
    split_words,
    tokenize,
    unknown_words,
)

CONFIG = TextConfig(
    vocabulary=collect_vocabulary(["Is the drawer open?", "open the drawer"]), width=16, heads=2, layers=1, max_words=6
)


def encode(*texts: str) -> torch.Tensor:
    torch.manual_seed(0)
    return mean_word(*TextEncoder(CONFIG)(torch.from_numpy(tokenize(CONFIG, texts)))).detach()


def test_words_are_lower_case_and_without_punctuation() -> None:
    assert split_words("Is the green_block, in the Bowl?") == ["is", "the", "green", "block", "in", "the", "bowl"]
    assert CONFIG.vocabulary == ("drawer", "is", "open", "the")


@given(st.lists(st.sampled_from([*CONFIG.vocabulary, "zebra"]), max_size=6))
def test_every_known_word_has_its_own_token_and_others_share_one(words: list[str]) -> None:
    tokens = tokenize(CONFIG, [" ".join(words)])[0]
    assert tokens[0] == START
    assert (tokens != 0).sum() == len(words) + 1
    assert [t == UNKNOWN for t in tokens[1 : len(words) + 1]] == [word == "zebra" for word in words]
    known = {word: token for word, token in zip(words, tokens[1:], strict=False) if word != "zebra"}
    assert len(set(known.values())) == len(known)
    assert unknown_words(CONFIG, " ".join(words)) == [word for word in words if word == "zebra"]


def test_a_text_that_is_too_long_is_refused_and_not_cut() -> None:
    with pytest.raises(SoarError, match="7 words, the model reads at most 6"):
        tokenize(CONFIG, ["open the drawer and open the drawer"])


def test_the_features_of_a_text_do_not_depend_on_padding_or_batch() -> None:
    together = encode("open the drawer", "is the drawer open")
    np.testing.assert_allclose(together[:1], encode("open the drawer"), atol=1e-6)


def test_the_order_of_words_matters() -> None:
    assert (encode("open the drawer") - encode("drawer the open")).abs().max() > 1e-4


def test_an_unknown_word_has_no_embedding_of_its_own() -> None:
    assert torch.equal(encode("open the zebra"), encode("open the walrus"))
    assert torch.count_nonzero(TextEncoder(CONFIG).embedding.weight[UNKNOWN]) == 0


def test_the_empty_text_is_one_token() -> None:
    tokens = torch.from_numpy(tokenize(CONFIG, ["open the drawer"]))
    np.testing.assert_array_equal(empty_texts(tokens).numpy(), tokenize(CONFIG, [""]))
    assert torch.isfinite(encode("")).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 10, "heads": 4}, "multiple of text.heads"),
        ({"layers": 0}, "text.layers"),
        ({"vocabulary": ("a", "a")}, "twice"),
    ],
)
def test_an_invalid_configuration_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TextConfig(**change)  # type: ignore[arg-type]
