from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from soar.errors import ConfigError
from soar.policies import instructions
from soar.policies.instructions import InstructionConfig, InstructionEncoder

WORDS = InstructionConfig(encoder="hashed-words", features=64)


def similarity(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


def test_each_distinct_instruction_is_embedded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    embed = instructions._open(WORDS)

    def counted(texts: Sequence[str]) -> NDArray[np.float32]:
        asked.extend(texts)
        return embed(texts)

    monkeypatch.setattr(instructions, "_open", lambda _config: counted)
    encoder = InstructionEncoder(WORDS)
    first = encoder(["open the drawer", "close the drawer", "open the drawer"])
    again = encoder(["close the drawer", "open the drawer"])
    assert asked == ["open the drawer", "close the drawer"]
    assert first.shape == (3, 64)
    np.testing.assert_array_equal(first[[1, 0]], again)


def test_what_is_known_needs_no_encoder() -> None:
    known = {"open the drawer": np.arange(64, dtype=np.float32)}
    encoder = InstructionEncoder(InstructionConfig(encoder="/nowhere", features=64), known)
    np.testing.assert_array_equal(encoder(["open the drawer"])[0], known["open the drawer"])


def test_hashed_words_share_words_and_tell_their_order() -> None:
    green, red, swapped = InstructionEncoder(WORDS)(
        ["Put the green block in the bowl.", "put the red block in the bowl", "put the bowl in the green block"]
    )
    same = InstructionEncoder(WORDS)(["put the green block in the bowl"])[0]
    np.testing.assert_array_equal(green, same)
    assert 0.4 < similarity(green, red) < 0.99
    assert 0.4 < similarity(green, swapped) < 0.99


def test_hashed_words_are_known_of_the_instructions_that_were_trained_on_whatever_was_asked_since() -> None:
    trained = InstructionEncoder(WORDS, {"open the drawer": np.zeros(64, np.float32)})
    trained(["shut the drawer"])
    assert trained.unknown_words("Shut the drawer, gently") == ["shut", "gently"]
    assert trained.unknown_words("open the drawer") == []


def test_who_was_trained_on_nothing_and_who_knows_other_words_besides_cannot_say_which_are_unknown() -> None:
    assert InstructionEncoder(WORDS).unknown_words("open the drawer") is None
    sentences = InstructionEncoder(InstructionConfig(features=64), {"open the drawer": np.zeros(64, np.float32)})
    assert sentences.unknown_words("shut the drawer") is None


def test_the_packaged_sentence_model_knows_synonyms() -> None:
    pytest.importorskip("sentence_transformers", reason="the extra `language` is not installed")
    cup, mug, drawer = InstructionEncoder(InstructionConfig())(["pick up the cup", "grasp the mug", "open the drawer"])
    assert similarity(cup, mug) > similarity(cup, drawer) + 0.1


def test_an_encoder_of_another_size_says_which_number_to_set() -> None:
    encoder = InstructionEncoder(InstructionConfig(encoder="hashed-words", features=64))
    encoder._embed = lambda texts: np.zeros((len(texts), 512), np.float32)
    with pytest.raises(ConfigError, match=r"hashed-words has 512 features.*Set network\.instruction\.features to 512"):
        encoder(["open the drawer"])


def test_a_folder_without_a_checkpoint_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"neither all-MiniLM-L6-v2, hashed-words nor the folder|needs a package"):
        InstructionEncoder(InstructionConfig(encoder=str(tmp_path)))(["open the drawer"])
