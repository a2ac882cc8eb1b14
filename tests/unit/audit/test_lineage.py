"""The lineage page: every arrow, nothing but text from files, nothing invented."""

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from mindtune.audit import comparing, graphs, lineage, packing
from mindtune.audit.jobs_done import DoneJob
from mindtune.audit.lineage_page import page_data, render
from sealed import write_sealed

SCRIPTS = Path(__file__).parents[3] / "scripts"
HASH = "a" * 64
EVIL = "</script><img src=x onerror=alert('坏')>\"'"
RUN = EVIL.partition(">")[2]  # a wildcard never has a slash
KEY = "sk-" + "a1B2" * 6


def job(rule: str, needs: list[int], inputs: list[str], outputs: list[str], **more) -> dict:
    return {
        "rule": rule, "stage": "train", "doc": f"Says {EVIL}.", "wildcards": {}, "inputs": inputs,
        "outputs": outputs, "logs": [], "benchmark": None, "command": "", "needs": needs, **more,
    }  # fmt: skip


def scored(run: str) -> str:
    return f"results/runs/{run}/scores/dialogue.json"


JOBS = [
    job("fetch", [], ["/home/reader/private/原始.jsonl"], ["results/raw"]),
    job("train", [0], ["results/raw"], [f"results/{EVIL}.json"], wildcards={"run": RUN},
        command=f"/opt/venvs/core/bin/python x.py --token {KEY} --run {RUN}",
        logs=["logs/train.server.log", "logs/train.log"], benchmark="benchmarks/train.tsv"),
    job("score", [0, 1], ["results/raw", f"results/{EVIL}.json"], [scored("main")]),
    job("all", [0, 1, 2], [scored("main")], []),
]  # fmt: skip
RECORD = {
    "stage": "train", "inputs": {"results/raw": HASH}, "outputs": {}, "facts": {},
    "params": {"lora": {"rank": 8}, "note": EVIL, "long": "字" * 900}, "env": {"torch": "2.9"},
}  # fmt: skip
ARROWS = {(0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3)}


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, text in {
        "logs/train.log": f"old line\n  5%|\r 50%|\r100%| done\nkey {KEY}\n{EVIL} 'x'\n\n",
        "logs/train.server.log": "a reply to a client\n",
        "benchmarks/train.tsv": "s\th:m:s\n12.5\t0:00:12\n",
        "results/tables/evaluation.csv": "run,suite,system,metric,value,low,high,p,n\n"
        "main,dialogue,tuned,BLEU,0.2,0.1,0.3,,24\ngone,dialogue,tuned,BLEU,0.5,,,,24\n",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path


def data_of(work: Path) -> dict:
    """The page's data of JOBS, of which `train` alone has a record."""
    known = {"/opt/venvs/core": "<core>", str(work): "<work>"}
    jobs = lineage.without_places(JOBS, known)
    records = {f"results/{EVIL}.json": RECORD}
    done = [DoneJob("score", (), (scored("main"),), (), "python -m x --flag y",
                    "2026-01-01T00:00:00+00:00", "2026-01-01T00:01:05+00:00")]  # fmt: skip
    described = lineage.Describer(jobs, records, done, known).page(
        jobs, lineage.hashes_of(records, known)
    )
    numbers = lineage.numbers_of(work / "results/tables/evaluation.csv", jobs)
    return page_data(graphs.rule_graph(jobs), lineage.describe_rules(jobs), described, numbers)


def command(data: dict, job: dict) -> str:
    """A job's command, as the page's script puts it together."""
    text = data["commands"][job["command"]]
    for name, value in zip(job["names"], job.get("about", "").split("/"), strict=False):
        text = text.replace(name, value)
    return text


def test_jobs_of_a_rule_share_their_command(work: Path):
    texts = {run: f"x.py --run {run} --out results/{run}/a {run}ing" for run in ("main", "seed7")}
    texts["odd"] = "x.py --run {run} odd"
    texts["long"] = "x.py " + "word " * 2000
    jobs = [
        job("train", [], [], [f"results/{run}"], wildcards={"run": run}, command=text)
        for run, text in texts.items()
    ]
    data = lineage.Describer(jobs, {}, [], {}).page(jobs, {})
    assert data["commands"][0].endswith("--run {run} \\\n  --out results/{run}/a maining")
    for made, (run, text) in zip(data["jobs"], texts.items(), strict=True):
        shown = " ".join(command(data, made).replace("\\\n", "").split())
        assert shown == (text if run != "long" else text[:4000].rstrip() + " …")


def test_what_is_not_known_is_left_out(work: Path):
    data = data_of(work)
    fetch, train, score, last = data["jobs"]
    assert train["seconds"] == 12.5 and score["seconds"] == 65 and "seconds" not in fetch
    assert train["record"] == f"results/{EVIL}.json" and "settings" not in score
    assert "log" not in fetch and "tail" not in last
    assert command(data, score) == "python \\\n  -m x \\\n  --flag y"
    assert command(data, last) == ""


def test_a_log_shows_its_end_without_keys_and_places(work: Path):
    data = data_of(work)
    train = data["jobs"][1]
    assert train["log"] == "logs/train.log", "a server's log quotes what it was asked"
    assert train["tail"] == f"old line\n100%| done\nkey <secret>\n{EVIL} 'x'"
    ran = command(data, train)
    assert KEY not in ran and ran.startswith("<core>/bin/python x.py") and RUN in ran
    long = work / "long.log"
    long.write_bytes(b"\xff" * 300 + b"\n" + b"x" * (1 << 17) + b"\nlast\n" + b"y" * 999)
    lines = lineage.tail(long, {}, 15).split("\n")
    assert lines[0] == "last" and lines[1].endswith(" …") and len(lines[1]) < 260
    assert lineage.tail(work / "missing.log", {}, 15) == ""


def test_files_have_hashes_and_no_place_of_this_machine(work: Path):
    data = data_of(work)
    assert list(zip(data["files"], data["hashes"].split(","), strict=True)) == [
        ("<path>/原始.jsonl", ""), (f"results/{EVIL}.json", ""), ("results/raw", HASH),
        (scored("main"), ""),
    ]  # fmt: skip
    [settings] = data["settings"]
    assert ["lora.rank", "8"] in settings and ["note", EVIL] in settings
    assert dict(settings)["long"] == "字" * 400 + " …"


def test_a_number_names_the_job_that_scored_it(work: Path, monkeypatch: pytest.MonkeyPatch):
    first, second = data_of(work)["numbers"]
    assert first["job"] == 2 and first["rows"] == [["tuned", "BLEU", "0.2 [0.1, 0.3]", "24"]]
    assert second["job"] is None, "the run is in no plan any more"
    table = work / "results/tables/evaluation.csv"
    table.write_text(table.read_text() + "main,dialogue,base,BLEU,0.1,,,,24\n")
    assert len(lineage.numbers_of(table, JOBS)[0]["rows"]) == 2
    monkeypatch.setattr(lineage, "MANY_ROWS", 2)
    assert [row[0] for row in lineage.numbers_of(table, JOBS)[0]["rows"]] == ["tuned"]


def test_the_page_holds_all_arrows_and_only_its_own_script(work: Path):
    data = data_of(work)
    page = render(f"MindTune {EVIL}", data)
    assert packing.unpack(page) == json.loads(json.dumps(data))
    assert page == render(f"MindTune {EVIL}", data_of(work)), "equal bytes"
    jobs = data["jobs"]
    assert {(n, j) for j, about in enumerate(jobs) for n in about["needs"]} == ARROWS
    names = [rule["name"] for rule in data["rules"]]
    arrows = {tuple(names[int(n)] for n in arrow.split(">")) for arrow in data["arrows"]}
    assert arrows == {(JOBS[a]["rule"], JOBS[b]["rule"]) for a, b in ARROWS}
    assert EVIL not in page and "<img" not in page and page.count("<script") == 2
    [script] = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in page and len(script.encode()) < 30_000
    assert not re.search(r"(src|href)=", render("t", data)), "nothing is loaded"
    assert set(re.findall(r"https?://[^\s\"']+", page)) == {"http://www.w3.org/2000/svg"}
    assert "innerHTML" not in script and "eval(" not in script


def test_rules_lie_below_what_they_follow_and_beside_each_other(work: Path):
    data = data_of(work)
    rules = data["rules"]
    for arrow in data["arrows"]:
        above, below = (rules[int(number)] for number in arrow.split(">"))
        assert above["layer"] < below["layer"]
    for one in rules:
        for other in rules:
            if one is not other and one["layer"] == other["layer"]:
                assert one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]


