"""`matrix:` becomes named runs."""

import itertools

import pytest
from mindtune.cli import UserError
from mindtune.config import ROOT, merge, read_files, read_schema, resolve
from mindtune.variants import variants

DEMO = read_files([ROOT / "config/config.yaml", ROOT / "config/demo.yaml"])
SCHEMA = read_schema()
AXES = {"dataset": ["demo"], "seed": [42, 43, 44], "lora": {"rank": [4, 8]}}


def resolved(**over):
    return resolve(merge(DEMO, over), SCHEMA)


def test_every_combination_is_a_run_that_says_what_it_is():
    runs = resolved(matrix=AXES)["runs"]
    wanted = {
        f"demo-rank{rank}-seed{seed}" for rank, seed in itertools.product((4, 8), AXES["seed"])
    }
    assert set(runs) == wanted | {"main", "seed43"}
    assert runs["demo-rank8-seed44"] == {"dataset": "demo", "lora": {"rank": 8}, "seed": 44}


def test_a_value_more_renames_no_run():
    more = AXES | {"seed": [41, 43, 42, 44], "lora": {"rank": [16, 8, 4]}}
    few, many = resolved(matrix=AXES)["runs"], resolved(matrix=more)["runs"]
    assert few.items() <= many.items()


def test_null_takes_out_a_combination_an_axis_or_all():
    runs = resolved(matrix=AXES, runs={"demo-rank4-seed43": None})["runs"]
    assert "demo-rank4-seed43" not in runs and "demo-rank4-seed42" in runs
    runs = resolved(matrix=AXES | {"lora": None})["runs"]
    assert "demo-seed42" in runs and not any("rank" in name for name in runs)
    assert set(resolved(matrix=None)["runs"]) == {"main", "seed43"}


def test_what_is_resolved_resolves_to_itself():
    """An archive holds the resolved configuration, and a start takes it again."""
    once = resolved(matrix=AXES)
    again = resolve({key: part for key, part in once.items() if key != "suites"}, SCHEMA)
    assert again["runs"] == once["runs"] and again["matrix"] is None


@pytest.mark.parametrize(
    ("value", "name"),
    [(1.0e-4, "1e-4"), (0.00015, "15e-5"), (0.1, "1e-1"), (1.0e-3, "1e-3")],
)
def test_a_rate_is_a_name_without_dots_however_it_is_written(value, name):
    assert (
        f"demo-learning_rate{name}"
        in resolved(matrix={"dataset": ["demo"], "learning_rate": [value]})["runs"]
    )


def test_lists_and_switches_are_values_too():
    matrix = {"dataset": ["demo"], "packing": [True, False],
              "lora": {"target_modules": [["q_proj"], ["q_proj", "v_proj"]]}}  # fmt: skip
    runs = resolved(matrix=matrix)["runs"]
    assert len(runs) == 2 + 4 and sum("packingtrue" in name for name in runs) == 2


@pytest.mark.parametrize(
    ("over", "words"),
    [
        ({"matrix": {"seed": [1]}}, "matrix lacks dataset"),
        ({"matrix": AXES | {"sed": [1]}}, "the nearest known key is seed"),
        ({"matrix": AXES | {"seed": 1}}, "matrix.seed is 1 and should be a list"),
        ({"matrix": AXES | {"seed": []}}, "matrix.seed is []"),
        ({"matrix": AXES | {"seed": [1, 1]}}, "makes the run demo-rank4-seed1 twice"),
        ({"matrix": AXES | {"seed": [1.5]}}, "matrix.seed.0 is 1.5 and should be an integer"),
        ({"matrix": AXES | {"dataset": ["demoo"]}}, "'demoo' is not among datasets"),
        ({"matrix": AXES | {"seed": list(range(6000))}}, "makes 12,000 runs"),
        ({"matrix": AXES | {"max_length": [512]}}, "config key matrix.max_length"),
        ({"matrix": [1]}, "matrix is [1] and should be a mapping"),
        ({"matrix": AXES, "runs": {"demo-rank4-seed42": {"dataset": "demo"}}}, "rename it"),
        (
            {
                "matrix": AXES
                | {
                    "warmup_ratio": [0.125],
                    "learning_rate": [1.25e-4],
                    "epochs": [1],
                    "grad_accumulation": [4],
                }
            },
            "and may have 64",
        ),
    ],
)
def test_a_wrong_matrix_is_one_sentence(over, words):
    with pytest.raises(UserError) as error:
        resolved(**over)
    assert words in str(error.value) and "\n" not in str(error.value)


def test_the_dev_loss_chooses_among_runs_of_one_dataset():
    assert resolved(export={"run": {"lowest": "dev_loss"}})["export"]["run"] == {
        "lowest": "dev_loss"
    }
    both = {"runs": {"other": {"dataset": "mh"}}, "data": {"accept_unlicensed": ["mh"]}}
    with pytest.raises(UserError, match="train on several datasets"):
        resolved(export={"run": {"lowest": "dev_loss"}}, **both)
    with pytest.raises(UserError, match="export.run.lowest is 'loss'"):
        resolved(export={"run": {"lowest": "loss"}})


def test_runs_that_differ_by_their_seed_alone_are_one_variant():
    config = resolved(matrix=AXES, runs={"main": None, "seed43": None}, export={
        "run": "demo-rank8-seed42"})  # fmt: skip
    found = variants(config)
    assert {run: about["variant"] for run, about in found.items()} == {
        run: f"rank {run[len('demo-rank')]}" for run in config["runs"]
    }
    assert {about["seed"] for about in found.values()} == {42, 43, 44}
    assert {about["variant"] for about in variants(resolved()).values()} == {"all runs"}


def test_what_decides_nothing_makes_no_variant():
    config = resolved(runs={"seed43": {"logging_steps": 7}})
    assert len({about["variant"] for about in variants(config).values()}) == 2
    assert len({v["variant"] for v in variants(config, ["logging_steps"]).values()}) == 1
