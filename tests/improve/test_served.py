"""The loop with a vision-language model behind a released server: its answers are noise, and the loop must not break."""

from __future__ import annotations

from pathlib import Path

import pytest

from soar.collect.models import Models, check_models
from soar.episodes import EpisodeStore
from soar.errors import ModelServerError
from soar.event_log import read_journal
from soar.improve.config import ImproveConfig
from soar.improve.loop import improve
from soar.improve.preset import load_preset
from tests.conftest import Pretrained
from tests.vlm.tiny_vlm import save_tiny_vlm
from tests.vlm.transformers_server import transformers_serve

from .tiny import SCENE, write


def test_a_model_behind_a_server_whose_answers_are_noise_breaks_nothing_and_the_report_says_so(
    tmp_path: Path, pretrained: Pretrained
) -> None:
    model = save_tiny_vlm(tmp_path / "tiny")
    with transformers_serve(model) as (url, process):
        # Three words of random Yes and No: mostly undecidable.
        text = f"backend: openai\nmodel: {model}\nbase_url: {url}\nanswer_tokens: 3\nretries: 0\n"
        vlm = write(tmp_path, "vlm.yaml", text)
        models = Models(policy=f"{pretrained.weights}/policy", subgoals=f"{pretrained.weights}/subgoal", vlm=vlm)
        config = ImproveConfig(
            run=tmp_path / "run",
            workcell=f"sim:{write(tmp_path, 'one.yaml', SCENE)}",
            preset=load_preset(pretrained.preset),
            demonstrations=pretrained.demonstrations,
            models=models,
        )
        result = improve(config)
        process.kill()
        process.wait()
        with pytest.raises(ModelServerError, match="Start the server"):
            check_models(models)
    records = EpisodeStore(result.dataset).episodes()
    assert [record.provenance.vlm for record in records] == [f"openai:{model}"] * 2
    proposals = read_journal(tmp_path / "run" / "events.jsonl", "proposal")
    undecidable = sum(event["undecidable"] for event in proposals)
    asked = sum(event["asked"] for event in proposals)
    page = result.report.read_text()
    assert f"{undecidable} of {asked} answers about feasibility were undecidable" in page
    assert f"Tasks were chosen {len(proposals)} times, {sum(event['random'] for event in proposals)} times at random" in page
    assert undecidable + sum(record.success is None for record in records) > 0
    words = {label.answer for record in records for label in record.labels if label.source.startswith("openai:")}
    assert words, "what it said is kept"
