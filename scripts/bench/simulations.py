"""Made-up scores whose truth is known: correlated turns, answers, base and tuned, and the
intervals that were tried on them.
"""

from collections.abc import Callable

import numpy as np
from mindtune.evaluate import intervals
from mindtune.evaluate.systems import Scores
from scipy.special import ndtri, stdtrit

CORRELATION = 0.3
RESAMPLES = 500


def dialogues(rng: np.random.Generator, clusters: int) -> np.ndarray:
    """The dialogue of each turn; 2 to 15 turns a dialogue."""
    return np.repeat(np.arange(clusters), rng.integers(2, 16, clusters))


def correlated(rng: np.random.Generator, home: np.ndarray) -> np.ndarray:
    """Standard normal draws for turns, correlated within their dialogue."""
    shared = rng.normal(size=home.max() + 1)[home]
    own = rng.normal(size=len(home))
    return np.sqrt(CORRELATION) * shared + np.sqrt(1 - CORRELATION) * own


def sums(home: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Sums of values and of turns by dialogue."""
    return np.stack([np.bincount(home, values), np.bincount(home)], axis=1).astype(float)


def scores(rng: np.random.Generator, home: np.ndarray) -> np.ndarray:
    """Scores like ROUGE's: about 20, skewed to the right; their mean is SCORE_MEAN."""
    return 20 * np.exp(0.35 * correlated(rng, home))


SCORE_MEAN = 20 * np.exp(0.35**2 / 2)


def bootstrap(found: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The mean in resamples of whole dialogues, shape (RESAMPLES,)."""
    count = len(found)
    draws = rng.multinomial(count, np.full(count, 1 / count), size=RESAMPLES)
    return intervals.ratio(draws @ found)


def by_percentile(found: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    """What was printed before: percentiles of a bootstrap over dialogues."""
    low, high = np.percentile(bootstrap(found, rng), (2.5, 97.5))
    return float(low), float(high)


def by_bootstrap_t(found: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    """Student's t with the bootstrap's standard deviation, widened by sqrt(n / (n - 1))."""
    count = len(found)
    error = bootstrap(found, rng).std(ddof=1) * np.sqrt(count / (count - 1))
    value = float(intervals.ratio(found.sum(axis=0)[None])[0])
    half = stdtrit(count - 1, 0.975) * error
    return value - half, value + half


def by_jackknife(found: np.ndarray, _: np.random.Generator) -> tuple[float, float]:
    """What is printed now."""
    return intervals.jackknife(found, intervals.ratio).interval()


METHODS: dict[str, Callable[..., tuple[float, float]]] = {
    "jackknife t": by_jackknife,
    "bootstrap t": by_bootstrap_t,
    "percentile": by_percentile,
}


def answers(rng: np.random.Generator, home: np.ndarray, right: float) -> np.ndarray:
    """Right and wrong answers, correlated within a cluster."""
    return (correlated(rng, home) < ndtri(right)).astype(float)


def pair(rng: np.random.Generator, n: int, loss: float) -> tuple[Scores, Scores]:
    """Base and tuned answers of n questions, a fifth of them changed, with a true loss."""
    base, draw = rng.random(n) < 0.7, rng.random(n)
    lost = base & (draw < (0.2 + loss) / 2 / 0.7)
    gained = ~base & (draw < max(0.2 - loss, 0) / 2 / 0.3)
    places = np.arange(n)
    both = (base, base & ~lost | gained)
    return tuple(Scores(places, places, side[:, None].astype(float)) for side in both)
