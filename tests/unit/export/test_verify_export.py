"""The receiver's check of an export: damage is found and named."""

import random
import re
import sys
import zlib
from hashlib import sha256

import pytest
import verify_export
from mindtune.records import list_files
from proven_run import ROOT
from test_export import flip, verify


def test_a_whole_copy_passes_without_any_package(copied):
    done = verify(copied)
    size = sum(path.stat().st_size for path in copied.rglob("*"))
    said = (
        f"complete: {len(list_files(copied))} files, {size} bytes; NOT authenticated, there is "
        f"no signature: "
    )
    assert done.returncode == 0 and done.stdout.startswith(said), done.stdout + done.stderr
    assert verify_export.sha256(copied / "manifest.json") in done.stdout


def test_the_checker_imports_nothing_of_ours_and_no_package():
    text = (ROOT / "scripts" / "deploy/verify_export.py").read_text(encoding="utf-8")
    modules = set(re.findall(r"^(?:from|import) (\w+)", text, re.MULTILINE))
    assert modules <= set(sys.stdlib_module_names)


def test_every_one_of_1000_flipped_bytes_is_found_and_named(copied):
    draw = random.Random(20251)
    files = [(path, path.stat().st_size) for path in sorted(copied.rglob("*")) if path.is_file()]
    for trial in range(1000):
        # by bytes on even trials, by files on odd ones, so that small files have their turn
        path, size = (
            draw.choices(files, [size for _, size in files])[0] if trial % 2 else draw.choice(files)
        )
        place = draw.randrange(size)
        before = path.read_bytes()
        after = before[place] ^ draw.randrange(1, 256)
        path.write_bytes(before[:place] + bytes([after]) + before[place + 1 :])
        wrong, _, _ = verify_export.check(copied)
        path.write_bytes(before)
        assert len(wrong) == 1, (path.name, place, wrong)
        if path.name.startswith("manifest"):
            assert path.name.removesuffix(".sha256") in wrong[0]
        else:
            assert wrong[0].startswith(
                f"{path.name}: byte {place} is 0x{after:02x}, shipped was 0x{before[place]:02x}"
            )
    assert verify_export.check(copied)[0] == []


def test_damage_is_told_apart(copied):
    draw = random.Random(7)
    shard = sorted(copied.glob("model-*.safetensors"))[0]
    flip(shard, 100)
    flip(shard, 200)
    (copied / "config.json").unlink()
    (copied / "多余.txt").write_text("x", encoding="utf-8")
    with (copied / "tokenizer.json").open("ab") as stream:
        stream.write(draw.randbytes(3))
    (copied / "link").symlink_to(copied / "LICENSE")
    done = verify(copied)
    assert done.returncode == 1
    for words in (
        f"{shard.name}: bytes 0 to ",
        "hold more than one wrong byte",
        "config.json: missing",
        "多余.txt: not in manifest.json",
        "tokenizer.json: ",
        "link: neither a plain file nor a folder",
    ):
        assert words in done.stderr
    assert len(done.stderr.splitlines()) == 5


@pytest.mark.parametrize("name", ["manifest.json", "manifest.json.sha256"])
def test_half_a_copy_is_named(copied, name):
    (copied / name).unlink()
    done = verify(copied)
    assert done.returncode == 1
    assert f"{name} is missing" in done.stderr


def test_an_edited_origin_is_found(copied):
    """Every file is as shipped, but the manifest tells another story of them."""
    text = (copied / "manifest.json").read_text(encoding="utf-8")
    (copied / "manifest.json").write_text(text.replace("ab" * 32, "cd" * 32), encoding="utf-8")
    assert "do not fit together" in verify(copied).stderr


@pytest.mark.parametrize("place", [0, 1, 65_520, 65_521, 65_522, 500_000, (1 << 20) - 1])
def test_places_beyond_the_modulus_of_adler_are_found(place):
    block = bytearray(random.Random(place).randbytes(1 << 20))
    digest, adler = sha256(block).hexdigest(), f"{zlib.adler32(block):08x}"
    value, block[place] = block[place], block[place] ^ 0xFF
    assert verify_export.single_change(bytes(block), digest, adler) == (place, value)
    block[place - 5] ^= 1
    assert verify_export.single_change(bytes(block), digest, adler) is None
