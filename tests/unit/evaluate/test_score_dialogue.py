"""The program that scores replies: the same item scores whatever the order, and one sentence for
every kind of bad input.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from mindtune.evaluate.items import read_items, read_signatures
from mindtune.records import sha256_file
from replies import SETTINGS, reply_rows
from sealed import write_sealed

SCRIPT = Path(__file__).parents[3] / "scripts" / "score_dialogue.py"


def run_script(
    folder: Path, base: list[dict], tuned: list[dict], *words: str
) -> subprocess.CompletedProcess:
    for name, rows in (("base", base), ("tuned", tuned)):
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    settings = json.dumps(SETTINGS, ensure_ascii=False)
    command = [
        sys.executable,
        SCRIPT,
        "--base",
        "base.jsonl",
        "--tuned",
        "tuned.jsonl",
        "--settings",
        settings,
    ]
    outputs = ["--run", "main", "--suite", "dialogue", "--items", "i.parquet", "--scores", "s.json"]
    return subprocess.run(
        [*command, *words, *outputs],
        cwd=folder,
        check=False,
        capture_output=True,
        encoding="utf-8",
    )


def test_program_writes_the_same_record_whatever_the_order_of_the_tuned_file(tmp_path: Path):
    done = run_script(tmp_path, reply_rows(3), reply_rows(4))
    assert done.returncode == 0, done.stderr
    assert "scored 7 replies of 5 dialogues" in done.stdout
    record = json.loads((tmp_path / "s.json").read_text(encoding="utf-8"))
    facts, made = record["facts"], (tmp_path / "i.parquet").read_bytes()
    assert record["stage"] == "score_dialogue" and facts["languages"] == {"zh": 5, "en": 2}
    assert record["outputs"] == {"i.parquet": sha256_file(tmp_path / "i.parquet")}
    found = {(row["model"], row["metric"], row["stratum"]): row for row in facts["rows"]}
    assert found["base", "empty", "zh"]["value"] == pytest.approx(1 / 5)
    assert found["tuned", "truncated", "en"]["value"] == 1 / 2
    for language, n in (("zh", 5), ("en", 2)):
        best, worst = (found[model, "chrF", language] for model in ("tuned", "floor:fixed"))
        assert best["value"] > worst["value"] and best["n"] == n, "never pooled"
    assert run_script(tmp_path, reply_rows(3), reply_rows(4)[::-1]).returncode == 0
    assert json.loads((tmp_path / "s.json").read_text(encoding="utf-8"))["facts"] == facts
    assert (tmp_path / "i.parquet").read_bytes() == made


def test_every_value_can_be_traced_to_its_reply(tmp_path: Path):
    assert run_script(tmp_path, reply_rows(3), reply_rows(4)).returncode == 0
    items = read_items([tmp_path / "i.parquet"])
    mine = items[(items["model"] == "tuned") & (items["metric"] == "ROUGE-1@zh")]
    assert list(mine["id"]) == sorted(row["id"] for row in reply_rows(4)[:5])
    assert list(mine["cluster"]) == [name.split("#")[0] for name in mine["id"]]
    assert "tok:zh" in read_signatures([tmp_path / "i.parquet"])["BLEU"]


def changed(rows: list[dict], number: int, **values: object) -> list[dict]:
    return [row | values if position == number else row for position, row in enumerate(rows)]


@pytest.mark.parametrize(
    ("tuned", "sentence"),
    [
        (
            reply_rows(4)[:-1],
            "tuned.jsonl lacks 1 of the replies that base.jsonl has, such as family#6",
        ),
        (
            [*reply_rows(4), reply_rows(4)[0] | {"id": "多#7"}],
            "base.jsonl lacks 1 of the replies that tuned.jsonl has, such as 多#7",
        ),
        (changed(reply_rows(4), 2, reference=" "), "line 3 (考试#2) has an empty reference"),
        (
            changed(
                reply_rows(4),
                2,
                prompt=[{"role": "user", "content": "我的 PHQ-9 得分是 15 分，是抑郁吗？"}],
            ),
            "prompt of 考试#2",
        ),
        (changed(reply_rows(4), 1, reference="别的参考"), "reference of 失眠#1"),
        (changed(reply_rows(4), 0, reply=None), "line 1: 'reply' is None"),
        (changed(reply_rows(4), 1, id="失眠#0"), "stands there twice"),
    ],
)
def test_replies_to_other_prompts_stop_with_one_sentence(
    tmp_path: Path, tuned: list[dict], sentence: str
):
    done = run_script(tmp_path, reply_rows(3), tuned)
    assert done.returncode == 2
    assert sentence in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "s.json").exists()


def test_one_dialogue_is_too_few(tmp_path: Path):
    done = run_script(tmp_path, reply_rows(3)[:2], reply_rows(4)[:2])
    assert done.returncode == 2 and "holds 1 dialogue(s)" in done.stderr


def test_replies_that_were_changed_after_they_were_given_are_not_scored(tmp_path: Path):
    """A forged reply in a file that holds the same prompts: the record of the replies has the
    file's hash.
    """
    assert run_script(tmp_path, reply_rows(3), reply_rows(4)).returncode == 0
    for name in ("base", "tuned"):
        outputs = {f"{name}.jsonl": sha256_file(tmp_path / f"{name}.jsonl")}
        write_sealed(tmp_path / f"{name}.json", "generate_replies", outputs=outputs)
    records = ("--made-by", "base.json", "tuned.json")
    assert run_script(tmp_path, reply_rows(3), reply_rows(4), *records).returncode == 0
    (tmp_path / "s.json").unlink()
    done = run_script(
        tmp_path, reply_rows(3), changed(reply_rows(4), 3, reply="我很理解您的感受。"), *records
    )
    assert (
        done.returncode == 2
        and done.stderr.startswith("error: tuned.jsonl has SHA-256")
        and done.stderr.count("\n") == 1
    )
    assert not (tmp_path / "s.json").exists()
