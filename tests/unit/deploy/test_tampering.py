"""What a receiver is told of an export that somebody changed: every kind of file by every kind of
change.

With the author's key no changed content passes. Without, a manifest that was written anew passes
as complete, and is never called OK.
"""

import os
import random
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import verify_export
from mindtune.cli import UserError
from signed_export import CONTENT, ROOT
from verify_signature import verify

SHARD, SMALL, SIGNATURE = "model-00001-of-00002.safetensors", "config.json", "model.sig"
LISTS = ("manifest.json", "manifest.json.sha256", "manifest.blocks.json")


def program(folder, *words, **options):
    """A receiver's call of verify_export.py."""
    command = [sys.executable, "-I", "-S", ROOT / "scripts/deploy/verify_export.py", folder, *words]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", **options)


def refused(folder, public):
    """Does the check with the key refuse a folder, in one line?"""
    try:
        verify(folder, public)
    except UserError as error:
        assert str(error).isprintable()
        return True
    return False


def same_size(path):
    path.write_bytes(random.Random(path.name).randbytes(path.stat().st_size))


def flip(place):
    def flipped(path):
        content = bytearray(path.read_bytes())
        content[place(len(content))] ^= 4
        path.write_bytes(content)

    return flipped


def swap(path):
    other = path.with_name("LICENSE" if path.name != "LICENSE" else "README.md")
    path.rename(path.with_name("x"))
    other.rename(path)
    path.with_name("x").rename(other)


def instead(make):
    def replaced(path):
        path.rename(path.parents[1] / "old")
        make(path)

    return replaced


CHANGES = {
    "first byte": flip(lambda size: 0),
    "middle byte": flip(lambda size: size // 2),
    "last byte": flip(lambda size: size - 1),
    "two bytes": lambda path: [
        flip(lambda size: size // 3)(path),
        flip(lambda size: size // 2)(path),
    ],
    "other bytes": same_size,
    "a byte less": lambda path: os.truncate(path, path.stat().st_size - 1),
    "a byte more": lambda path: path.write_bytes(path.read_bytes() + b"\n"),
    "a byte before": lambda path: path.write_bytes(b" " + path.read_bytes()),
    "empty": lambda path: path.write_bytes(b""),
    "twice": lambda path: path.write_bytes(path.read_bytes() * 2),
    "reversed": lambda path: path.write_bytes(path.read_bytes()[::-1]),
    "gone": Path.unlink,
    "renamed": lambda path: path.rename(path.with_name(path.name + "1")),
    "in capitals": lambda path: path.rename(path.with_name(path.name.swapcase())),
    "hidden": lambda path: path.rename(path.with_name("." + path.name)),
    "swapped": swap,
    "link": instead(lambda path: path.symlink_to(path.parents[1] / "old")),
    "link to nothing": instead(lambda path: path.symlink_to("没有")),
    "folder": instead(lambda path: path.mkdir()),
    "pipe": instead(lambda path: os.mkfifo(path)),
}
FILES = [*CONTENT, SHARD, "model-00002-of-00002.safetensors", *LISTS, SIGNATURE]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", FILES)
def test_a_changed_file_is_refused(copied, name, change):
    folder, public = copied
    CHANGES[change](folder / name)
    # white space around a signature changes nothing of what it says
    assert refused(folder, public) == (
        name != SIGNATURE or change not in ("a byte more", "a byte before")
    )
    wrong, _, _ = verify_export.check(folder)
    # the signature is not what the check without a key looks into, only whether it is a file
    left = name == SIGNATURE and change not in (
        "renamed",
        "in capitals",
        "hidden",
        "swapped",
        "link",
        "link to nothing",
        "folder",
        "pipe",
    )
    assert bool(wrong) != left and all(line.isprintable() for line in wrong), wrong


def write(name, content="x"):
    def written(folder):
        path = folder / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)

    return written


def listen(folder):
    with socket.socket(socket.AF_UNIX) as made:
        here = os.getcwd()
        os.chdir(folder)
        try:
            made.bind("s")
        finally:
            os.chdir(here)


ADDED = {
    **{name: write(name) for name in (
        ".gitignore", ".git/config", ".github/x", ".gitattributes", ".snakemake_timestamp",
        ".snakemake_x", ".snakemake_x/y",
        "sub/.snakemake_timestamp", ".DS_Store", "modeling_x.py", "__pycache__/x.pyc", "json.py",
        "model.sig.bak", "sub/config.json",
        "x\n\x1b[32mOK: 14 "
"files", "\u202egpj.exe", "a\rOK: 14 files", "OK: 14 files, 5 bytes", "\x9b32mOK", "CONFIG.JSON",
"config.json ",
        b"\xff\xfe", "多余")},
    "empty .snakemake_x": write(".snakemake_x", ""),
    "deep marker": write("sub/.snakemake_timestamp", ""),
    "empty folder": lambda folder: (folder / "空").mkdir(),
    "deep empty folder": lambda folder: (folder / "a/b").mkdir(parents=True),
    "marker folder": lambda folder: (folder / ".snakemake_timestamp").mkdir(),
    "link out": lambda folder: (folder / "x").symlink_to("/etc/passwd"),
    "link to a folder": lambda folder: (folder / "x").symlink_to(folder),
    "marker link": lambda folder: (folder / ".snakemake_timestamp").symlink_to("/dev/null"),
    "pipe": lambda folder: os.mkfifo(folder / "x"),
    "socket": listen,
}  # fmt: skip


@pytest.mark.parametrize("what", ADDED, ids=ascii)
def test_what_was_added_is_refused(copied, what):
    folder, public = copied
    ADDED[what](folder)
    assert refused(folder, public)
    wrong, _, _ = verify_export.check(folder)
    assert wrong and all(line.isprintable() for line in wrong)
    done = program(folder)
    assert (
        done.returncode == 1
        and done.stdout == ""
        and all(line.startswith("WRONG: ") for line in done.stderr.splitlines())
    )


def test_the_empty_marker_of_snakemake_is_no_part(copied):
    (copied[0] / ".snakemake_timestamp").touch()
    assert verify_export.check(copied[0])[0] == [] and not refused(*copied)


def test_every_one_of_1000_flipped_bytes_is_found(export, tmp_path):
    """Of a signed export, by files, so that each has its turn; a flip in the signature is for the
    key to find.
    """
    folder, public = Path(shutil.copytree(export[0], tmp_path / "拷贝")), export[1]
    draw = random.Random(20261)
    accepted = []
    for trial in range(1000):
        path = folder / FILES[trial % len(FILES)]
        before = path.read_bytes()
        place = draw.randrange(len(before))
        path.write_bytes(
            before[:place] + bytes([before[place] ^ draw.randrange(1, 256)]) + before[place + 1 :]
        )
        if path.name == SIGNATURE:
            accepted += [place] if not refused(folder, public) else []
        else:
            wrong, _, _ = verify_export.check(folder)
            assert len(wrong) == 1, (path.name, place, wrong)
        path.write_bytes(before)
    # no content has changed where the signature means the same in spite of a flip
    assert len(accepted) <= 5, accepted
    assert not refused(folder, public)
