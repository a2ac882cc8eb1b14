#!/usr/bin/env python3
"""Check that a copied export is, byte for byte, what was shipped. Needs Python 3.9 and nothing
else: no network, no package.

    python3 -I verify_export.py DIR [--expect SHA256] [--revoked FILE]

Every file must be in manifest.json with its size and SHA-256, and no file or folder may be missing
or added. A changed byte is named with its place and both values: manifest.blocks.json holds
SHA-256 and Adler-32 of each block of 1 MiB. Adler-32 is two sums, of the bytes and of the running
sums (RFC 1950), so one wrong byte shifts them by d and by d times its distance from the end, which
gives both.

Whoever can rewrite manifest.json can make any folder pass, so without more the answer is only
"complete". It is "OK" with --expect, the SHA-256 of manifest.json as its author published it; or
where verify_signature.py, which checks model.sig, says so. Exit status 0 for complete and OK, or 1
and one line for each thing that is wrong. Keep this program outside of the folder, and give -I:
then Python takes no module from a folder that somebody else filled.

--revoked names a list of what was taken back: one SHA-256 a line, as sha256sum writes them, and
comments after #. An export whose manifest.json is on it is refused.

Reads DIR, writes nothing.
"""

# Kept long: a receiver reads and runs this one file, without anything else of ours.

import sys

# Python looks for modules beside a program first: a copy of it in an export would run that
# folder's json.py, or __future__.py
if __name__ == "__main__" and not (sys.flags.isolated or getattr(sys.flags, "safe_path", False)):
    del sys.path[0]

import argparse
import hashlib
import json
import os
import re
import unicodedata
import zlib
from pathlib import Path

MANIFEST, SEAL, BLOCKS = "manifest.json", "manifest.json.sha256", "manifest.blocks.json"
SIGNATURE = "model.sig"
MARKER = ".snakemake_timestamp"  # Snakemake leaves this empty file in the folders that it makes
BLOCK = 1 << 20
ADLER = 65521  # the largest prime below 2**16, modulus of both sums
MOST = 16 << 20  # bytes of a manifest; one of 100 shards has 20,000
LINES = 100  # of what is wrong


class Malformed(ValueError):
    """A list that is not as an export's; the message says where."""


def shown(text: object) -> str:
    """Text from outside for a terminal: what is not printable (control characters, changes of
    direction) is written as \\x1b.
    """
    cut = str(text)[:2000].replace("\\", "\\\\")
    return "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in cut
    )


def listing(folder: Path) -> tuple[dict[str, Path], list[str]]:
    """{relative name: path} of the plain files, and what is wrong with the rest: links, pipes,
    empty or closed folders.
    """
    files, wrong = {}, []

    def closed(error: OSError) -> None:
        wrong.append(
            f"{Path(error.filename).relative_to(folder).as_posix()}: cannot be read "
            f"({error.strerror})"
        )

    for root, folders, names in os.walk(folder, onerror=closed):
        inside = Path(root).relative_to(folder).as_posix()
        if not folders and not names and inside != ".":
            wrong.append(f"{inside}: an empty folder; remove it")
        for name in sorted(folders + names):
            path = Path(root, name)
            relative = path.relative_to(folder).as_posix()
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                wrong.append(
                    f"{relative}: neither a plain file nor a folder; an export has no links"
                )
            elif path.is_file() and not (relative == MARKER and path.stat().st_size == 0):
                files[relative] = path
    return files, wrong


