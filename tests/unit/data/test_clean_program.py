"""The program that cleans: what it writes, counts, caps and refuses."""

import json

import pytest
from cleaning_runs import GOOD, cleaner, facts_of, program, read, sharegpt, with_text
from mindtune.data.cleaning import STEPS


def test_program(raw, tmp_path, tokenizer):
    done = program(raw, tmp_path, tokenizer)
    assert done.returncode == 0, done.stderr
    clean, rejected = read(tmp_path / "clean.jsonl"), read(tmp_path / "rejected.jsonl")
    assert [row["id"] for row in clean] == ["甲", "一-3", "一-5", "一-8", "二-1", "二-2", "二-3"]
    # Near-duplicates are known at the end only, and come last.
    assert [(row["id"], *row["reasons"]) for row in rejected] == [
        ("乙", "exact_duplicate"), ("一-4", "malformed"), ("长", "over_long"), ("一-6",
            "near_duplicate"),
    ]  # fmt: skip
    assert list(clean[0]) == [
        "id", "conversations", "source", "fixes", "crisis", "crisis_turns",
    ]  # fmt: skip
    assert clean[0]["crisis"] == "none" and clean[0]["crisis_turns"] == [""] * 4
    assert clean[1]["fixes"] == ["html"] and clean[1]["source"] == "测试:一.jsonl#3"
    assert clean[3]["fixes"] == ["invisible"]
    assert clean[4]["conversations"][0] == {"from": "system", "value": "你是咨询师"}
    originals = {row["id"]: row for row in rejected}
    assert (
        originals["乙"]["original"]["conversations"][-1]["value"] == "谢谢"
        and originals["乙"]["copy_of"] == "甲"
    )
    assert (
        originals["一-6"]["original"]["conversations"][0]["value"].endswith("睡不着了")
        and originals["一-6"]["copy_of"] == "一-5"
    )
    facts = json.loads((tmp_path / "clean_dialogues.json").read_text())["facts"]
    assert (facts["read"], facts["kept"], facts["rejected"]) == (11, 7, 4)
    assert {reason: count for reason, count in facts["rejected_by_reason"].items() if count} == {
        "malformed": 1, "over_long": 1, "exact_duplicate": 1, "near_duplicate": 1,
    }  # fmt: skip
    assert (
        facts["fixes_by_step"]["html"] == 1 and facts["fixes_by_step"]["trailing_client_turn"] == 0
    )
    assert facts["files"]["二.json"]["form"] == "pairs"
    assert facts["tokens"]["max"] <= 400


def test_the_same_bytes_from_any_number_of_processes(raw, tmp_path, tokenizer):
    for line in range(900):  # more than two pieces of work
        with (raw / "三.jsonl").open("a", encoding="utf-8") as stream:
            stream.write(
                sharegpt(
                    [
                        ("human", f"第{line}个问题，{line * 7919 % 977}，睡不着"),
                        ("gpt", f"第{line}个回答{line * 31 % 89}"),
                    ]
                )
                + "\n"
            )
    for threads in (1, 3):
        (tmp_path / str(threads)).mkdir()
        assert program(raw, tmp_path / str(threads), tokenizer, threads).returncode == 0
    for name in ("clean.jsonl", "rejected.jsonl"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "3" / name).read_bytes()


def test_over_long_is_exact(tmp_path, tokenizer):
    from mindtune.chat_template import load_chat, to_messages

    chat = load_chat(tokenizer)
    text = chat.render(to_messages([{"from": role, "value": value} for role, value in GOOD]))
    assert text.startswith(
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n我最近"
    )
    [tokens] = chat.count([text])
    assert (
        tokens
        == len(chat.tokenizer.encode(text, add_special_tokens=False).ids)
        == len(chat.encode([text])[0])
    )
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/a.jsonl").write_text(sharegpt(GOOD))
    for limit, kept in ((tokens, 1), (tokens - 1, 0)):
        assert program(tmp_path / "raw", tmp_path, tokenizer, max_tokens=limit).returncode == 0
        assert len(read(tmp_path / "clean.jsonl")) == kept


