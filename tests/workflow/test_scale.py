"""A thousand variants of the training plan in the time that a person waits for."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

from mindtune.environments import venv_name, venvs_folder
from mindtune.records import sha256_file
from planning import ROOT, snakemake
from sealed import write_sealed

VARIANTS, SECONDS = 1000, 25
# The other tests' environments are empty files
VENVS = venvs_folder()


def planning_seconds(folder: Path, variants: int) -> float:
    """CPU seconds of a plan of so many variants, so that a busy machine does not decide; idle,
    they are those of a clock.
    """
    matrix = {"dataset": ["demo"], "seed": list(range(variants // 2)), "lora": {"rank": [4, 8]}}
    edit = folder / f"{variants}.json"
    edit.write_text(json.dumps({"matrix": matrix}), encoding="utf-8")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    status, output = snakemake(
        "--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder), "--configfile",
        str(ROOT / "config/demo.yaml"),
        str(edit), "--cores", "2", "--dry-run", "--quiet", "rules", "--", "all",
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert status == 0, output[-2000:]
    # main and seed43 of the demo are beside them
    assert f"train_lora {variants + 2}" in " ".join(output.split()), output[-3000:]
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_a_thousand_variants_plan_in_25_s(tmp_path):
    """Or, where that is too much for the machine, in no more than twelve times what a tenth of
    them takes there.
    """
    seconds = planning_seconds(tmp_path, VARIANTS)
    if seconds > SECONDS:
        tenth = planning_seconds(tmp_path, VARIANTS // 10)
        assert seconds <= 12 * tenth, (
            f"planning took {seconds:.1f} s, and {tenth:.1f} s for a tenth of the variants"
        )


STAGES = (
    "order_dialogues",
    "pack_stats",
    "train_lora",
    "merge_adapter",
    "verify",
    "export_model",
    "replies/dialogue",
)
DATA_STAGES = (
    "fetch_dataset",
    "clean_dialogues",
    "split_dialogues",
    "write_datasheet",
    "cache_dataset",
)
OF_DATASET = (
    *("prompts/demo", "base/replies/demo"),
    *("base/baselines/demo/again", "base/baselines/demo/prompted"),
)
# Run by the environment that has Parquet: the item scores of every run
WRITE_ITEMS = """
import sys
from mindtune.evaluate.items import write_items
row = {"suite": "dialogue", "id": "题1", "cluster": "对话1", "metric": "ROUGE-1@zh", "value": 20.0}
for run in sys.stdin.read().split():
    rows = [row | {"run": run, "model": model} for model in ("base", "tuned")]
    write_items(f"results/runs/{run}/items/dialogue.parquet", rows, {"ROUGE-1": "tok:cjk"})
"""


def write_finished(work: Path, runs: list[str]) -> None:
    """The small files from which tables and report are made."""
    subprocess.run(
        [f"{VENVS}/{venv_name('core', on_gpu=False)}/bin/python", "-c", WRITE_ITEMS],
        input=" ".join(runs),
        text=True,
        cwd=work,
        env={**os.environ, "PYTHONPATH": str(ROOT / "scripts"), "PYTHONUTF8": "1"},
        check=True,
    )

    def record(path: str, outputs: dict[str, str] | None = None, **facts: str) -> None:
        write_sealed(work / "results" / path, Path(path).stem, outputs=outputs or {}, facts=facts)

    for run in runs:
        for stage in STAGES:
            record(f"runs/{run}/{stage}.json")
        made = f"results/runs/{run}/items/dialogue.parquet"
        record(
            f"runs/{run}/scores/dialogue.json", {made: sha256_file(work / made)}, suite="dialogue"
        )
        for figure in ("lengths", "fill", "loss"):
            path = work / f"results/runs/{run}/figures/{figure}.svg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("<svg/>")
    record(f"runs/{runs[0]}/smoke.json")
    for stage in DATA_STAGES:
        record(f"data/demo/{stage}.json")
    for path in (
        *(f"base/fetch_{part}.json" for part in ("tokenizer", "model")),
        *(f"{place}/dialogue.json" for place in OF_DATASET),
        "export.json",
        "report/rulegraph.json",
    ):
        record(path)
    (work / "results/report/rulegraph.svg").write_text("<svg/>")
    for place in ("base/replies/demo", f"runs/{runs[0]}/replies"):
        path = work / f"results/{place}/dialogue.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")


def test_tables_and_report_take_more_runs_than_a_command_has_room_for(tmp_path):
    """The names alone of 2,000 runs' files are 2.6 MB; Linux lets a program have 2 MB of
    arguments.
    """
    runs = [f"{number:04}-{'r' * 59}" for number in range(2000)]
    assert {len(run) for run in runs} == {64}
    removed = {"main": None, "seed43": None}
    overlay = {
        "runs": removed | {run: {"dataset": "demo"} for run in runs},
        "export": {"run": runs[0]},
        "evaluate": {"only": ["dialogue"]},
    }
    (tmp_path / "runs.json").write_text(json.dumps(overlay))
    write_finished(tmp_path, runs)
    command = [
        sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile", "--directory",
        tmp_path,
        "--configfile", ROOT / "config/demo.yaml", tmp_path / "runs.json", "--cores", "1",
        "--quiet", "rules",
        "--allowed-rules", "build_env_core", "evaluation_table", "write_report", "--",
        "results/report/report.html",
    ]  # fmt: skip
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "MINDTUNE_VENVS": VENVS}
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    page = (tmp_path / "results/report/report.html").read_text(encoding="utf-8")
    table = (tmp_path / "results/tables/evaluation.csv").read_text(encoding="utf-8")
    for run in (runs[0], runs[999], runs[-1]):
        assert (
            f"results/runs/{run}/train_lora.json" in page
            and f"results/runs/{run}/figures/loss.svg" in page
        )
        assert run in table
