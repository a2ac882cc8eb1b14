"""What a stage reads is what the stage before it made: files, records, and the chain of them."""

import json
import os
import re
import threading
from pathlib import Path

import pytest
from mindtune import provenance, records
from mindtune.cli import UserError
from mindtune.provenance import (
    check_chain,
    check_inputs,
    hash_inputs,
    hashing_beside,
    read_record,
    read_records,
    recorded_hash,
)
from mindtune.records import copy_file, sha256_file, sha256_files, sha256_path, write_record
from mindtune.train.state import drop_unproven, prove, unproven


@pytest.fixture
def made(tmp_path):
    """A stage's output with a Chinese name and a dash in front, and its record."""
    folder = tmp_path / "-模型 x"
    folder.mkdir()
    (folder / "权重.bin").write_bytes(bytes(range(200)))
    write(tmp_path / "fetch.json", "fetch_model", outputs=[folder])
    return folder


def write(path: Path, stage: str, inputs=(), outputs=(), facts=None) -> Path:
    write_record(
        path, stage, inputs=inputs, outputs=outputs, params={"学习率": 2e-4}, facts=facts or {}
    )
    return path


def test_an_input_as_recorded_passes_and_its_hash_is_given(made):
    record = made.parent / "fetch.json"
    assert hash_inputs([made], [record]) == {made.as_posix(): sha256_path(made)}
    assert recorded_hash(made, [record]) == sha256_path(made)


def test_inputs_are_hashed_beside_the_work_and_a_change_is_the_reason_of_what_fails(
    made, monkeypatch
):
    record, begun = made.parent / "fetch.json", threading.Event()

    def waits(path):
        assert begun.wait(10), "the work waited for the hashes"
        return sha256_path(path)

    monkeypatch.setattr(provenance, "sha256_path", waits)
    with hashing_beside([made], [record]) as hashed:
        begun.set()
        assert hashed() == {made.as_posix(): sha256_path(made)}
    (made / "权重.bin").write_bytes(b"other")
    for work in (lambda hashed: None, lambda hashed: hashed(), lambda hashed: 1 / 0):
        with pytest.raises(UserError, match="fetch_model"), hashing_beside([made], [record]) as got:
            work(got)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_files_of_a_folder_are_hashed_at_once_and_named_in_order(tmp_path, monkeypatch):
    names = [f"{number}.bin" for number in range(20)]
    for name in names:
        (tmp_path / name).write_bytes(name.encode() * 1000)
    wanted = {name: sha256_file(tmp_path / name) for name in sorted(names)}
    both = threading.Barrier(2, timeout=10)

    def waits(path):
        both.wait()
        return sha256_file(path)

    monkeypatch.setattr(records, "sha256_file", waits)
    assert list(sha256_files(tmp_path).items()) == list(wanted.items())
    assert list(sha256_files(tmp_path, ["7.bin", "10.bin"])) == ["7.bin", "10.bin"]


@pytest.mark.parametrize("change", ["bit", "added", "removed", "renamed"])
def test_a_changed_input_is_one_sentence_with_both_hashes_and_what_to_do(made, change):
    file, wanted = made / "权重.bin", sha256_path(made)
    if change == "bit":
        file.write_bytes(bytes([1]) + file.read_bytes()[1:])
    elif change == "added":
        (made / "more.bin").touch()
    elif change == "removed":
        file.unlink()
    else:
        file.rename(made / "b.bin")
    with pytest.raises(UserError) as error:
        hash_inputs([made], [made.parent / "fetch.json"])
    text = str(error.value)
    assert (
        str(made) in text
        and wanted in text
        and sha256_path(made) in text
        and "stage fetch_model" in text
    )
    assert "put it back as it was, or delete it" in text and "\n" not in text


def test_a_record_that_is_about_none_of_the_inputs_is_a_mistake(made):
    other = write(made.parent / "other.json", "train_lora", outputs=[made / "权重.bin"])
    with pytest.raises(UserError, match="none of it is read here"):
        check_inputs({made.as_posix(): sha256_path(made)}, [other])
    with pytest.raises(UserError, match="give the record of the stage that made it"):
        recorded_hash(made, [other])


