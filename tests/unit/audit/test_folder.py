"""make audit on results made by hand: every kind of change is found, and a clean folder raises no
alarm.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from mindtune.audit.folder import find_records, missing_notes, record_of
from mindtune.records import write_record

PROGRAM = Path(__file__).resolve().parents[3] / "scripts/tools/audit.py"


@pytest.fixture
def work(tmp_path, monkeypatch):
    """Four stages over a file of the user, and a name in Chinese."""
    monkeypatch.chdir(tmp_path)
    Path("源.jsonl").write_text("原始\n")
    for name in (
        "results/base/model/w.bin",
        "results/runs/甲/adapter/a.bin",
        "results/runs/甲/merged/m.bin",
        "results/runs/甲/export/e.bin",
    ):
        Path(name).parent.mkdir(parents=True)
        Path(name).write_bytes(name.encode() * 100)
    files = {"files": {"w.bin": "0" * 64}}
    record("base/fetch_model", ["源.jsonl"], ["results/base/model"], files)
    record("runs/甲/train_lora", ["results/base/model"], ["results/runs/甲/adapter"])
    record(
        "runs/甲/merge_adapter",
        ["results/base/model", "results/runs/甲/adapter"],
        ["results/runs/甲/merged"],
    )
    record(
        "runs/甲/export_model",
        ["results/runs/甲/merged", "results/runs/甲/merge_adapter.json"],
        ["results/runs/甲/export"],
    )
    record("runs/甲/smoke", ["results/runs/甲/export"], [])
    Path("results/runs/甲/export/.snakemake_timestamp").touch()
    return tmp_path


def record(name, inputs, outputs, facts=None):
    path = Path(f"results/{name}.json")
    write_record(path, path.stem, inputs=inputs, outputs=outputs, params={}, facts=facts or {})


def run(*words, folder="."):
    """(exit status, {path: what is said}, everything printed)."""
    command = [sys.executable, "-S", str(PROGRAM), "--workdir", str(folder), *words]
    done = subprocess.run(command, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin"})
    lines = [line for line in done.stdout.splitlines() if line[11:13] == "  "]
    return (
        done.returncode,
        {line[13:].split("  (")[0]: line[:11].strip() for line in lines},
        done.stdout + done.stderr,
    )


def wrong(said):
    return {
        path: status for path, status in said.items() if status not in ("as recorded", "not here")
    }


def test_a_clean_folder_raises_no_alarm_here_and_in_another_place(work, tmp_path_factory):
    status, said, output = run()
    assert status == 0 and wrong(said) == {}, output
    assert said["源.jsonl"] == "as recorded"
    elsewhere = tmp_path_factory.mktemp("克隆 b")
    subprocess.run(["cp", "-r", "results", elsewhere], check=True)
    status, said, output = run(folder=elsewhere)
    assert status == 0 and said["源.jsonl"] == "not here", output


@pytest.mark.parametrize("path", ["data/甲/crisis.jsonl", "suites/考试/raw"])
def test_an_output_without_its_record_is_called_by_that(work, path):
    """A data set's list of crises, and the questions of a suite from a hub."""
    output = f"results/{path}"
    found = record_of(output)
    Path(output).parent.mkdir(parents=True)
    Path(output).write_text("自杀")
    record(found.removeprefix("results/").removesuffix(".json"), [], [output])
    assert run()[0] == 0
    Path(output).write_text("改")
    assert run()[1][output] == "changed"
    Path(found).unlink()
    assert f"its record {found} is missing" in run()[2]


