"""A vision-language model whose mood a test decides."""

from __future__ import annotations

from soar.testing import FakeVLM

mood: dict[str, bool | None] = {"says": True}


def moody() -> FakeVLM:
    return FakeVLM(lambda image, question: mood["says"])
