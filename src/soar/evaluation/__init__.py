"""Evaluation: trials, success rates with confidence intervals, comparisons, the promotion gate.

Success is judged by the caller (in the simulator from its state); here it is counted, compared and shown.
"""

from soar.evaluation.promotion import Promotion, not_worse
from soar.evaluation.results import read_results, success_rows, write_results
from soar.evaluation.statistics import Paired, Rate, fisher_p
from soar.evaluation.trials import Evaluation, Trial, TrialKey, read_evaluation, write_evaluation

__all__ = [
    "Evaluation",
    "Paired",
    "Promotion",
    "Rate",
    "Trial",
    "TrialKey",
    "fisher_p",
    "not_worse",
    "read_evaluation",
    "read_results",
    "success_rows",
    "write_evaluation",
    "write_results",
]
