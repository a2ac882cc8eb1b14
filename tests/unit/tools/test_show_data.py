"""make look: what a stranger's file is, in seconds and before any configuration."""

import json
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[3]
TURNS = [
    {"role": "user", "content": "我最近很难过，睡不着。"},
    {"role": "assistant", "content": "谢谢你告诉我，\x1b[31m这样多久了？"},
]


def look(data):
    command = [sys.executable, ROOT / "scripts/tools/show_data.py", "--data", data]
    command += ["--hotlines", ROOT / "config/hotlines.yaml"]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=60)


def test_a_file_is_told_with_three_rows(tmp_path):
    path = tmp_path / "我的.jsonl"
    rows = [{"messages": TURNS}] * 5 + [{"messages": TURNS[:1]}, {"messages": 3}]
    path.write_text("\n".join(map(json.dumps, rows)))
    done = look(path)
    assert done.returncode == 0, done.stderr
    assert "'我的.jsonl': 7 rows, messages 6, unknown 1" in done.stdout
    assert "would be kept: 5 of 7" in done.stdout
    assert done.stdout.count("as it would be kept") == 3
    assert "row 7 has the keys messages" in done.stdout
    assert "\x1b" not in done.stdout


def test_a_folder_is_told_with_what_is_beside_its_data(tmp_path):
    (tmp_path / "a.json").write_text(
        json.dumps({"data": [{"question": "我很累。", "answer": "休息吧。"}]})
    )
    (tmp_path / "b.csv").write_bytes(b"PK\x03\x04")
    (tmp_path / "c.zip").write_bytes(b"PK\x03\x04")
    (tmp_path / ".d.jsonl").write_text("{}")
    done = look(tmp_path)
    assert done.returncode == 0, done.stderr
    assert "'a.json': 1 rows, question_answer 1" in done.stdout
    assert "'b.csv': b.csv is a zip archive" in done.stdout
    assert "not read: 'c.zip' (an archive)" in done.stdout
    assert "not read: '.d.jsonl' (hidden)" in done.stdout


def test_many_files_are_told_as_one(tmp_path):
    for number in range(30):
        (tmp_path / f"{number}.json").write_text(json.dumps(TURNS))
    assert "30 of 30 files: 30 rows, messages 30" in look(tmp_path).stdout


def test_a_large_file_takes_no_longer(tmp_path):
    line = json.dumps({"messages": TURNS * 20}, ensure_ascii=False) + "\n"
    (tmp_path / "a.jsonl").write_text(line * 60_000)
    start = time.monotonic()
    done = look(tmp_path)
    assert "its first" in done.stdout and time.monotonic() - start < 15  # 5 s, on a busy machine


def test_what_is_not_there_is_one_sentence(tmp_path):
    assert "no file and no folder" in look(tmp_path / "没有").stderr
    (tmp_path / "a.docx").write_bytes(b"PK")
    assert "no data file by its name" in look(tmp_path / "a.docx").stderr
