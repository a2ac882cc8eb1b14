"""A finished project of many jobs, from a finished demo of a few: the graph is Snakemake's own, and
the records, logs and benchmarks are the demo's, copied for each run with hashes of their own.
"""

import csv
import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # scripts/, where mindtune lies

from bench.measuring import timed
from mindtune.records import read_json, seal, write_json, write_text

ROOT = Path(__file__).resolve().parents[2]
READ = """
import json, sys
from pathlib import Path
from mindtune.audit.dag import built_dag
from mindtune.audit.job_graph import job_graph
root, work, *files = map(Path, sys.argv[1:])
with built_dag(root / "Snakefile", work, ["all"], configfiles=files) as workflow:
    print(json.dumps(job_graph(workflow.dag)))
"""
TEMPLATE = "main"


def plan(work: Path, runs: int) -> list[dict[str, Any]]:
    """Snakemake's graph of the demo with its own runs and so many more."""
    more = {f"seed{n:04}": {"dataset": "demo", "seed": n} for n in range(1000, 1000 + runs)}
    write_json(work / "runs.json", {"runs": more})
    files = [str(ROOT / "config/demo.yaml"), str(work / "runs.json")]
    command = [sys.executable, "-c", READ, str(ROOT), str(work), *files]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT / "scripts", check=True)
    return json.loads(done.stdout)


def renamed(text: str, name: str) -> str:
    """A text of the template run as that of another one, with hashes of its own."""
    text = re.sub(rf"(?<![\w-]){TEMPLATE}(?![\w-])", name, text)
    return re.sub(
        r"\b[0-9a-f]{64}\b",
        lambda found: hashlib.sha256(f"{name}{found[0]}".encode()).hexdigest(),
        text,
    )


def copy_run(work: Path, demo: Path, job: dict[str, Any]) -> list[str]:
    """The record, log and benchmark of a job, from the demo's; the names of the records."""
    name, records = job["wildcards"].get("run", ""), []
    for path in [*job["outputs"], *job["logs"], *filter(None, [job["benchmark"]])]:
        source = demo / path.replace(f"/{name}/", f"/{TEMPLATE}/") if name else demo / path
        if path.endswith((".json", ".log", ".tsv")) and source.is_file():
            text = source.read_text(encoding="utf-8", errors="replace")
            write_text(work / path, renamed(text, name) if name else text)
            if path.endswith(".json"):
                records.append(path)
    return records


def write_records(work: Path, records: list[str]) -> list[str]:
    """Keep what a record is, without the inputs that would tie it to files that are not here."""
    kept = []
    for path in records:
        record = read_json(work / path)
        if "stage" in record and "outputs" in record:
            record["inputs"] = {}
            record["outputs"] = {
                name: digest for name, digest in record["outputs"].items() if "/tables/" not in name
            }
            write_json(work / path, record | {"seal": seal(record)})
            kept.append(path)
    return kept


def write_table(work: Path, demo: Path, runs: list[str]) -> int:
    """The demo's numbers of one run for every run; how many rows."""
    with open(demo / "results/tables/evaluation.csv", encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["run"] == TEMPLATE]
    path = work / "results/tables/evaluation.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        for number, name in enumerate(runs):
            for row in rows:
                # other digits in every run, so that nothing packs too well
                value = row["value"] and f"{float(row['value']) * (1 + number / 997):.4f}"
                writer.writerow(row | {"run": name, "value": value})
    return len(rows) * len(runs)


def make_page(work: Path, demo: Path, jobs: list[dict[str, Any]], python: str) -> dict[str, Any]:
    """Make the page as the rule does; what it took."""
    records = write_records(work, [name for job in jobs for name in copy_run(work, demo, job)])
    runs = sorted({job["wildcards"]["run"] for job in jobs if "run" in job["wildcards"]})
    rows = write_table(work, demo, runs)
    write_json(work / "graph.json", jobs)
    write_json(work / "start.json", {"environments": {}})
    (work / "records.txt").write_text("\n".join(records) + "\n", encoding="utf-8")
    command = [
        "bash", "-c", f'cd {work} && exec "$@"', "draw", python, ROOT / "scripts/draw_lineage.py",
        "--graph", "graph.json", "--records", "@records.txt", "--start", "start.json", "--code",
        str(ROOT), "--table", "results/tables/evaluation.csv", "--title", "MindTune", "--page",
        "lineage.html", "--graphs", "graphs", "--record", "made.json",
    ]  # fmt: skip
    took = timed(command)
    return {"runs": len(runs), "records": len(records), "rows": rows, "draw_s": took["s"]}
