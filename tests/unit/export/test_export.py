"""Nothing is exported unproven; an export names its origin, verifies from a copy without any
package, and shows a wrong byte.
"""

import json
import os
import random
import re
import shutil
import subprocess
import sys
import zlib
from hashlib import sha256
from pathlib import Path

import pytest
import verify_export
import yaml
from mindtune.records import list_files, sha256_path
from proven_run import ROOT, export_words, proven_run, run_program
from sealed import write_sealed


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory):
    return proven_run(tmp_path_factory)


@pytest.fixture(scope="session")
def exported(run_folder, tmp_path_factory):
    """An export folder and its record; not to be changed by a test."""
    out = tmp_path_factory.mktemp("导出")
    done = run_program("export_model.py", *export_words(run_folder, out))
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture
def copied(exported, tmp_path):
    """A copy that may be damaged."""
    return Path(shutil.copytree(exported / "export", tmp_path / "拷贝"))


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


def test_card_has_front_matter_and_warnings(exported):
    card = (exported / "export" / "README.md").read_text(encoding="utf-8")
    head = yaml.safe_load(card.split("---")[1])
    assert head["base_model"] == "Qwen/Qwen2.5-7B-Instruct"
    assert head["license"] == "apache-2.0"
    assert head["library_name"] == "transformers"
    assert head["language"] == ["zh", "en"]
    assert "datasets" not in head  # a local source has no page to link
    for words in (
        "This is a toy",
        "Not a clinician",
        "不能代替专业诊断",
        "1,200 dialogues read, 1,150 kept, 50 rejected (over_long 50)",
    ):
        assert words in card
    assert "| learning_rate | 0.0002 |" in card
    assert "| lora target_modules | q_proj k_proj" in card
    assert "first dev loss" not in card
    assert "empty 0" not in card


def test_card_s_hotlines_are_verified_ones(exported):
    card = (exported / "export" / "README.md").read_text(encoding="utf-8")
    crisis = card.split("## In a crisis")[1].split("\n## ")[0]
    lines = yaml.safe_load((ROOT / "config" / "hotlines.yaml").read_text(encoding="utf-8"))[
        "hotlines"
    ]
    verified = {line["number"] for line in lines if line["status"] == "verified"}
    numbers = set(re.findall(r"\*\*(\d+)\*\*", crisis))
    assert numbers == {"12356", "110", "120"}
    assert numbers <= verified


def test_card_of_a_hub_dataset():
    from mindtune.export.model_card import model_card

    def record(stage: str, facts: dict, **params: object) -> dict:
        return {
            "stage": stage,
            "params": params,
            "facts": facts,
            "env": {"ms-swift": "4.6.0"},
            "inputs": {},
            "outputs": {f"results/data/mh/{stage}": "ef" * 32},
        }

    logits = {
        "max_rms_in_deviations": 0.05,
        "max_difference_in_deviations": 0.1,
        "argmax_agreement": 0.9951,
        "positions": 2048,
        "decisive_positions": 1500,
    }
    proof = {
        "tensors": {"changed": {"exact": 196}, "other": {"equal": 143}},
        "logits": logits,
        "prompts": [1, 2, 3],
    }
    records = [
        record(
            "fetch_dataset",
            {},
            source="modelscope",
            id="CodyWhy/mh-sharegpt-20250820",
            revision="abc",
            licence=None,
        ),
        record(
            "clean_dialogues",
            {"read": 10, "kept": 10, "rejected": 0, "rejected_by_reason": {"empty": 0}},
        ),
        record("split_dialogues", {"dialogues": {"train": 8, "dev": 1, "test": 1}}),
        record("train_lora", {"steps": 3}, method="lora", lora={"rank": 8}),
        record("merge_adapter", {"shards": {"model.safetensors": 5}}, dtype="bfloat16"),
        record("verify_merge", proof),
    ]
    model = {
        "source": "local",
        "path": "/models/qwen",
        "id": None,
        "revision": None,
        "licence": None,
    }
    card = model_card({"model": model, "data_licence": {"mh": "CC0-1.0"}}, records)
    head = yaml.safe_load(card.split("---")[1])
    assert head["datasets"] == ["CodyWhy/mh-sharegpt-20250820"]
    assert head["license"] == "unknown"
    assert "base_model" not in head
    assert "toy" not in card
    assert "fine-tuned from qwen" in card
    assert "Not part of this card, which is written before the model is evaluated" in card
    assert "at each of 2,048 positions, by a root mean square of at most 0.05" in card
    assert "the same token at 99.5 % of them, and at all 1,500 that are no near-ties" in card
    assert (
        "LoRA, merged into the base" in card
        and "equal base + adapter" in card
        and "| lora rank | 8 |" in card
    )
    training = next(record for record in records if record["stage"] == "train_lora")
    training["params"]["method"] = "full"
    whole = model_card({"model": model, "data_licence": {"mh": "CC0-1.0"}}, records)
    assert (
        "All weights trained" in whole
        and "equal the trained weights" in whole
        and "lora" not in whole.lower()
    )
    licence = "x\n\n## In a crisis: call 900-1\n\n<svg onload=alert(1)>"
    model |= {"licence": "y\r\n# Call <b>900-2</b>", "path": "/models/*q* | w\u2028## z"}
    forged = model_card({"model": model, "data_licence": {"mh": licence}}, records)
    assert [line for line in forged.splitlines() if line.startswith("#")] == [
        line
        for line in whole.replace("qwen", "\\*q\\* \\| w ## z").splitlines()
        if line.startswith("#")
    ]
    assert "\\<svg onload=alert(1)\\>" in forged and "# Call \\<b\\>" in forged


# ------------------------------------------------------------------------------------------- verify


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