@pytest.mark.parametrize(("damage", "path", "status"), [
    ("printf x >> results/base/model/w.bin", "results/base/model", "changed"),
    ("touch results/base/model/more.safetensors", "results/base/model", "changed"),
    ("rm results/runs/甲/adapter/a.bin", "results/runs/甲/adapter", "changed"),
    ("rm -r results/runs/甲/adapter", "results/runs/甲/adapter", "missing"),
    ("rm -r results/runs/甲/export", "results/runs/甲/export", "missing"),
    ("rm -r results/runs/甲/merged", "results/runs/甲/merged", "missing"),
    ("sed -i s/env/Env/ results/runs/甲/smoke.json", "results/runs/甲/smoke.json", "changed"),
    ("rm results/base/fetch_model.json", "results/base/model", "unknown"),
    ("rm results/runs/甲/merge_adapter.json", "results/runs/甲/merge_adapter.json", "missing"),
    ("rm results/runs/甲/export_model.json", "results/runs/甲/export/e.bin", "unknown"),
    ("cp 源.jsonl results/runs/甲/偷.jsonl", "results/runs/甲/偷.jsonl", "unknown"),
    ("printf x >> 源.jsonl", "results/base/fetch_model.json", "stale"),
])  # fmt: skip
def test_every_kind_of_change_is_found(work, damage, path, status):
    subprocess.run(["bash", "-c", damage], check=True)
    code, said, output = run()
    assert code == 2 and said[path] == status, output
    assert output.count("error: ") == 1 and "not as recorded" in output


def test_a_stage_made_again_leaves_what_was_made_from_the_old_one_stale(work):
    """The export of defect 2: a new adapter, merged and proven, and yesterday's export."""
    Path("results/runs/甲/adapter/a.bin").write_bytes(b"rank 4")
    record("runs/甲/train_lora", ["results/base/model"], ["results/runs/甲/adapter"])
    code, said, output = run()
    assert code == 2 and said["results/runs/甲/merge_adapter.json"] == "stale", output
    assert "it was made from another results/runs/甲/adapter" in output


def test_a_record_written_by_an_older_version_is_not_taken_on_trust(work):
    path = Path("results/runs/甲/smoke.json")
    data = json.loads(path.read_text(encoding="utf-8"))
    del data["seal"]
    path.write_text(json.dumps(data), encoding="utf-8")
    code, said, output = run()
    assert code == 2 and said[str(path)] == "changed" and "it has no seal" in output


def test_quick_reads_what_changed_and_says_what_it_did_not_read(work):
    assert run()[0] == 0
    assert "read 0 of " in run("--quick")[2]
    file = work / "results/base/model/w.bin"
    before = file.stat()
    file.write_bytes(b"y" + file.read_bytes()[1:])
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    code, said, output = run("--quick")
    assert code == 2 and said["results/base/model"] == "changed", (
        "the time of change of the inode cannot be set back"
    )
    assert "read 1 of " in output


def test_names_cannot_move_the_cursor_of_a_terminal(work):
    Path("results/x\n\x1b[32mas recorded  y").touch()
    output = run()[2]
    assert "\x1b" not in output and "\\x1b[32m" in output


def test_no_results_and_torn_records_are_one_sentence(work):
    assert (
        run(folder="results")[0] == 2
        and "give the folder in which results/ lies" in run(folder="results")[2]
    )
    Path("results/runs/甲/smoke.json").write_text('{"stage": "烟')
    code, _, output = run()
    assert (
        code == 2
        and "results/runs/甲/smoke.json is not whole JSON" in output
        and "Traceback" not in output
    )


def test_what_is_missing_is_named_at_the_start_with_how_to_make_it(work):
    assert missing_notes(find_records()) == []
    Path("results/base/fetch_model.json").unlink()
    Path("results/runs/甲/adapter/a.bin").unlink()
    Path("results/runs/甲/adapter").rmdir()
    notes = missing_notes(find_records())
    assert [note.split(" is missing")[0] for note in notes] == [
        "results/base/fetch_model.json",
        "results/runs/甲/adapter",
    ]
    assert all("snakemake [your options] results/" in note for note in notes)


def test_a_whole_run_that_was_deleted_is_no_complaint(work):
    subprocess.run(["rm", "-r", "results/runs/甲"], check=True)
    assert missing_notes(find_records()) == []
