"""What the data stage does only where it is asked to, perplexity and paraphrases: which jobs that
adds, what an edit reruns, and that nothing of it is planned otherwise.
"""

import json
import shutil

import pytest
from conftest import copy_of_the_workflow
from planning import snakemake
from test_reruns import followers  # noqa: F401 (a fixture)

PERPLEXITY = {"data": {"perplexity": True}}


def encoder_of(project):
    """A folder that stands for an encoder, beside the workflow."""
    folder = project.root / "编码"
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


def sought(folder, **more):
    """The configuration that looks for paraphrases."""
    return {"data": {"split": {"paraphrases": {"path": str(folder), **more}}}}


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """A finished project that measures perplexity and looks for paraphrases, and its edit."""
    project = copy_of_the_workflow(tmp_path_factory.mktemp("asked"))
    edit = {"data": {**PERPLEXITY["data"], **sought(encoder_of(project))["data"]}}
    project.edit.write_text(json.dumps(edit), encoding="utf-8")
    project.finish()
    return project, edit


def with_split(edit, **more):
    return {"data": {**edit["data"], "split": {**edit["data"]["split"], **more}}}


def but_the_graph(rules):
    return rules - {"draw_rulegraph"}


def test_perplexity_adds_a_job_and_a_line_of_the_data_sheet(project, followers):  # noqa: F811
    wanted = {"measure_perplexity"} | but_the_graph(followers({"write_datasheet"}))
    assert but_the_graph(project.planned(PERPLEXITY)) == wanted
    assert "train_lora" not in wanted and "split_dialogues" not in wanted


def test_an_encoder_adds_a_job_and_the_split_follows(project, followers):  # noqa: F811
    folder = encoder_of(project)
    try:
        planned = but_the_graph(project.planned(sought(folder)))
    finally:
        shutil.rmtree(folder)
    assert planned == {"find_paraphrases"} | but_the_graph(followers({"split_dialogues"}))


def test_what_was_asked_for_is_made_once(asked):
    project, edit = asked
    assert project.planned(edit) == set()


def test_another_seed_of_the_split_measures_and_embeds_nothing_again(asked):
    project, edit = asked
    planned = project.planned(with_split(edit, seed=7))
    assert "split_dialogues" in planned and "find_paraphrases" not in planned
    # the demo's base model is taught on the training side, so that here it is another one
    assert "build_demo_model" in planned and "measure_perplexity" in planned


def test_another_threshold_or_another_byte_of_the_encoder_looks_again(asked):
    project, edit = asked
    told = edit["data"]["split"]["paraphrases"]
    again = project.planned(with_split(edit, paraphrases={**told, "threshold": 0.8}))
    assert {"find_paraphrases", "split_dialogues"} <= again and "clean_dialogues" not in again
    weights = project.root / "编码/model.safetensors"
    weights.write_bytes(b"others!")
    try:
        again = project.planned(edit)
    finally:
        weights.write_bytes(b"weights")
    assert {"find_paraphrases", "split_dialogues"} <= again and "clean_dialogues" not in again


def test_a_template_of_another_model_measures_again(asked):
    project, edit = asked
    planned = project.planned({**edit, "model": {"template": "qwen3"}})
    assert "measure_perplexity" in planned and "find_paraphrases" not in planned


def test_a_folder_that_is_not_there_stops_the_plan(project):
    project.edit.write_text(json.dumps(sought("没有/这里")), encoding="utf-8")
    try:
        status, output = snakemake(*project.command("--dry-run"))
    finally:
        project.edit.write_text("{}", encoding="utf-8")
    assert status != 0 and "config key data.split.paraphrases.path is '没有/这里'" in output
