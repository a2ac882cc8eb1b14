"""How large the lineage page of many jobs is, and how fast it answers in headless Chromium.

The graph is Snakemake's own of the demo with so many runs that it has JOBS jobs. Records, logs and
benchmarks are those of a finished demo, copied for each run with hashes of their own, since hashes
are what cannot be packed. The page is made by the rule's program, opened and clicked.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # scripts/, where mindtune lies

from bench.browser import Page, opened
from bench.many_jobs import make_page, plan
from bench.measuring import write_measurement
from mindtune.cli import argument_parser, run
from mindtune.records import write_text

ROOT = Path(__file__).resolve().parents[2]
TARGET = {"page_kb": 600, "script_kb": 30, "ready_ms": 1000, "slowest_click_ms": 100}
MEASURED = (*TARGET, "ready_cpu_ms", "slowest_click_cpu_ms")
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


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argument_parser(__doc__)
    parser.add_argument("--demo", type=Path, required=True, help="a finished demo")
    parser.add_argument("--python", required=True, help="the interpreter of environment core")
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--keep", type=Path, help="also write the page here")
    parser.add_argument("--record", type=Path, required=True)
    return parser.parse_args()


def main() -> None:
    args = parse()
    demo = args.demo.resolve()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        few, more = len(plan(work, 1)), len(plan(work, 2))
        jobs = plan(work, 1 + -(-(args.jobs - few) // (more - few)))
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
