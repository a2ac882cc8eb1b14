"""Runs, datasets and overlays in the configuration."""

import pytest
from mindtune.cli import UserError
from mindtune.config import merge, read_files, resolve, run_settings
from test_config import CONFIG, DEMO, SCHEMA, SEED, edited


def test_run_overrides_only_itself():
    config = resolve(edited(DEMO, "runs.rank16", {"dataset": "demo", "lora": {"rank": 16}}), SCHEMA)
    assert run_settings(config, "rank16")["lora"] == {
        **run_settings(config, "main")["lora"],
        "rank": 16,
    }
    assert run_settings(config, "main")["lora"]["rank"] == 8


def test_a_dataset_that_no_run_uses_needs_no_licence():
    resolve(
        edited(SEED, "datasets.other", {"source": "local", "path": "x", "licence": "none"}), SCHEMA
    )


def test_an_overlay_removes_a_run_and_a_dataset():
    overlay = {"runs": {"main": None}, "datasets": {"mh": None}, "export": {"run": "seed43"}}
    config = resolve(
        merge(
            merge(DEMO, overlay),
            {"data": {"accept_unlicensed": []}, "export": {"accept_unpinned": []}},
        ),
        SCHEMA,
    )
    assert list(config["runs"]) == ["seed43"] and list(config["datasets"]) == ["demo"]
    with pytest.raises(UserError, match="export.run is 'main', which is not among runs"):
        resolve(merge(DEMO, {"runs": {"main": None}}), SCHEMA)
    with pytest.raises(UserError, match="runs"):
        resolve(merge(DEMO, {"runs": {"main": None, "seed43": None}}), SCHEMA)


def test_what_is_null_by_meaning_stays():
    assert (
        resolve(edited(DEMO, "evaluate.dialogue.max_dialogues", None), SCHEMA)["evaluate"][
            "dialogue"
        ]["max_dialogues"]
        is None
    )


def test_arguments_lie_over_files_and_hold_numbers(tmp_path):
    (tmp_path / "a.yaml").write_text("train: {lora: {rank: 8, alpha: 32}, seed: 1}\n")
    (tmp_path / "b.json").write_text('{"train": {"seed": 2}}')
    files = [tmp_path / "a.yaml", tmp_path / "b.json"]
    config = read_files(
        files, ["train={lora: {rank: 4}, learning_rate: 1.0e-4}", "export={run: 心}"]
    )
    assert config["train"] == {"lora": {"rank": 4, "alpha": 32}, "seed": 2, "learning_rate": 1.0e-4}
    assert config["export"] == {"run": "心"}
    with pytest.raises(UserError, match="--config train line 1 has the key 'seed' again"):
        read_files(files, ["train={seed: 1, seed: 2}"])
    (tmp_path / "list.yaml").write_text("- a\n")
    with pytest.raises(UserError, match=r"list\.yaml is no mapping"):
        read_files([tmp_path / "list.yaml"])


def test_the_example_gates_fit_and_a_gate_that_names_no_suite_does_not():
    overlay = read_files([CONFIG / "config.yaml", CONFIG / "gates.yaml"], [])
    gates = resolve(overlay, SCHEMA)["gates"]
    assert gates["knowledge.accuracy"] == {
        "max_loss": 0.05,
        "better": None,
        "level": 0.95,
        "min_items": 0,
        "if_missing": "not_certified",
    }
    for wrong in ({"accuracy": {"max_loss": 0.05}}, {"knowledge.accuracy": {"max_los": 0.05}}):
        with pytest.raises(UserError, match="gates"):
            resolve(overlay | {"gates": wrong}, SCHEMA)
