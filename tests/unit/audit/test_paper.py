"""What an artifact committee and a reviewer ask for is there, from records, and nothing is
invented.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from mindtune.audit.ai_act import ai_act_note, compute_share
from mindtune.audit.folder import find_records
from mindtune.audit.paper import UNKNOWN, pages
from mindtune.audit.references import WORKS, bibtex
from mindtune.cli import UserError
from mindtune.config import ROOT, read_files, read_schema, resolve
from mindtune.records import write_record, write_text

CONFIG = resolve(
    read_files([ROOT / "config/config.yaml", ROOT / "config/demo.yaml"]), read_schema()
)
HOST = {"name": "node7", "system": "Linux", "cores": 2, "processor": "a processor"}
# sysartifacts.github.io (EuroSys) and the SC criteria: what each badge asks of the authors
COMMITTEE = {
    "Available": ["DOI", "version", "Paper:", "Licence"],
    "Functional": [
        "Folders", "Operating system and hardware", "Install", "Run", "Minimal working example",
        "Tested on a clean machine", "Disk",
    ],
    "Reproduced": [
        "Claims", "Minutes of people", "Minutes of machines", "Without the rare hardware", "| C1 |",
    ],
}  # fmt: skip
NEURIPS = (
    "Claims", "Limitations", "Theory, assumptions and proofs", "Reproducibility of results",
    "Open access to data and code", "Experimental setting", "Statistical significance",
    "Compute resources", "Code of ethics", "Broader impacts", "Safeguards",
    "Licences of existing assets", "New assets",
    "Crowdsourcing and research with human subjects", "Approval by an ethics board",
    "Use of language models",
)  # fmt: skip
TABLE = """run,suite,system,metric,stratum,value,low,high,p
main,knowledge,tuned-base,accuracy,,-0.015,-0.042,0.012,0.4
main,knowledge,tuned-base,unparsable,,0.1,0.0,0.2,0.01
"""


def stage(path, name, params=None, env=(), **facts):
    write_record(
        f"results/{path}.json", name, inputs=(), outputs=(), params=params or {}, facts=facts,
        packages=env,
    )  # fmt: skip


def training(**over):
    return {**CONFIG["train"], "device": "cpu", **over}


@pytest.fixture
def work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    stage("starts/0001", "start", CONFIG, began="x", ended="y", succeeded=True, made={},
          snakemake="9.27.1", host=HOST, commit="c0ffee")  # fmt: skip
    stage("data/demo/clean_dialogues", "clean_dialogues", read=102, kept=95)
    stage("data/demo/split_dialogues", "split_dialogues", shared_groups=0, shared_first_turns=0,
          dialogues={"train": 73, "dev": 8, "test": 14})  # fmt: skip
    stage("runs/main/pack_stats", "pack_stats", tokens=20678)
    stage("runs/main/train_lora", "train_lora", training(), ["pytest"], steps=8, packs=30,
          tokens=20678, last_loss=3.95541, last_dev_loss=None)  # fmt: skip
    stage("runs/main/merge_adapter", "merge_adapter", merged_tensors=14, other_tensors=13,
          parameters=39322752)  # fmt: skip
    stage("runs/main/verify", "verify_merge")
    write_text("results/tables/evaluation.csv", TABLE)
    write_text("benchmarks/runs/main/train_lora.tsv", "s\tcpu_time\n140.2\t57.2\n")
    return tmp_path


def made():
    return pages(find_records(), "main")


def test_every_item_of_a_committee_s_list_has_its_place(work):
    readme = made()["README.md"]
    parts = dict(zip(COMMITTEE, re.split(r"^## \w+$", readme, flags=re.M)[1:], strict=True))
    parts["Available"] += readme.partition("## ")[0]
    for badge, items in COMMITTEE.items():
        for item in items:
            assert item in parts[badge], f"{badge} lacks {item}"


def test_the_checklists_are_whole(work):
    text = made()["checklist.md"]
    for number, question in enumerate(NEURIPS, 1):
        assert f"{number}. **{question}.**" in text
    for item in ("A1", "A2", "B1", "B2", "B3", "B4", "B5", "B6", "C1", "C2", "C3", "C4", "D", "E"):
        assert re.search(rf"\b{item} ", text), item


def test_a_claim_has_a_target_an_expected_value_a_tolerance_and_minutes(work):
    rows = re.findall(r"^\| (C\d+) \| (.+) \|$", made()["claims.md"], re.M)
    assert [name for name, _ in rows] == [f"C{n}" for n in range(1, len(rows) + 1)]
    cells = [row.split(" | ") for _, row in rows]
    assert all(len(row) == 5 and all(row) for row in cells)
    assert [row[2] for row in cells if "kept or" in row[0]] == ["102 read, 95 kept, 7 rejected"]
    loss = next(row for row in cells if "this loss" in row[0])
    assert loss[2] == "train 3.9554, dev not measured" and loss[4] == "2 min 20 s"
    suite = next(row for row in cells if "knowledge" in row[0])
    assert suite[2] == "accuracy -0.015 (-0.042 to 0.012), p 0.4" and "not measured" in suite[4]


def test_what_no_record_says_is_unknown_and_claims_nothing(work):
    for name in ("data/demo/clean_dialogues", "runs/main/train_lora", "runs/main/merge_adapter"):
        Path(f"results/{name}.json").unlink()
    text = made()
    assert UNKNOWN in text["methods.md"] and "95" not in text["methods.md"]
    assert "loss" not in text["claims.md"] and "tensor" not in text["claims.md"]
    assert json.loads(text["ai_act.json"]) == {}


def test_a_mixture_says_how_much_of_each_data_set_was_trained_on(work):
    told = made()["methods.md"]
    assert "left out" not in told and "Of the trained tokens" not in told
    sets = dict.fromkeys(("demo", "more"), CONFIG["datasets"]["demo"])
    run = {**CONFIG["runs"]["main"], "dataset": ["more", "demo"]}
    config = {**CONFIG, "datasets": sets, "runs": {"main": run}}
    stage("starts/0002", "start", config, began="y", ended="z", succeeded=True, made={},
          snakemake="9.27.1", host=HOST, commit="c0ffee")  # fmt: skip
    told = made()["methods.md"]
    assert f"between the data sets is {UNKNOWN}" in told
    assert f"demo gave {UNKNOWN}, and more gave {UNKNOWN}." in told
    stage("data/demo+more/mix_datasets", "mix_datasets", left_out={"near_duplicate": 1200,
          "leak": 3})  # fmt: skip
    stage("runs/main/pack_stats", "pack_stats", tokens=9, by_dataset={
        "demo": {"rows": 73, "trained_share": 0.334111},
        "more": {"rows": 1095, "trained_share": 0.665889}})  # fmt: skip
    told = " ".join(made()["methods.md"].split())
    assert "1,200 copies and 3 dialogues" in told
    assert "demo gave 33.4 % (73 dialogues), and more gave 66.6 % (1,095 dialogues)." in told


def test_without_a_start_or_with_an_unknown_run_there_is_one_sentence(work):
    with pytest.raises(UserError, match="RUN is 'mian'"):
        pages(find_records(), "mian")
    Path("results/starts/0001.json").unlink()
    with pytest.raises(UserError, match="results/starts holds no record"):
        made()


def test_the_share_of_the_base_s_compute_is_that_of_the_paper_s_arithmetic():
    """7.6 billion weights, 18 T tokens of the base, an epoch of 33 million tokens."""
    record = {"params": training(gradient_checkpointing=False), "facts": {"tokens": 33_000_000}}
    found = compute_share({"id": "Qwen/Qwen2.5-7B-Instruct"}, record, 7_600_000_000)
    assert found["flop_of_the_base"] == pytest.approx(8.2e23, rel=0.01)
    assert found["flop_of_the_tuning"] == pytest.approx(1.0e18, rel=0.01)
    assert found["share"] / found["threshold"] == pytest.approx(3.7e-6, rel=0.02)
    assert found["above_threshold"] is False and "below the third" in ai_act_note(found)
    record["params"] |= {"method": "full", "gradient_checkpointing": True}
    assert compute_share({"id": "x"}, record, 1)["flop_per_weight_and_token"] == 8


def test_of_a_base_whose_training_nobody_published_the_share_is_unknown():
    record = {"params": training(), "facts": {"tokens": 10}}
    found = compute_share({"id": "tiny"}, record, 5)
    assert found["share"] is found["above_threshold"] is None
    assert "unknown: nothing here says on how many tokens tiny" in ai_act_note(found)
    assert "how many weights" in ai_act_note(compute_share({"id": None}, record, None))


def test_bibtex_is_balanced_and_names_only_what_was_used():
    records = {
        "a": {"stage": "train_lora", "env": {"peft": "1"},
              "params": training(method="dora", attention="flash_attn")},
    }  # fmt: skip
    config = CONFIG | {"model": {**CONFIG["model"], "source": "modelscope", "revision": "master",
                                 "id": "Qwen/Qwen2.5-7B_Instruct"}}  # fmt: skip
    text = bibtex(config, records, {"BLEU", "accuracy"})
    keys = re.findall(r"^@\w+\{([^,]+),$", text, re.M)
    assert len(keys) == len(set(keys)) and text.count("{") == text.count("}")
    assert {"dora", "peft", "flashattention", "qwen2.5", "bleu", "holm", "base-model"} <= set(keys)
    assert not {"lora", "chrf", "torch", "lmdeploy"} & set(keys)
    assert "modelscope.cn/models/Qwen/Qwen2.5-7B_Instruct" in text and "revision master" in text
    assert "Qwen2.5-7B\\_Instruct" in text
    for kind, fields in WORKS.values():
        assert {"author", "title", "year"} <= fields.keys() and kind
        assert fields.keys() & {"doi", "eprint", "howpublished", "pages", "publisher"}


def test_the_program_writes_a_new_folder_and_no_other(work):
    script = ROOT / "scripts/tools/artifact.py"
    words = [sys.executable, script, "--workdir", ".", "--run", "main", "--out", "论文"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    names = {path.name for path in Path("论文").iterdir()}
    assert {"README.md", "claims.md", "references.bib", "ai_act.json", "LICENSE"} <= names
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 2 and "is there already" in done.stderr
