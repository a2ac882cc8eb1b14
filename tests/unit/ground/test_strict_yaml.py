"""What YAML takes in silence is one sentence with file and line, in no time; what is meant as it
stands is read.
"""

import json
import time

import pytest
from mindtune.cli import UserError
from mindtune.strict_yaml import parse_strictly, read_strictly

BOMB = "a0: &a0 {a: 1, b: 2, c: 3, d: 4, e: 5, f: 6, g: 7, h: 8}\n" + "\n".join(
    f"a{n}: &a{n} {{" + ", ".join(f"{key}: *a{n - 1}" for key in "abcdefgh") + "}"
    for n in range(1, 9)
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("训练:\n  种子: 1\n\n  种子: 2", ["line 4", "'种子' again", "line 2"]),
        ("train: {seed: 1}\ndata: {}\ntrain: {seed: 2}", ["line 3", "'train' again"]),
        ('{"train": {"seed": 1, "seed": 2}}', ["'seed' 2 times"]),
        ("runs:\n  on: {dataset: d}", ["line 2", "(bool: on)", "quotes"]),
        ("runs: {10: {dataset: d}}", ["(int: 10)"]),
        ("runs: {2026-11-25: {dataset: d}}", ["2026-11-25"]),
        ("runs: {null: {dataset: d}}", ["(null: null)"]),
        ("? [甲, 乙]\n: 1", ["not read as text"]),
        ("model: {revision: 2024-09-18}", ["the date 2024-09-18", "quotes"]),
        ("rate: .nan", [".nan", "finite"]),
        ("rate: -.Inf", ["-.Inf", "finite"]),
        ("rate: 1.0e+400", ["1.0e+400", "finite"]),
        ("seed: 010", ["010", "octal", "decimal"]),
        ("seed: 0x10", ["0x10", "decimal"]),
        ("time: 12:30", ["12:30", "base 60"]),
        ("a: &a [*a]", ["line 1", "contains itself"]),
        ("a: &a\n  b: {c: *a}", ["contains itself"]),
        (BOMB, ["more than 100,000 values", "alias"]),
        ("[" * 5000 + "]" * 5000, ["more than 40 levels"]),
        ("- " * 5000 + "x", ["more than 40 levels"]),
        ('{"a":' * 200 + "1" + "}" * 200, ["more than 40 levels"]),
        ("a: !!python/object/apply:os.system ['true']", ["line 1", "cannot be read as YAML"]),
        ("a: 1\n---\nb: 2", ["another document"]),
        ("a:\n\t- b", ["line 2", "cannot be read as YAML"]),
    ],
)
def test_one_sentence_in_no_time(text, words):
    start = time.process_time()
    with pytest.raises(UserError) as caught:
        parse_strictly(text, "配置.yaml")
    assert time.process_time() - start < 5
    message = str(caught.value)
    assert message.startswith("配置.yaml") and "\n" not in message
    for word in words:
        assert word in message, message


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("# 只有注释", None),
        (
            "名: &x {甲: 1, 乙: 2.0e-4}\n别: {<<: *x, 甲: 3}",
            {"名": {"甲": 1, "乙": 0.0002}, "别": {"甲": 3, "乙": 0.0002}},
        ),
        ("seed: 1_000", {"seed": 1000}),
        ("'on': '2024-09-18'", {"on": "2024-09-18"}),
        ('{"rate": 1e-3}', {"rate": 0.001}),
        ("rate: 1e-3", {"rate": "1e-3"}),
        ("a: [&x 词, *x]", {"a": ["词", "词"]}),
    ],
)
def test_what_is_meant_as_it_stands(text, value):
    assert parse_strictly(text, "x") == value


def test_files(tmp_path):
    path = tmp_path / "配置.yaml"
    path.write_bytes("\ufeff键: 值\r\n".encode())
    assert read_strictly(path) == {"键": "值"}
    path.write_bytes("键: 值".encode("gbk"))
    with pytest.raises(UserError, match=r"配置\.yaml is not UTF-8 text"):
        read_strictly(path)
    path.write_text(json.dumps(["x" * 100] * 30_000))
    with pytest.raises(UserError, match="is it data"):
        read_strictly(path)
