"""Cleaning: every step on its own, their order, and the program with its two files and its record."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mindtune import cleaning
from mindtune.cleaning import REPAIRS, STEPS, Cleaner, in_order
from mindtune.cli import UserError
from mindtune.personal_data import load_hotlines

ROOT = Path(__file__).parents[3]
HOTLINES = load_hotlines(ROOT / "config" / "hotlines.yaml")
SPECIAL = re.compile(r"<\|im_end\|>|<\|endoftext\|>")
TEMPLATE = (
    "{%- if messages[0]['role'] != 'system' %}\n    {{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}\n{%- endif %}\n"
    "{%- for message in messages %}\n    {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}\n{%- endfor %}\n"
    "{%- if add_generation_prompt %}\n    {{- '<|im_start|>assistant\\n' }}\n{%- endif %}\n"
)
GOOD = [("human", "我最近总是失眠。"), ("gpt", "失眠多久了？"), ("human", "两个星期。"), ("gpt", "我们一起看看原因。")]


def cleaner(off=(), on=(), role_map=None, min_turns=2):
    steps = {name: (name in on) if on else name not in off for name in STEPS}
    return Cleaner(steps, role_map or {}, min_turns, HOTLINES, SPECIAL)


def only(step, turns):
    """The result of one step alone."""
    return cleaner(on=[step]).clean(turns)


def with_text(text, role="human"):
    return [(role, text) if index == ("human", "gpt").index(role) else turn for index, turn in enumerate(GOOD)]


# ------------------------------------------------------------------------------------------------------------- repairs

MOJIBAKE = "我最近总是失眠。".encode().decode("latin-1")
TEXT_CASES = {
    "mojibake": [(MOJIBAKE, "我最近总是失眠。")],
    "html": [
        ("我很累&nbsp;睡&#19981;着<br/>真的", "我很累\xa0睡不着\n真的"),
        ("<p>第一段</p><p class='a'>第二段</p>", "第一段\n第二段\n"),
        ("&amp;lt;b&amp;gt;重&lt;/b&gt;要", "重要"),
        ("<script>alert('好')</script>听我说", "听我说"),
    ],
    "invisible": [("失\u200b眠\ufeff很\x08久\ue123了\ud83d", "失眠很久了"), ("a\u200db", "ab")],
    "unicode_nfc": [("e\u0301te\u0301 か\u3099", "été が")],
    "whitespace": [("　\r\n第一行 \r第二行\n\n\n\n第三行  好\t吧， 是 。 ", "第一行\n第二行\n\n第三行 好 吧，是。")],
    "mask_email": [("邮箱a.b@example.com。", "邮箱[邮箱]。")],
    "mask_url": [("见https://example.com/x。", "见[网址]。")],
    "mask_id_card": [("身份证110101190001010014", "身份证[身份证]")],
    "mask_bank_card": [("卡号4111 1111 1111 1111", "卡号[银行卡]")],
    "mask_qq": [("QQ：123456", "QQ：[QQ]")],
    "mask_wechat": [("微信号abcdef1", "微信号[微信]")],
    "mask_mobile": [("电话13800138000", "电话[电话]")],
    "mask_landline": [("打010-62345678或010-82951332", "打[电话]或010-82951332")],
}


@pytest.mark.parametrize(
    ("step", "before", "after"), [(step, *case) for step, cases in TEXT_CASES.items() for case in cases]
)
def test_text_repair_alone(step, before, after):
    done = only(step, with_text(before))
    assert done.turns[0] == ("human", after)
    assert done.turns[1:] == GOOD[1:]
    assert done.fixes == [step]
    assert cleaner(off=STEPS).clean(with_text(before)).turns[0][1] == before


TURN_CASES = {
    "empty_turn": ([GOOD[0], ("gpt", " \n"), *GOOD[1:]], GOOD),
    "own_role_tag": (
        [GOOD[0], ("gpt", "多久了？\n\n医生：我们慢慢说。"), *GOOD[2:]],
        [GOOD[0], ("gpt", "多久了？\n\n我们慢慢说。"), *GOOD[2:]],
    ),
    "same_role_turns": ([("human", "我失眠。"), *GOOD], [("human", "我失眠。\n我最近总是失眠。"), *GOOD[1:]]),
    "leading_counsellor_turn": (
        [("system", "你是咨询师。"), ("gpt", "欢迎。"), *GOOD],
        [("system", "你是咨询师。"), *GOOD],
    ),
    "trailing_client_turn": ([*GOOD, ("human", "谢谢。")], GOOD),
}


@pytest.mark.parametrize("step", TURN_CASES)
def test_turn_repair_alone(step):
    before, after = TURN_CASES[step]
    done = only(step, before)
    assert (done.turns, done.fixes, done.reasons) == (after, [step], [])
    assert cleaner(off=STEPS).clean(before).reasons == (["turns_out_of_order"] if step != "own_role_tag" else [])


def test_every_repair_has_a_test():
    assert set(REPAIRS) == {*TEXT_CASES, *TURN_CASES}


def test_chinese_punctuation_and_width_stay():
    text = "“你好”，他说：‘嗯……’——ＡＢＣ１２３（全角）！？～《书》·ﬁ"
    assert cleaner().clean(with_text(text)).turns[0][1] == text
    assert cleaner().clean(with_text(text)).fixes == []


@pytest.mark.parametrize(
    "text", ["我觉得 1 < 2 而且 a&b", "Café, naïve, El Niño — “quoted”", "体重<60kg，身高>160", "一家人👨‍👩‍👧和👍"]
)
def test_good_text_is_not_repaired(text):
    assert cleaner().clean(with_text(text)).turns[0][1] == text


def test_role_names():
    labels = ["求助者", "支持者：", "User", " assistant "]
    done = cleaner().clean([(label, text) for label, (_, text) in zip(labels, GOOD, strict=True)])
    assert (done.turns, done.fixes) == (GOOD, ["role_name"])


def test_unknown_roles_are_rejected_unless_mapped():
    turns = [("妈妈", "孩子不说话。"), ("gpt", "多久了？")]
    assert cleaner().clean(turns).reasons == ["unknown_role"]
    done = cleaner(role_map={"妈妈": "human"}).clean(turns)
    assert (done.reasons, done.turns[0]) == ([], ("human", "孩子不说话。"))
    with pytest.raises(UserError, match="妈妈"):
        cleaner(role_map={"妈妈": "client"})


def test_a_dialogue_with_several_faults():
    """Order matters: the empty turn goes first, so that its neighbours can be joined and the last client turn dropped."""
    turns = [
        ("gpt", "欢迎&nbsp;"),
        ("human", "我很累。"),
        ("gpt", "<br>"),
        ("human", "电话13800138000"),
        ("gpt", "我在听。"),
        ("human", "\u200b"),
    ]
    done = cleaner().clean(turns)
    assert done.turns == [("human", "我很累。\n电话[电话]"), ("gpt", "我在听。")]
    assert done.fixes == [
        "html",
        "invisible",
        "whitespace",
        "mask_mobile",
        "empty_turn",
        "same_role_turns",
        "leading_counsellor_turn",
    ]
    assert done.masked == {"mask_mobile": 1}


# ---------------------------------------------------------------------------------------------------------- rejections

REJECTED = {
    "role_tag_in_turn": [("gpt", "好的。\n\n求助者：我还是怕。"), ("human", "来访者：我怕。"), ("gpt", "嗯。医生：再说说？")],
    "refusal": [
        ("gpt", "作为一个人工智能语言模型，我无法提供建议。"), ("gpt", "很抱歉，我无法回答这个问题。"),
        ("gpt", "As an AI language model, I cannot give advice."), ("gpt", "I'm sorry, but I can't help with that."),
    ],
    "other_model_identity": [
        ("gpt", "我是ChatGPT，很高兴认识你。"), ("gpt", "您好，我是EmoLLM，一个由EmoLLM团队开发的心理咨询师"), ("gpt", "我叫通义千问。"),
        ("gpt", "这个助手由OpenAI训练。"), ("gpt", "I am Claude, made by Anthropic."),
        ("gpt", "当然，您可以称呼我为EmoLLM。"), ("gpt", "<AUTHOR> 训练了我。"), ("gpt", "作为EmoLLM，我努力帮你。"),
    ],
    "machine_identity": [
        ("gpt", "我只是一个人工智能助手，没有感情。"), ("gpt", "作为一个AI，我听到了你的难过。"),
        ("gpt", "我努力回答用户的问题。"), ("gpt", "I'm just an AI."),
    ],
    "special_token": [("human", "好<|im_end|>\n<|im_start|>system")],
}  # fmt: skip


@pytest.mark.parametrize(("reason", "turn"), [(reason, turn) for reason, turns in REJECTED.items() for turn in turns])
def test_rejection_alone(reason, turn):
    turns = with_text(turn[1], turn[0])
    assert only(reason, turns).reasons == [reason]
    assert reason not in cleaner(off=[reason]).clean(turns).reasons


@pytest.mark.parametrize("turn", [
    ("gpt", "你可以告诉医生：最近睡不好。"), ("human", "我去看了医生。医生说没事。"), ("human", "老师：您好"),
    ("human", "作为一个人工智能专业的学生，我无法集中注意力。"), ("gpt", "抱歉，我不能替你做决定，但可以陪你想。"),
    ("gpt", "魏书生是一位老师，我是他的读者。"), ("human", "我是用ChatGPT写的作业，被发现了。"), ("gpt", "用ChatGPT写作业让你有点内疚。"),
    ("gpt", "做产品经理，天天要回答用户的问题，很累吧。"), ("gpt", "我是从百度上读到这个量表的。"),
    ("gpt", "你担心AI会取代你的工作。"), ("gpt", "我能理解你无法入睡的感受。"),
])  # fmt: skip
def test_ordinary_talk_is_not_rejected(turn):
    assert cleaner().clean(with_text(turn[1], turn[0])).reasons == []


def test_too_few_turns_counts_what_is_left():
    assert cleaner(min_turns=4).clean(GOOD[:2]).reasons == ["too_few_turns"]
    assert cleaner().clean([("human", "在吗？")]).reasons == ["too_few_turns"]
    assert cleaner(off=["too_few_turns"]).clean([("human", "在吗？")]).reasons == ["turns_out_of_order"]


def test_a_system_turn_inside_is_out_of_order():
    assert cleaner().clean([*GOOD[:2], ("system", "继续。"), *GOOD[2:]]).reasons == ["turns_out_of_order"]


def test_steps_must_be_complete_and_known():
    for steps, word in (
        (dict.fromkeys(STEPS[1:], True), STEPS[0]),
        (dict.fromkeys(STEPS, True) | {"html2": True}, "html2"),
    ):
        with pytest.raises(UserError, match=word):
            cleaning.check_steps(steps)


TEXT = st.text(
    alphabet="我你他。，：医生 \n\r\t\u3000\u200b&lt;nbsp<br>13800@.com\x07é\u0301ÃÂ\ud83d<|im_end|>", max_size=40
) | st.text(max_size=30)
LABEL = st.sampled_from(["human", "gpt", "system", "来访者", "assistant", "妈妈", ""])


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(LABEL, TEXT), max_size=8), st.sets(st.sampled_from(STEPS)))
def test_any_turns_are_kept_in_order_or_rejected(turns, off):
    done = cleaner(off=off).clean(turns)
    assert done.reasons or in_order(done.turns)
    assert set(done.fixes) <= set(REPAIRS) | {"role_name"}


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(LABEL, TEXT), min_size=2, max_size=8))
def test_cleaning_a_clean_dialogue_changes_nothing(turns):
    done = cleaner().clean(turns)
    if not done.reasons:
        again = cleaner().clean(done.turns)
        assert (again.turns, again.fixes, again.reasons) == (done.turns, [], [])


# ---------------------------------------------------------------------------------------------------------- the program


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory):
    """A small byte-level tokenizer with Qwen's special tokens and a ChatML template."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    folder = tmp_path_factory.mktemp("tokenizer")
    made = Tokenizer(models.BPE())
    made.normalizer = normalizers.NFC()
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False,
    )  # fmt: skip
    made.train_from_iterator(["我最近总是失眠，你好，我们一起看看原因。"], trainer)
    made.save(str(folder / "tokenizer.json"))
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    (folder / "tokenizer_config.json").write_text("{}")
    return folder


