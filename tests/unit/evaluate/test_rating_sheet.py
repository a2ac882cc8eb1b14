"""A blind sheet: what it shows, what it hides, and what comes back of it through spreadsheets."""

import csv
import io
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mindtune.cli import UserError
from mindtune.evaluate.raters import markdown, table
from mindtune.evaluate.rating_page import MOST_BYTES, page
from mindtune.evaluate.rating_sheet import blinded, drawn, make_key, pairs_of, shown_prompt
from mindtune.evaluate.rubrics import Behaviour, Rubric
from mindtune.evaluate.sheet_csv import as_cell, as_text, empty_sheet
from mindtune.evaluate.sheet_reading import Filled, read_sheet, read_sheets
from rated import HOSTILE, rows_of

TEXT = {"zh": "是否点明感受？", "en": "Does it name a feeling?"}
RUBRICS = [
    Rubric("empathy", "", ["dialogue"], {"names": Behaviour("names", TEXT, {}, {})}, ""),
    Rubric("scale", "", ["dialogue"], {"how": Behaviour("how", TEXT, {}, {}, most=3)}, ""),
    Rubric("other", "", ["crisis"], {"never": Behaviour("never", TEXT, {}, {})}, ""),
]
ABOUT = {"run": "main", "seed": 7, "replies": {}, "raters": 2}


def by_id(model, dialogues, turns, texts=HOSTILE):
    return {row["id"]: row for row in rows_of(model, dialogues, turns, texts)}


def key_of(dialogues=5, turns=2, wanted=10, texts=HOSTILE):
    pairs = pairs_of(
        "dialogue",
        by_id("base", dialogues, turns, texts),
        by_id("tuned", dialogues, turns, texts),
        RUBRICS,
    )
    return make_key(blinded(drawn(pairs, wanted, 7), 7), RUBRICS, ABOUT)


KEY = key_of()


def filled(key=KEY, rater="r1", value="1"):
    """A rater's sheet as lists of cells, header first, every question answered."""
    rows = list(csv.reader(io.StringIO(empty_sheet(key, rater).lstrip("\ufeff"), newline="")))
    return rows[:1] + [
        [value if cell == "" else cell for cell in row[:-1]] + [""] for row in rows[2:]
    ]


def saved(path, rows, encoding="utf-8-sig", delimiter=",", lineterminator="\r\n"):
    with open(path, "w", encoding=encoding, newline="", errors="replace") as stream:
        writer = csv.writer(stream, delimiter=delimiter, lineterminator=lineterminator)
        writer.writerows(rows)
    return path


def test_a_sheet_says_nothing_of_models():
    assert all(row["model"] in ("base", "tuned") for row in KEY["hidden"])
    seen = key_of(texts=["same words"] * 3)["seen"]
    # rows_of ends each reply with its model's name; nothing else may
    said = json.dumps(seen).replace("same words base", "").replace("same words tuned", "")
    assert not re.search("base|tuned|d0#|dialogue|心理咨询师", said)
    assert [row["row"] for row in seen["rows"][:4]] == ["P001A", "P001B", "P002A", "P002B"]


def test_half_of_the_pairs_begin_with_base_and_the_seed_decides():
    first = [row["model"] for row in KEY["hidden"] if row["row"].endswith("A")]
    assert sorted(first) == ["base"] * 5 + ["tuned"] * 5
    assert key_of() == KEY
    pairs = pairs_of("dialogue", by_id("base", 5, 2), by_id("tuned", 5, 2), RUBRICS)
    assert blinded(drawn(pairs, 10, 8), 8) != blinded(drawn(pairs, 10, 7), 7)


def test_every_dialogue_comes_before_a_second_turn_of_one():
    pairs = pairs_of("dialogue", by_id("base", 6, 4), by_id("tuned", 6, 4), RUBRICS)
    assert {pair["cluster"] for pair in drawn(pairs, 6, 7)} == {f"d{n}" for n in range(6)}


def test_a_prompt_is_shown_without_what_the_model_was_told():
    prompt = [
        {"role": "system", "content": "secret"},
        {"role": "user", "content": "你好"},
        {"role": "assistant", "content": "请说"},
    ]
    assert shown_prompt(prompt, "zh") == "来访者: 你好\n\n咨询师: 请说"


