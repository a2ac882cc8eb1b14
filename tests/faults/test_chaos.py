"""A short sample of the chaos run: rounds on the data and on the export. Trainings are hit in
test_resume.py and on the cluster.
"""

import random

import chaos
import pytest
from chaos_faults import FLIPPED

SAMPLE = (
    ("data", "Ctrl-C"),
    ("data", "machine down"),
    ("data", "torn record"),
    ("data", chaos.EDITED),
    ("data", "record deleted"),
    ("export", FLIPPED),
    ("export", chaos.KEYLESS),
)


@pytest.mark.parametrize(("kind", "fault"), SAMPLE)
def test_a_round(kind, fault):
    wanted = (kind, fault, "start")
    seed = next(seed for seed in range(10_000) if chaos.choose(random.Random(seed)) == wanted)
    outcome = chaos.play(1_000_000 + seed, random.Random(seed))
    assert (outcome.kind, outcome.fault, outcome.moment) == wanted
    assert outcome.identical, outcome.problem
