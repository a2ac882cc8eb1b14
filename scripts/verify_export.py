#!/usr/bin/env python3
"""Check that a copied export is, byte for byte, what was shipped. Needs Python 3.9 and nothing else: no network, no package.

    python3 verify_export.py DIR

Every file must be in manifest.json with its size and SHA-256, and no file may be missing or added. Exit status 0 and
"OK: N files, B bytes", or 1 and one line for each thing that is wrong. A changed byte is named with its place and both values:
manifest.blocks.json holds SHA-256 and Adler-32 of each block of 1 MiB. Adler-32 is two sums, of the bytes and of the running
sums (RFC 1950), so one wrong byte shifts them by d and by d times its distance from the end, which gives both. A signature
(model.sig) is not looked into: it says who made the export, and needs a public key (verify_signature.py).

Reads DIR, writes nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import zlib
from pathlib import Path

MANIFEST, SEAL, BLOCKS = "manifest.json", "manifest.json.sha256", "manifest.blocks.json"
SIGNATURE = "model.sig"
BLOCK = 1 << 20
ADLER = 65521  # the largest prime below 2**16, modulus of both sums


def listing(folder: Path) -> tuple[dict[str, Path], list[str]]:
    """{relative name: path} of the plain files, and the names of what is neither file nor folder.

    Snakemake leaves marker files in the folders that it makes; they are not part of an export.
    """
    files, others = {}, []
    for root, folders, names in os.walk(folder):
        for name in sorted(folders + names):
            path = Path(root, name)
            relative = path.relative_to(folder).as_posix()
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                others.append(relative)
            elif path.is_file() and not name.startswith(".snakemake_"):
                files[relative] = path
    return files, others


def sha256(path: Path) -> str:
    """SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while True:
            block = stream.read(16 * BLOCK)
            if not block:
                return digest.hexdigest()
            digest.update(block)


def single_change(block: bytes, digest: str, adler: str) -> tuple[int, int] | None:
    """(place, original value) of the one byte that explains a wrong block; None if more than one byte changed."""
    wanted, found = int(adler, 16), zlib.adler32(block)
    shift = ((found & 0xFFFF) - (wanted & 0xFFFF)) % ADLER
    if shift > 255:
        shift -= ADLER
    if shift == 0 or shift < -255:
        return None
    weight = ((found >> 16) - (wanted >> 16)) * pow(shift % ADLER, -1, ADLER) % ADLER
    # the second sum counts a byte as often as there are bytes from it to the end; known only modulo 65,521
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
                found.append(f"byte {start + place} is 0x{block[place]:02x}, shipped was 0x{value:02x}")
            else:
                found.append(
                    f"bytes {start} to {start + len(block) - 1} (block {number}) hold more than one wrong byte"
                )
    return found


def read_manifest(folder: Path) -> tuple[dict, list[str]]:
    """The manifest and what is wrong with it; a manifest whose seal does not fit is not used."""
    for name in (MANIFEST, SEAL):
        if not (folder / name).is_file():
            return {}, [f"{name} is missing: {folder} is not an export, or not all of it was copied"]
    if (folder / SEAL).read_bytes() != f"{sha256(folder / MANIFEST)}  {MANIFEST}\n".encode():
        return {}, [f"{MANIFEST} and {SEAL} do not fit together: one of them was changed, copy both again"]
    return json.loads((folder / MANIFEST).read_text(encoding="utf-8")), []


def check_file(name: str, path: Path, entry: dict, blocks: dict[str, list[str]]) -> list[str]:
    """What is wrong with one file."""
    size = path.stat().st_size
    if size != entry["bytes"]:
        return [f"{name}: {size} bytes, shipped were {entry['bytes']}; copy it again"]
    if sha256(path) == entry["sha256"]:
        return []
    if name not in blocks:
        return [f"{name}: its SHA-256 is wrong; copy it again"]
    return [f"{name}: {what}; copy it again" for what in wrong_bytes(path, blocks[name])]


def check(folder: Path) -> tuple[list[str], int, int]:
    """(what is wrong, number of files, bytes) of an export folder."""
    manifest, wrong = read_manifest(folder)
    if wrong:
        return wrong, 0, 0
    files, others = listing(folder)
    wrong += [f"{name}: neither a plain file nor a folder; an export has no links" for name in others]
    expected = manifest["files"]
    known = {*expected, MANIFEST, SEAL, SIGNATURE}
    wrong += [f"{name}: not in {MANIFEST}; remove it" for name in sorted(set(files) - known)]
    blocks: dict[str, list[str]] = {}
    # the blocks first: they are used only if they are what was shipped
    for name in sorted(expected, key=lambda name: (name != BLOCKS, name)):
        if name not in files:
            wrong.append(f"{name}: missing; copy it again")
            continue
        found = check_file(name, files[name], expected[name], blocks)
        if name == BLOCKS and not found:
            blocks = json.loads(files[name].read_text(encoding="utf-8"))["files"]
        wrong += found
    return wrong, len(files), sum(path.stat().st_size for path in files.values())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="DIR", help="export folder")
    folder = parser.parse_args().folder
    if not folder.is_dir():
        print(f"error: {folder} is not a folder; give the folder of an export", file=sys.stderr)
        return 1
    wrong, files, size = check(folder)
    for line in wrong:
        print(f"WRONG: {line}", file=sys.stderr)
    if not wrong:
        print(f"OK: {files} files, {size} bytes")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
