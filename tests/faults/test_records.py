"""Results that were changed behind the workflow's back: whoever reads them refuses, make audit
finds them, a rerun mends them.
"""

import json
import subprocess
import sys

import pytest
from chain import ROOT, undisturbed

SMALLER = {"export": {"max_shard_size": "700KB"}}  # a reason to merge, prove and export anew


def flip(path):
    content = bytearray(path.read_bytes())
    content[-1000] ^= 1
    path.write_bytes(content)


def swap(path):
    content = path.read_bytes()
    path.write_bytes(content[:-2000] + content[-1000:] + content[-2000:-1000])


def negate(path):
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"lora_alpha": -config["lora_alpha"]}))


CHANGES = {
    "a bit of base and adapter": [
        ("base/model/model.safetensors", flip),
        ("runs/main/adapter/adapter_model.safetensors", flip),
    ],
    "weights permuted": [("base/model/model.safetensors", swap)],
    "alpha negated": [("runs/main/adapter/adapter_config.json", negate)],
}


def audit(made):
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts/tools/audit.py"), "--workdir", str(made.work)],
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout + done.stderr


def test_the_audit_of_an_undisturbed_chain_raises_no_alarm():
    status, said = audit(undisturbed())
    assert status == 0, said


@pytest.mark.parametrize("change", CHANGES)
def test_what_was_changed_after_the_training_is_not_exported_again(change):
    made = undisturbed().copy(change.replace(" ", "-"))
    for name, edit in CHANGES[change]:
        edit(made.work / "results" / name)
    status, said = audit(made)
    assert status == 2 and "changed      results/" in said, said
    made.configure(**SMALLER)
    done = made.run("results/export")
    assert done.returncode == 1, done.stdout[-3000:]
    assert "has SHA-256" in done.stdout or "lora_alpha is -" in done.stdout, done.stdout[-3000:]
    assert not (made.work / "results/runs/main/merge_adapter.json").exists()


def test_changed_tokens_are_not_trained_on_and_a_deleted_cache_is_made_again():
    made = undisturbed().copy("changed-tokens")
    cached = next((made.work / "results/runs/main/cached/train").glob("*.arrow"))
    content = bytearray(cached.read_bytes())
    content[len(content) // 2] ^= 1
    cached.write_bytes(content)
    status, said = audit(made)
    assert status == 2 and "changed      results/runs/main/cached" in said, said
    made.configure(train={"learning_rate": 3.0e-4})
    done = made.run("results/runs/main/train_lora.json")
    assert done.returncode == 1, done.stdout[-3000:]
    assert "results/runs/main/cached has SHA-256" in made.log("logs/runs/main/train_lora.log")
    subprocess.run(
        [
            "rm",
            "-r",
            made.work / "results/runs/main/cached",
            made.work / "results/runs/main/order_dialogues.json",
        ],
        check=True,
    )
    made.configure()
    made.finish()
    made.assert_converged()


def test_an_edited_test_split_is_not_asked_about():
    made = undisturbed().copy("edited-test")
    path = made.work / "results/data/demo/test.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace("我", "他", 1), encoding="utf-8")
    done = made.run("results/base/replies/demo/dialogue.jsonl")
    assert done.returncode == 1 and "results/data/demo/test.jsonl has SHA-256" in done.stdout, (
        done.stdout[-3000:]
    )


def test_a_deleted_record_is_named_at_the_start_and_made_again_when_it_is_asked_for():
    made = undisturbed().copy("deleted-record")
    record = made.work / "results/base/fetch_model.json"
    content = record.read_bytes()
    record.unlink()
    done = made.run("--dry-run", "results/export")
    assert (
        done.returncode == 0 and "results/base/fetch_model.json is missing, and" in done.stdout
    ), done.stdout[-3000:]
    assert audit(made)[0] == 2
    assert made.run("results/base/fetch_model.json").returncode == 0
    assert record.read_bytes() == content
    done = made.run("--dry-run", "results/export")
    assert "Nothing to be done" in done.stdout and audit(made)[0] == 0, done.stdout[-3000:]