@pytest.mark.parametrize("edit", [
    lambda text: text.replace("0.5", "0.9"), lambda text: text.replace('"main"', '"ｍain"'),
    lambda text: text.replace("train_lora", "train_lorb"),
    lambda text: re.sub(r'"seal": ".', '"seal": "x', text),
])  # fmt: skip
def test_a_record_that_was_edited_is_refused(tmp_path, edit):
    path = write(
        tmp_path / "scores.json", "train_lora", facts={"BLEU": 0.5, "run": "main", "空": [1, None]}
    )
    assert read_record(path)["facts"]["BLEU"] == 0.5
    text = path.read_text(encoding="utf-8")
    assert edit(text) != text
    path.write_text(edit(text), encoding="utf-8")
    with pytest.raises(UserError, match=r"scores\.json is not as train_lor[ab] wrote it"):
        read_record(path)


def test_a_record_written_another_way_says_the_same(tmp_path):
    """What it says is sealed, not its spaces; numbers and keys are compared as they are read
    back.
    """
    path = write(
        tmp_path / "a.json",
        "s",
        facts={"float": 1e-7, "list": (1, 2), "by number": {10: "ten", 9: "nine"}},
    )
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8"))), encoding="utf-8")
    assert read_record(path)["facts"]["by number"]["9"] == "nine"


def test_what_a_record_does_not_say_is_one_sentence_at_any_depth(tmp_path):
    facts = {"counts": [{"asked": 3}], "套": {"空": None}}
    record = read_record(write(tmp_path / "scores.json", "score_suite", facts=facts))
    assert record["facts"]["counts"][0]["asked"] == 3 and record["facts"].get("suite") is None
    for ask in (
        lambda: record["facts"]["suite"],
        lambda: record["facts"]["counts"][0]["suite"],
        lambda: record["facts"]["套"]["suite"],
    ):
        with pytest.raises(UserError, match=r"scores\.json, facts.*: there is no 'suite'"):
            ask()


def test_json_that_is_no_record_is_refused(tmp_path):
    for text in ("{}", "[]", "3", '{"stage": "a", "inputs": {}}'):
        (tmp_path / "a.json").write_text(text)
        with pytest.raises(UserError, match=r"a\.json is no stage record: '\w+' is missing"):
            read_record(tmp_path / "a.json")


def test_a_chain_holds_or_names_who_read_something_else(made):
    one = write(made.parent / "b.json", "merge", inputs=[made], outputs=[])
    check_chain(read_records([one, made.parent / "fetch.json"]))
    (made / "权重.bin").write_bytes(b"")
    two = write(made.parent / "c.json", "verify", inputs=[made])
    with pytest.raises(UserError, match=r"c\.json was made from another .*-模型 x"):
        check_chain(read_records([one, two, made.parent / "fetch.json"]))
    with pytest.raises(UserError, match=r"was made from another"):
        check_chain(read_records([one, two]))


def test_a_record_that_was_made_again_breaks_the_chain_of_who_read_it(tmp_path):
    first = write(tmp_path / "stats.json", "pack_stats", facts={"steps": 3})
    second = write(tmp_path / "train.json", "train_lora", inputs=[first])
    check_chain(read_records([first, second]))
    write(first, "pack_stats", facts={"steps": 4})
    with pytest.raises(UserError, match=r"train\.json was made from another .*stats\.json"):
        check_chain(read_records([first, second]))


def test_a_copy_shares_nothing_that_is_written_later(tmp_path):
    (tmp_path / "原.bin").write_bytes(bytes(100_000))
    copy_file(tmp_path / "原.bin", tmp_path / "b.bin")
    assert (tmp_path / "b.bin").read_bytes() == bytes(100_000)
    with open(tmp_path / "原.bin", "r+b") as stream:
        stream.write(b"x")
    assert (tmp_path / "b.bin").read_bytes() == bytes(100_000)
    copy_file(tmp_path / "原.bin", tmp_path / "b.bin")
    assert (tmp_path / "b.bin").read_bytes()[:1] == b"x"


def test_checkpoints_of_an_unproven_training_are_dropped_and_older_ones_kept(tmp_path):
    for step in (2, 4, 10):
        (tmp_path / f"checkpoint-{step}").mkdir()
    (tmp_path / "checkpoint-last").mkdir()
    drop_unproven(tmp_path)
    assert len(list(tmp_path.glob("checkpoint-*"))) == 4, "nothing was said to be unproven"
    unproven(tmp_path, 4)
    drop_unproven(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "checkpoint-2",
        "checkpoint-4",
        "checkpoint-last",
    }
    unproven(tmp_path, 2)
    prove(tmp_path)
    drop_unproven(tmp_path)
    assert (tmp_path / "checkpoint-4").is_dir()
