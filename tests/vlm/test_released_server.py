"""Against a server that others wrote, with a vision-language model in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from soar.tasks import decide
from soar.testing import check_vlm
from soar.vlm.openai_client import OpenAIConfig, OpenAIModel
from soar.vlm.transformers_model import TransformersConfig, TransformersModel

from .tiny_vlm import save_tiny_vlm
from .transformers_server import transformers_serve

IMAGES = [np.full((32, 32, 3), level, np.uint8) for level in (20, 220)]
QUESTIONS = ["Is the drawer open?", "Is the green block in the bowl?"]


def test_transformers_serve_with_and_without_streaming_and_after_its_end(tmp_path: Path) -> None:
    model = save_tiny_vlm(tmp_path / "tiny")
    local = TransformersModel.load(TransformersConfig(model=str(model), answer_tokens=1)).answer(IMAGES, QUESTIONS)
    with transformers_serve(model) as (url, process):
        for stream in (False, True):
            config = OpenAIConfig(
                model=str(model), base_url=url, stream=stream, answer_tokens=1, when_away="stop", jpeg_quality=100
            )
            vlm = OpenAIModel(config)
            vlm.check()  # offline it cannot list its models, and is there all the same
            check_vlm(vlm)
            answers = vlm.answer(IMAGES, QUESTIONS)
            assert [answer.text for answer in answers] == [answer.text for answer in local]
            assert [answer.p_yes for answer in answers] == [None] * 2, "this server has no probabilities"
            assert [decide(answer) for answer in answers] == [answer.text == "Yes" for answer in answers]
            assert vlm.cache.spent[1] > 0
        undecided = OpenAIModel(OpenAIConfig(model=str(model), base_url=url, retries=0))
        process.kill()
        process.wait()
        assert [decide(answer) for answer in undecided.answer(IMAGES, QUESTIONS)] == [None, None]
