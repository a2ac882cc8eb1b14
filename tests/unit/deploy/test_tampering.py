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
import time
from pathlib import Path

import pytest
import verify_export
from mindtune.cli import UserError
from mindtune.export.manifest import sign
from signed_export import CONTENT, ROOT, keys, make_export, seal
from verify_signature import verify

SHARD, SMALL, SIGNATURE = "model-00001-of-00002.safetensors", "config.json", "model.sig"
LISTS = ("manifest.json", "manifest.json.sha256", "manifest.blocks.json")


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    """A signed export and the public key; not to be changed by a test."""
    folder = tmp_path_factory.mktemp("导出")
    private, public = keys(folder, "作者")
    return make_export(folder / "export", private), public


@pytest.fixture
def copied(export, tmp_path):
    """A copy that may be changed, and the public key."""
    return Path(shutil.copytree(export[0], tmp_path / "拷贝")), export[1]


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


REWRITES = ["first byte", "other bytes", "a byte more", "empty", "twice", "gone", "swapped"]


@pytest.mark.parametrize("change", REWRITES)
@pytest.mark.parametrize("name", [name for name in FILES if name not in (*LISTS, SIGNATURE)])
def test_a_manifest_written_anew_is_complete_and_never_ok(copied, name, change):
    """Whoever can change a file can write a manifest that fits it: only a key, or the published
    SHA-256, tells.
    """
    folder, public = copied
    published = verify_export.sha256(folder / "manifest.json")
    CHANGES[change](folder / name)
    seal(folder)
    assert verify_export.check(folder)[0] == []
    assert refused(folder, public)
    assert verify_export.check_expected(folder, published)
    said = verify_export.verdict(folder, None)
    assert (
        "NOT authenticated, model.sig is present and was NOT checked" in said and "OK" not in said
    )


@pytest.mark.parametrize("signature", ["gone", "another's", "of another export", "as it was"])
def test_what_is_said_of_a_rewritten_export(copied, tmp_path, signature):
    folder, public = copied
    published = verify_export.sha256(folder / "manifest.json")
    same_size(folder / SHARD)
    seal(folder)
    if signature != "as it was":
        (folder / SIGNATURE).unlink()
    if signature == "another's":
        sign(folder, keys(tmp_path, "别人")[0])
    if signature == "of another export":
        shutil.copy(make_export(tmp_path / "b", keys(tmp_path, "别人")[0]) / SIGNATURE, folder)
    done = program(folder)
    present = (
        "there is no signature"
        if signature == "gone"
        else "model.sig is present and was NOT checked"
    )
    assert done.returncode == 0 and done.stdout.startswith("complete: ") and present in done.stdout
    assert "anybody who can rewrite manifest.json passes" in done.stdout and "OK" not in done.stdout
    done = program(folder, "--expect", published)
    assert (
        done.returncode == 1
        and "OK" not in done.stdout
        and f"{published} was expected" in done.stderr
    )
    assert refused(folder, public)


def test_ok_is_said_for_the_published_manifest(copied):
    folder, _ = copied
    published = verify_export.sha256(folder / "manifest.json")
    for text in (published, published.upper()):
        done = program(folder, "--expect", text)
        assert done.returncode == 0 and done.stdout.startswith("OK: 14 files, "), done.stdout
    for text in (published[:16], "", "g" * 64, published + "\n"):
        assert program(folder, "--expect", text).returncode == 2


def blocks_for(folder, edit):
    """Edit the block list, and let manifest and seal fit it."""
    path = folder / "manifest.blocks.json"
    content = verify_export.json.loads(path.read_bytes())
    edit(content["files"])
    path.write_text(verify_export.json.dumps(content))
    manifest = verify_export.json.loads((folder / "manifest.json").read_bytes())
    manifest["files"][path.name] = {
        "sha256": verify_export.sha256(path),
        "bytes": path.stat().st_size,
    }
    write_list(folder, verify_export.json.dumps(manifest).encode())


def write_list(folder, content):
    """Write a manifest and the seal that fits."""
    (folder / "manifest.json").write_bytes(content)
    (folder / "manifest.json.sha256").write_text(
        f"{verify_export.sha256(folder / 'manifest.json')}  manifest.json\n"
    )


