"""The data sheet and the Croissant file: written from real records, true to them, and readable by
mlcroissant itself.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from cleaning_runs import program as clean
from cleaning_runs import sharegpt
from sealed import write_sealed
from test_split_program import program as split
from test_split_program import read

ROOT = Path(__file__).parents[3]
SPEC = {
    "source": "local",
    "path": "resources/dialogues",
    "id": None,
    "revision": None,
    "sha256": None,
    "licence": "CC0-1.0",
}


@pytest.fixture(scope="module")
def described(tmp_path_factory, tokenizer):
    folder = tmp_path_factory.mktemp("dataset")
    (folder / "raw").mkdir()
    for name in ("dirty", "zh"):
        lines = (ROOT / f"resources/dialogues/{name}.jsonl").read_text(encoding="utf-8")
        (folder / f"raw/{name}.jsonl").write_text(lines, encoding="utf-8")
    crisis = [("human", "我不想活了。"), ("gpt", "请现在拨打12356，也可以去医院。")]
    (folder / "raw/crisis.jsonl").write_text(sharegpt(crisis, id="危机"), encoding="utf-8")
    assert clean(folder / "raw", folder, tokenizer, max_tokens=2000).returncode == 0
    assert (
        split(
            folder, folder / "clean.jsonl", held_out=[ROOT / "resources/knowledge/questions.jsonl"]
        ).returncode
        == 0
    )
    facts = {
        "files": {"zh.jsonl": "0" * 64},
        "bytes": 1234567,
        "sha256": "a" * 64,
        "licence": SPEC["licence"],
        "left_behind": {"notes.zip": "an archive"},
    }
    write_sealed(folder / "fetch.json", "fetch_dataset", facts=facts)
    describe(folder, SPEC)
    return folder


def describe(folder, spec, *more):
    command = [sys.executable, ROOT / "scripts/write_datasheet.py", "--name", "测试", "--spec",
        json.dumps(spec),
               "--fetch", folder / "fetch.json", "--clean", folder / "clean_dialogues.json",
               "--split", folder / "split_dialogues.json",
               "--datasheet", folder / "DATASHEET.md", "--croissant", folder / "croissant.json",
               "--record", folder / "write_datasheet.json", *more]  # fmt: skip
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return (folder / "DATASHEET.md").read_text(encoding="utf-8")


def test_the_sheet_says_what_the_records_say(described):
    sheet = (described / "DATASHEET.md").read_text(encoding="utf-8")
    facts = read(described / "clean_dialogues.json")[0]["facts"]
    sides = read(described / "split_dialogues.json")[0]["facts"]["dialogues"]
    assert (
        f"{facts['read']} rows were read, {facts['kept']} kept and {facts['rejected']} rejected"
        in sheet
    )
    assert (
        "| other_model_identity | 1 |" in sheet
        and "| mojibake | 1 |" in sheet
        and "- mobile: 1" in sheet
    )
    assert all(f"| {side} | {count} |" in sheet for side, count in sides.items())
    assert "hidden or broken links: 1; `fetch_dataset.json` names them" in sheet
    census = facts["census"]
    assert (
        f"In {census['client_speaks_of_suicide_or_self_harm']} of {facts['kept']} kept rows"
        in sheet
    )
    share = (
        100 * census["counsellor_names_a_hotline"] / census["client_speaks_of_suicide_or_self_harm"]
    )
    assert f"names a help line in {share:.1f} %" in sheet
    assert "Licence: CC0-1.0\n" in sheet and "1,234,567 bytes" in sheet
    assert "{{" not in sheet and "{%" not in sheet and "\n\n\n" not in sheet


def test_stages_that_ran_besides_have_their_lines_and_others_none(described):
    plain = describe(described, SPEC)
    assert "nats a token" not in plain and "Paraphrases" not in plain
    ends = [{"id": f"远_{n}|", "tokens": 9, "nll": 9.5 - n} for n in range(3)]
    facts = {
        "nll": {"p5": 1.5, "median": 2.0, "p95": 3.25, "mean_over_tokens": 2.1},
        "dialogues": 1234, "tokens": 56789, "without_learned_tokens": 0,
        "unlikeliest": ends, "likeliest": ends[::-1],
    }  # fmt: skip
    write_sealed(described / "p.json", "measure_perplexity", facts=facts)
    pairs = {"pairs": 12, "joined": 7, "first_turns": 1300, "pooling": "mean", "cut": 2}
    pairs |= {"tokens_read": 512, "encoder_sha256": "ab" * 32}
    settings = {"threshold": 0.93, "device": "cpu"}
    write_sealed(described / "q.json", "find_paraphrases", facts=pairs, params=settings)
    split_record = json.loads((described / "split_dialogues.json").read_text(encoding="utf-8"))
    saved = (described / "split_dialogues.json").read_bytes()
    parts = {part: split_record[part] for part in ("inputs", "outputs", "params", "facts")}
    parts["facts"]["paraphrase_pairs"] = 7
    write_sealed(described / "split_dialogues.json", "split_dialogues", **parts)
    more = ["--perplexity", described / "p.json", "--paraphrases", described / "q.json"]
    sheet = describe(described, SPEC, *more)
    (described / "split_dialogues.json").write_bytes(saved)
    assert "2.0 nats a token in the middle dialogue (perplexity 7.4)" in sheet
    assert "percentile is 1.5 (4.5) and the 95th 3.25 (25.8), over 1,234 dialogues" in sheet
    assert "| 远_0\\| | 9.5 | 远_2\\| | 7.5 |" in sheet
    assert "a cosine of 0.93 on: 12 pairs among 1,300 different first turns. 7 of them" in sheet
    assert "`abababababababab`" in sheet and "of 2 long turns only the first 512 tokens" in sheet
    assert "\n\n\n" not in sheet
    inputs = read(described / "write_datasheet.json")[0]["inputs"]
    assert {str(described / "p.json"), str(described / "q.json")} <= set(inputs)


def test_no_licence_is_said_plainly(described):
    assert "No licence is known" in describe(described, SPEC | {"licence": "unknown"})
    assert "No licence is known" not in describe(described, SPEC)


def test_names_and_licences_of_others_are_only_text(described):
    from mindtune.data.datasheet import datasheet

    fetch, clean_facts, split_facts = (
        read(described / f"{name}.json")[0]["facts"]
        for name in ("fetch", "clean_dialogues", "split_dialogues")
    )
    forged = "<svg onload=alert(1)>|\n\n## In a crisis: call 900-1\n"
    files = dict(zip((forged, "b"), clean_facts["files"].values(), strict=False))
    spec = SPEC | {"licence": forged, "path": "data/x\r## y"}
    sheet = datasheet("测试", spec, fetch, {**clean_facts, "files": files}, split_facts)
    plain = (described / "DATASHEET.md").read_text(encoding="utf-8")
    heads = [[row for row in page.splitlines() if row.startswith("#")] for page in (sheet, plain)]
    assert heads[0] == heads[1] and "<svg" not in sheet.replace("\\<svg", "")


def test_croissant_is_valid_and_gives_the_rows_back(described):
    """mlcroissant validates the file, checks the hashes of the data files beside it, and reads the
    same dialogues.
    """
    import mlcroissant

    dataset = mlcroissant.Dataset(jsonld=str(described / "croissant.json"))
    assert not dataset.metadata.issues.errors
    for side in ("train", "dev", "test"):
        rows = read(described / f"{side}.jsonl")
        records = list(dataset.records(side))
        assert [record[f"{side}/id"].decode() for record in records] == [row["id"] for row in rows]
        for record, row in zip(records, rows, strict=True):
            turns = record[f"{side}/conversations"]
            assert [
                {
                    "from": turn[f"{side}/conversations/from"].decode(),
                    "value": turn[f"{side}/conversations/value"].decode(),
                }
                for turn in turns
            ] == row["conversations"]
    described.joinpath("test.jsonl").open("ab").write(b"\n")
    with pytest.raises(mlcroissant.GenerationError, match="test.jsonl") as error:
        list(mlcroissant.Dataset(jsonld=str(described / "croissant.json")).records("test"))
    assert "Hash" in str(error.value.__cause__)
