"""A repeated run is compared file by file: identical, within tolerance, different or missing."""

import json

import pytest
from mindtune.audit.comparing import compare, fault, is_measured
from mindtune.records import sha256_file


def verdicts(tmp_path, old, new, share=0.0):
    """{path: verdict} for two folders of {path: text}."""
    for side, files in (("old", old), ("new", new)):
        for name, text in files.items():
            path = tmp_path / side / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    expected = {name: sha256_file(tmp_path / "old" / name) for name in old}
    hashes = {name: sha256_file(tmp_path / "new" / name) for name in new if name in old}
    found = compare(tmp_path / "old", tmp_path / "new", expected, hashes, share)
    return {name: verdict for name, (verdict, _) in found.items()}


def record(**facts):
    return json.dumps({"inputs": {}, "outputs": {}, "facts": facts, "seal": str(hash(str(facts)))})


def test_times_may_differ_and_nothing_else(tmp_path):
    old = {
        "same.txt": "字", "smoke.json": record(ttft_ms=1.5, replies=4), "gone.csv": "a\n1\n",
        "score.json": record(bleu=0.5), "words.json": record(reply="好"),
    }  # fmt: skip
    new = {
        "same.txt": "字", "smoke.json": record(ttft_ms=2.5, replies=4),
        "score.json": record(bleu=0.6), "words.json": record(reply="坏"),
    }  # fmt: skip
    assert verdicts(tmp_path, old, new) == {
        "same.txt": "identical", "smoke.json": "within tolerance", "gone.csv": "missing",
        "score.json": "different", "words.json": "different",
    }  # fmt: skip
    assert verdicts(tmp_path, old, new, share=0.2)["score.json"] == "within tolerance"


def test_a_hash_is_as_good_as_its_file(tmp_path):
    def naming(digest):
        return json.dumps({"inputs": {"smoke.json": digest}, "outputs": {}, "facts": {}})

    old = {"smoke.json": record(seconds=1), "report.json": naming("0" * 64)}
    new = {"smoke.json": record(seconds=2), "report.json": naming("1" * 64)}
    assert set(verdicts(tmp_path, old, new).values()) == {"within tolerance"}
    new["smoke.json"] = record(seconds=2, more=1)
    assert set(verdicts(tmp_path, old, new).values()) == {"different"}


@pytest.mark.parametrize(
    ("name", "old", "new", "share", "equal"),
    [
        ("a.csv", "step,loss\n1,2.00\n", "step,loss\n1,2.01\n", 0.01, True),
        ("a.csv", "step,loss\n1,2.00\n", "step,loss\n1,2.01\n", 0.001, False),
        ("a.csv", "step,seconds\n1,2\n", "step,seconds\n1,9\n", 0, True),
        ("a.csv", "a\n1\n", "a\n1\n2\n", 1, False),
        ("a.csv", "a\n好\n", "a\n坏\n", 1, False),
        ("a.html", "<p>took 3.5 s</p>", "<p>took 12 s</p>", 0, True),
        ("a.html", "<p>good</p>", "<p>bad</p>", 0, False),
        ("a.json", "{}", "[", 1, False),
        ("a.json", '{"a": true}', '{"a": 1.1}', 1, False),
        ("a.bin", "\x01", "\x02", 1, False),
    ],
)
def test_tolerances(name, old, new, share, equal):
    assert (fault(name, old.encode(), new.encode(), share, lambda path: False) == "") == equal


def test_only_what_a_machine_measures_of_itself_is_measured():
    assert all(
        map(
            is_measured,
            [
                ("facts", "seconds"),
                ("ttft_ms",),
                ("tokens_per_s",),
                ("levels", "0", "p50"),
                ("tokens_per_second_after_the_first_step",),
                ("kilowatt_hours",),
                ("training_cost", "dollars"),
            ],
        )
    )
    assert not any(
        map(is_measured, [("steps",), ("losses",), ("bleu",), ("params", "s0"), ("tokens",)])
    )
