"""Exports whose manifest was written anew: complete at most, and OK for a published hash only."""

import shutil

import pytest
import verify_export
from mindtune.export.signing import sign
from signed_export import keys, make_export, seal, write_list
from test_tampering import (
    CHANGES,
    FILES,
    LISTS,
    SHARD,
    SIGNATURE,
    program,
    refused,
    same_size,
)

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
