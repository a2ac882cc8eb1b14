"""A hostile archive is refused with one sentence, and nothing of it is written anywhere."""

import hashlib
import json
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from archived import archive, finished_run
from mindtune.audit.unpack import unpack, verified
from mindtune.audit.zipping import seal, write_archive
from mindtune.cli import UserError

TOOLS = Path(__file__).resolve().parents[3] / "scripts/tools"


def forged(path, members, listed=None, kinds=None):
    """A zip with a right seal: members are (name, content), the manifest lists `listed` or all."""
    files = {
        name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in members
    }
    manifest = json.dumps({"files": files if listed is None else listed, "withheld": {}})
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, content in [*members, ("manifest.json", manifest.encode())]:
            info = zipfile.ZipInfo(name)
            info.filename = name  # ZipInfo would cut it at a NUL
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = ((kinds or {}).get(name, stat.S_IFREG) | 0o644) << 16
            zipped.writestr(info, content)
        zipped.comment = b"MindTune archive, SHA-256 of all bytes before this comment: " + b"0" * 64
    seal(path)
    return path


HOSTILE = {
    "a folder up": [("../out.txt", b"x")],
    "deeper": [("results/../../out.txt", b"x")],
    "absolute": [("/tmp/mindtune-out.txt", b"x")],
    "drive": [("C:out.txt", b"x")],
    "backslash": [("..\\out.txt", b"x")],
    "dot": [("./out.txt", b"x")],
    "empty part": [("a//b", b"x")],
    "twice": [("a.txt", b"x"), ("a.txt", b"y")],
    "twice on some disks": [("A.txt", b"x"), ("a.txt", b"y")],
    "twice in unicode": [("\u00e9.txt", b"x"), ("e\u0301.txt", b"y")],
    "file and folder": [("a", b"x"), ("a/b", b"y")],
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("members", HOSTILE.values(), ids=HOSTILE.keys())
def test_names_that_would_write_elsewhere_are_refused(tmp_path, members):
    refused(forged(tmp_path / "in.zip", members), tmp_path)


def refused(path, tmp_path):
    """One sentence, and not a byte written."""
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError) as error:
        unpack(path, tmp_path / "to", verified(path))
    assert "\n" not in str(error.value) and str(path) in str(error.value)
    assert sorted(tmp_path.rglob("*")) == before and not Path("/tmp/mindtune-out.txt").exists()
    return str(error.value)


def test_links_and_devices_are_refused(tmp_path):
    for kind in (stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO):
        path = forged(tmp_path / "in.zip", [("a", b"/etc/passwd")], kinds={"a": kind})
        assert "no plain file" in refused(path, tmp_path)


def test_bombs_are_refused_before_they_are_unpacked(tmp_path):
    path = forged(tmp_path / "in.zip", [("zeros", bytes(80 << 20))])
    assert path.stat().st_size < 200_000 and "unpack to" in refused(path, tmp_path)


@pytest.mark.parametrize(
    ("listed", "said"),
    [
        ({"a": {"bytes": 1, "sha256": "0" * 64}}, "another in the manifest"),
        ({"a": {"bytes": 9, "sha256": hashlib.sha256(b"x").hexdigest()}}, "and 9 in the manifest"),
        ({"a": {"bytes": 0, "sha256": hashlib.sha256(b"x").hexdigest()}}, "more than the 0 bytes"),
        ({}, "the manifest does not name it"),
        (
            {n: {"bytes": 1, "sha256": hashlib.sha256(b"x").hexdigest()} for n in "ab"},
            "b is missing",
        ),
        ({"a": {"bytes": "1", "sha256": 5}}, "not as archives have it"),
        ({"a": None}, "not as archives have it"),
        ([], "not as archives have it"),
    ],
)
def test_a_manifest_that_lies_is_found(tmp_path, listed, said):
    assert said in refused(forged(tmp_path / "in.zip", [("a", b"x")], listed), tmp_path)


def test_what_is_no_archive_is_one_sentence(tmp_path):
    path = tmp_path / "in.zip"
    for content in (b"", b"PK", b"text" * 99):
        path.write_bytes(content)
        assert "no whole zip" in refused(path, tmp_path)
    with pytest.raises(UserError, match="no file"):
        verified(tmp_path / "none.zip")
    with zipfile.ZipFile(path, "w") as zipped:
        zipped.writestr("a", "b")
    assert "no archive of a run" in refused(path, tmp_path)


def test_a_folder_that_holds_something_is_left_alone(tmp_path):
    path = tmp_path / "in.zip"
    write_archive(path, {"a/文.txt": "内容".encode()}, {"withheld": {}})
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine").touch()
    (tmp_path / "link").symlink_to(tmp_path / "full", target_is_directory=True)
    for name in ("full", "link"):
        with pytest.raises(UserError, match="not empty"):
            unpack(path, tmp_path / name, verified(path))
    unpack(path, tmp_path / "new", verified(path))
    assert (tmp_path / "new/a/文.txt").read_text(encoding="utf-8") == "内容"
    with pytest.raises(UserError, match="another archive"):
        verified(path, expect="0" * 64)


def test_an_audit_finds_what_a_rewritten_manifest_hides(tmp_path, monkeypatch):
    (tmp_path / "code/demo").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "code/demo")
    finished_run(tmp_path)
    _, path = archive(tmp_path)

    def audit():
        command = [sys.executable, str(TOOLS / "audit.py"), "--archive", str(path)]
        done = subprocess.run(command, capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr

    status, said = audit()
    assert status == 0 and "changed" not in said, said
    with zipfile.ZipFile(path) as zipped:
        files = {name: zipped.read(name) for name in zipped.namelist()}
    manifest = json.loads(files.pop("manifest.json"))
    files["results/runs/main/history.csv"] = b"step,loss\n1,0.1\n"
    files["results/extra.txt"] = b""
    write_archive(path, files, {key: value for key, value in manifest.items() if key != "files"})
    status, said = audit()
    assert status == 2 and "2 of " in said.splitlines()[-1], said
    assert "changed      results/runs/main/history.csv" in said and "extra.txt" in said