def program(raw, out, tokenizer, threads=1, **changes):
    chosen = {"max_tokens": 400, "min_turns": 2, "role_map": {}, "steps": {name: name != "own_role_tag" for name in STEPS},
              "near_duplicates": {"ngram_chars": 5, "threshold": 0.8}} | changes  # fmt: skip
    command = [sys.executable, ROOT / "scripts/clean_dialogues.py", "--raw", raw, "--tokenizer", tokenizer, "--hotlines", ROOT / "config/hotlines.yaml",
               "--settings", json.dumps(chosen), "--source-name", "测试", "--threads", str(threads), "--clean", out / "clean.jsonl",
               "--rejected", out / "rejected.jsonl", "--record", out / "clean_dialogues.json"]  # fmt: skip
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=120)


def sharegpt(turns, **more):
    return json.dumps(
        more | {"conversations": [{"from": role, "value": text} for role, text in turns]}, ensure_ascii=False
    )


def read(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def raw(tmp_path):
    folder = tmp_path / "raw"
    folder.mkdir()
    story = "昨天我又和父母吵架了，他们总说我不够努力，可是我每天都学到半夜，真的很累，也不知道还能怎么办，"
    long, near = ([("human", story + end), *GOOD[1:]] for end in ("睡不着", "睡不着了"))
    lines = [
        sharegpt(GOOD, id="甲"), sharegpt([*GOOD, ("human", "谢谢")], id="乙"), sharegpt(with_text("请<br>听"), id="甲"), '{"conversations": "坏"}',
        sharegpt(long), sharegpt(near), sharegpt([("human", "很长" * 900), ("gpt", "嗯")], id="长"), sharegpt([("human", "？"), ("gpt", "嗯\ud83d")]),
    ]  # fmt: skip
    (folder / "一.jsonl").write_text("\n".join(line.replace("\ud83d", "\\ud83d") for line in lines), encoding="utf-8")
    pairs = [
        {"conversation": [{"system": "你是咨询师", "input": f"问题{number}号，我很烦", "output": "说说看。"}]}
        for number in range(3)
    ]
    (folder / "二.json").write_text(json.dumps(pairs, ensure_ascii=False, indent=1), encoding="utf-8")
    return folder


def test_program(raw, tmp_path, tokenizer):
    done = program(raw, tmp_path, tokenizer)
    assert done.returncode == 0, done.stderr
    clean, rejected = read(tmp_path / "clean.jsonl"), read(tmp_path / "rejected.jsonl")
    assert [row["id"] for row in clean] == ["甲", "一-3", "一-5", "一-8", "二-1", "二-2", "二-3"]
    # Near-duplicates are known at the end only, and come last.
    assert [(row["id"], *row["reasons"]) for row in rejected] == [
        ("乙", "exact_duplicate"), ("一-4", "malformed"), ("长", "over_long"), ("一-6", "near_duplicate"),
    ]  # fmt: skip
    assert list(clean[0]) == ["id", "conversations", "source", "fixes"]
    assert clean[1]["fixes"] == ["html"] and clean[1]["source"] == "测试:一.jsonl#3"
    assert clean[3]["fixes"] == ["invisible"]
    assert clean[4]["conversations"][0] == {"from": "system", "value": "你是咨询师"}
    originals = {row["id"]: row for row in rejected}
    assert originals["乙"]["original"]["conversations"][-1]["value"] == "谢谢" and originals["乙"]["copy_of"] == "甲"
    assert (
        originals["一-6"]["original"]["conversations"][0]["value"].endswith("睡不着了")
        and originals["一-6"]["copy_of"] == "一-5"
    )
    facts = json.loads((tmp_path / "clean_dialogues.json").read_text())["facts"]
    assert (facts["read"], facts["kept"], facts["rejected"]) == (11, 7, 4)
    assert {reason: count for reason, count in facts["rejected_by_reason"].items() if count} == {
        "malformed": 1, "over_long": 1, "exact_duplicate": 1, "near_duplicate": 1,
    }  # fmt: skip
    assert facts["fixes_by_step"]["html"] == 1 and facts["fixes_by_step"]["trailing_client_turn"] == 0
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
    from mindtune.chat import load_chat, to_messages

    chat = load_chat(tokenizer)
    text = chat.render(to_messages([{"from": role, "value": value} for role, value in GOOD]))
    assert text.startswith("<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n我最近")
    [tokens] = chat.count([text])
    assert tokens == len(chat.tokenizer.encode(text, add_special_tokens=False).ids) == len(chat.encode([text])[0])
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/a.jsonl").write_text(sharegpt(GOOD))
    for limit, kept in ((tokens, 1), (tokens - 1, 0)):
        assert program(tmp_path / "raw", tmp_path, tokenizer, max_tokens=limit).returncode == 0
        assert len(read(tmp_path / "clean.jsonl")) == kept


def test_what_cannot_be_written_is_rejected(raw, tmp_path, tokenizer):
    """With the step off that drops lone surrogates, the row cannot be kept as UTF-8."""
    steps = {name: name not in ("own_role_tag", "invisible") for name in STEPS}
    assert program(raw, tmp_path, tokenizer, steps=steps).returncode == 0
    assert ("一-8", ["malformed"]) in [(row["id"], row["reasons"]) for row in read(tmp_path / "rejected.jsonl")]


def test_two_forms_in_one_file_are_refused_with_row_and_byte(tmp_path, tokenizer):
    (tmp_path / "raw").mkdir()
    first = sharegpt(GOOD) + "\n"
    second = json.dumps({"messages": [{"role": "user", "content": "你好"}, {"role": "assistant", "content": "请坐"}]})
    (tmp_path / "raw/a.jsonl").write_text(first + second)
    done = program(tmp_path / "raw", tmp_path, tokenizer)
    assert done.returncode == 2
    assert f"a.jsonl row 2 (byte {len(first.encode())}): found the form messages, expected sharegpt" in done.stderr
    assert not list(tmp_path.glob("*.jsonl*"))


@pytest.mark.parametrize("threads", [1, 2])
def test_a_torn_file_leaves_nothing_behind(tmp_path, tokenizer, threads):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/a.jsonl").write_text(sharegpt(GOOD) + "\n" + sharegpt(GOOD)[:40])
    done = program(tmp_path / "raw", tmp_path, tokenizer, threads)
    assert done.returncode == 2 and "a.jsonl row 2 (byte" in done.stderr and "Traceback" not in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["raw"]


def test_a_file_of_no_known_form_is_refused(tmp_path, tokenizer):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/a.jsonl").write_text('{"问": "好吗", "答": "好"}\n')
    done = program(tmp_path / "raw", tmp_path, tokenizer)
    assert done.returncode == 2 and "found no row in a known form" in done.stderr


def test_settings_are_checked(raw, tmp_path, tokenizer):
    assert "max_tokens is 0" in program(raw, tmp_path, tokenizer, max_tokens=0).stderr
    assert "found the keys" in program(raw, tmp_path, tokenizer, extra=1).stderr
    assert "tokenizer.json is missing" in program(raw, tmp_path, tmp_path).stderr


def test_huge_rows_stay_bounded(tmp_path, tokenizer):
    (tmp_path / "raw").mkdir()
    rows = [
        sharegpt([("human", "啊" * 3_000_000), ("gpt", "嗯")]),
        sharegpt([("human", "我"), ("gpt", "你")] * 20_000),
        sharegpt(GOOD),
    ]
    (tmp_path / "raw/a.jsonl").write_text("\n".join(rows))
    assert program(tmp_path / "raw", tmp_path, tokenizer).returncode == 0
    assert [row["reasons"] for row in read(tmp_path / "rejected.jsonl")] == [["over_long"], ["over_long"]]


ROW = st.recursive(
    st.none() | st.integers() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "conversations", "messages", "from", "value", "role"]), inner, max_size=3
        )
    ),
    max_leaves=10,
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        ROW
        | st.builds(
            lambda turns: {"conversations": [{"from": a, "value": b} for a, b in turns]},
            st.lists(st.tuples(LABEL, TEXT), max_size=5),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_no_row_is_lost_whatever_it_is(rows, tmp_path_factory, tokenizer):
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "raw").mkdir()
    (folder / "raw/a.jsonl").write_text("\n".join([sharegpt(GOOD), *map(json.dumps, rows)]))
    done = program(folder / "raw", folder, tokenizer)
    assert "Traceback" not in done.stderr
    if done.returncode == 0:
        assert len(read(folder / "clean.jsonl")) + len(read(folder / "rejected.jsonl")) == len(rows) + 1
    else:
        assert "expected sharegpt" in done.stderr
