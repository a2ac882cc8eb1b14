"""A run on several data sets: which jobs it has, what an edit of its shares reruns, and what of its
settings is refused before a plan.
"""

import json

import pytest
from conftest import copy_of_the_workflow
from mindtune.cli import UserError
from mindtune.config import resolve
from planning import snakemake
from test_reruns import DEMO, SCHEMA

ZH = {**DEMO["datasets"]["demo"], "path": "resources/dialogues/zh.jsonl", "licence": "CC-BY-4.0"}
MIXED = {"runs": {"both": {"dataset": ["zh", "demo"]}}, "datasets": {"zh": ZH}}
OF_THE_RUN = {"order_dialogues", "pack_stats", "train_lora", "merge_adapter", "export_model"}


def with_mix(**mix):
    """The mixture's configuration, its sets in the other order."""
    return {**MIXED, "runs": {"both": {"dataset": ["demo", "zh"], "mix": mix}}}


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """A finished project that has a run on two sets beside those of the demo."""
    project = copy_of_the_workflow(tmp_path_factory.mktemp("mixed"))
    project.edit.write_text(json.dumps(MIXED), encoding="utf-8")
    project.finish()
    return project


def test_a_new_mixture_leaves_what_is_there(project):
    planned = project.planned(MIXED)
    made = {"fetch_dataset", "mix_datasets", "write_mixture_sheet", "cache_dataset", *OF_THE_RUN}
    assert made <= planned
    assert not planned & {"build_demo_model", "build_demo_tokenizer", "publish_export"}


def test_equal_sets_in_another_order_rerun_nothing(mixed):
    assert mixed.planned(with_mix()) == set()


@pytest.mark.parametrize(
    "mix",
    [
        {"weights": {"zh": 2, "demo": 1}},
        {"temperature": 2},
        {"max_tokens": {"demo": 500}},
        {"epochs": {"zh": 2}},
    ],
    ids=lambda mix: next(iter(mix)),
)
def test_shares_are_decided_after_tokenising_and_concern_their_run(mixed, mix):
    planned = mixed.planned(with_mix(**mix))
    assert planned >= OF_THE_RUN
    assert not planned & {
        "clean_dialogues", "split_dialogues", "mix_datasets", "cache_dataset", "write_datasheet",
        "write_mixture_sheet", "generate_base_replies", "publish_export",
    }  # fmt: skip


def test_a_licence_reaches_sheets_and_cards_of_all_that_hold_the_set(mixed):
    planned = mixed.planned({**MIXED, "datasets": {"zh": {**ZH, "licence": "CC0-1.0"}}})
    assert planned >= {"write_datasheet", "write_mixture_sheet", "export_model"}
    assert not planned & {"mix_datasets", "train_lora"}


def test_a_threshold_of_copies_reruns_the_mixture(mixed):
    near = {"data": {"contamination": {"overlap": 0.6}}}
    assert {"split_dialogues", "mix_datasets"} <= mixed.planned({**MIXED, **near})


def test_planted_secrets_are_tokenised_trained_and_asked_for(project):
    planned = project.planned({"data": {"canaries": {"copies": 4}}})
    assert planned >= {"cache_dataset", "train_lora", "prepare_suite", "score_suite"}
    assert not planned & {"split_dialogues", "build_demo_model", "mix_datasets"}
    status, output = snakemake(*project.command("--dry-run"))
    assert status == 0 and "canaries" not in output


@pytest.mark.parametrize(
    ("run", "said"),
    [
        ({"dataset": ["demo", "z"]}, ["'z'", "not among datasets"]),
        ({"dataset": ["demo", "demo"]}, ["runs.both.dataset"]),
        ({"dataset": []}, ["runs.both.dataset"]),
        ({"dataset": "demo", "mix": {"epochs": {"demo": 2}}}, ["has one data set, demo"]),
        ({"mix": {"weights": {"zh": 1}}}, ["nothing of 'demo'"]),
        ({"mix": {"max_tokens": {"mh": 1}}}, ["mix.max_tokens names 'mh'", "demo, zh"]),
        ({"mix": {"weights": {"zh": 0, "demo": 1}}}, ["mix.weights.zh", "0"]),
        ({"mix": {"epochs": {"zh": 0.5}}}, ["mix.epochs.zh"]),
        ({"mix": {"temperatur": 2}}, ["temperatur", "temperature"]),
        (
            {"mix": {"weights": {"zh": 1, "demo": 1}, "temperature": 2}},
            ["mix.weights and", "keep one"],
        ),
    ],
    ids=str,
)
def test_what_contradicts_itself_is_refused_with_one_sentence(run, said):
    config = json.loads(json.dumps(DEMO))
    config["datasets"]["zh"] = ZH
    config["runs"]["both"] = {"dataset": ["zh", "demo"], **run}
    with pytest.raises(UserError) as error:
        resolve(config, SCHEMA)
    assert all(part in str(error.value) for part in said), str(error.value)
