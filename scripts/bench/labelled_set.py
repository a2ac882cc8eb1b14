"""Sentences with and without personal data, drawn from templates by a seed."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mindtune.data.personal_data import (
    id_card_is_valid,
    luhn_is_valid,
)

PER_KIND = 400


SEED = 42


BEFORE = (
    "我的",
    "你可以记一下，",
    "医生说让我留个联系方式，",
    "他给我发了",
    "最近压力很大，睡不好。",
    "老师，",
    "",
)


AFTER = (
    "，你晚上联系我吧。",
    "。我真的不知道怎么办了。",
    "，谢谢。",
    "（别告诉别人）",
    "\n我很难过。",
    "",
)


@dataclass(frozen=True)
class Sample:
    """A text, and the piece in it that must go (None: nothing may go)."""

    kind: str
    text: str
    secret: str | None


def _digits(draw: random.Random, count: int) -> str:
    return "".join(draw.choices("0123456789", k=count))


def _mobile(draw: random.Random) -> tuple[str, str]:
    number = "1" + draw.choice("3456789") + _digits(draw, 9)
    parts = (number[:3], number[3:7], number[7:])
    forms = (
        number,
        " ".join(parts),
        "-".join(parts),
        f"+86 {number}",
        f"86{number}",
        number.translate(str.maketrans("0123456789", "０１２３４５６７８９")),
    )
    secret = draw.choice(forms)
    return draw.choice(
        ("电话", "手机号是", "手机：", "打", "联系方式 ", "tel:", "")
    ) + secret, secret


def _spelt(draw: random.Random) -> tuple[str, str]:
    """A number spelt in Chinese figures: people do it to get past filters, and the patterns do not
    read it.
    """
    number = "1" + draw.choice("3456789") + _digits(draw, 9)
    secret = number.translate(str.maketrans("0123456789", "零幺二三四五六七八九"))
    return "电话" + secret, secret


def _landline(draw: random.Random) -> tuple[str, str]:
    code, local = (
        draw.choice(("010", "021", "020", "0755", "0571")),
        draw.choice("2345678") + _digits(draw, 7),
    )
    if (code, local) == ("010", "82951332"):
        local = "62345678"
    forms = (
        f"{code}-{local}",
        f"{code} {local}",
        f"（{code}）{local}",
        f"{code}-{local[:4]} {local[4:]}",
        f"400-{_digits(draw, 3)}-{_digits(draw, 4)}",
    )
    secret = draw.choice(forms)
    return draw.choice(("单位电话", "座机：", "打", "家里是 ")) + secret, secret


def _email(draw: random.Random) -> tuple[str, str]:
    name = (
        "".join(
            draw.choices("abcdefghijklmnopqrstuvwxyz0123456789._-", k=draw.randint(4, 14))
        ).strip(".-_")
        or "xiaohe"
    )
    secret = f"{name}@{draw.choice(('qq.com', '163.com', 'example.com', 'pku.example.edu.cn'))}"
    return draw.choice(("邮箱", "写信到", "email: ", "邮箱是")) + secret, secret


def _id_card(draw: random.Random) -> tuple[str, str]:
    place, year = draw.choice(("110101", "310104", "440305")), draw.randint(1950, 2010)
    month, day = draw.randint(1, 12), draw.randint(1, 28)
    body = f"{place}{year}{month:02}{day:02}{_digits(draw, 3)}"
    secret = next(body + last for last in "0123456789X" if id_card_is_valid(body + last))
    return draw.choice(("身份证", "身份证号：", "证件号码是")) + secret, secret


def _bank_card(draw: random.Random) -> tuple[str, str]:
    body = draw.choice(("6222", "6217", "4512", "5201")) + _digits(draw, draw.choice((11, 14)))
    number = next(body + last for last in "0123456789" if luhn_is_valid(body + last))
    secret = draw.choice(
        (number, " ".join(number[start : start + 4] for start in range(0, len(number), 4)))
    )
    return draw.choice(("卡号", "银行卡：", "打到")) + secret, secret


def _qq(draw: random.Random) -> tuple[str, str]:
    secret = draw.choice("123456789") + _digits(draw, draw.randint(5, 9))
    return draw.choice(
        ("QQ：", "qq号是", "加我QQ", "QQ群", "qq ", "扣扣", "企鹅号")
    ) + secret, secret


def _wechat(draw: random.Random) -> tuple[str, str]:
    secret = draw.choice("abcdefgxyz") + "".join(
        draw.choices("abcdefghijk0123456789_-", k=draw.randint(6, 14))
    )
    return draw.choice(
        ("微信：", "微信号", "加我微信: ", "vx：", "wx ", "V信：", "薇信号是", "加V：")
    ) + secret, secret


def _url(draw: random.Random) -> tuple[str, str]:
    site = "".join(draw.choices("abcdefghij", k=6))
    secret = draw.choice(
        (
            f"https://www.{site}.com/p/{_digits(draw, 5)}?u=1",
            f"http://{site}.example.cn",
            f"www.{site}.com",
            f"{site}.com/u/{_digits(draw, 4)}",
        )
    )
    return draw.choice(("主页 ", "我写在", "见")) + secret, secret


KINDS: dict[str, Callable[[random.Random], tuple[str, str]]] = {
    "mobile": _mobile, "mobile_spelt": _spelt, "landline": _landline, "email": _email,
    "id_card": _id_card, "bank_card": _bank_card,
    "qq": _qq, "wechat": _wechat, "url": _url,
}  # fmt: skip


NOT_PERSONAL: tuple[Callable[[random.Random], str], ...] = (
    lambda draw: (
        f"今天是{draw.randint(1990, 2030)}-{draw.randint(1, 12):02}-{draw.randint(1, 28):02} "
        f"{draw.randint(0, 23):02}:30:00"
    ),
    lambda draw: f"PHQ-9得了{draw.randint(0, 27)}分，GAD-7得了{draw.randint(0, 21)}分",
    lambda draw: (
        f"每个月花{draw.randint(1000, 9000)}-{draw.randint(9001, 20000)}元，"
        f"欠了{draw.randint(10000, 900000)}元"
    ),
    lambda draw: (
        f"学号{draw.randint(2010, 2030)}{_digits(draw, 7)}，一共考了{draw.randint(300, 700)}分"
    ),
    lambda draw: (
        f"编号{''.join(draw.choices('0123456789abcdef', k=12))}f1{_digits(draw, 10)}"
        f"a{''.join(draw.choices('abcdef', k=8))}"
    ),
    lambda draw: draw.choice(
        ("拨打12356", "热线010-82951332", "打110或者120", "010 8295 1332", "400-161-9995")
    ),
    lambda draw: f"订单{draw.choice('123456789')}{_digits(draw, 21)}一直没到",
    lambda draw: f"我在QQ上聊了{draw.randint(2, 9)}年，微信里有{draw.randint(10, 500)}个人",
    lambda draw: (
        f"跑了{draw.randint(1000, 99999)}米，心率{draw.randint(60, 190)}，"
        f"体重{draw.randint(40, 120)}.{draw.randint(0, 9)}公斤"
    ),
)


def labelled_set(per_kind: int = PER_KIND, seed: int = SEED) -> Iterator[Sample]:
    """Sentences of which each holds one piece of personal data or, of kind `none`, none."""
    draw = random.Random(seed)
    for kind, make in KINDS.items():
        for _ in range(per_kind):
            text, secret = make(draw)
            yield Sample(kind, draw.choice(BEFORE) + text + draw.choice(AFTER), secret)
    for _ in range(per_kind):
        for make in NOT_PERSONAL:
            yield Sample("none", draw.choice(BEFORE) + make(draw) + draw.choice(AFTER), None)
