"""A short sample of the chaos run: three rounds on the data. Trainings are hit in test_resume.py
and on the cluster.
"""

import random

import chaos
import pytest

SAMPLE = ("data, Ctrl-C", "data, machine down", "data, torn record")


@pytest.mark.parametrize("kind_and_fault", SAMPLE)
def test_a_round(kind_and_fault):
    kind, fault = kind_and_fault.split(", ")
    moment = "steps" if kind == "training" else "start"
    seed = next(seed for seed in range(10_000) if choice(seed) == (kind, fault, moment))
    outcome = chaos.play(1_000_000 + seed, random.Random(seed))
    assert (outcome.kind, outcome.fault, outcome.moment) == (kind, fault, moment)
    assert outcome.identical, outcome.problem


def choice(seed):
    """Kind, fault and moment that a seed makes `play` choose."""
    rng = random.Random(seed)
    kind = "training" if rng.random() < chaos.TRAINING_SHARE else "data"
    fault = rng.choice(sorted(chaos.FAULTS[kind]))
    return (
        kind,
        fault,
        "steps" if kind == "training" and rng.random() < chaos.STEPS_SHARE else "start",
    )
