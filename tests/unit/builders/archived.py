"""A small finished run in the working directory, and its archive."""

import base64
import json
import subprocess
import sys
from pathlib import Path

from mindtune.records import write_json, write_record

SCRIPTS = Path(__file__).resolve().parents[3] / "scripts"
SECRET = "hf_" + "a1B2" * 8
CONFIG = {
    "datasets": {"数据": {"source": "local", "id": None, "revision": None, "licence": "CC0-1.0"}},
    "model": {"source": "package", "id": "tiny", "revision": None, "licence": "cc0-1.0"},
    "runs": {"main": {"dataset": "数据"}},
    "device": "cpu",
}


def stage(path, name, inputs, outputs, **facts):
    """A record of a stage, and the note that Snakemake keeps of its job."""
    write_record(path, name, inputs=inputs, outputs=outputs, params={}, facts=facts)
    note = {
        "rule": name, "input": inputs, "log": [f"logs/{name}.log"], "record_format_version": 6,
        "shellcmd": f"{Path.cwd()}/venv/bin/python ../scripts/{name}.py --out x",
        "starttime": 1.0, "endtime": 61.0, "incomplete": False,
    }  # fmt: skip
    for output in [path, *outputs]:
        place = Path(".snakemake/metadata", base64.b64encode(output.encode()).decode())
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(json.dumps(note))


def finished_run(folder: Path) -> Path:
    """A run with two stages below `folder`; returns its working directory, which must be the
    current one.
    """
    code, work = folder / "code", Path.cwd()
    for name in ("clean_dialogues", "train_lora"):
        (code / "scripts").mkdir(parents=True, exist_ok=True)
        (code / f"scripts/{name}.py").write_text(f'"""{name}: 说明"""\n')
    (code / "Snakefile").write_text("# rules\n")
    (code / "CITATION.cff").write_text("cff-version: 1.2.0\nversion: 0.1.0\n")
    for name, text in {
        "results/data/数据/clean.jsonl": '{"id": "甲"}\n',
        "results/runs/main/adapter/adapter.safetensors": "weights" * 99,
        "results/runs/main/history.csv": "step,loss\n1,2.5\n",
        "logs/train_lora.log": f"read {work}/results\nuse "
        f"{SECRET}\n/scratch/li/x/file.txt\n王@x.cn a@b.org\n",
        "benchmarks/train_lora.tsv": "s\n60.0\n",
    }.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text, encoding="utf-8")
    data, run = "results/data/数据", "results/runs/main"
    stage(f"{data}/clean_dialogues.json", "clean_dialogues", [], [f"{data}/clean.jsonl"])
    made = [f"{run}/adapter", f"{run}/history.csv"]
    stage(f"{run}/train_lora.json", "train_lora", [f"{data}/clean.jsonl"], made, seconds=60.0)
    write_json("start.json", {"config": CONFIG, "environments": {}})
    return work


def archive(folder: Path, path="results/archive/main.zip", data="auto", weights="none"):
    """Run the program on it; (the finished process, the archive's path)."""
    command = [
        sys.executable, str(SCRIPTS / "archive_run.py"), "--run", "main", "--start", "start.json",
        "--code", str(folder / "code"), "--about", '{"snakemake": "9.27.1"}',
        "--settings", json.dumps({"data": data, "weights": weights}),
        "--archive", path, "--record", path.replace(".zip", ".json"),
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True), Path(path)
