"""The report page: self-contained, in pipeline order, with all text escaped; and the picture of
the rule graph.
"""

import json
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import mindtune.audit.report as report
import pytest
from mindtune.audit.pairs import reply_pairs
from mindtune.cli import UserError
from sealed import write_sealed

SCRIPTS = Path(__file__).parents[3] / "scripts"
HASH = "a" * 64


def record(
    stage: str,
    inputs: tuple = (),
    outputs: tuple = (),
    params: dict | None = None,
    facts: dict | None = None,
) -> dict:
    return {
        "stage": stage,
        "inputs": dict.fromkeys(inputs, HASH),
        "outputs": dict.fromkeys(outputs, HASH),
        "params": params or {},
        "facts": facts or {},
        "env": {"pandas": "3.1.1"},
    }


RECORDS = {
    "results/runs/main/train_lora.json": record(
        "train_lora",
        ("results/data/demo/train.jsonl",),
        ("results/runs/main/adapter",),
        {"model": {"id": "demo", "toy": True}},
    ),
    "results/data/demo/split_dialogues.json": record(
        "split_dialogues", ("results/data/demo/clean.jsonl",), ("results/data/demo/train.jsonl",)
    ),
    "results/data/demo/clean_dialogues.json": record(
        "clean_dialogues",
        ("results/data/demo/raw/zh.jsonl",),
        ("results/data/demo/clean.jsonl",),
        {"settings": {"max_length": 3072}},
        {
            "kept": 68,
            "例子": "我最近总是睡不着<script>alert('坏')</script>",
            "reasons": [{"reason": "空", "rows": 2}],
        },
    ),
    "results/data/demo/fetch_dataset.json": record("fetch_dataset", (), ("results/data/demo/raw",)),
    "results/runs/main/report_of_verify.json": record(
        "quote_verify", ("results/runs/main/verify.json",)
    ),
    "results/runs/main/verify.json": record(
        "verify_merge", ("results/runs/main/adapter/adapter_config.json",)
    ),
}


