"""What is trained, merged, proven and exported is what was fetched and trained: a change in
between is refused, not proven.
"""

import json
import subprocess
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from mindtune.records import sha256_path
from mindtune.train.state import drop_unproven, unproven
from mindtune.train.trainer_process import watch_inputs
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
