"""Exports that want to harm whoever checks them: many files, names, programs of their own."""

import shutil
import subprocess
import sys
import time

import pytest
import verify_export
from signed_export import ROOT, write_list
from test_tampering import program


def test_a_hundred_thousand_files_take_seconds_and_a_screen(copied):
    folder, _ = copied
    entry = {"sha256": "ab" * 32, "bytes": 1}
    write_list(
        folder,
        verify_export.json.dumps(
            {"files": {f"{number:x}": entry for number in range(100_000)}}
        ).encode(),
    )
    start = time.monotonic()
    done = program(folder)
    assert (
        done.returncode == 1
        and len(done.stderr.splitlines()) == 101
        and time.monotonic() - start < 20
    )
    assert "100014 more" not in done.stderr and done.stderr.splitlines()[-1].endswith(" more")


def test_a_name_cannot_print_a_verdict(copied):
    folder, _ = copied
    (folder / "x\n\x1b[32mOK: 14 files").touch()
    done = program(folder)
    assert (
        "\x1b" not in done.stderr
        and len(done.stderr.splitlines()) == 1
        and "x\\n\\x1b[32mOK: 14 files: not in" in done.stderr
    )
    done = program(folder / "x\n\x1b[32mOK: 14 files")
    assert done.returncode == 1 and "\x1b" not in done.stderr and len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("flags", [[], ["-S"], ["-I"], ["-s", "-E"]], ids=str)
def test_a_copy_in_the_export_runs_nothing_of_it(copied, tmp_path, flags):
    folder, _ = copied
    shutil.copy(ROOT / "scripts/deploy/verify_export.py", folder)
    for name in (
        "argparse",
        "hashlib",
        "json",
        "os",
        "re",
        "zlib",
        "pathlib",
        "unicodedata",
        "__future__",
        "encodings",
        "codecs",
    ):
        (folder / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    done = subprocess.run(
        [sys.executable, *flags, folder / "verify_export.py", folder],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and "json.py: not in manifest.json" in done.stderr, done.stderr
    assert not (tmp_path / "ran").exists() and not (folder / "__pycache__").exists()