def test_pages_that_differ_in_times_and_logs_alone_are_within_tolerance(work: Path):
    name = "results/report/lineage.html"
    old = render("t", data_of(work)).encode()
    (work / "benchmarks/train.tsv").write_text("s\n99.0\n")
    (work / "logs/train.log").write_text("other words\n")
    new = render("t", data_of(work)).encode()
    assert old != new and comparing.fault(name, old, new, 0.0, lambda _: False) == ""
    changed = data_of(work)
    changed["jobs"][2]["needs"] = [0]
    other = render("t", changed).encode()
    assert "other jobs" in comparing.fault(name, old, other, 0.0, lambda _: False)
    assert comparing.fault(name, old, b"<html>", 0.0, lambda _: False) == "its bytes differ"


def test_a_page_that_would_swell_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(packing, "MOST", 1000)
    page = packing.START + packing.pack(["0" * 100_000]) + packing.END
    with pytest.raises(ValueError, match="more than 1,000 bytes"):
        packing.unpack(page)
    with pytest.raises(ValueError, match="not whole"):
        packing.unpack(packing.START + "AAAA" + packing.END)


def test_the_program_gives_equal_bytes_and_refuses_another_table(work: Path):
    write_sealed(work / "results/a.json", "fetch", outputs={"results/tables/evaluation.csv": HASH})
    write_sealed(work / "results/b.json", "fetch")
    (work / "start.json").write_text('{"environments": {"core": "/opt/venvs/core"}}')
    (work / "graph.json").write_text(json.dumps(JOBS), encoding="utf-8")

    def run(record: str) -> subprocess.CompletedProcess:
        command = [sys.executable, SCRIPTS / "draw_lineage.py", "--graph", "graph.json"]
        command += ["--records", record, "--table", "results/tables/evaluation.csv"]
        command += ["--start", "start.json", "--code", str(SCRIPTS.parent), "--title", "实验"]
        command += ["--page", "lineage.html", "--graphs", "graphs", "--record", "made.json"]
        environment = {**os.environ, "MINDTUNE_START": ""}
        return subprocess.run(
            command, check=False, capture_output=True, encoding="utf-8", env=environment
        )

    done = run("results/b.json")
    assert done.returncode == 0, done.stderr
    first = {
        path.name: path.read_bytes() for path in [*Path("graphs").iterdir(), Path("lineage.html")]
    }
    assert len(first) == 10
    assert run("results/b.json").returncode == 0
    again = {
        path.name: path.read_bytes() for path in [*Path("graphs").iterdir(), Path("lineage.html")]
    }
    assert again == first
    refused = run("results/a.json")
    assert refused.returncode == 2 and "results/tables/evaluation.csv has SHA-256" in refused.stderr
