"""Policies on the Hub: a server that speaks its API, in a process of its own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from soar.base_models import default_weights
from soar.cli import main
from soar.policies.learned import LearnedPolicy
from soar.policies.lineage import policy_id
from soar.untrusted import parse_json
from tests.cli.test_data_hub import environment, hub

__all__ = ["environment", "hub"]


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """A policy as training leaves it: without a card, and with files that are nobody else's business."""
    folder = tmp_path / "policy"
    shutil.copytree(default_weights("policy"), folder)
    (folder / "README.md").unlink()
    (folder / "training").mkdir()
    (folder / "training" / "secret.txt").write_text("mine")
    return folder


@pytest.mark.usefixtures("environment")
def test_a_policy_goes_to_the_hub_with_a_card_and_comes_back_as_it_was(
    tmp_path: Path, policy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["policy", "push", str(policy), "me/mine", "--tag", "v1"]) == 0
    assert "pushed: " in capsys.readouterr().out
    assert main(["policy", "pull", "me/mine", "--revision", "v1", "--out", str(tmp_path / "back")]) == 0
    id = policy_id(parse_json((policy / "config.json").read_text(encoding="utf-8")))
    assert f"policy {id}" in capsys.readouterr().out
    there = sorted(path.name for path in (tmp_path / "back").iterdir() if not path.name.startswith("."))
    assert there == ["README.md", "config.json", "lineage.json", "model.safetensors"]
    assert (tmp_path / "back" / "model.safetensors").read_bytes() == (policy / "model.safetensors").read_bytes()
    assert LearnedPolicy.load(tmp_path / "back").id == LearnedPolicy.load(policy).id
    card = (tmp_path / "back" / "README.md").read_text()
    assert card.startswith("---\nlicense: apache-2.0\n")
    assert id in card
    assert "demonstrations (version 1801.1986)" in card
    assert "evaluate it" in card


@pytest.mark.usefixtures("environment")
def test_a_card_of_ones_own_is_published_and_no_policy_is_refused(
    tmp_path: Path, policy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (policy / "README.md").write_text("# Mine\n")
    assert main(["policy", "push", str(policy), "me/carded"]) == 0
    assert main(["policy", "pull", "me/carded", "--out", str(tmp_path / "back")]) == 0
    assert (tmp_path / "back" / "README.md").read_text() == "# Mine\n"
    (policy / "lineage.json").unlink()
    assert main(["policy", "push", str(policy), "me/none"]) == 2
    assert "holds no policy: lineage.json missing" in capsys.readouterr().err
    assert main(["policy", "pull", "me/none", "--out", str(tmp_path / "none")]) == 2


def test_shipped_models_have_cards_that_say_what_they_saw() -> None:
    for kind in ("policy", "language", "subgoal", "vqa"):
        card = (Path(default_weights(kind)) / "README.md").read_text(encoding="utf-8")
        for word in ("license: apache-2.0", "**Made by**", "**Saw**", "**Measured**", "**Limits**"):
            assert word in card, (kind, word)