@pytest.mark.parametrize(
    "what",
    ["fit", "none", "empty", "short", "long", "number", "text", "null", "a number", "a list"],
)
def test_a_wrong_shard_stays_wrong_whatever_the_blocks_say(copied, what):
    folder, _ = copied
    same_size(folder / SHARD)
    fitting = verify_export.hashlib.sha256((folder / SHARD).read_bytes()).hexdigest()
    fitting += f":{verify_export.zlib.adler32((folder / SHARD).read_bytes()):08x}"
    made = {"fit": [fitting], "empty": [], "short": "", "long": [fitting] * 2, "number": [3],
        "text": ["a:b"], "null": None,
            "a number": 10**18, "a list": [[fitting]]}  # fmt: skip
    blocks_for(
        folder,
        lambda files: files.pop(SHARD) if what == "none" else files.update({SHARD: made[what]}),
    )
    wrong, _, _ = verify_export.check(folder)
    assert any(line.startswith(f"{SHARD}: its SHA-256 is wrong") for line in wrong), wrong


ENTRY = '{"sha256": "%s", "bytes": 1}' % ("ab" * 32)
MANIFESTS = {
    "not JSON": b"{", "not UTF-8": b'{"files": {"\xff": '
b'1}}', "UTF-16": '{"files": {}}'.encode("utf-16"), "BOM": b"\xef\xbb\xbf{}",
    "a list": b"[]", "nothing": b"{}", "null": b"null", "files null": b'{"files": null}',
    "files list": b'{"files": []}',
    "no files": b'{"files": {}}', "deep": b'{"files": ' + b"[" * 200_000,
    "deep objects": b'{"a":' * 100_000,
    "twice": f'{{"files": {{"a": {ENTRY}, "a": {ENTRY}}}}}'.encode(),
    "files twice": f'{{"files": {{"a": {ENTRY}}}, "files": {{"b": {ENTRY}}}}}'.encode(),
    "long number": (f'{{"files": {{"a": {{"sha256": "{"ab" * 32}", "bytes": '
f'{"9" * 100_000}}}}}}}').encode(),
    "large": b'{"files": {}, "x": "' + b" " * (17 << 20) + b'"}',
    **{f"name {name!a}": verify_export.json.dumps({"files": {name: {"sha256": "ab" * 32,
        "bytes": 1}}}).encode() for name in (
        "", ".", "..", "../x", "a/../b", "/etc/passwd", "a//b", "a/", "./a", "a\\b", "C:x", "a\0b",
        "a\nb", "\x1b[32mOK", "\u202ea",
        "\ud800", "manifest.json", "manifest.json.sha256", "model.sig", ".snakemake_timestamp",
        "\u200b", "x" * 100_000 + "\n")},
    **{f"entry {number}": b'{"files": {"a": %s}}' % entry for number, entry in enumerate((
        b"null", b"1", b'"x"', b"[]", b"{}", b'{"bytes": 1}', b'{"sha256": "%s"}' % (b"ab" * 32),
        *[(b'{"sha256": "%s", "bytes": '
b'%s}') % (b"ab" * 32, size) for size in (b"1.0", b"true", b"-1", b'"1"', b"null", b"1e3", b"NaN",
          b"[" * 900 + b"]" * 900)],
        *[(b'{"sha256": %s, "bytes": '
b'1}') % text for text in (b"1", b"null", b'"ab"', b'"%s"' % (b"AB" * 32),
    b'"%s\\n"' % (b"ab" * 32))],
        b'{"sha256": "%s", "bytes": 1, "link": "x"}' % (b"ab" * 32)))},
    **{f"pair {one} {other}": verify_export.json.dumps({"files": {name: {"sha256": "ab" * 32,
        "bytes": 1} for name in (one, other)}}).encode()
       for one, other in (("a.json", "A.json"), ("stra\xdfe", "STRASSE"), ("\xe9", "e\u0301"))},
}  # fmt: skip


@pytest.mark.parametrize("what", MANIFESTS, ids=lambda what: ascii(what)[:40])
def test_a_manifest_that_no_export_has_is_one_line(copied, what):
    folder, public = copied
    write_list(folder, MANIFESTS[what])
    wrong, files, size = verify_export.check(folder)
    assert (
        len(wrong) == 1
        and wrong[0].startswith("manifest.json: no export has such a list (")
        and (files, size) == (0, 0)
    )
    assert wrong[0].isprintable() and len(wrong[0]) <= 4000
    assert refused(folder, public)


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
