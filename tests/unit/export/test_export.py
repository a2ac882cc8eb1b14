"""Nothing is exported unproven; an export names its origin, verifies from a copy without any
package, and shows a wrong byte.
"""

import json
import os
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest
from mindtune.records import list_files, sha256_path
from proven_run import ROOT, export_words, run_program
from sealed import write_sealed


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


# --------------------------------------------------------------------------------------- model card


# ------------------------------------------------------------------------------------------- verify


# ------------------------------------------------------------------------------------------ publish


def test_published_files_are_links_and_verified(exported, tmp_path):
    words = [
        "--export",
        exported / "export",
        "--published",
        tmp_path / "export",
        "--record",
        tmp_path / "export.json",
    ]
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
    words = [
        "--export",
        copied,
        "--published",
        tmp_path / "export",
        "--record",
        tmp_path / "export.json",
    ]
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
    flags = {
        "--export": exported / "export",
        "--gates": gates,
        "--run": "main",
        "--published": tmp_path / "export",
        "--record": tmp_path / "export.json",
    }
    done = run_program("publish_export.py", *(part for pair in flags.items() for part in pair))
    assert done.returncode == status
    assert (tmp_path / "export").exists() is (status == 0)
    assert status == 0 or f"run main is {verdict} by its gates" in done.stderr
