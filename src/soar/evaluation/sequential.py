"""When enough starts were tried: a test of two policies that may be looked at after every start, and stopped at any time.

Only the starts count from which exactly one of the two succeeds, as in McNemar's test. If from each of them either policy is
equally likely to be the one, then the number of those that the first wins is a fair coin's, and

    E = ∫ (2 p)^wins (2 (1 - p))^losses dBeta(p; ½, ½)

is a martingale that begins at 1, whatever the starts are and in whichever order they come: what somebody wins on average who
bets on the first policy, or on the second, without paying for it. By Ville's inequality it ever reaches 1 / level with a
probability of at most `level`. So "one is better" is said at E ≥ 1 / level, at any moment, and is wrong with that probability
at most; a p-value of a test for a fixed number of trials, looked at again and again, promises nothing of the kind.

Sources: J. Ville, Étude critique de la notion de collectif (1939); H. Robbins, Statistical methods related to the law of the
iterated logarithm, Ann. Math. Stat. 41 (1970), for the mixture; R. Krichevsky and V. Trofimov, The performance of universal
encoding, IEEE Trans. Inf. Theory 27 (1981), for the prior; A. Ramdas, P. Grünwald, V. Vovk and G. Shafer, Game-theoretic
statistics and safe anytime-valid inference, Stat. Sci. 38 (2023), for the whole.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

LEVEL = 0.05
"""Probability of calling one of two equally good policies better, over all moments at which one could have stopped."""
Decision = Literal["first", "second", "undecided"]


def log_e(wins: int, losses: int) -> float:
    """Return the logarithm of E, see the module's docstring."""
    mixture = math.lgamma(wins + 0.5) + math.lgamma(losses + 0.5) - math.lgamma(wins + losses + 1) - math.log(math.pi)
    return mixture + (wins + losses) * math.log(2)


def anytime_p(wins: int, losses: int) -> float:
    """Return a two-sided p-value that holds at whatever moment one stops."""
    return math.exp(-max(0.0, log_e(wins, losses)))


def decide(wins: int, losses: int, left: int, level: float = LEVEL) -> Decision | None:
    """Say whether enough starts were tried.

    Args:
        wins: Starts from which only the first policy succeeded.
        losses: Starts from which only the second did.
        left: Starts that could still be tried.
        level: Probability of calling one of two equally good policies better.

    Returns:
        Which is better; `undecided` when the starts that are left cannot change that it is; None: go on.
    """
    enough = -math.log(level)
    if log_e(wins, losses) >= enough:
        return "first" if wins > losses else "second"
    # At best all that are left go to one of the two.
    best = max(log_e(wins + left, losses), log_e(wins, losses + left))
    return None if best >= enough and left else "undecided"


def share_interval(wins: int, losses: int, level: float = LEVEL) -> tuple[float, float]:
    """Return an interval for the share of `wins` that holds at all moments together with a probability of 1 - level.

    It consists of the shares that the same martingale, with that share in the coin's place, does not refuse.
    """
    if not wins + losses:
        return 0.0, 1.0
    mixture = log_e(wins, losses) - (wins + losses) * math.log(2)

    def refused(share: float) -> bool:
        likelihood = sum(count * math.log(p) for count, p in ((wins, share), (losses, 1 - share)) if count)
        return mixture - likelihood >= -math.log(level)

    observed = wins / (wins + losses)
    return _boundary(observed, 0.0, refused), _boundary(observed, 1.0, refused)


def _boundary(inside: float, outside: float, refused: Callable[[float], bool]) -> float:
    """Return where refusal begins on the way out, by halving."""
    if inside == outside:
        return outside
    for _ in range(50):
        middle = (inside + outside) / 2
        inside, outside = (inside, middle) if refused(middle) else (middle, outside)
    return outside