def test_the_form_can_be_given(raw, tmp_path, tokenizer):
    (raw / "二.json").unlink()
    assert program(raw, tmp_path, tokenizer, form="messages").returncode == 0
    assert facts_of(tmp_path)["rejected_by_reason"]["malformed"] == 8
    assert "expected one of auto" in program(raw, tmp_path, tokenizer, form="excel").stderr


def test_what_cannot_be_written_is_rejected(raw, tmp_path, tokenizer):
    """With the step off that drops lone surrogates, the row cannot be kept as UTF-8."""
    steps = {name: name not in ("own_role_tag", "invisible") for name in STEPS}
    assert program(raw, tmp_path, tokenizer, steps=steps).returncode == 0
    assert ("一-8", ["malformed"]) in [
        (row["id"], row["reasons"]) for row in read(tmp_path / "rejected.jsonl")
    ]


def test_two_forms_in_one_file_are_refused_with_row_and_byte(tmp_path, tokenizer):
    (tmp_path / "raw").mkdir()
    first = sharegpt(GOOD) + "\n"
    second = json.dumps(
        {
            "messages": [
                {"role": "user", "content": "你好"},
                {"role": "assistant", "content": "请坐"},
            ]
        }
    )
    (tmp_path / "raw/a.jsonl").write_text(first + second)
    done = program(tmp_path / "raw", tmp_path, tokenizer)
    assert done.returncode == 2
    assert (
        f"a.jsonl row 2 (byte {len(first.encode())}): found the form messages, expected sharegpt"
        in done.stderr
    )
    assert not list(tmp_path.glob("*.jsonl*"))


@pytest.mark.parametrize("threads", [1, 2])
def test_a_torn_file_leaves_nothing_behind(tmp_path, tokenizer, threads):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/a.jsonl").write_text(sharegpt(GOOD) + "\n" + sharegpt(GOOD)[:40])
    done = program(tmp_path / "raw", tmp_path, tokenizer, threads)
    assert (
        done.returncode == 2
        and "a.jsonl row 2 (byte" in done.stderr
        and "Traceback" not in done.stderr
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["raw"]


def test_a_file_of_no_known_form_is_refused(tmp_path, tokenizer):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/a.jsonl").write_text('{"问": "好吗", "答": "好"}\n')
    done = program(tmp_path / "raw", tmp_path, tokenizer)
    assert done.returncode == 2 and "found no row in a known form" in done.stderr


def test_settings_are_checked(raw, tmp_path, tokenizer):
    assert "max_tokens is 0" in program(raw, tmp_path, tokenizer, max_tokens=0).stderr
    assert "look at extra" in program(raw, tmp_path, tokenizer, extra=1).stderr
    assert "tokenizer.json is missing" in program(raw, tmp_path, tmp_path).stderr


@pytest.mark.parametrize("unit", [
    "<!--", "<script>", "amp;", "<b", "<br ", "\u3000", " \t", "。医生：", "``` ", "`a", "a.",
    "想死", "吃", "jump off ", "（\n", "| a\n", "&#38;amp;", "Ã¤", "<a ", "</", "400 ",
    "1", "1 ", "[", "\ud800", "😀", "😀\u200d", "a@", "我很难过",
    "我很难过。", "用户：你好。助手：",
])  # fmt: skip
def test_a_hostile_turn_costs_time_by_its_length(unit):
    """Four times the text takes about four times the time; a quadratic scan takes sixteen."""
    import time

    def seconds(size):
        text = "&" + unit * (size // len(unit)) + "x"
        start = time.process_time()
        cleaner().clean(with_text(text, "gpt"))
        return time.process_time() - start

    cleaner().clean(GOOD)
    small, large = (min(seconds(size) for _ in range(2)) for size in (40_000, 160_000))
    assert large < 9 * small + 0.1, (small, large)


def test_markup_without_an_end_is_malformed():
    """`<b<b<b>>>` uncovers a tag a round, more rounds than anybody's page has."""
    assert cleaner().clean(with_text("<br" * 40 + ">" * 40)).reasons == ["malformed"]
