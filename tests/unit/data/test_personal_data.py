"""Masking of personal data: what goes, what must stay, and the two checksums."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mindtune.cli import UserError
from mindtune.data.personal_data import (
    Hotlines,
    id_card_is_valid,
    load_hotlines,
    luhn_is_valid,
    maskers,
    may_hold,
)

HOTLINES_FILE = Path(__file__).parents[3] / "config" / "hotlines.yaml"
HOTLINES = load_hotlines(HOTLINES_FILE)
MASKS = maskers(HOTLINES)


def masked(text):
    for mask in MASKS.values():
        text, _ = mask(text)
    return text


@pytest.mark.parametrize(("text", "expected"), [
    ("我的电话13800138000，晚上打。", "我的电话[电话]，晚上打。"),
    ("请打＋86 138-0013-8000", "请打[电话]"),
    ("全角的１３８００１３８０００也是", "全角的[电话]也是"),
    ("办公室010-62345678转分机", "办公室[电话]转分机"),
    ("办公室（021）6234 5678", "办公室[电话]"),
    ("拨打62345678找我", "拨打[电话]找我"),
    ("客服400-820-8820", "客服[电话]"),
    ("写信到xiao_he.lin@example.com.cn吧", "写信到[邮箱]吧"),
    ("身份证号11010119000101001４。", "身份证号[身份证]。"),
    ("卡号6222 0212 3456 7894 转账", "卡号[银行卡] 转账"),
    ("加我QQ：123456789聊", "加我QQ：[QQ]聊"),
    ("qq号是 10001", "qq号是 [QQ]"),
    ("微信号xiaohe_2020", "微信号[微信]"),
    ("加微信：Lin-Xiaohe，备注", "加微信：[微信]，备注"),
    ("看https://example.com/a?b=1。好的", "看[网址]。好的"),
    ("见 www.example.cn/心理", "见 [网址]心理"),
    ("微信13912345678", "微信[电话]"),
    ("打一三八零零一三八零零零找我", "打[电话]找我"),
    ("幺三八 零零幺三 八零零零", "[电话]"),
    ("热线没人接。我的电话13800138000", "热线没人接。我的电话[电话]"),
    ("热线打不通，我的电话是13800138000", "热线打不通，我的电话是[电话]"),
    ("扣扣12345678，或者加V：xiaohe_2020", "扣扣[QQ]，或者加V：[微信]"),
])  # fmt: skip
def test_masked(text, expected):
    assert masked(text) == expected


@pytest.mark.parametrize("text", [
    "拨打12356，每天至少18小时有人接。",
    "北京心理援助热线 010-82951332",
    "（010）8295 1332、拨打82951332 或 +86 10 82951332",
    "希望24热线400-161-9995，或者110、120",
    "广州 020-12320-5",
    "2020年11月30日，我考了13800分，学号20201130123",
    "PHQ-9 得 15 分，GAD-7 得 12 分，心率 120",
    "我每个月花3000-5000元，存了100000",
    "第1380013800013800138000行",
    "哈希 a13800138000f 与 138001380001",
    "QQ上聊，微信上也聊过 hello，微信群里有500人",
    "卡号6222021234567890（校验位不对）",
    "编号110101190001010010（校验位不对）",
    "我说：不是这样的……对吧 3.14",
    "今天是 2024-05-01 12:30:45，体重 65.5kg",
    "Please call 1-800-273-8255 or 988 now.",
    "Call +1 (800) 273-8255, or text 741741.",
    "Samaritans are there on 116 123, Lifeline on 13 11 14.",
    "生命热线 2382 0000，或者打 +852 2389 2222",
    "当地的心理援助热线是 0571-85029595，请打过去。",
    "危机干预热线：400-821-1215",
    "一三五七九是单数，二零二六年一月",
])  # fmt: skip
def test_left_alone(text):
    assert masked(text) == text


def test_masking_twice_changes_nothing_more():
    text = (
        "电话13800138000，邮箱a@b.cn，QQ：123456，微信号abcdef1，https://x.cn/1，110101190001010014"
    )
    once = masked(text)
    assert masked(once) == once
    assert not any(character.isdigit() for character in once)


def test_id_card_check_digit():
    """The worked example of GB 11643-1999 has the check digit X."""
    assert id_card_is_valid("11010519491231002X")
    assert id_card_is_valid("11010519491231002x")
    assert not any(id_card_is_valid("11010519491231002" + digit) for digit in "0123456789")


def test_luhn():
    assert luhn_is_valid("4111111111111111")
    assert not luhn_is_valid("4111111111111112")
    assert not luhn_is_valid("1411111111111111")


def test_only_listed_lines_are_spared():
    assert not Hotlines(frozenset({"01082951332"})).holds("02082951332")
    assert not HOTLINES.holds("1332")
    assert "[电话]" in masked("上海 021-82951332")


def test_hotlines_file_is_dated_and_sourced():
    import yaml

    content = yaml.safe_load(
        (Path(__file__).parents[3] / "config" / "hotlines.yaml").read_text(encoding="utf-8")
    )
    entries = {entry["number"]: entry for entry in content["hotlines"]}
    assert {"12356", "010-82951332", "110", "120", "400-161-9995"} <= set(entries)
    assert entries["400-161-9995"]["status"] == "unverified"
    assert all(
        entry["source"] and entry["status"] in ("verified", "unverified")
        for entry in entries.values()
    )
    assert content["checked"]


def test_a_broken_hotline_file_is_one_sentence(tmp_path):
    (tmp_path / "h.yaml").write_text("- 12356\n")
    with pytest.raises(UserError, match="is not a list `hotlines:`"):
        load_hotlines(tmp_path / "h.yaml")
    with pytest.raises(UserError, match="is missing"):
        load_hotlines(tmp_path / "none.yaml")


def test_recall_and_false_positives_on_the_labelled_set():
    """Every kind of the set, numbers spelt in Chinese figures too."""
    from bench.bench_masking import masker, measure
    from bench.labelled_set import labelled_set

    rows = {row["kind"]: row for row in measure(labelled_set(60, 7), masker(HOTLINES_FILE))}
    assert rows.pop("none")["left_alone"] == 1
    assert len(rows) == 9 and all(row["recall"] >= 0.95 for row in rows.values()), rows


@given(st.text(alphabet="我打电话微信QQqvVx@.：:-_0123456789１２ aZ＠号加", max_size=60))
def test_no_pattern_matches_where_nothing_is_looked_for(text):
    """The quick look never hides what a pattern would mask."""
    if not may_hold(text):
        assert all(mask(text)[1] == 0 for mask in MASKS.values())
