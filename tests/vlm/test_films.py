"""Several pictures in one question, by each backend that takes them."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg

from soar.errors import ModelServerError
from soar.tasks import SuccessDetector, decide
from soar.testing import FakeFilmVLM
from soar.types import Image
from soar.vlm.base import FilmModel
from soar.vlm.llm_decoder import DecodedFilmModel
from soar.vlm.loading import load_vlm
from soar.vlm.openai_client import OpenAIConfig, OpenAIModel
from soar.vlm.transformers_model import TransformersConfig, TransformersModel

from .picky_server import Reply, completion, picky, tokens
from .tiny_vlm import save_tiny_vlm

FILM = [np.full((16, 24, 3), level, np.uint8) for level in (10, 120, 240)]
YES = tokens(("True", {"True": -0.2, "False": -2.0}))


def brightness(part: dict[str, Any]) -> float:
    jpeg = base64.b64decode(part["image_url"]["url"].removeprefix("data:image/jpeg;base64,"))
    return float(simplejpeg.decode_jpeg(jpeg).mean())


def opened(url: str, **changes: Any) -> OpenAIModel:
    return OpenAIModel(OpenAIConfig(model="m", base_url=f"{url}/v1", **{"retries": 0, **changes}))


def test_a_film_is_one_request_whose_pictures_are_in_order_and_a_statement_is_true_or_false() -> None:
    with picky(lambda _: (200, completion("True", logprobs=YES))) as (url, asked):
        vlm = opened(url, extra_yes_no={"structured_outputs": {"choice": ["yes", "no"]}})
        (statement,) = vlm.answer_films([FILM], ["The cup is on the plate."], true_false=True)
        (question,) = vlm.answer_films([FILM[:2]], ["Is it?"])
    assert statement.p_yes == pytest.approx(np.exp(-0.2) / (np.exp(-0.2) + np.exp(-2.0)))
    assert decide(question) is True
    first, second = (request["messages"][0]["content"] for request in asked)
    assert [round(brightness(part)) for part in first[:-1]] == pytest.approx([10, 120, 240], abs=3)
    assert first[-1]["text"] == "The cup is on the plate. Answer with one word, True or False."
    assert "structured_outputs" not in asked[0], "it would leave no choice but yes and no"
    assert len(second) == 3
    assert second[-1]["text"] == "Is it? Answer with one word, yes or no."
    assert asked[1]["structured_outputs"] == {"choice": ["yes", "no"]}


def test_a_film_is_asked_about_once_and_another_order_is_another_film() -> None:
    with picky(lambda _: (200, completion("yes"))) as (url, asked):
        vlm = opened(url)
        vlm.answer_films([FILM, FILM, FILM[::-1]], ["Is it?"] * 3)
        vlm.answer_films([FILM], ["Is it?"])
        vlm.answer([FILM[0]], ["Is it?"])
        vlm.answer_films([FILM[:1]], ["Is it?"])
    assert len(asked) == 3


def one_picture(request: dict[str, Any]) -> Reply:
    pictures = sum(part["type"] == "image_url" for part in request["messages"][0]["content"])
    if pictures > 1:
        return 400, {"error": {"message": "At most 1 image(s) may be provided in one prompt."}}
    return 200, completion("yes", logprobs=tokens(("yes", {"yes": -0.2, "no": -2.0})))


def test_a_server_that_takes_one_picture_is_refused_before_anything_moves() -> None:
    with picky(one_picture) as (url, asked):
        with pytest.raises(ModelServerError, match=r"At most 1 image.*limit-mm-per-prompt"):
            SuccessDetector(opened(url), sees="film:4").check()
        assert all(len(request["messages"][0]["content"]) == 5 for request in asked)
        SuccessDetector(opened(url), sees="looks:4").check()


class Reads:
    """A language model that takes all words for yes."""

    id = "reads"

    def reply(self, prompts: Sequence[str], images: Sequence[Image | None] | None = None) -> list[str]:
        return ["yes"] * len(prompts)


def test_undecidable_words_about_films_are_decoded_too() -> None:
    vlm = DecodedFilmModel(FakeFilmVLM(lambda image, question: None), Reads())
    assert isinstance(vlm, FilmModel)
    assert [decide(answer) for answer in vlm.answer_films([FILM], ["Is it?"])] == [True]


def test_a_file_with_a_decoder_names_a_model_of_films(tmp_path: Path) -> None:
    path = tmp_path / "vlm.yaml"
    path.write_text("backend: openai\nmodel: m\ndecoder: vlm.yaml\n")
    assert isinstance(load_vlm(str(path)), DecodedFilmModel)


def test_a_local_model_sees_all_pictures_of_films_of_any_length(tmp_path: Path) -> None:
    config = TransformersConfig(model=str(save_tiny_vlm(tmp_path / "tiny")), answer_tokens=1, batch_size=2)
    model = TransformersModel.load(config)
    noise = [np.random.default_rng(i).integers(0, 256, (20, 30, 3), dtype=np.uint8) for i in range(4)]
    films = [noise[:1], noise[:3], noise[:2], noise[1:], noise[:3]]
    together = model.answer_films(films, ["Is the drawer open?"] * 5)
    for film, answer in zip(films, together, strict=True):
        (alone,) = model.answer_films([film], ["Is the drawer open?"])
        assert alone.text == answer.text
        assert alone.p_yes == pytest.approx(answer.p_yes, abs=1e-3)
    assert together[1].p_yes == pytest.approx(together[4].p_yes, abs=1e-6)
    assert together[0].p_yes != pytest.approx(together[1].p_yes, rel=1e-3), "what is in the film matters"
