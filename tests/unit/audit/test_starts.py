"""A start's record: with which code, configuration and machine what was made."""

import json
import os
import subprocess

import pytest
from mindtune.audit import starts
from mindtune.made import metadata_path
from mindtune.records import read_json, seal, sha256_file, write_record

CONFIG = {"runs": {"main": {"dataset": "病"}}}


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A working directory inside a repository with one commit."""
    git = ["git", "-C", tmp_path, "-c", "user.name=A", "-c", "user.email=a@b.c"]
    (tmp_path / "program.py").write_text("print(1)\n", encoding="utf-8")
    (tmp_path / ".gitignore").write_text("work/\n", encoding="utf-8")
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "One"]):
        subprocess.run([*git, *words], check=True)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


def make(stage, text="1"):
    """What a job leaves: an output, its record, and Snakemake's notes."""
    output, record = f"results/tables/{stage}.md", f"results/tables/{stage}.json"
    os.makedirs("results/tables", exist_ok=True)
    with open(output, "w", encoding="utf-8") as stream:
        stream.write(text)
    write_record(record, stage, inputs=(), outputs=[output], params={}, facts={"text": text})
    for name in (output, record):
        metadata_path(name).parent.mkdir(parents=True, exist_ok=True)
        metadata_path(name).write_text("{}", encoding="utf-8")
    return record


def all_records():
    paths = ["results/tables/one.json", "results/tables/two.json"]
    paths += [f"results/starts/000{number}.json" for number in (1, 2, 3)]
    return {path: read_json(path) for path in paths if os.path.isfile(path)}


def test_a_start_says_what_it_worked_with_and_what_it_made(work):
    (work / "program.py").write_text("print(2)\n", encoding="utf-8")
    path = starts.begin(CONFIG, work, "9.27.1")
    record = make("one")
    starts.end(path, True)
    found = read_json(path)
    facts = found["facts"]
    head = subprocess.run(["git", "-C", work, "rev-parse", "HEAD"], capture_output=True, text=True)
    assert facts["commit"] == head.stdout.strip() and len(facts["uncommitted_sha256"]) == 64
    assert facts["snakemake"] == "9.27.1" and facts["host"]["name"] and facts["host"]["cores"]
    assert facts["made"] == {record: sha256_file(record)} and facts["succeeded"] is True
    assert found["params"] == CONFIG and found["seal"] == seal(found)


def test_code_without_a_commit_and_without_changes_says_nothing_of_them(work, tmp_path):
    assert "uncommitted_sha256" not in read_json(starts.begin(CONFIG, work, "9"))["facts"]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    facts = read_json(starts.begin(CONFIG, elsewhere, "9"))["facts"]
    assert "commit" not in facts
    assert "code without a commit" in starts.in_words("x", {"facts": facts})


def test_a_record_belongs_to_the_last_start_that_made_it(work):
    first = starts.begin(CONFIG, work, "9")
    make("one"), make("two")
    starts.end(first, True)
    second = starts.begin(CONFIG, work, "9")
    make("two", "2")
    starts.end(second, False)
    assert starts.starts_of(all_records()) == {
        "results/tables/one.json": first.as_posix(),
        "results/tables/two.json": second.as_posix(),
    }


def test_a_killed_start_is_told_from_what_it_left(work):
    killed = starts.begin(CONFIG, work, "9")
    record = make("one")
    assert starts.starts_of(all_records()) == {record: killed.as_posix()}  # still at work
    starts.begin(CONFIG, work, "9")
    facts = read_json(killed)["facts"]
    assert facts["succeeded"] is None and facts["ended"] == "unknown"
    assert facts["made"] == {record: sha256_file(record)}


def test_a_record_that_changed_since_belongs_to_no_start(work):
    path = starts.begin(CONFIG, work, "9")
    record = make("one")
    starts.end(path, True)
    with open(record, "a", encoding="utf-8") as stream:
        stream.write(" ")
    assert starts.starts_of(all_records()) == {}


def test_an_archive_learns_whether_it_holds_the_text_of_what_was_not_committed(work):
    (work / "program.py").write_text("print(2)\n", encoding="utf-8")
    path = starts.begin(CONFIG, work, "9")
    record = make("one")
    starts.end(path, True)
    state = {"uncommitted_sha256": read_json(path)["facts"]["uncommitted_sha256"]}
    found = starts.starts_behind(all_records(), state)[path.as_posix()]
    assert found["facts"]["made"] == [record] and "name" not in found["facts"]["host"]
    assert found["uncommitted_is_here"]
    assert not starts.starts_behind(all_records(), {})[path.as_posix()]["uncommitted_is_here"]
    json.dumps(found)


def test_starts_are_counted_by_number_and_strange_files_are_none_of_them(work):
    first = starts.begin(CONFIG, work, "9.27.1")
    starts.end(first, True)
    for name in ("9999", "10000"):
        (starts.FOLDER / f"{name}.json").write_bytes(first.read_bytes())
    for name in ("2026-11-28.json", "第一.json", "1a.json"):
        (starts.FOLDER / name).write_text("{}", encoding="utf-8")
    assert starts.begin(CONFIG, work, "9.27.1").name == "10001.json"
