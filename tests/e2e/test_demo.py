"""What a finished demo must show, from its records and files."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RUNS = ["main", "seed43"]
BASELINES = ("base_again", "base_prompted")


def load(path):
    return json.loads(path.read_text(encoding="utf-8"))


def rows(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_it_prints_the_table_the_export_and_the_times(demo):
    assert "| BLEU" in demo.output and "tok:zh" in demo.output
    assert f"export: {demo.results / 'export'}" in demo.output
    assert "runs/main/train_lora" in demo.output and "toy" in demo.output


def test_every_row_is_kept_or_rejected(demo):
    facts = load(demo.results / "data/demo/clean_dialogues.json")["facts"]
    kept, rejected = (
        rows(demo.results / "data/demo/clean.jsonl"),
        rows(demo.results / "data/demo/rejected.jsonl"),
    )
    sources = sorted((ROOT / "resources/dialogues").glob("*.jsonl"))
    assert len(kept) + len(rejected) == facts["read"] == sum(len(rows(path)) for path in sources)
    assert {row["id"] for row in rejected} >= {f"dirty-{n:02}" for n in (4, 10, 12, 13, 17, 18)} - {
        "dirty-10"
    }
    assert all(row["reasons"] for row in rejected)
    assert {"mojibake", "html", "mask_mobile", "mask_id_card", "trailing_client_turn"} <= {
        fix for row in kept for fix in row["fixes"]
    }


def test_no_personal_data_is_left_and_hotlines_are(demo):
    text = (demo.results / "data/demo/clean.jsonl").read_text(encoding="utf-8")
    assert (
        "13800138000" not in text and "110101190001010014" not in text and "example.com" not in text
    )
    assert "12356" in text


def test_splits_share_nothing_and_lose_nothing(demo):
    folder = demo.results / "data/demo"
    parts = {side: rows(folder / f"{side}.jsonl") for side in ("train", "dev", "test")}
    ids = [row["id"] for part in parts.values() for row in part]
    assert sorted(ids) == sorted(row["id"] for row in rows(folder / "clean.jsonl"))
    first = {
        side: {
            next(turn["value"] for turn in row["conversations"] if turn["from"] == "human")
            for row in part
        }
        for side, part in parts.items()
    }
    assert not first["train"] & (first["dev"] | first["test"]) and not first["dev"] & first["test"]


@pytest.mark.parametrize("run", RUNS)
def test_the_trainer_did_what_was_planned(demo, run):
    stats = load(demo.results / f"runs/{run}/pack_stats.json")["facts"]
    trained = load(demo.results / f"runs/{run}/train_lora.json")["facts"]
    state = next((demo.work / f"state/train/{run}").iterdir())
    trainer = load(state / f"checkpoint-{stats['steps']}/trainer_state.json")
    assert trainer["global_step"] == trainer["max_steps"] == stats["steps"] == trained["steps"]
    assert stats["rows"] == len(rows(demo.results / "data/demo/train.jsonl"))
    assert 0 < stats["trained_tokens"] < stats["tokens"] and 0.5 < stats["fill"] <= 1
    parts = stats["by_source"].values()
    assert sorted(stats["by_source"]) == ["demo:dirty.jsonl", "demo:en.jsonl", "demo:zh.jsonl"]
    assert all(
        sum(part[key] for part in parts) == stats[key]
        for key in ("rows", "tokens", "trained_tokens")
    )
    assert (
        max(part["packs"] for part in parts)
        <= stats["packs"]
        <= sum(part["packs"] for part in parts)
    )
    history = (demo.results / f"runs/{run}/history.csv").read_text().splitlines()
    assert len(history) == stats["steps"] + 1
    assert sorted(path.name for path in (demo.results / f"runs/{run}/adapter").glob("[!.]*")) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    assert list((state / "swanlab").glob("run-*")), "SwanLab recorded nothing"


def test_another_seed_is_another_adapter_on_shared_data(demo):
    weights = [
        (demo.results / f"runs/{run}/adapter/adapter_model.safetensors").read_bytes()
        for run in RUNS
    ]
    assert weights[0] != weights[1]
    assert [path.name for path in (demo.results / "data").iterdir()] == ["demo"]
    assert [path.name for path in (demo.results / "base/replies").iterdir()] == ["demo"]


@pytest.mark.parametrize("run", RUNS)
def test_the_export_is_proven_and_verifies_with_python_alone(demo, run):
    proof = load(demo.results / f"runs/{run}/verify.json")["facts"]["tensors"]
    assert proof["changed"]["exact"] == proof["changed"]["n"] == 14
    export = demo.results / f"runs/{run}/export"
    shards = sorted(export.glob("model-*.safetensors"))
    assert len(shards) >= 2
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(ROOT / "scripts/deploy/verify_export.py"), str(export)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and done.stdout.startswith("complete: "), done.stdout + done.stderr
    for name in ("tokenizer.json", "chat_template.jinja", "tokenizer_config.json"):
        assert (export / name).read_bytes() == (demo.results / "base/model" / name).read_bytes()
    merged = demo.results / f"runs/{run}/merged"
    assert all((merged / shard.name).samefile(shard) for shard in shards), "no second copy"


def test_the_published_export_is_that_of_the_named_run(demo):
    assert load(demo.results / "export/manifest.json") == load(
        demo.results / "runs/main/export/manifest.json"
    )
    card = (demo.results / "export/README.md").read_text(encoding="utf-8")
    assert card.startswith("---\n") and "toy" in card and "12356" in card


def test_scores_have_intervals_floors_and_signatures(demo):
    facts = load(demo.results / "runs/main/scores/dialogue.json")["facts"]
    by = {(row["model"], row["metric"], row["stratum"]): row for row in facts["rows"]}
    floors = {"floor:random", "floor:same_dialogue", "floor:nearest", "floor:echo", "floor:fixed"}
    floors |= {"floor:base_cut"}
    assert {model for model, _, _ in by} == {"base", "tuned", *BASELINES, *floors}
    for metric in ("BLEU", "chrF"):  # the engine answers alone, one by one: no noise
        assert by["base_again", metric, "zh"]["value"] == by["base", metric, "zh"]["value"]
    for metric in ("BLEU", "chrF", "ROUGE-L"):
        row = by["tuned", metric, "zh"]
        assert row["low"] <= row["value"] <= row["high"] and row["n"] > 0
        assert 0 < row["value"] < 100
    table = (demo.results / "tables/evaluation.csv").read_text(encoding="utf-8")
    assert "tok:zh" in table and "main,dialogue,tuned-base,chrF,zh" in table
    assert "dialogue chrF (zh): " in (demo.results / "tables/summary.md").read_text("utf-8")
    replies = [
        rows(demo.results / path)
        for path in ("base/replies/demo/dialogue.jsonl", "runs/main/replies/dialogue.jsonl")
    ]
    assert [row["prompt"] for row in replies[0]] == [row["prompt"] for row in replies[1]]
    assert any(row["reply"] for row in replies[1])


def test_the_server_kept_its_contract_and_is_gone(demo):
    smoke = load(demo.results / "runs/main/smoke.json")
    checks = smoke["facts"]["checks"]
    assert len(checks) >= 10 and all(check["passed"] for check in checks)
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                command = (process / "cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue
            assert str(demo.work / "results") not in command, (
                f"process {process.name} is left: {command}"
            )


def test_the_report_is_one_page_of_its_own(demo):
    page = (demo.results / "report/report.html").read_text(encoding="utf-8")
    assert "<script" not in page and "http-equiv" in page and "toy" in page
    assert "rulegraph" in page or "<svg" in page or "data:image/svg" in page
    assert (
        (demo.results / "report/dag.mmd")
        .read_text()
        .startswith(("graph", "flowchart", "---", "%%"))
    )


def test_a_second_call_has_nothing_to_do(again):
    assert "| BLEU" in again.output and "\nrule " not in again.output
    assert again.seconds < 30


def test_the_audit_raises_no_alarm(demo, again):
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts/tools/audit.py"), "--workdir", str(demo.work)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_record_belongs_to_a_start_that_says_with_which_code(demo):
    start = load(demo.results / "starts/0001.json")
    assert start["facts"]["succeeded"] and start["params"]["runs"].keys() == {"main", "seed43"}
    head = subprocess.run(["git", "-C", ROOT, "rev-parse", "HEAD"], capture_output=True, text=True)
    assert start["facts"].get("commit", "") == head.stdout.strip()
    made = start["facts"]["made"]
    for run in ("main", "seed43"):
        for stage in ("pack_stats", "train_lora", "merge_adapter", "verify", "export_model"):
            assert f"results/runs/{run}/{stage}.json" in made
    assert {"results/export.json", "results/tables/evaluation_table.json"} <= made.keys()


def test_equal_bytes_in_another_folder(demo, elsewhere):
    names = [
        *(f"data/demo/{name}.jsonl" for name in ("clean", "rejected", "train", "dev", "test")),
        "data/demo/cache_dataset.json",
        "runs/main/order_dialogues.json",
        "runs/main/pack_stats.json",
        "runs/main/adapter/adapter_model.safetensors",
        "runs/main/adapter/adapter_config.json",
        "runs/main/verify.json",
        "runs/main/export/manifest.json",
    ]
    differ = [
        name
        for name in names
        if (demo.results / name).read_bytes() != (elsewhere.results / name).read_bytes()
    ]
    assert differ == []


def test_no_word_of_a_path_runs(elsewhere):
    odd = elsewhere.work.parents[1]
    assert (
        "$(touch P)" in odd.name
        and not list(odd.rglob("P"))
        and not (ROOT / "P").exists()
        and not Path("P").exists()
    )


def test_only_the_working_directory_is_written(demo):
    assert (
        not (ROOT / "results").exists()
        or (ROOT / "results").stat().st_mtime < demo.work.stat().st_mtime
    )
