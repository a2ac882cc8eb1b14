"""A training that is killed and goes on has the same losses and the same bytes as one that is not:
packed, two epochs, any method.
"""

import random

import pytest
from training import Training


@pytest.fixture(scope="session")
def uninterrupted(prepared, tmp_path_factory):
    training = Training(prepared, tmp_path_factory.mktemp("uninterrupted"))
    training.finish()
    return training.result() | {"planned": training.planned}


def test_killed_in_both_epochs_with_a_torn_checkpoint_a_torn_line_and_a_second_writer(
    prepared, uninterrupted, tmp_path
):
    training = Training(prepared, tmp_path)
    epoch = training.planned["steps_per_epoch"]
    draw = random.Random()  # another moment every time: the result must not depend on it
    first, second = draw.randint(5, epoch - 1), epoch + draw.randint(1, 3)
    print(f"kill -9 after step {first} and after step {second} of {2 * epoch}, {epoch} an epoch")

    def start_another():
        other = training.run()
        assert other.returncode == 2 and "in use by another trainer" in other.stderr, other.stderr[
            -3000:
        ]

    training.killed_after(first, meanwhile=start_another)
    newest = max(tmp_path.glob("state/*/checkpoint-*"), key=lambda path: int(path.name[11:]))
    (newest / "optimizer.pt").write_bytes((newest / "optimizer.pt").read_bytes()[:500])
    with open(next(tmp_path.glob("state/*/steps.jsonl")), "a") as steps:
        steps.write('{"step": 9, "lo')

    said = training.killed_after(second)
    assert "was cut off" in said and "going on from step" in said
    assert epoch < training.step() < 2 * epoch, "the kill did not land in the second epoch"

    assert "going on from step" in training.finish()
    result = training.result()
    assert result["history"] == uninterrupted["history"]
    assert result["facts"] == uninterrupted["facts"]
    assert result["adapter"] == uninterrupted["adapter"]


@pytest.mark.parametrize("method", ["dora", "qlora", "full"])
def test_every_method_goes_on_exactly(prepared, tmp_path, method):
    results = []
    for name in ("undisturbed", "killed"):
        (tmp_path / name).mkdir()
        training = Training(prepared, tmp_path / name, method=method, epochs=1)
        if name == "killed":
            training.killed_after(5)
        assert ("going on from step" in training.finish()) == (name == "killed")
        results.append(training.result())
    assert results[0] == results[1]


def test_the_second_epoch_has_an_order_of_its_own(uninterrupted):
    """Otherwise a replayed epoch would pass the test above."""
    rows = [line.split(",") for line in uninterrupted["history"].splitlines()]
    tokens = [int(row[rows[0].index("tokens")]) for row in rows[1:]]
    half = len(tokens) // 2
    assert half == uninterrupted["planned"]["steps_per_epoch"]
    assert sum(tokens[:half]) == sum(tokens[half:]) and tokens[:half] != tokens[half:]
