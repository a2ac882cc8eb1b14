#!/usr/bin/env python3
"""Check that an archive of a run is whole, byte for byte. Needs Python 3.9 and nothing else.

    python3 -I verify_archive.py ARCHIVE.zip [--expect SHA256]

The zip ends in a comment with the SHA-256 of all bytes before it, so no byte of it can change
unseen; manifest.json inside names each file with its size and SHA-256. Nothing is unpacked or
written. Whoever can rewrite the archive can make it pass: `OK` needs --expect, the SHA-256 of the
archive as its author published it; without it the answer is `complete`. Exit status 0 for both, or
1 and a line for each thing that is wrong.
"""

import sys

# Python looks for modules beside a program first: a copy of it among unpacked files would run
# theirs
if __name__ == "__main__" and not (sys.flags.isolated or getattr(sys.flags, "safe_path", False)):
    del sys.path[0]

import argparse
import hashlib
import json
import re
import stat
import unicodedata
import zipfile
import zlib
from pathlib import Path

MANIFEST = "manifest.json"
SEAL = b"MindTune archive, SHA-256 of all bytes before this comment: "
MOST_MANIFEST = 64 << 20  # bytes; a file has about 150 in it
MOST_BYTES = 200 << 30  # of all files unpacked; an archive with a 7B export has 16 GB
MOST_RATIO = 300  # unpacked to packed: text reaches 20, zeros in a bomb 1,000
SMALL = 64 << 20  # below this in all, the ratio does not matter
BLOCK = 1 << 20


class Refused(ValueError):
    """What is wrong with an archive; the message is one sentence."""


def shown(text: object) -> str:
    """Text from outside for a terminal: what is not printable is written out."""
    cut = str(text)[:2000]
    return "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in cut
    )


def name_fault(info: zipfile.ZipInfo) -> str:
    """What is wrong with the name or the kind of one member; empty if nothing is."""
    name = info.orig_filename
    parts = name.split("/")
    kind = stat.S_IFMT(info.external_attr >> 16)
    if name.startswith("/") or "\\" in name or "\0" in name or re.match(r"[A-Za-z]:", name):
        return "is no relative path with / between folders"
    if ".." in parts or "." in parts or "" in parts:
        return "leads out of the folder that it is unpacked to, or is written in a roundabout way"
    if kind not in (0, stat.S_IFREG):
        return "is no plain file but a link or a device"
    if info.flag_bits & 1:
        return "is encrypted"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "is packed in a way that archives are not"
    return ""


def check_members(infos: "list[zipfile.ZipInfo]") -> None:
    """Refuse names that could write elsewhere or over each other, and bombs; reads no content."""
    seen: dict[str, str] = {}
    for info in infos:
        fault = name_fault(info)
        if fault:
            raise Refused(f"{shown(info.orig_filename)} {fault}")
        key = unicodedata.normalize("NFC", info.filename).casefold()
        if key in seen:
            raise Refused(f"{shown(info.filename)} is in it twice, also as {shown(seen[key])}")
        seen[key] = info.filename
    folders = {key.rsplit("/", count)[0] for key in seen for count in range(1, key.count("/") + 1)}
    for key in sorted(folders & seen.keys()):
        raise Refused(f"{shown(seen[key])} is a file and a folder in it")
    size = sum(info.file_size for info in infos)
    packed = sum(info.compress_size for info in infos)
    if size > MOST_BYTES or (size > SMALL and size > MOST_RATIO * max(1, packed)):
        raise Refused(f"its {packed:,} bytes unpack to {size:,}, which no archive of a run does")


def read_manifest(archive: zipfile.ZipFile) -> dict:
    """The manifest, after the checks of all members."""
    infos = archive.infolist()
    check_members(infos)
    mine = [info for info in infos if info.filename == MANIFEST]
    if not mine or mine[0].file_size > MOST_MANIFEST:
        raise Refused(f"{MANIFEST} is not in it, or too large: this is no archive of a run")
    try:
        manifest = json.loads(archive.read(mine[0]).decode("utf-8"))
        files = manifest["files"]
        good = all(
            isinstance(entry["bytes"], int) and re.fullmatch("[0-9a-f]{64}", entry["sha256"])
            for entry in files.values()
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        good = False
    if not good:
        raise Refused(f"{MANIFEST} is not as archives have it")
    return manifest


def seal_fault(path: Path, comment: bytes) -> str:
    """What is wrong with the comment at the end of the zip; empty if it is the hash of the rest."""
    digest, left = hashlib.sha256(), path.stat().st_size - len(comment)
    with open(path, "rb") as stream:
        while left > 0:
            block = stream.read(min(BLOCK, left))
            if not block:
                break
            digest.update(block)
            left -= len(block)
    if comment == SEAL + digest.hexdigest().encode():
        return ""
    return "the SHA-256 at its end is not that of its bytes: it was changed or is torn"


def file_fault(archive: zipfile.ZipFile, info: zipfile.ZipInfo, entry: dict) -> str:
    """What is wrong with one file; it is read in blocks, and no further than the manifest says."""
    digest, size = hashlib.sha256(), 0
    with archive.open(info) as stream:
        while block := stream.read(BLOCK):
            size += len(block)
            if size > entry["bytes"]:
                return f"has more than the {entry['bytes']:,} bytes of the manifest"
            digest.update(block)
    if size != entry["bytes"]:
        return f"has {size:,} bytes, and {entry['bytes']:,} in the manifest"
    found = digest.hexdigest()
    return "" if found == entry["sha256"] else f"has SHA-256 {found}, and another in the manifest"


def check(path: Path) -> "tuple[list[str], dict]":
    """(what is wrong with an archive, its manifest); the list is empty for a whole one."""
    try:
        with zipfile.ZipFile(path) as archive:
            manifest = read_manifest(archive)
            wrong = [fault for fault in [seal_fault(path, archive.comment)] if fault]
            members = {info.filename: info for info in archive.infolist()}
            files = manifest["files"]
            for name in sorted((files.keys() | members.keys()) - {MANIFEST}):
                if name not in members:
                    wrong.append(f"{shown(name)} is missing, and the manifest names it")
                elif name not in files:
                    wrong.append(f"{shown(name)} is in it, and the manifest does not name it")
                else:
                    fault = file_fault(archive, members[name], files[name])
                    wrong += [f"{shown(name)} {fault}"] if fault else []
            return wrong, manifest
    except Refused as error:
        return [str(error)], {}
    except (zipfile.BadZipFile, zipfile.LargeZipFile, EOFError, NotImplementedError) as error:
        return [f"it is no whole zip ({shown(error)})"], {}
    except (ValueError, RuntimeError, OverflowError, OSError, zlib.error) as error:
        return [f"it cannot be read ({shown(error)})"], {}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("archive", type=Path)
    parser.add_argument("--expect", help="SHA-256 of the archive as its author published it")
    args = parser.parse_args()
    if not args.archive.is_file():
        print(f"{shown(args.archive)}: is no file; give an archive of a run")
        return 1
    wrong, manifest = check(args.archive)
    with open(args.archive, "rb") as stream:
        digest = hashlib.sha256()
        while block := stream.read(BLOCK):
            digest.update(block)
    found = digest.hexdigest()
    if args.expect and args.expect.lower() != found:
        wrong.append(f"its SHA-256 is {found}, and {shown(args.expect)} was published")
    for line in wrong:
        print(f"{shown(args.archive)}: {line}")
    if wrong:
        return 1
    print(f"{'OK' if args.expect else 'complete'}: {len(manifest['files'])} files, SHA-256 {found}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