class Page(HTMLParser):
    """Tags with attributes, and all text, of a page."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_stages_come_in_the_order_in_which_their_files_flow():
    stages = [RECORDS[path]["stage"] for path in report.pipeline_order(RECORDS)]
    assert stages == [
        "fetch_dataset",
        "clean_dialogues",
        "split_dialogues",
        "train_lora",
        "verify_merge",
        "quote_verify",
    ]


def replies_file(path, texts, prompt="我睡不着"):
    rows = [
        {"id": f"甲{n}#0", "dialogue": f"甲{n}", "reference": "听起来很累。", "reply": text,
         "prompt": [{"role": "system", "content": "简短"}, {"role": "user", "content": prompt}]}
        for n, text in enumerate(texts)
    ]  # fmt: skip
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_text("".join(lines), encoding="utf-8")
    return path


def test_pairs_of_replies_are_drawn_by_a_seed_and_shown_as_text(tmp_path):
    base = replies_file(tmp_path / "b.jsonl", [f"多久了？{n}" for n in range(60)])
    tuned = replies_file(tmp_path / "t.jsonl", ["<b>早点睡</b>", "", *["好"] * 57])
    found = reply_pairs([base], [tuned], seed=1)
    assert found == reply_pairs([base], [tuned], seed=1) != reply_pairs([base], [tuned], seed=2)
    assert len(found) == len({row["id"] for row in found}) == 20
    assert all(row["base"] == f"多久了？{row['dialogue'][1:]}" for row in found)
    everything = reply_pairs([base], [tuned], seed=1, count=99)
    assert len(everything) == 59  # of one prompt there is one reply only
    text = report.render("x", RECORDS, [], [], everything)
    page = Page(text)
    assert "<b>早点睡</b>" in page.text and "(empty)" in page.text and "我睡不着" in page.text
    # as erase looks for it: the dialogue's id in quotes
    assert '"甲3"' in text
    other = replies_file(tmp_path / "o.jsonl", ["好"], prompt="别的")
    with pytest.raises(UserError, match="differ in the prompt of 甲0#0"):
        reply_pairs([base], [other], seed=1)


def test_the_page_opens_with_the_first_table_the_first_figure_and_the_replies(tmp_path):
    images = [tmp_path / f"{name}.svg" for name in ("differences", "loss")]
    for image in images:
        image.write_text('<svg xmlns="http://www.w3.org/2000/svg"/>', encoding="utf-8")
    pair = dict.fromkeys(("dialogue", "id", "client", "base", "tuned", "reference"), "回复")
    text = report.render("x", RECORDS, images, ["## Summary\n", "## Long\n"], [pair])
    places = [text.index(word) for word in (">Summary<", "differences.svg", ">回复<", ">Long<")]
    assert places == sorted(places) and text.index("loss.svg") > places[-1]


def test_page_is_whole_escaped_and_needs_nothing_from_outside(tmp_path: Path):
    image = tmp_path / "loss.svg"
    image.write_text('<svg xmlns="http://www.w3.org/2000/svg"/>', encoding="utf-8")
    table = (
        "| a | b |\n|---|---|\n| <img src=x onerror=alert(1)> | "
        "![t](http://evil.example/t.png) [l](http://evil.example) |\n"
    )
    page = Page(report.render("MindTune <main>", RECORDS, [image], [table]))
    names = [tag for tag, _ in page.tags]
    assert (
        names.count("html") == 1
        and "script" not in names
        and "iframe" not in names
        and "link" not in names
    )
    outside = [
        v
        for tag, found in page.tags
        for k, v in found.items()
        if k in ("src", "href") and not v.startswith(("data:", "#"))
    ]
    assert outside == ["lineage.html"], "the page beside it, which is only linked"
    [audit] = [found for tag, found in page.tags if tag == "object"]
    assert audit["data"] == "../../state/audit.html"
    assert not any(key.startswith("on") for _, found in page.tags for key in found)
    assert names.count("img") == 1, "an image in a table's text is no image"
    for text in (
        "我最近总是睡不着<script>alert('坏')</script>",
        "settings.max_length",
        "3072",
        "kept",
        "68",
        "空",
        HASH,
        "MindTune <main>",
    ):
        assert text in page.text, text


def test_a_toy_model_is_called_one():
    sentence = "toy model built for demonstration; its replies are not counselling"
    assert sentence in report.render("t", RECORDS, [], [])
    real = {path: found | {"params": {"model": {"toy": False}}} for path, found in RECORDS.items()}
    assert sentence not in report.render("t", real, [], [])


def test_long_lists_are_cut_with_their_length_said():
    page = Page(
        report.render(
            "t", {"a.json": record("x", facts={"rows": [{"号": n} for n in range(95)]})}, [], []
        )
    )
    assert "The first 40 of 95" in page.text and "rows (95)" in page.text


def test_only_images_a_browser_can_show_inline(tmp_path: Path):
    (tmp_path / "a.pdf").write_bytes(b"%PDF")
    with pytest.raises(UserError, match="is no image"):
        report.data_uri(tmp_path / "a.pdf")


def test_report_program_gives_equal_bytes_and_refuses_other_json(tmp_path: Path):
    write_sealed(tmp_path / "r.json", "clean_dialogues", facts={"词": "焦虑"})
    (tmp_path / "other.json").write_text("{}", encoding="utf-8")

    def run(name: str) -> subprocess.CompletedProcess:
        command = [
            sys.executable,
            SCRIPTS / "write_report.py",
            "--records",
            name,
            "--title",
            "实验",
            "--report",
            "report.html",
            "--record",
            "report.json",
        ]
        return subprocess.run(
            command, cwd=tmp_path, check=False, capture_output=True, encoding="utf-8"
        )

    assert run("r.json").returncode == 0
    first = (tmp_path / "report.html").read_bytes()
    assert "焦虑".encode() in first
    assert run("r.json").returncode == 0 and (tmp_path / "report.html").read_bytes() == first
    refused = run("other.json")
    assert refused.returncode == 2 and "other.json is no stage record" in refused.stderr


def test_the_pairs_are_of_the_run_that_was_chosen(tmp_path: Path):
    write_sealed(tmp_path / "r.json", "clean_dialogues")
    base = replies_file(tmp_path / "base.jsonl", ["早"])
    for name in ("a", "b"):
        folder = tmp_path / name / "replies"
        folder.mkdir(parents=True)
        replies_file(folder / "dialogue.jsonl", [f"我是{name}号模型"])
    write_sealed(tmp_path / "choose_run.json", "choose_run", facts={"chosen": "b"})
    command = [
        *(sys.executable, SCRIPTS / "write_report.py", "--records", "r.json", "--title", "x"),
        *("--base", base, "--tuned", "a/replies/dialogue.jsonl", "b/replies/dialogue.jsonl"),
        *("--choice", "choose_run.json", "--report", "report.html", "--record", "report.json"),
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "我是b号模型" in page and "我是a号模型" not in page
    made = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert made["facts"]["pairs"] == 1 and made["params"]["run"] == "b"
    assert "a/replies/dialogue.jsonl" not in made["inputs"]
    named = [word for word in command if word not in ("--choice", "choose_run.json")]
    done = subprocess.run([*named, "--run", "c"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and "0 files of run 'c'" in done.stderr
