"""What is trained, merged, proven and exported is what was fetched and trained: a change in
between is refused, not proven.
"""

import json
import shutil
import subprocess
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from mindtune.cli import UserError
from mindtune.export.adapter_config import rank_and_alpha
from mindtune.records import sha256_path, write_record
from mindtune.train.state import drop_unproven, unproven
from mindtune.train.trainer_process import watch_inputs
from proven_run import MERGE, export_words, proven_run, run_program, verify_words
from sealed import write_sealed
from training import KIND, Training, environment, prepare, program, template_of


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return prepare(tmp_path_factory.mktemp("prepared"))


@contextmanager
def changed(path, edit):
    """A file of a shared folder as `edit` leaves it, during the block."""
    content = path.read_bytes()
    try:
        edit(path)
        assert path.read_bytes() != content
        yield
    finally:
        path.write_bytes(content)


def flip_bit(path):
    """The lowest bit of a byte among the values of the last tensor."""
    content = bytearray(path.read_bytes())
    content[-1000] ^= 1
    path.write_bytes(content)


def swap_weights(path):
    """Values in another order: their sum, their histogram and the file's size stay."""
    content = path.read_bytes()
    path.write_bytes(content[:-2000] + content[-1000:] + content[-2000:-1000])


def change_tokens(path):
    """Another id for five tokens of the first dialogue, in a file as datasets writes it."""
    import pyarrow as pa

    with pa.ipc.open_stream(path.read_bytes()) as stream:
        table = stream.read_all()
    rows = table["token_ids"].to_pylist()
    rows[0][:5] = [value ^ 1 for value in rows[0][:5]]
    at, field = table.schema.get_field_index("token_ids"), table.schema.field("token_ids")
    table = table.set_column(at, field, pa.array(rows, field.type))
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)


# ----------------------------------------------------------------------------------------- training


@pytest.mark.parametrize(("file", "edit"), [
    ("model/model.safetensors", flip_bit),
    ("cached/train/data-00000-of-00001.arrow", change_tokens),
    ("cached/val/state.json", lambda path: path.write_bytes(path.read_bytes() + b" ")),
])  # fmt: skip
def test_an_input_that_changed_since_its_record_ends_the_training(prepared, tmp_path, file, edit):
    """One bit of the base, or five token ids of what the trainer reads: no adapter, and no
    checkpoint that counts.
    """
    training = Training(prepared, tmp_path)
    with changed(prepared / file, edit):
        done = training.run()
    assert done.returncode == 2, done.stdout[-2000:] + done.stderr[-2000:]
    said = done.stderr.splitlines()[-1]
    assert (
        said.startswith(f"error: {prepared / Path(file).parts[0]} has SHA-256")
        and "it was changed since" in said
    )
    assert not (tmp_path / "adapter").exists() and not (tmp_path / "record.json").exists()
    state = next((tmp_path / "state").iterdir())
    drop_unproven(state)
    assert not list(state.glob("checkpoint-*")), "what was trained on it may not be gone on from"


def test_a_plan_for_another_cache_is_refused_before_anything_starts(prepared, tmp_path):
    training = Training(prepared, tmp_path)
    plan = json.loads((tmp_path / "plan.json").read_text())
    write_sealed(
        tmp_path / "plan.json",
        "pack_stats",
        inputs=dict.fromkeys(plan["inputs"], "0" * 64),
        facts=plan["facts"],
    )
    done = training.run()
    assert (
        done.returncode == 2
        and "plan.json was made from another" in done.stderr
        and "cached" in done.stderr
    )
    assert not list((tmp_path / "state").glob("*/*"))


def test_with_a_card_the_inputs_are_read_once_the_first_step_is_taken(prepared, tmp_path):
    """Reading 15 GB beside the start would take the disk from the trainer: the first step must not
    come later for it.
    """
    (tmp_path / "steps.jsonl").write_text('{"step": 1}\n')  # of a start before
    args = SimpleNamespace(
        settings={"device": "gpu"}, model=prepared / "model", cached=prepared / "cached",
        made_by=[prepared / "model.json", prepared / "cache.json"],
    )  # fmt: skip
    unproven(tmp_path, 0)
    wrong = []
    with subprocess.Popen(["sleep", "60"]) as trainer:
        thread = threading.Thread(target=watch_inputs(args, tmp_path, wrong), args=[trainer])
        thread.start()
        time.sleep(0.5)
        assert (tmp_path / "unproven.json").is_file(), "no step was taken yet"
        with open(tmp_path / "steps.jsonl", "a") as stream:
            stream.write('{"step": 2}\n')
        thread.join(20)
        assert trainer.poll() is None and not wrong and not (tmp_path / "unproven.json").exists()
        trainer.kill()


def test_the_cached_data_are_the_same_bytes_wherever_they_are_made(prepared, tmp_path):
    """Given the same relative paths, as the rules give them: so the record covers every file of
    the folder.
    """
    hashes = []
    for folder in (tmp_path / "a", tmp_path / "更深" / "b"):
        folder.mkdir(parents=True)
        for name in ("train.jsonl", "dev.jsonl", "model"):
            (folder / name).symlink_to(prepared / name)
        command = program(
            "cache_dataset.py", "--train", "train.jsonl", "--dev", "dev.jsonl", "--tokenizer",
            "model", "--model", template_of(KIND),
            "--settings", json.dumps({"max_length": 256}), "--cached", "cached",
            "--record", "cache.json",
        )  # fmt: skip
        subprocess.run(command, cwd=folder, env=environment(), check=True, capture_output=True)
        hashes.append(json.loads((folder / "cache.json").read_text())["outputs"])
        assert str(folder).encode() not in b"".join(
            path.read_bytes() for path in (folder / "cached").rglob("*.*")
        )
    assert hashes[0] == hashes[1] == {"cached": sha256_path(folder / "cached")}


# ---------------------------------------------------------------------------------- merge and proof


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