def sha256(path: Path) -> str:
    """SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while True:
            block = stream.read(16 * BLOCK)
            if not block:
                return digest.hexdigest()
            digest.update(block)


def single_change(block: bytes, digest: str, adler: str) -> "tuple[int, int] | None":
    """(place, original value) of the one byte that explains a wrong block; None if more than one
    byte changed.
    """
    wanted, found = int(adler, 16), zlib.adler32(block)
    shift = ((found & 0xFFFF) - (wanted & 0xFFFF)) % ADLER
    if shift > 255:
        shift -= ADLER
    if shift == 0 or shift < -255:
        return None
    weight = ((found >> 16) - (wanted >> 16)) * pow(shift % ADLER, -1, ADLER) % ADLER
    # the second sum counts a byte as often as there are bytes from it to the end; known only
    # modulo 65,521
    for distance in range(weight or ADLER, len(block) + 1, ADLER):
        place = len(block) - distance
        value = block[place] - shift
        if 0 <= value <= 255:
            restored = block[:place] + bytes([value]) + block[place + 1 :]
            if hashlib.sha256(restored).hexdigest() == digest:
                return place, value
    return None


def wrong_bytes(path: Path, blocks: list[str]) -> list[str]:
    """What is wrong in a file of the right size, block by block."""
    found = []
    with path.open("rb") as stream:
        for number, line in enumerate(blocks):
            block = stream.read(BLOCK)
            digest, adler = line.split(":")
            if hashlib.sha256(block).hexdigest() == digest:
                continue
            start = number * BLOCK
            change = single_change(block, digest, adler)
            if change:
                place, value = change
                found.append(
                    f"byte {start + place} is 0x{block[place]:02x}, shipped was 0x{value:02x}"
                )
            else:
                found.append(
                    f"bytes {start} to {start + len(block) - 1} (block {number}) hold more than "
                    f"one wrong byte"
                )
    return found


def once(pairs: list[tuple[str, object]]) -> dict:
    """A JSON object, in which no key may stand twice: programs differ in which one they take."""
    made = dict(pairs)
    if len(made) != len(pairs):
        raise Malformed("a key stands twice in one object")
    return made


def whole(digits: str) -> int:
    """A whole number of at most 18 digits."""
    if len(digits) > 18:
        raise Malformed(f"a number has {len(digits)} digits")
    return int(digits)


def read_object(path: Path, most: int) -> dict:
    """A JSON file's object; Malformed for what is no JSON of at most so many bytes."""
    if path.stat().st_size > most:
        raise Malformed(
            f"it has {path.stat().st_size} bytes, and none of an export has more than {most}"
        )
    try:
        found = json.loads(
            path.read_bytes().decode("utf-8"), object_pairs_hook=once, parse_int=whole
        )
    except RecursionError:
        raise Malformed("it is too deep") from None
    if not isinstance(found, dict):
        raise Malformed("it is not an object")
    return found


def check_name(name: str) -> None:
    """Malformed for what is no plain relative path, or is a file that a manifest cannot list."""
    parts = name.split("/")
    if (
        any(part in ("", ".", "..") for part in parts)
        or "\\" in name
        or ":" in name
        or not name.isprintable()
    ):
        raise Malformed(f"{name[:80]!r} is no relative path")
    if name in (MANIFEST, SEAL, SIGNATURE, MARKER):
        raise Malformed(f"{name} cannot be in the list")


def listed(manifest: dict) -> dict[str, dict]:
    """{name: {"sha256", "bytes"}} of a manifest; Malformed for anything else."""
    files = manifest.get("files")
    if not isinstance(files, dict) or not files:
        raise Malformed("it lists no files")
    seen = set()
    for name, entry in files.items():
        check_name(name)
        if not isinstance(entry, dict) or set(entry) != {"sha256", "bytes"}:
            raise Malformed(f"{name[:80]} needs sha256 and bytes, and nothing else")
        if type(entry["bytes"]) is not int or entry["bytes"] < 0:
            raise Malformed(f"{name[:80]}: its bytes are not a whole number")
        if not isinstance(entry["sha256"], str) or not re.fullmatch(
            "[0-9a-f]{64}", entry["sha256"]
        ):
            raise Malformed(f"{name[:80]}: its sha256 is not 64 hexadecimal digits")
        # on some disks these would be one file
        seen.add(unicodedata.normalize("NFC", name).casefold())
    if len(seen) != len(files):
        raise Malformed("two names differ only in capitals or accents")
    return files


