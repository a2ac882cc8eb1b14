"""A person's dialogue is gone from all that the working directory holds, and does not come back."""

import gzip
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from cleaning_runs import program as clean
from cleaning_runs import (
    sharegpt,
    tokenizer,  # noqa: F401 (a fixture)
)
from mindtune.cli import UserError
from mindtune.data.erasing import take_out
from mindtune.data.readers import raw_rows
from mindtune.erased import read_erased, row_digest, with_erased
from sealed import write_sealed
from test_split_program import program as split

ROOT = Path(__file__).parents[3]
SAID = "我叫林小满，在城南中学教书，去年离了婚，孩子跟着他爸爸。"
MINE = [("human", SAID), ("gpt", "听起来这一年你一个人扛了很多。现在最难的是什么时候？")]


STORIES = (
    "工作上的事情让我整夜睡不着，明天还要开会，怎么准备都觉得不够。",
    "女儿上高中以后不肯跟我说话，一回家就把房门锁上。",
    "My exams are next week and every time I open a book my hands shake.",
)


def others(number: int) -> str:
    """Somebody else's row."""
    answer = ("gpt", f"谢谢你告诉我，{STORIES[number - 1][:6]}这件事，我们一起看看。")
    return sharegpt([("human", STORIES[number - 1]), answer], id=f"别人{number}")


@pytest.fixture
def source(tmp_path) -> Path:
    """The row, a copy of it under another id, and others, in two files."""
    folder = tmp_path / "source"
    folder.mkdir()
    rows = [others(1), sharegpt(MINE, id="我"), others(2), sharegpt(MINE, id="又是我")]
    (folder / "a.jsonl").write_text("\n".join(rows), encoding="utf-8")
    (folder / "b.jsonl").write_text(others(3) + "\n", encoding="utf-8")
    return folder


def fetch(work: Path, source: Path, erased: list[str]) -> subprocess.CompletedProcess[str]:
    data = work / "results/data/demo"
    shutil.rmtree(data, ignore_errors=True)
    spec = {"source": "local", "path": str(source), "licence": "CC0-1.0", "erased": erased}
    command = [sys.executable, ROOT / "scripts/fetch_dataset.py", "--spec", json.dumps(spec),
        "--local", source,
               "--raw", "results/data/demo/raw", "--record",
               "results/data/demo/fetch_dataset.json"]  # fmt: skip
    data.parent.mkdir(parents=True, exist_ok=True)
    return subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, encoding="utf-8", cwd=work
    )


def erase(work: Path, identity: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "scripts/tools/erase.py", "--workdir", work, "--dataset",
        "demo", "--id", identity,
               "--list", work.parent / "erased.txt"]  # fmt: skip
    return subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, encoding="utf-8"
    )