def test_only_what_a_suites_rubrics_ask_is_asked():
    assert [question["name"] for question in KEY["seen"]["questions"]] == [
        "empathy.names",
        "scale.how",
    ]


@pytest.mark.parametrize("text", HOSTILE)
def test_no_cell_is_a_formula_and_every_text_comes_back(text):
    cell = as_cell(text)
    assert not cell.lstrip().startswith(("=", "+", "-", "@", "＝", "＋", "－", "＠"))
    assert as_text(cell) == text


@given(st.text())
def test_any_text_comes_back(text):
    assert as_text(as_cell(text)) == text
    assert not as_cell(text).strip().startswith(("=", "+", "-", "@"))


def test_hostile_replies_stay_data_in_the_page():
    text = page(KEY)
    assert text.count("</script>") == 2  # the page's own
    assert "<img" not in text and "</script><script>document" not in text
    said = re.search(r'<script id="data" type="application/json">(.*?)</script>', text, re.S)[1]
    rows = json.loads(said)["rows"]
    assert [row["reply"] for row in rows] == [row["reply"] for row in KEY["seen"]["rows"]]
    assert "http://example.invalid" not in re.sub(re.escape(said), "", text)


def test_two_hundred_pairs_of_long_dialogues_fit_and_more_are_refused():
    replies = ["好的，我们慢慢来，先说说昨晚发生了什么。" * 15] * 3  # 300 characters
    assert len(page(key_of(100, 2, 200, replies)).encode()) <= MOST_BYTES
    with pytest.raises(UserError, match="pairs has .* bytes, over 3,000,000; give fewer PAIRS"):
        page(key_of(100, 2, 200, [text * 10 for text in replies]))


# What a spreadsheet does to a file, and what is put right
CHANGES = {
    "as it was": {},
    "no BOM, line feeds": {"encoding": "utf-8", "lineterminator": "\n"},
    "semicolons": {"delimiter": ";"},
    "tabs in UTF-16, Excel's 'Unicode text'": {"encoding": "utf-16", "delimiter": "\t"},
    "GBK, Excel's 'CSV'": {"encoding": "gbk"},
}


@pytest.mark.parametrize("how", CHANGES.values(), ids=CHANGES)
def test_what_a_spreadsheet_does_to_a_file_is_put_right(tmp_path, how):
    found = read_sheet(saved(tmp_path / "r1.csv", filled(), **how), KEY)
    assert found.rater == "r1" and not found.reordered
    assert found.answers["P001A"] == {"empathy.names": 1, "scale.how": 1}
    assert list(found.answers) == [row["row"] for row in KEY["seen"]["rows"]]


def test_other_orders_and_other_ways_to_write_a_number_are_put_right(tmp_path):
    header, *rows = filled()
    for row, said in zip(
        rows, ["１", "是", "yes", "TRUE", " 1 ", "1.0", "1,00", "'1"], strict=False
    ):
        row[6] = said
    rows.reverse()
    swapped = [[row[7], *row[:7], *row[8:]] for row in [header, *rows]]
    extra = [[*row, ""] for row in swapped] + [[""] * 10]
    found = read_sheet(saved(tmp_path / "r1.csv", extra), KEY)
    assert found.reordered
    assert {answers["empathy.names"] for answers in found.answers.values()} == {1}


def put(line, column, text):
    def change(rows):
        rows[line][column] = text

    return change