def read_manifest(folder: Path) -> tuple[dict[str, dict], list[str]]:
    """The manifest's list and what is wrong with it; a manifest whose seal does not fit is not
    used.
    """
    for name in (MANIFEST, SEAL):
        if (folder / name).is_symlink() or not (folder / name).is_file():
            return {}, [
                f"{name} is missing: {folder} is not an export, or not all of it was copied"
            ]
    seal = f"{sha256(folder / MANIFEST)}  {MANIFEST}\n".encode()
    if (folder / SEAL).stat().st_size != len(seal) or (folder / SEAL).read_bytes() != seal:
        return {}, [
            f"{MANIFEST} and {SEAL} do not fit together: one of them was changed, copy both again"
        ]
    try:
        return listed(read_object(folder / MANIFEST, MOST)), []
    except ValueError as error:
        return {}, [f"{MANIFEST}: no export has such a list ({error}); do not use this folder"]


def read_blocks(path: Path, expected: dict[str, dict]) -> dict[str, list[str]]:
    """{name: "sha256:adler32" of each block}; Malformed for what does not fit the manifest's
    list.
    """
    total = sum(entry["bytes"] for entry in expected.values())
    blocks = read_object(path, MOST + total // 1024).get("files")
    if not isinstance(blocks, dict):
        raise Malformed("it lists no files")
    for name, lines in blocks.items():
        wanted = -(-expected[name]["bytes"] // BLOCK) if name in expected else -1
        if not isinstance(lines, list) or len(lines) != wanted:
            raise Malformed(f"{name[:80]} needs {max(wanted, 0)} blocks")
        if not all(
            isinstance(line, str) and re.fullmatch("[0-9a-f]{64}:[0-9a-f]{8}", line)
            for line in lines
        ):
            raise Malformed(f"{name[:80]} has a block that is not SHA-256 and Adler-32")
    return blocks


def check_file(name: str, path: Path, entry: dict, blocks: dict[str, list[str]]) -> list[str]:
    """What is wrong with one file."""
    size = path.stat().st_size
    if size != entry["bytes"]:
        return [f"{name}: {size} bytes, shipped were {entry['bytes']}; copy it again"]
    if sha256(path) == entry["sha256"]:
        return []
    # the SHA-256 decides; blocks only say where, and may have been written to fit the changed file
    found = wrong_bytes(path, blocks.get(name, [])) or ["its SHA-256 is wrong"]
    return [f"{name}: {what}; copy it again" for what in found]


def check_files(expected: dict[str, dict], files: dict[str, Path]) -> list[str]:
    """What is wrong with the files of the list; the blocks first, which are used only if they are
    what was shipped.
    """
    wrong, blocks = [], {}
    for name in sorted(expected, key=lambda name: (name != BLOCKS, name)):
        if name not in files:
            wrong.append(f"{name}: missing; copy it again")
            continue
        found = check_file(name, files[name], expected[name], blocks)
        if name == BLOCKS and not found:
            try:
                blocks = read_blocks(files[name], expected)
            except ValueError as error:
                found = [f"{name}: no export has such a list ({error}); do not use this folder"]
        wrong += found
    return wrong


def check(folder: Path) -> tuple[list[str], int, int]:
    """(what is wrong, printable lines; number of files; bytes) of an export folder."""
    expected, wrong = read_manifest(folder)
    if wrong:
        return [shown(line) for line in wrong], 0, 0
    files, wrong = listing(folder)
    known = {*expected, MANIFEST, SEAL, SIGNATURE}
    wrong += [f"{name}: not in {MANIFEST}; remove it" for name in sorted(set(files) - known)]
    wrong += check_files(expected, files)
    return (
        [shown(line) for line in wrong],
        len(files),
        sum(path.stat().st_size for path in files.values()),
    )


def check_expected(folder: Path, expect: str) -> list[str]:
    """What is wrong with the manifest's own SHA-256."""
    found = sha256(folder / MANIFEST)
    return (
        []
        if found == expect.lower()
        else [f"{MANIFEST} has SHA-256 {found}, and {shown(expect)} was expected"]
    )


def read_revoked(path: Path) -> "set[str]":
    """The SHA-256 that a list of revoked manifests and public keys names; Malformed for a line that
    says something else, since a mistyped one would revoke nothing.
    """
    found = set()
    for number, line in enumerate(path.read_bytes().decode("utf-8").splitlines(), 1):
        words = line.partition("#")[0].split()
        if words and not re.fullmatch("[0-9a-fA-F]{64}", words[0]):
            raise Malformed(
                f"{path}, line {number}: {words[0][:80]!r} is no SHA-256, which has 64 hexadecimal "
                f"digits; correct the list"
            )
        found |= {word.lower() for word in words[:1]}
    return found


def check_revoked(folder: Path, revoked: Path) -> "list[str]":
    """What is wrong with an export whose manifest the author has taken back."""
    try:
        listed_there = sha256(folder / MANIFEST) in read_revoked(revoked)
    except ValueError as error:
        return [shown(error)]
    return (
        [f"{shown(revoked)} lists the SHA-256 of its {MANIFEST}: the author took this export back"]
        if listed_there
        else []
    )


def verdict(folder: Path, expect: "str | None") -> str:
    """What may be said of a folder in which nothing is wrong."""
    if expect:
        return "manifest.json is the expected one"
    unsigned = (
        f"{SIGNATURE} is present and was NOT checked"
        if (folder / SIGNATURE).is_file()
        else "there is no signature"
    )
    return (
        f"NOT authenticated, {unsigned}: anybody who can rewrite {MANIFEST} passes this check.\n"
        f"Compare with what the author published (--expect), or check the signature "
        f"(verify_signature.py): "
        f"{MANIFEST} has SHA-256\n{sha256(folder / MANIFEST)}"
    )


def digest_word(text: str) -> str:
    """A SHA-256 on the command line."""
    if not re.fullmatch("[0-9a-fA-F]{64}", text):
        raise argparse.ArgumentTypeError(
            f"{shown(text)} is no SHA-256, which has 64 hexadecimal digits"
        )
    return text


def report(folder: Path, expect: "str | None", revoked: "Path | None") -> int:
    """Check a folder, print what is wrong or what may be said of it, and return the exit status."""
    wrong, files, size = check(folder)
    if not wrong and expect:
        wrong = check_expected(folder, expect)
    if not wrong and revoked:
        wrong = check_revoked(folder, revoked)
    for line in wrong[:LINES]:
        print(f"WRONG: {line}", file=sys.stderr)
    if len(wrong) > LINES:
        print(f"WRONG: {len(wrong) - LINES} more", file=sys.stderr)
    if not wrong:
        print(
            f"{'OK' if expect else 'complete'}: {files} files, {size} bytes; "
            f"{verdict(folder, expect)}"
        )
    return 1 if wrong else 0


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="export folder")
    parser.add_argument(
        "--expect",
        type=digest_word,
        metavar="SHA256",
        help="of manifest.json, as its author published it",
    )
    parser.add_argument(
        "--revoked", type=Path, metavar="FILE", help="SHA-256 of manifests that are refused"
    )
    args = parser.parse_args()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")
    if not args.folder.is_dir():
        print(
            f"error: {shown(args.folder)} is not a folder; give the folder of an export",
            file=sys.stderr,
        )
        return 1
    try:
        return report(args.folder, args.expect, args.revoked)
    except OSError as error:
        print(
            f"error: {shown(error.filename)} cannot be read ({error.strerror}); copy it again",
            file=sys.stderr,
        )
        return 1


if __name__ == "__main__":
    raise SystemExit(main())
