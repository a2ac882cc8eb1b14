"""How likely a model finds each letter of a multiple-choice question, read from its own scores.

A canary comes first: the model's served replies are known, so at their places the scores must
choose the very tokens that were served. If they do not, the way to the scores is broken, and the
program stops instead of printing chance.

Reads   a model folder, the prompts of a suite of questions, and the model's replies to them
Writes  one JSON row a question {id, scores: {letter: log probability}}, and the stage's record
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mindtune.chat_template import ChatTokenizer, load_chat
from mindtune.cli import UserError, argument_parser, run
from mindtune.evaluate.next_token import NextToken, next_token
from mindtune.provenance import add_made_by, hash_inputs
from mindtune.records import read_jsonl, write_jsonl, write_record

LETTERS = "ABCDEFGH"
CANARY_REPLIES = 12
CANARY_TOKENS = 8  # of each reply
# Two programs round differently, and where two tokens are nearly equal either may be chosen
CANARY_SHARE = 0.9
FEWEST_REPLIES = 3


def letter_ids(chat: ChatTokenizer) -> list[int]:
    """The token of each letter; a UserError if a letter is no single token."""
    ids = chat.encode(list(LETTERS))
    if any(len(found) != 1 for found in ids) or len({found[0] for found in ids}) < len(LETTERS):
        raise UserError(
            "this tokenizer has no single token for each of the letters A to H, so their "
            "likelihoods cannot be compared; set likelihood: false in the suite's file"
        )
    return [found[0] for found in ids]


def prompt_ids(rows: Sequence[dict[str, Any]], chat: ChatTokenizer) -> list[list[int]]:
    """Token ids of the rendered prompts."""
    return chat.encode([chat.render(row["prompt"], add_generation_prompt=True) for row in rows])


def followed(
    row: dict[str, Any], start: list[int], chat: ChatTokenizer, scores: NextToken
) -> Iterator[bool]:
    """Follow the likeliest tokens along a served reply; yield of each whether it is the
    reply's. The first that is not ends it, since what follows then answers another text.
    """
    ids: list[int] = []
    while len(ids) < CANARY_TOKENS:
        ids.append(int(scores([*start, *ids]).argmax()))
        said = chat.tokenizer.decode(ids, skip_special_tokens=True)
        same = row["reply"].startswith(said.rstrip("\ufffd"))  # the half of a character
        yield same
        if not same or said == row["reply"]:
            return


def canary(
    rows: Sequence[dict[str, Any]], chat: ChatTokenizer, scores: NextToken
) -> dict[str, Any]:
    """How often the scores choose the token that the served model replied with; a UserError if that
    is too rare for the two to be the same model.
    """
    spoken = [row for row in rows if row["reply"].strip()][:CANARY_REPLIES]
    starts = prompt_ids(spoken, chat)
    found = [
        same
        for row, ids in zip(spoken, starts, strict=True)
        for same in followed(row, ids, chat, scores)
    ]
    facts = {"replies": len(spoken), "places": len(found), "same": sum(found)}
    if len(spoken) < FEWEST_REPLIES:
        raise UserError(
            f"the canary has {len(spoken)} replies with text, and needs {FEWEST_REPLIES} to show "
            "that letters are measured rightly; ask more questions, or set likelihood: false in "
            "the suite's file"
        )
    if sum(found) < CANARY_SHARE * len(found):
        raise UserError(
            f"log-likelihood path broken: at {len(found)} places of {len(spoken)} replies the "
            f"model's scores choose the token that it was served with {sum(found)} times, expected "
            f"at least {CANARY_SHARE:.0%}; do not trust letters measured this way: check that the "
            "served model, its chat template and its engine are those of this folder"
        )
    return facts


def measured(
    rows: Sequence[dict[str, Any]], chat: ChatTokenizer, scores: NextToken
) -> Iterator[dict[str, Any]]:
    """A row a question: the log probability of each offered letter as the reply's first token."""
    letters = letter_ids(chat)
    for row, ids in zip(rows, prompt_ids(rows, chat), strict=True):
        found = scores(ids).log_softmax(-1)
        offered = zip(LETTERS, letters[: len(row["options"])], strict=False)
        yield {
            "id": row["id"],
            "scores": {letter: round(float(found[token]), 6) for letter, token in offered},
        }


def parse_args() -> argparse.Namespace:
    """Command line; the flags are named after the rule's parts."""
    parser = argument_parser(__doc__)
    parser.add_argument("--model", required=True, type=Path)
    parser.add_argument("--prompts", required=True, type=Path)
    parser.add_argument("--replies", required=True, type=Path)
    add_made_by(parser)
    parser.add_argument("--engine", required=True, type=json.loads, help="JSON: the serve branch")
    parser.add_argument("--letters", required=True, type=Path)
    parser.add_argument("--record", required=True, type=Path)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    inputs = hash_inputs([args.model, args.prompts, args.replies], args.made_by)
    replies, chat = {row["id"]: row for row in read_jsonl(args.replies)}, load_chat(args.model)
    # a prompt that left no room for a reply is not asked here either
    rows = [row for row in read_jsonl(args.prompts) if row["id"] in replies]
    with next_token(args.model, args.engine) as scores:
        found = canary(list(replies.values()), chat, scores)
        count = write_jsonl(args.letters, measured(rows, chat, scores))
    del inputs[args.replies.as_posix()]  # the letters are not made from them
    write_record(
        args.record,
        "measure_letters",
        inputs=inputs,
        outputs=[args.letters],
        params={"engine": args.engine},
        facts={"questions": count, "canary": found},
        packages=["tokenizers", "torch", args.engine["engine"]],
    )
    print(f"measured {count} questions; canary {found['same']} of {found['places']} places")


if __name__ == "__main__":
    raise SystemExit(run(main))
