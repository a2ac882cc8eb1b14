"""What was changed after the training is neither merged, proven nor exported."""

import json
import shutil
from pathlib import Path

import pytest
from mindtune.cli import UserError
from mindtune.export.adapter_config import rank_and_alpha
from mindtune.records import write_record
from proven_run import MERGE, export_words, proven_run, run_program, verify_words
from sealed import write_sealed
from test_made_by import flip_bit


def swap_weights(path):
    """Values in another order: their sum, their histogram and the file's size stay."""
    content = path.read_bytes()
    path.write_bytes(content[:-2000] + content[-1000:] + content[-2000:-1000])


@pytest.fixture
def made(tmp_path_factory, tmp_path):
    """A copy of a run up to its proof, with records of its base and its adapter."""
    folder = tmp_path / "run"
    shutil.copytree(proven_run(tmp_path_factory), folder)
    write_record(
        folder / "fetch_model.json",
        "fetch_model",
        inputs=[],
        outputs=[folder / "base"],
        params={},
        facts={},
    )
    lora = {"rank": 4, "alpha": 16}
    write_record(
        folder / "trained.json", "train_lora", inputs=[folder / "base"],
        outputs=[folder / "adapter"],
        params={"method": "lora", "lora": lora}, facts={},
    )  # fmt: skip
    return folder


def merge(made):
    done = run_program(
        "merge_adapter.py", "--base", made / "base", "--adapter", made / "adapter", "--settings",
        MERGE,
        "--made-by", made / "fetch_model.json", made / "trained.json",
        "--merged", made / "merged", "--record", made / "merge_adapter.json",
    )  # fmt: skip
    return done


def verify(made):
    records = [made / name for name in ("fetch_model.json", "trained.json", "merge_adapter.json")]
    return run_program("verify_merge.py", *verify_words(made), "--made-by", *records)


def edit_config(**values):
    def edit(path):
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

    return edit


CHANGES = {
    "a bit of the base": ("base/model.safetensors", flip_bit),
    "the base's weights permuted": ("base/model.safetensors", swap_weights),
    "a bit of the adapter": ("adapter/adapter_model.safetensors", flip_bit),
    "alpha negated": ("adapter/adapter_config.json", edit_config(lora_alpha=-16)),
    "rslora on": ("adapter/adapter_config.json", edit_config(use_rslora=True)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_was_changed_after_training_is_neither_merged_nor_proven(made, change):
    file, edit = CHANGES[change]
    shutil.rmtree(made / "merged")
    edit(made / file)
    done = merge(made)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert "has SHA-256" in done.stderr or "lora_alpha is -16" in done.stderr
    assert not (made / "merged").exists() and not (made / "merged.partial").exists()


def test_a_merge_of_a_changed_base_is_not_proven_either(made):
    """The merge was made by hand, without records: base, adapter and merged fit together, and are
    not what was trained.
    """
    flip_bit(made / "base/model.safetensors")
    flip_bit(made / "adapter/adapter_model.safetensors")
    shutil.rmtree(made / "merged")
    words = ["--base", made / "base", "--adapter", made / "adapter", "--settings", MERGE]
    done = run_program(
        "merge_adapter.py",
        *words,
        "--merged",
        made / "merged",
        "--record",
        made / "merge_adapter.json",
    )
    assert done.returncode == 0, done.stderr
    done = verify(made)
    assert done.returncode == 2 and f"{made / 'base'} has SHA-256" in done.stderr
    assert not (made / "verify.json").exists()


def test_a_torn_file_of_the_merge_names_who_made_it(made):
    """Not the hub, from which nothing of it comes."""
    assert merge(made).returncode == 0
    path = made / "merged/tokenizer_config.json"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    done = verify(made)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    said = f"{made / 'merged'} has SHA-256"
    assert said in done.stderr and f"by {made / 'merge_adapter.json'} the stage" in done.stderr


def test_an_untouched_run_is_merged_proven_and_exported_and_a_wrong_chain_is_not(made):
    assert merge(made).returncode == 0
    done = verify(made)
    assert done.returncode == 0, done.stderr
    words = export_words(made, made.parent)
    at = words.index("--records") + 1
    words[at:at] = [made / "fetch_model.json"]
    done = run_program("export_model.py", *words)
    assert done.returncode == 0, done.stderr
    write_sealed(
        made / "fetch_model.json", "fetch_model", outputs={(made / "base").as_posix(): "0" * 64}
    )
    done = run_program("export_model.py", *words)
    assert done.returncode == 2 and "was made from another" in done.stderr and "base" in done.stderr


@pytest.mark.parametrize("values", [
    {"r": 0}, {"r": -4}, {"r": 4.0}, {"r": True}, {"r": None}, {"lora_alpha": 0},
    {"lora_alpha": -16}, {"lora_alpha": "16"},
    {"lora_alpha": float("nan")}, {"lora_alpha": float("inf")},
])  # fmt: skip
def test_an_adapter_configuration_without_a_scale_is_refused(values):
    assert rank_and_alpha({"r": 4, "lora_alpha": 16}, Path("c.json")) == (4, 16)
    name = next(iter(values))
    with pytest.raises(UserError, match=rf"c\.json: {name} is "):
        rank_and_alpha({"r": 4, "lora_alpha": 16, **values}, Path("c.json"))


def test_a_configuration_that_was_forged_with_its_record_is_not_what_was_trained(made):
    """The record's hashes were brought in line, what it says of the settings was not."""
    edit_config(lora_alpha=32)(made / "adapter/adapter_config.json")
    write_record(
        made / "trained.json", "train_lora", inputs=[], outputs=[made / "adapter"],
        params={"method": "lora", "lora": {"rank": 4, "alpha": 16}}, facts={},
    )  # fmt: skip
    shutil.rmtree(made / "merged")
    done = merge(made)
    assert (
        done.returncode == 2
        and "lora_alpha is 32, and by" in done.stderr
        and "it was trained with 16" in done.stderr
    )


def test_nan_in_the_base_is_not_blamed_on_the_training(made):
    content = bytearray((made / "base/model.safetensors").read_bytes())
    content[-2:] = b"\xc0\x7f"
    (made / "base/model.safetensors").write_bytes(content)
    write_record(
        made / "fetch_model.json",
        "fetch_model",
        inputs=[],
        outputs=[made / "base"],
        params={},
        facts={},
    )
    assert merge(made).returncode == 0
    done = verify(made)
    assert (
        done.returncode == 2
        and "so does the base itself" in done.stderr
        and "diverged" not in done.stderr
    )
