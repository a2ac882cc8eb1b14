"""An archive holds what it should and nothing of the machine, is the same byte for byte, and no
byte of it can change unseen.
"""

import json
import os
import random
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from archived import CONFIG, SECRET, archive, finished_run
from deploy.verify_archive import check
from mindtune.audit.bom import bill
from mindtune.audit.contents import reason_to_withhold, with_data
from mindtune.audit.starts import begin, end

PROGRAM = Path(__file__).resolve().parents[3] / "scripts/deploy/verify_archive.py"


@pytest.fixture
def work(tmp_path, monkeypatch):
    (tmp_path / "code/demo").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "code/demo")
    return finished_run(tmp_path)


@pytest.fixture
def made(work, tmp_path):
    done, path = archive(tmp_path)
    assert done.returncode == 0, done.stderr
    return path


def read(path):
    with zipfile.ZipFile(path) as zipped:
        return {name: zipped.read(name) for name in zipped.namelist()}


def test_it_opens_with_python_alone_and_says_what_is_in_it(made):
    command = [sys.executable, "-S", "-I", str(PROGRAM), str(made)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("complete: "), done.stdout
    digest = done.stdout.split()[-1]
    assert subprocess.run([*command, "--expect", digest], stdout=subprocess.DEVNULL).returncode == 0
    assert (
        subprocess.run([*command, "--expect", "0" * 64], stdout=subprocess.DEVNULL).returncode == 1
    )
    files = read(made)
    manifest = json.loads(files["manifest.json"])
    assert manifest["files"].keys() == files.keys() - {"manifest.json"}
    assert {
        "config.json",
        "README.md",
        "verify_archive.py",
        "code/scripts/train_lora.py",
    } <= files.keys()
    assert (
        files["results/data/数据/clean.jsonl"] == Path("results/data/数据/clean.jsonl").read_bytes()
    )
    # weights are named by hash
    assert list(manifest["withheld"]) == ["results/runs/main/adapter"]
    record = json.loads(Path("results/runs/main/train_lora.json").read_text())
    assert (
        manifest["withheld"]["results/runs/main/adapter"]["sha256"]
        == (record["outputs"]["results/runs/main/adapter"])
    )
    assert not any("adapter/" in name for name in files)


def test_the_starts_behind_the_results_are_in_it_without_the_machine_s_name(
    work, tmp_path, monkeypatch
):
    monkeypatch.setattr("platform.node", lambda: "gpu-node-7")
    start = begin(CONFIG, tmp_path / "code", "9.27.1")
    for note in Path(".snakemake/metadata").rglob("*"):
        os.utime(note)
    end(start, True)
    done, path = archive(tmp_path)
    assert done.returncode == 0, done.stderr
    files = read(path)
    found = json.loads(files["starts.json"])[start.as_posix()]
    assert found["facts"]["snakemake"] == "9.27.1" and found["facts"]["host"]["cores"]
    assert "results/runs/main/train_lora.json" in found["facts"]["made"]
    assert not any(b"gpu-node-7" in content for content in files.values())
    # whole, and compared with nothing when the run is made again
    assert start.as_posix() not in files


def test_nothing_of_the_machine_is_in_it(made, work):
    for name, content in read(made).items():
        text = content.decode("utf-8", errors="replace")
        for found in (str(work), str(work.parent), SECRET, "/scratch/li", "a@b.org"):
            assert found not in text, f"{name} holds {found}"
    log = read(made)["logs/train_lora.log"].decode()
    assert log.startswith("read <work>/results\nuse <secret>\n<path>/file.txt\n"), log


def test_equal_results_give_equal_bytes(made, tmp_path):
    before = made.read_bytes()
    for path in Path("results").rglob("*"):
        os.utime(path, (1e9, 1e9))
    done, again = archive(tmp_path)
    assert done.returncode == 0 and again.read_bytes() == before


def test_every_byte_counts(made, tmp_path):
    whole, chance, copy = made.read_bytes(), random.Random(7), tmp_path / "copy.zip"
    end = len(whole) - 400  # the directory's end and the hash, of which every byte is tried
    for place in [*chance.sample(range(end), 300), *range(end, len(whole))]:
        changed = bytearray(whole)
        changed[place] ^= chance.randrange(1, 256)
        copy.write_bytes(changed)
        assert check(copy)[0], f"byte {place} of {len(whole)}"
    for cut in (0, 1, 100, len(whole) // 2, len(whole) - 1):
        copy.write_bytes(whole[:cut])
        assert check(copy)[0], f"cut at {cut}"
    copy.write_bytes(whole + b"x")
    assert check(copy)[0]


def test_data_goes_in_by_licence_or_by_choice(work, tmp_path):
    assert with_data("auto", ["CC0-1.0", "cc-by-4.0"]) and with_data("full", ["unknown"])
    assert not with_data("auto", ["CC0-1.0", "unknown"]) and not with_data("hashes", ["CC0-1.0"])
    assert not with_data("auto", ["cc-by-nc-4.0"]) and not with_data("auto", ["CC-BY-ND-4.0"])
    done, path = archive(tmp_path, data="hashes", weights="adapter")
    assert done.returncode == 0, done.stderr
    files = read(path)
    manifest = json.loads(files["manifest.json"])
    assert list(manifest["withheld"]) == ["results/data/数据/clean.jsonl"]
    assert "甲" not in files["results/data/数据/clean_dialogues.json"].decode()
    assert "results/runs/main/adapter/adapter.safetensors" in files


@pytest.mark.parametrize("path", [
    "results/data/数据/raw", "results/data/数据/crisis.jsonl",
    "results/data/数据/contamination.jsonl",
    "results/data/数据/cached", "results/runs/main/cached", "results/suites/考试/raw",
    "results/prompts/数据/dialogue.jsonl", "results/base/replies/数据/dialogue.jsonl",
    "results/judge/answers.jsonl",
    "results/runs/main/replies/crisis.jsonl", "results/raters/main/send",
    "results/raters/main/key.json",
    "results/base/baselines/数据/prompted/crisis.jsonl", "results/base/conversations/数据.jsonl",
    "results/tables/raters.jsonl", "results/runs/main/conversations.jsonl",
    "results/whatever/comes/next.jsonl",
])  # fmt: skip
def test_no_file_with_texts_of_dialogues_goes_in_without_leave(path):
    assert reason_to_withhold(path, "main", False, "none")


@pytest.mark.parametrize("path", [
    "results/prompts/数据/dialogue.json", "results/runs/main/items/dialogue.parquet",
    "results/base/letters/数据/knowledge.jsonl", "results/tables/worse.md",
])  # fmt: skip
def test_numbers_and_records_go_in(path):
    assert not reason_to_withhold(path, "main", False, "none")


def test_what_is_archived_of_a_configuration_can_be_started_again(work, tmp_path):
    """Suites are files of the code; a suite with data of its own has a licence of its own."""
    start = json.loads(Path("start.json").read_text())
    suites = {
        "dialogue": {"source": "split", "licence": "that of the data set"},
        "考试": {"source": "user", "licence": "all rights reserved"},
    }
    start["config"]["suites"] = suites
    Path("start.json").write_text(json.dumps(start))
    done, path = archive(tmp_path)
    assert done.returncode == 0, done.stderr
    files = read(path)
    assert json.loads(files["config.json"]) == CONFIG
    assert "results/data/数据/clean.jsonl" in json.loads(files["manifest.json"])["withheld"]
    assert "all rights reserved" in files["README.md"].decode()


@pytest.mark.parametrize("path", ["results/runs/main/history.csv", "results/data/数据/clean.jsonl"])
def test_what_is_not_as_recorded_is_not_archived(work, tmp_path, path):
    Path(path).write_text("step,loss\n1,0.5\n")
    done, zipped = archive(tmp_path)
    assert done.returncode == 2 and "is changed" in done.stderr and path in done.stderr
    assert not zipped.exists() and not list(Path("results/archive").glob("*.partial"))


def test_the_crate_says_what_snakemake_noted_and_invents_nothing(made, tmp_path):
    def graph():
        return {e["@id"]: e for e in json.loads(read(made)["ro-crate-metadata.json"])["@graph"]}

    found = graph()
    job = next(e for e in found.values() if str(e.get("name", "")).startswith("train_lora:"))
    assert job["object"] == {"@id": "results/data/数据/clean.jsonl"}
    assert (
        job["startTime"] == "1970-01-01T00:00:01+00:00"
        and job["endTime"] == "1970-01-01T00:01:01+00:00"
    )
    assert {"@id": "#results/runs/main/adapter"} in job["result"]
    manifest = json.loads(read(made)["manifest.json"])
    for name, about in manifest["files"].items():
        if name != "ro-crate-metadata.json":
            assert found[name]["sha256"] == about["sha256"]
            assert found[name]["contentSize"] == str(about["bytes"])
    # every reference leads somewhere
    ids = {value["@id"] for value in references(list(found.values()))}
    assert {name for name in ids - found.keys() if not name.startswith("https://")} == set()
    # without a note of the job nothing is said of it
    for path in Path(".snakemake/metadata").iterdir():
        note = json.loads(path.read_text())
        if note["rule"] == "train_lora":
            path.unlink()
    assert archive(tmp_path)[0].returncode == 0
    assert not any(str(e.get("name", "")).startswith("train_lora:") for e in graph().values())


def references(value):
    """All {"@id": ...} references within a value."""
    if isinstance(value, dict):
        if value.keys() == {"@id"}:
            yield value
        for part in value.values():
            yield from references(part)
    elif isinstance(value, list):
        for part in value:
            yield from references(part)


def test_the_bill_of_materials_has_the_records_hashes(made):
    bom = json.loads(read(made)["bom.json"])
    record = json.loads(Path("results/runs/main/train_lora.json").read_text())
    adapter = next(part for part in bom["components"] if part["name"] == "main adapter")
    assert adapter["hashes"][0]["content"] == record["outputs"]["results/runs/main/adapter"]
    frozen = {"core": "Torch_x==2.1+cpu\n", "train": "Torch_x==2.1+cpu\nb==1\n"}
    purls = [part.get("purl") for part in bill("main", CONFIG, {}, frozen)["components"]]
    assert purls[-2:] == ["pkg:pypi/b@1", "pkg:pypi/torch-x@2.1%2Bcpu"]
