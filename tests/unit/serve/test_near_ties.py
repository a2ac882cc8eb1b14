"""A greedy reply is followed beyond its near-ties, and not further."""

import pytest
from mindtune.serve.client import Reply
from mindtune.serve.greedy_check import LEAST_DECISIVE, Followed, agree, follow, parting

WANTED = {
    "texts": ["", "我", "我\ufffd", "我在", "我在听"],
    "margins": [1.0, 0.9, 0.8, 0.01, 0.5],
    "resumes": [1, 3, 4],
    "finish_reason": "stop",
}


@pytest.mark.parametrize(
    ("text", "finish", "place"),
    [
        ("我在听", "stop", None),
        ("我在听", "length", 4),  # the reference ended there
        ("我在听着", "length", 4),
        ("我在想", "stop", 3),
        ("我在", "stop", 3),  # ended where the reference went on
        ("你在听", "stop", 0),
        ("", "stop", 0),
    ],
)
def test_the_place_where_a_reply_leaves_the_reference(text, finish, place):
    assert parting(WANTED, Reply(text, finish, 10, 4)) == place


TEXT = "我们可以慢慢说说最近让你难过的事情"


LONG = {
    "texts": [TEXT[:count] for count in range(len(TEXT) + 1)],
    "margins": [0.01 if place in (2, 9) else 1.0 for place in range(len(TEXT))],
    "resumes": [count for count in range(1, len(TEXT)) if count != 3],
    "finish_reason": "length",
}


def says(*wrong: int):
    """A server that says another character than transformers at these places, and then goes its
    way.
    """

    def go_on(words: str, tokens: int) -> Reply:
        start = len(words)
        left = min((place for place in wrong if place >= start), default=None)
        text = TEXT[start : start + tokens]
        if left is not None:
            text = (TEXT[start:left] + "别" * tokens)[:tokens]
        return Reply(text, "length", 10, tokens)

    return go_on


@pytest.mark.parametrize(
    ("places", "compared", "margins", "wrong"),
    [
        ((), 17, [], False),
        ((2,), 16, [0.01], False),  # place 3 cannot be gone on from, and 4 is the next
        ((2, 9), 16, [0.01, 0.01], False),
        ((2, 12), 12, [0.01, 1.0], True),  # was forgiven after the first
        ((5,), 6, [1.0], True),
    ],
)
def test_a_reply_is_followed_beyond_its_near_ties(places, compared, margins, wrong):
    found = follow(LONG, says(*places), 0.5)
    assert (found.compared, found.margins, found.wrong(0.5)) == (compared, margins, wrong)
    assert found.decisive <= found.compared


def test_too_many_near_ties_are_no_rounding():
    flat = {**LONG, "margins": [0.01] * len(TEXT)}
    found = follow(flat, says(*range(len(TEXT))), 0.5)
    assert found.wrong(0.5) and len(found.margins) == 3


def test_a_reply_that_cannot_be_gone_on_from_is_not_taken_for_equal():
    found = follow({**LONG, "resumes": []}, says(2), 0.5)
    assert found.lost and found.compared == 3 and not agree([found], 0.5)
    late = {**LONG, "resumes": [], "margins": [0.01] * len(TEXT)}
    assert not follow(late, says(15), 0.5).wrong(0.5)


def test_a_reply_that_cannot_be_followed_leaves_it_to_the_others():
    """Random weights of the 7B shape on a card: of three replies two were lost in commas."""
    lost = [Followed(8, 4, [0.0], lost=True), Followed(65, 21, [0.0], lost=True)]
    whole = Followed(156, 43, [0.0, 0.0, 0.0543])
    assert agree([whole, *lost], 0.5)
    assert not agree(lost, 0.5) and sum(row.decisive for row in lost) < LEAST_DECISIVE
    parted = Followed(156, 43, [0.0, 0.9])
    assert not agree([parted, *lost], 0.5)