def made(work: Path, source: Path, tokenizer: Path) -> Path:  # noqa: F811
    """A working directory after the data stage, and what a run leaves."""
    assert fetch(work, source, []).returncode == 0
    data, run = work / "results/data/demo", work / "results/runs/main"
    assert clean(data / "raw", data, tokenizer).returncode == 0
    assert split(data, data / "clean.jsonl").returncode == 0
    (run / "cached/train").mkdir(parents=True)
    (run / "cached/train/data.arrow").write_bytes(b"\0ARROW" + SAID.encode() + b"\0")
    (run / "cached/lengths.parquet").write_bytes(b"compressed")
    inputs = {"results/data/demo/cached": "0" * 64}
    outputs = {"results/runs/main/cached": "0" * 64}
    write_sealed(run / "order_dialogues.json", "order_dialogues", inputs=inputs, outputs=outputs)
    (run / "replies").mkdir()
    (run / "replies/dialogue.jsonl").write_text(json.dumps({"prompt": SAID}), encoding="utf-8")
    (run / "adapter").mkdir()
    (run / "adapter/adapter_model.safetensors").write_bytes(b"weights")
    for name in ("state/train/main/x/args.json", ".cache/huggingface/y", "logs/z.log"):
        (work / name).parent.mkdir(parents=True)
        (work / name).write_text(json.dumps({"text": SAID}), encoding="utf-8")
    with zipfile.ZipFile(work / "results/archive.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data/train.jsonl", json.dumps({"value": SAID}))
    (work / "results/copy.jsonl.gz").write_bytes(gzip.compress(json.dumps(SAID).encode()))
    table = pyarrow.table({"id": ["我"], "tokens": [7]})
    pyarrow.parquet.write_table(table, work / "results/lengths.parquet", compression="zstd")
    pyarrow.parquet.write_table(table.slice(0, 0), work / "results/others.parquet")
    # an archive of hashes only, whose one trace of the row is in a compressed table
    with zipfile.ZipFile(work / "results/hashes.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(work / "results/lengths.parquet", "items/dialogue.parquet")
    (work / "results/torn.zip").write_bytes(b"PK")
    (work / "logs/other.log").write_text("nothing of it\n", encoding="utf-8")
    return data


def test_the_row_is_gone_and_does_not_come_back(source, tmp_path, tokenizer):  # noqa: F811
    work = tmp_path / "raw/work"  # its own name is none of the folders that go as one
    data = made(work, source, tokenizer)
    (side,) = (
        side for side in ("train", "dev", "test")
        if SAID in (data / f"{side}.jsonl").read_text(encoding="utf-8")
    )  # fmt: skip
    done = erase(work, "又是我")
    assert done.returncode == 0, done.stderr
    escaped = json.dumps(SAID)[1:-1]
    for path in work.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        assert SAID.encode() not in content and escaped.encode() not in content, path
    assert not (data / "raw").exists() and not (work / "results/runs/main/cached").exists()
    for name in ("clean_dialogues.json", "fetch_dataset.json"):
        assert not (data / name).exists(), "a record of what is gone"
    for name in ("archive.zip", "hashes.zip", "copy.jsonl.gz", "lengths.parquet"):
        assert not (work / "results" / name).exists(), name
    assert (work / "logs/other.log").exists() and (work / "results/others.parquet").exists()
    assert (work / "results/runs/main/adapter/adapter_model.safetensors").exists()
    assert "torn.zip is no whole .zip file; look into it" in done.stdout
    assert ("trained   run main learned from it" in done.stdout) == (side != "test")
    assert "left      the source" in done.stdout and str(source) in done.stdout
    # the row and its copy, and nothing of what they say
    digests = read_erased(work.parent / "erased.txt")["demo"]
    assert len(digests) == 2 and "林" not in (work.parent / "erased.txt").read_text(
        encoding="utf-8"
    )
    assert fetch(work, source, digests).returncode == 0
    rows = [row.data.decode() for row in raw_rows(data / "raw", "a.jsonl")]
    assert rows == [others(1), others(2)]
    assert (data / "raw/b.jsonl").read_text(encoding="utf-8") == others(3) + "\n"
    record = json.loads((data / "fetch_dataset.json").read_text(encoding="utf-8"))
    assert record["facts"]["erased"] == 2
    assert record["outputs"]["results/data/demo/raw"] == record["facts"]["sha256"]
    assert clean(data / "raw", data, tokenizer).returncode == 0
    assert SAID not in (data / "clean.jsonl").read_text(encoding="utf-8")


def test_what_cannot_be_erased_is_said(source, tmp_path, tokenizer):  # noqa: F811
    work = tmp_path / "work"
    made(work, source, tokenizer)
    done = erase(work, "没有")
    assert done.returncode == 2 and "has no row with the id" in done.stderr
    (work / ".snakemake/locks").mkdir(parents=True)
    (work / ".snakemake/locks/0.input.lock").touch()
    done = erase(work, "我")
    assert done.returncode == 2 and "locked by a running Snakemake" in done.stderr
    assert not (tmp_path / "erased.txt").exists()


A, B, C = (json.dumps({"conversations": [name]}) for name in "abc")
FORMS = {
    "lines": f"{A}\n{B}\n{C}\n", "no end": f"{A}\n{B}\n{C}", "spaces": f" {A} \r\n\r\n "
f"{B}\r\n{C}\r\n",
    "list": f"[{A},{B},{C}]", "indented": f"[\n  {A},\n  {B},\n  "
f"{C}\n]\n", "bom": f"\ufeff{A}\n{B}\n{C}\n",
    "values": json.dumps(json.loads(A), indent=1) + "\n" + "\n".join(json.dumps(json.loads(x),
    indent=1) for x in (B, C)),
}  # fmt: skip


@pytest.mark.parametrize("form", sorted(FORMS))
@pytest.mark.parametrize("which", [[0], [1], [2], [0, 1], [1, 2], [0, 2]])
def test_rows_are_taken_out_of_any_text(tmp_path, form, which):
    (tmp_path / "x.json").write_text(FORMS[form], encoding="utf-8", newline="")
    rows = [row.data for row in raw_rows(tmp_path, "x.json")]
    assert take_out(
        tmp_path, {row_digest(rows[place]) for place in which}, {}, "datasets.demo"
    ) == len(which)
    left = [row.data for row in raw_rows(tmp_path, "x.json")]
    assert left == [row for place, row in enumerate(rows) if place not in which]
    assert take_out(tmp_path, {"0" * 64}, {}, "datasets.demo") == 0


def test_a_row_of_a_table_has_to_go_at_its_source(tmp_path):
    table = pyarrow.table({"conversations": [[{"from": "human", "value": text}] for text in "ab"]})
    pyarrow.parquet.write_table(table, tmp_path / "x.parquet")
    row = next(iter(raw_rows(tmp_path, "x.parquet")))
    with pytest.raises(UserError, match="x.parquet row 1 is on the list of erased rows and cannot"):
        take_out(tmp_path, {row_digest(row.data)}, {}, "datasets.demo")


def test_a_dialogue_of_several_rows_has_to_go_at_its_source(tmp_path):
    fields = {"dialogue": "talk", "speaker": "who", "text": "said"}
    said = [("1", "来访者", "睡不着"), ("1", "咨询师", "多久了？"), ("2", "来访者", "我很累")]
    lines = ["talk,who,said", *(",".join(turn) for turn in said)]
    (tmp_path / "x.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    row = next(iter(raw_rows(tmp_path, "x.csv", fields)))
    with pytest.raises(UserError, match="x.csv row 1 is on the list of erased rows and cannot"):
        take_out(tmp_path, {row_digest(row.data)}, fields, "datasets.demo")


def test_a_list_is_read_strictly_and_laid_over_the_configuration(tmp_path):
    path = tmp_path / "erased.txt"
    path.write_text(f"# why\n\nmh {'1' * 64}\nmh {'0' * 64}\nother {'2' * 64}\n", encoding="utf-8")
    config = {"datasets": {"mh": {"erased": ["3" * 64]}, "zh": {"erased": []}}}
    assert with_erased(config, path)["datasets"] == {
        "mh": {"erased": ["0" * 64, "1" * 64, "3" * 64]}, "zh": {"erased": []}
    }  # fmt: skip
    assert read_erased(tmp_path / "none.txt") == {}
    for line in ("mh", f"mh {'g' * 64}", f"a b {'0' * 64}"):
        path.write_text(line, encoding="utf-8")
        with pytest.raises(UserError, match="line 1 is .*a SHA-256"):
            read_erased(path)
