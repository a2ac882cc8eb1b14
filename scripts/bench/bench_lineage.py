"""How large the lineage page of many jobs is, and how fast it answers in headless Chromium.

The graph is Snakemake's own of the demo with so many runs that it has JOBS jobs. Records, logs and
benchmarks are those of a finished demo, copied for each run with hashes of their own, since hashes
are what cannot be packed. The page is made by the rule's program, opened and clicked.
"""

import argparse
import csv
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # scripts/, where mindtune lies

from bench.browser import Page, opened
from bench.measuring import timed, write_measurement
from mindtune.cli import run
from mindtune.records import read_json, seal, write_json, write_text

ROOT = Path(__file__).resolve().parents[2]
TARGET = {"page_kb": 600, "script_kb": 30, "ready_ms": 1000, "slowest_click_ms": 100}
MEASURED = (*TARGET, "ready_cpu_ms", "slowest_click_cpu_ms")
READ = """
import json, sys
from pathlib import Path
from mindtune.audit.dag import built_dag
from mindtune.audit.job_graph import job_graph
root, work, *files = map(Path, sys.argv[1:])
with built_dag(root / "Snakefile", work, ["all"], configfiles=files) as workflow:
    print(json.dumps(job_graph(workflow.dag)))
"""
# Milliseconds from a click to the second frame after the page has taken it
CLICK = """
(async () => {
  const e = %s, began = performance.now();
  const taken = new Promise(done => addEventListener('hashchange', done, {once: true}));
  e.dispatchEvent(new MouseEvent('click', {bubbles: true}));
  if (%s) await taken;
  await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
  return performance.now() - began;
})()
"""
EVERYTHING = (
    "[...document.querySelectorAll('#panel .link')].find(e => "
    "e.textContent === 'Show everything again')"
)
TEMPLATE = "main"


def plan(work: Path, demo: Path, runs: int) -> list[dict[str, Any]]:
    """Snakemake's graph of the demo with its own runs and so many more."""
    more = {f"seed{n:04}": {"dataset": "demo", "seed": n} for n in range(1000, 1000 + runs)}
    write_json(work / "runs.json", {"runs": more})
    files = [str(ROOT / "config/demo.yaml"), str(work / "runs.json")]
    command = [sys.executable, "-c", READ, str(ROOT), str(demo if not runs else work), *files]
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


def clicks(page: Page) -> dict[str, dict[str, float]]:
    """{what was clicked: {ms, cpu_ms}}; the slowest of its kind."""
    found: dict[str, dict[str, float]] = {}

    def click(kind: str, element: str, hashed: bool = True) -> None:
        before = page.cpu_ms()
        took = {
            "ms": page.ask(CLICK % (element, "true" if hashed else "false")),
            "cpu_ms": page.cpu_ms() - before,
        }
        slowest = found.setdefault(kind, took)
        found[kind] = {name: round(max(slowest[name], took[name]), 1) for name in took}

    def first(selector: str) -> str:
        return f"document.querySelector({json.dumps(selector)})"

    names = page.ask("[...document.querySelectorAll('[data-rule]')].map(e => e.dataset.rule)")
    for name in names:
        click("open a rule", first(f'[data-rule="{name}"]'))
    for rule in ("train_lora", "evaluation_table", "fetch_dataset", "score_suite"):
        click("close a rule", first(f'[data-rule="{rule}"]'))
        click("what if a file were wrong", first("#panel .ask"))
        click("everything again", EVERYTHING)
    for number in (0, 5):
        click("numbers", first("#to-numbers"), hashed=False)
        click(
            "where a number is from", f"document.querySelectorAll('#numbers td button')[{number}]"
        )
    click("a job", first("#panel .chain .link"))
    click("a file", first("#panel .file .link"))
    click("list", first("#to-list"), hashed=False)
    return found


def measure(page_file: Path) -> dict[str, Any]:
    """Milliseconds until the page answers, and of its clicks."""
    with opened() as page:
        page.look(1600, 1000)
        before = page.cpu_ms()
        page.open(page_file, "[data-ready]")
        cpu = page.cpu_ms() - before
        ready = page.ask("performance.getEntriesByName('ready')[0].startTime")
        took = clicks(page)
        if said := [text for text in page.said if "ERR_FILE_NOT_FOUND" not in text]:
            raise RuntimeError(f"the page complained: {said[0]}")
    return {
        "ready_ms": round(ready, 1),
        "ready_cpu_ms": round(cpu, 1),
        "slowest_click_ms": max(each["ms"] for each in took.values()),
        "slowest_click_cpu_ms": max(each["cpu_ms"] for each in took.values()),
        "clicks": took,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--demo", type=Path, required=True, help="a finished demo")
    parser.add_argument("--python", required=True, help="the interpreter of environment core")
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--keep", type=Path, help="also write the page here")
    parser.add_argument("--record", type=Path, required=True)
    args = parser.parse_args()
    demo = args.demo.resolve()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        few, more = len(plan(work, work, 1)), len(plan(work, work, 2))
        jobs = plan(work, work, 1 + -(-(args.jobs - few) // (more - few)))
        made = make_page(work, demo, jobs, args.python)
        page = work / "lineage.html"
        if args.keep:
            write_text(args.keep, page.read_text(encoding="utf-8"))
        made |= {
            "load": round(os.getloadavg()[0], 1),
            "jobs": len(jobs),
            "arrows": sum(len(job["needs"]) for job in jobs),
            "page_kb": round(page.stat().st_size / 1e3, 1),
            "script_kb": (ROOT / "scripts/mindtune/audit/lineage.js").stat().st_size / 1e3,
        }
        measured = [measure(page) for _ in range(args.times)]
    runs = [made | each for each in measured]
    middle = {name: median(each[name] for each in runs) for name in MEASURED}
    write_measurement(
        args.record,
        "The lineage page of many jobs, in headless Chromium",
        packages=[],
        runs=runs,
        median=middle,
        target=TARGET,
        met={name: middle[name] <= bound for name, bound in TARGET.items()},
        note="ready_ms: from the start of loading until the page takes clicks. A click lasts until "
        "the second frame after the page took it; clicks holds the slowest of each kind. cpu_ms: "
        "of the page's main thread alone, which other work on the machine does not change.",
    )
    print(json.dumps(middle))


if __name__ == "__main__":
    raise SystemExit(run(main))
