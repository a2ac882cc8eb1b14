"""How likely a model finds each letter of a multiple-choice question, read from its own scores.

For the replay the first questions also have what the scores alone would say: who scores the suite
compares that with the served replies (mindtune/evaluate/replay.py).

Reads   a model folder, and the prompts of each suite of questions
Writes  for each suite one JSON row a question {id, scores: {letter: log probability}}, the first
        ones with said: [text after each of the likeliest tokens], those with several answers with
        set: the likeliest letters; and a record
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from heapq import heappop, heappush
from itertools import combinations
from pathlib import Path
from typing import Any

from mindtune.chat_template import ChatTokenizer, load_chat
from mindtune.cli import UserError, argument_parser, run
from mindtune.evaluate.next_token import AT_ONCE, NextToken, next_token
from mindtune.provenance import add_made_by, hashing_beside
from mindtune.records import read_jsonl, write_jsonl, write_record

LETTERS = "ABCDEFGH"
REPLAY_QUESTIONS = 12
REPLAY_TOKENS = 8  # of each


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


def end_of_turn(chat: ChatTokenizer) -> int | None:
    """The token that ends a reply; None if the tokenizer names none."""
    return chat.tokenizer.token_to_id(chat.template.variables.get("eos_token") or "")


def greedy(
    starts: Sequence[Sequence[int]], chat: ChatTokenizer, scores: NextToken
) -> list[list[str]]:
    """For each beginning the text after each of the first likeliest tokens, up to the end of the
    turn.
    """
    end = end_of_turn(chat)
    said: list[list[int]] = [[] for _ in starts]
    texts: list[list[str]] = [[] for _ in starts]
    going = list(range(len(starts)))
    while going and len(texts[going[0]]) < REPLAY_TOKENS:
        found = scores([[*starts[place], *said[place]] for place in going])
        for place, likely in zip(going, found, strict=True):
            said[place].append(int(likely.argmax()))
        going = [place for place in going if said[place][-1] != end]
        for place in going:
            texts[place].append(chat.tokenizer.decode(said[place], skip_special_tokens=True))
    return texts


def likeliest_set(
    start: Sequence[int], chat: ChatTokenizer, offered: str, scores: NextToken
) -> str:
    """The likeliest whole reply among all sets of two and more offered letters, such as "ACD" and
    then the end of the turn; the first of equals. The most promising beginning is always looked at
    next, so the first whole reply is the best one, and few are looked at.
    """
    sets = ["".join(s) for size in range(2, len(offered) + 1) for s in combinations(offered, size)]
    end = [found] if (found := end_of_turn(chat)) is not None else []
    replies = {(*ids, *end): s for s, ids in zip(sets, chat.encode(sets), strict=True)}
    waiting: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
    while True:
        cost, path = heappop(waiting)
        if path in replies:
            return replies[path]
        found = scores([[*start, *path]])[0].log_softmax(-1)
        place = len(path)
        for token in {ids[place] for ids in replies if ids[:place] == path}:
            heappush(waiting, (cost - float(found[token]), (*path, token)))


def scores_of(
    asked: Sequence[tuple[dict[str, Any], list[int]]], scores: NextToken
) -> Iterator[Any]:
    """The scores after each question, some questions at once."""
    for start in range(0, len(asked), AT_ONCE):
        yield from scores([ids for _, ids in asked[start : start + AT_ONCE]])


def measured(
    rows: Sequence[dict[str, Any]], chat: ChatTokenizer, scores: NextToken, session_len: int
) -> Iterator[dict[str, Any]]:
    """A row a question that leaves room for the answer: the log probability of each offered letter
    as the reply's first token; for several answers also the likeliest set.
    """
    letters = letter_ids(chat)
    prompts = zip(rows, prompt_ids(rows, chat), strict=True)
    asked = [(row, ids) for row, ids in prompts if len(ids) + len(LETTERS) < session_len]
    replayed = greedy([ids for _, ids in asked[:REPLAY_QUESTIONS]], chat, scores)
    likely = scores_of(asked, scores)
    for place, (row, ids) in enumerate(asked):
        found = next(likely).log_softmax(-1)
        offered = LETTERS[: len(row["options"])]
        logs = (round(float(found[token]), 6) for token in letters[: len(offered)])
        more = {"said": replayed[place]} if place < REPLAY_QUESTIONS else {}
        if row["multiple"]:
            more["set"] = likeliest_set(ids, chat, offered, scores)
        yield {"id": row["id"], "scores": dict(zip(offered, logs, strict=True))} | more


def parse_args() -> argparse.Namespace:
    """Command line; the flags are named after the rule's parts."""
    parser = argument_parser(__doc__)
    parser.add_argument("--model", required=True, type=Path)
    parser.add_argument("--prompts", required=True, type=Path, nargs="+", help="of each suite")
    add_made_by(parser)
    parser.add_argument("--engine", required=True, type=json.loads, help="JSON: the serve branch")
    parser.add_argument("--letters", required=True, type=Path, nargs="+", help="of each suite")
    parser.add_argument("--records", required=True, type=Path, nargs="+", help="of each suite")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    with hashing_beside([args.model, *args.prompts], args.made_by) as hashed:
        suites, chat = [list(read_jsonl(path)) for path in args.prompts], load_chat(args.model)
        with next_token(args.model, args.engine) as scores:
            inputs, session_len = hashed(), args.engine["session_len"]
            counts = [
                write_jsonl(path, measured(rows, chat, scores, session_len))
                for rows, path in zip(suites, args.letters, strict=True)
            ]
    model = args.model.as_posix()
    for rows, count, *paths in zip(
        suites, counts, args.prompts, args.letters, args.records, strict=True
    ):
        prompts, letters, record = paths
        write_record(
            record,
            "measure_letters",
            inputs={model: inputs[model], prompts.as_posix(): inputs[prompts.as_posix()]},
            outputs=[letters],
            params={"engine": args.engine},
            facts={"questions": count, "skipped_n": len(rows) - count},
            packages=["tokenizers", "torch", args.engine["engine"]],
        )
        print(f"{letters.stem}: measured {count} of {len(rows)} questions")


if __name__ == "__main__":
    raise SystemExit(run(main))
