"""Nothing is exported unproven; an export names its origin, verifies from a copy without any
package, and shows a wrong byte.
"""

import base64
import json
import os
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest
from mindtune.audit.code_state import state_of_code
from mindtune.environments import interpreter
from mindtune.records import list_files, sha256_path
from proven_run import ROOT, export_words, run_program
from sealed import write_sealed
from signed_export import keys


def flip(path: Path, place: int) -> None:
    with path.open("r+b") as stream:
        stream.seek(place)
        byte = stream.read(1)[0]
        stream.seek(place)
        stream.write(bytes([byte ^ 0x10]))


def verify(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the checker as a stranger would: a copy of the program alone, isolated from all
    packages, in another folder.
    """
    program = shutil.copy(ROOT / "scripts" / "deploy/verify_export.py", folder.parent / "check.py")
    command = [sys.executable, "-I", "-S", program, str(folder)]
    return subprocess.run(
        command, capture_output=True, text=True, encoding="utf-8", cwd="/", env={"PYTHONUTF8": "1"}
    )


# ------------------------------------------------------------------------------------------- export


def test_weights_are_linked_not_copied(run_folder, exported):
    for name in list_files(run_folder / "merged"):
        assert os.path.samefile(run_folder / "merged" / name, exported / "export" / name)


def test_manifest_names_files_and_origin(run_folder, exported):
    folder = exported / "export"
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert set(manifest["files"]) == set(list_files(folder)) - {
        "manifest.json",
        "manifest.json.sha256",
    }
    assert {"LICENSE", "README.md", "model.safetensors.index.json"} < set(manifest["files"])
    for name, entry in manifest["files"].items():
        content = (folder / name).read_bytes()
        assert entry == {"bytes": len(content), "sha256": sha256(content).hexdigest()}
    assert manifest["base"]["sha256"] == sha256_path(run_folder / "base")
    assert manifest["adapter_sha256"] == sha256_path(run_folder / "adapter")
    assert manifest["verify_sha256"] == sha256_path(run_folder / "verify.json")
    assert manifest["data_sha256"] == "ab" * 32
    assert manifest["code_sha256"] == "0123456789abcdef"
    assert manifest["environment_locks"] == {
        "train.lock": sha256_path(ROOT / "envs" / "train.lock")
    }
    record = json.loads((exported / "export_model.json").read_text(encoding="utf-8"))
    assert list(record["outputs"].values()) == [sha256_path(folder)]


def test_two_exports_give_the_same_bytes(run_folder, exported, tmp_path):
    assert run_program("export_model.py", *export_words(run_folder, tmp_path)).returncode == 0
    assert sha256_path(tmp_path / "export") == sha256_path(exported / "export")


def test_nothing_is_exported_without_a_proof(run_folder, tmp_path):
    done = run_program(
        "export_model.py", *export_words(run_folder, tmp_path, verify=tmp_path / "verify.json")
    )
    assert done.returncode == 2
    assert "is missing, so the merge is not proven" in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_proof_of_another_folder_is_refused(run_folder, tmp_path):
    merged = Path(shutil.copytree(run_folder / "merged", tmp_path / "merged"))
    flip(merged / "generation_config.json", 20)
    done = run_program(
        "export_model.py", *export_words(run_folder, tmp_path / "out", merged=merged)
    )
    assert done.returncode == 2
    assert "a file was changed since" in done.stderr
    assert not (tmp_path / "out" / "export").exists()
    assert not (tmp_path / "out" / "export.partial").exists()


def test_another_record_is_no_proof(run_folder, tmp_path):
    done = run_program(
        "export_model.py",
        *export_words(run_folder, tmp_path, verify=run_folder / "merge_adapter.json"),
    )
    assert done.returncode == 2
    assert "is not the record of verify_merge.py" in done.stderr


def test_a_signature_states_code_environments_and_records(run_folder, exported, tmp_path):
    """And the manifest does not: it is the same for the same code, committed or not."""
    private, _ = keys(tmp_path, "作者")
    words = [*export_words(run_folder, tmp_path), "--signing-key", private]
    done = run_program("export_model.py", *words, python=interpreter("core"))
    assert done.returncode == 0, done.stderr
    bundle = json.loads((tmp_path / "export/model.sig").read_text(encoding="utf-8"))
    stated = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))["predicate"]["origin"]
    manifest = tmp_path / "export/manifest.json"
    assert manifest.read_bytes() == (exported / "export/manifest.json").read_bytes()
    expected = {key: value for key, value in json.loads(manifest.read_bytes()).items()
                if key != "files"} | state_of_code(ROOT)  # fmt: skip
    assert {key: stated[key] for key in stated if key != "records"} == expected
    assert set(expected) >= {"code_sha256", "environment_locks", "data_sha256", "base"}
    assert stated["records"] == {
        path.as_posix(): sha256_path(path)
        for path in (run_folder / f"{name}.json" for name in (
            "fetch_model", "fetch_dataset", "clean_dialogues", "split_dialogues", "train_lora",
            "merge_adapter", "verify",
        ))
    }  # fmt: skip


# --------------------------------------------------------------------------------------- model card


# ------------------------------------------------------------------------------------------- verify


# ------------------------------------------------------------------------------------------ publish


def published_in(folder):
    """Where publish_export writes."""
    return ["--published", folder / "export", "--record", folder / "export.json"]


def test_published_files_are_links_and_verified(exported, tmp_path):
    words = ["--exports", exported / "export", *published_in(tmp_path)]
    assert run_program("publish_export.py", *words).returncode == 0
    assert os.path.samefile(
        exported / "export" / "manifest.json", tmp_path / "export" / "manifest.json"
    )
    record = json.loads((tmp_path / "export.json").read_text())
    assert (
        list(record["outputs"].values())
        == list(record["inputs"].values())
        == [sha256_path(exported / "export")]
    )
    assert verify(tmp_path / "export").returncode == 0


def test_a_damaged_export_is_not_published(copied, tmp_path):
    flip(copied / "tokenizer.json", 1000)
    words = ["--exports", copied, *published_in(tmp_path)]
    done = run_program("publish_export.py", *words)
    assert done.returncode == 2
    assert "tokenizer.json: byte 1000 is" in done.stderr
    assert not (tmp_path / "export").exists()
    assert not (tmp_path / "export.json").exists()


@pytest.mark.parametrize(
    ("verdict", "status"), [("passed", 0), ("failed", 2), ("not certified", 2)]
)
def test_only_a_run_that_passes_its_gates_is_published(exported, tmp_path, verdict, status):
    verdicts = {"main": verdict, "other": "failed"}
    gates = write_sealed(tmp_path / "gates.json", "decide_gates", facts={"verdicts": verdicts})
    words = ["--exports", exported / "export", "--gates", gates, "--run", "main"]
    done = run_program("publish_export.py", *words, *published_in(tmp_path))
    assert done.returncode == status
    assert (tmp_path / "export").exists() is (status == 0)
    assert status == 0 or f"run main is {verdict} by its gates" in done.stderr


@pytest.mark.parametrize("verdict", ["failed", "not certified"])
def test_a_run_is_published_whatever_the_verdict_where_that_is_asked_for(
    exported, tmp_path, verdict
):
    gates = write_sealed(
        tmp_path / "gates.json", "decide_gates", facts={"verdicts": {"main": verdict}}
    )
    words = ["--exports", exported / "export", "--gates", gates, "--run", "main"]
    words += ["--whatever-the-verdict", *published_in(tmp_path)]
    done = run_program("publish_export.py", *words)
    assert done.returncode == 0 and f"run main is {verdict} by its gates" in done.stdout
    record = json.loads((tmp_path / "export.json").read_text())
    assert record["facts"]["gates"] == verdict


def test_the_card_shows_the_verdict_of_its_own_run(run_folder, tmp_path):
    rows = [
        {"run": "main", "sentence": "dialogue.chrF: 20 against 25: failed, a loss of 2"},
        {"run": "other", "sentence": "dialogue.chrF: 26 against 25: passed"},
    ]
    verdicts = {"main": "failed", "other": "passed"}
    facts = {"verdicts": verdicts, "gates": rows}
    gates = write_sealed(tmp_path / "gates.json", "decide_gates", facts=facts)
    words = [*export_words(run_folder, tmp_path), "--gates", gates]
    done = run_program("export_model.py", *words, "--run", "main")
    assert done.returncode == 0, done.stderr
    card = (tmp_path / "export" / "README.md").read_text(encoding="utf-8")
    assert "this model is: **failed**" in card and "25: failed, a loss of 2" in card
    assert "26 against 25" not in card
    assert verify(tmp_path / "export").returncode == 0
    record = json.loads((tmp_path / "export_model.json").read_text())
    assert gates.as_posix() in record["inputs"]


def test_a_card_of_a_run_that_was_not_judged_is_refused(run_folder, tmp_path):
    facts = {"verdicts": {"other": "passed"}, "gates": []}
    gates = write_sealed(tmp_path / "gates.json", "decide_gates", facts=facts)
    words = [*export_words(run_folder, tmp_path), "--gates", gates, "--run", "main"]
    done = run_program("export_model.py", *words)
    assert done.returncode == 2 and "'main' is not among those judged (other)" in done.stderr
    assert not (tmp_path / "export").exists()


def test_of_several_exports_the_chosen_run_s_is_published(exported, copied, tmp_path):
    runs = {name: tmp_path / "runs" / name / "export" for name in ("a", "b")}
    for folder, source in zip(runs.values(), (copied, exported / "export"), strict=True):
        shutil.copytree(source, folder)
    choice = write_sealed(tmp_path / "choose_run.json", "choose_run", facts={"chosen": "b"})
    words = ["--exports", *runs.values(), "--choice", choice, *published_in(tmp_path)]
    assert run_program("publish_export.py", *words).returncode == 0
    assert os.path.samefile(runs["b"] / "manifest.json", tmp_path / "export" / "manifest.json")
    record = json.loads((tmp_path / "export.json").read_text())
    assert record["params"] == {"run": "b"} and choice.as_posix() in record["inputs"]
    done = run_program("publish_export.py", *words, "--run", "a")
    assert done.returncode == 2 and "both name a run; give one" in done.stderr