# {what is wrong: (what was done, what the sentence says)}
WRONG = {
    "empty": (put(2, 6, ""), r"row P001B, column empathy.names is empty"),
    "date": (put(2, 6, "1900/1/1"), r"column empathy.names is '1900/1/1', which a spreadsheet"),
    "Chinese date": (put(2, 7, "1月3日"), r"column scale.how is '1月3日', which a spreadsheet"),
    "English date": (put(2, 7, "3-Jan"), r"column scale.how is '3-Jan', which a spreadsheet"),
    "too high": (put(2, 7, "4"), r"column scale.how is '4'; expected a whole number from 0 to 3"),
    "half": (put(2, 7, "1.5"), r"column scale.how is '1.5'; expected a whole number"),
    "prose": (put(2, 6, "maybe"), r"column empathy.names is 'maybe'; expected"),
    "edited reply": (put(2, 5, "不一样"), r"row P001B, column reply was edited: .*'不一样'"),
    "edited prompt": (put(3, 4, "?"), r"row P002A, column prompt was edited"),
    "another sheet": (put(2, 0, "S-000000000000"), r"column sheet: found 'S-000000000000'"),
    "another rater": (put(2, 1, "r2"), r"column rater: found 'r2' after 'r1'"),
    "no rater": (
        lambda rows: [put(n, 1, "")(rows) for n in range(1, 21)],
        r"column rater: found ''",
    ),
    "unknown row": (put(2, 2, "P999A"), r"the row 'P999A' was not sent"),
    "doubled row": (lambda rows: rows.append(rows[3]), r"the row 'P002A' stands there twice"),
    "missing row": (lambda rows: rows.pop(4), r"the row P002B is missing"),
    "no column": (lambda rows: [row.pop(6) for row in rows], r"column 'empathy.names' 0 times"),
    "two columns": (lambda rows: [row.append(row[6]) for row in rows], r"'empathy.names' 2 times"),
    "own column": (
        lambda rows: [row.append("mine" if n else "remark") for n, row in enumerate(rows)],
        r"column 'remark' that was not sent",
    ),
    "no answers": (lambda rows: rows.__delitem__(slice(1, None)), r"has no row with answers"),
}


@pytest.mark.parametrize(("change", "said"), WRONG.values(), ids=WRONG)
def test_an_incomplete_or_edited_sheet_is_refused_by_its_cell(tmp_path, change, said):
    rows = filled()
    change(rows)
    with pytest.raises(UserError, match=said) as error:
        read_sheet(saved(tmp_path / "r1.csv", rows), KEY)
    assert str(error.value).startswith(str(tmp_path / "r1.csv"))


@pytest.mark.parametrize(
    "content",
    [b"", b"\x00\x01\xff\xfe\x80", b"hello", b"PK\x03\x04 a workbook", b"\xff\xfe\x00"],
)
def test_what_is_no_sheet_is_one_sentence(tmp_path, content):
    (tmp_path / "r1.csv").write_bytes(content)
    with pytest.raises(UserError, match=r"r1\.csv"):
        read_sheet(tmp_path / "r1.csv", KEY)


@given(content=st.binary(max_size=400))
def test_no_bytes_are_a_traceback(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("fuzz") / "r1.csv"
    path.write_bytes(empty_sheet(KEY, "r1").encode()[:900] + content)
    with pytest.raises(UserError):
        read_sheet(path, KEY)


def test_two_raters_are_needed_and_each_once(tmp_path):
    one = saved(tmp_path / "a.csv", filled())
    with pytest.raises(UserError, match="two raters or more, and 1 was given"):
        read_sheets([one], KEY)
    with pytest.raises(UserError, match="both of rater r1"):
        read_sheets([one, saved(tmp_path / "b.csv", filled())], KEY)
    other = saved(tmp_path / "c.csv", filled(rater="r2", value="0"))
    assert [sheet.rater for sheet in read_sheets([other, one], KEY)] == ["r1", "r2"]


def test_a_question_asked_of_some_replies_only_has_shares_and_no_difference():
    """As after a condition: a difference would compare other replies with each other."""
    key = key_of(12, 1, 12)
    for row, hidden in zip(key["seen"]["rows"], key["hidden"], strict=True):
        if hidden["model"] == "tuned" and row["row"] > "P006":
            row["asked"] = ["scale.how"]
    answers = {
        row["row"]: dict.fromkeys(row["asked"], place % 2)
        for place, row in enumerate(key["seen"]["rows"])
    }
    sheets = [Filled(rater, answers, False) for rater in ("r1", "r2")]
    found = table(key, sheets, {})
    assert "| -" in markdown(found, key, [])
    measures = found[found["who"] == "humans"].groupby("question")["measure"].agg(list)
    assert measures["empathy.names"] == ["base", "tuned"]
    assert measures["scale.how"] == ["base", "tuned", "tuned-base"]
