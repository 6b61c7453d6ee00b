"""Variants compared start by start: what one of two policies can do from a start, and the other cannot."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any

from soar.evaluation.statistics import common, p_value, paired
from soar.evaluation.trials import Evaluation, TrialKey


def paired_rows(evaluations: Mapping[tuple[str, str], list[Evaluation]]) -> list[dict[str, Any]]:
    """Return a row a pair of variants over all scenes, and with several scenes one without the scene that gained or lost most.

    Args:
        evaluations: By (scene, variant); the first training seed counts, and variants that were tried in the same scenes are
            compared.
    """
    variants: dict[str, dict[str, dict[TrialKey, bool]]] = {}
    for (scene, variant), group in evaluations.items():
        variants.setdefault(variant, {})[scene] = group[0].outcomes()
    rows = []
    for (before, first), (after, second) in combinations(variants.items(), 2):
        if first.keys() != second.keys():
            continue
        pairs = {scene: common(first[scene], second[scene]) for scene in first}
        change = {scene: sum(later.values()) - sum(earlier.values()) for scene, (earlier, later) in pairs.items()}
        most = max(change, key=lambda scene: abs(change[scene]))
        for without in ["", most] if len(change) > 1 else [""]:
            kept = [scene for scene in first if scene != without]
            found = paired(*({key: ok for scene in kept for key, ok in pairs[scene][which].items()} for which in (0, 1)))
            rows.append(
                {
                    "before": before,
                    "after": after,
                    "without": without or None,
                    "starts": sum(len(pairs[scene][0]) for scene in kept),
                    "gained": found.only_second,
                    "lost": found.only_first,
                    "after better, p": p_value(found.p_second_better),
                }
            )
    return rows
