"""Find dialogues whose first client turns say the same in other words, by a local embedding model.

Reads clean.jsonl and an encoder's folder. Writes paraphrases.jsonl, {first, second, similarity} a
line: dialogues (ids) whose first turns have a cosine of the threshold or more. The split keeps them
on one side. A pair whose dialogues others join already is counted and not listed.

First client turns are compared and not whole dialogues: they say what the client came with, which
is what a model would recognise in a test, and an encoder reads some hundred tokens. First turns
that are the same to the split anyway (in width, case, spaces and punctuation) are read once.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mindtune.cli import argument_parser, run
from mindtune.data.duplicates import first_turn_key, first_turn_text
from mindtune.data.encoder import Encoder, embed, open_encoder
from mindtune.data.paraphrases import Joins, joins
from mindtune.provenance import add_made_by, hashing_beside
from mindtune.records import read_jsonl, write_jsonl, write_record
from mindtune.torch_device import add_device, prepare


def first_turns(path: Path) -> tuple[list[str], list[str]]:
    """(ids, texts) of the first dialogue with each first client turn."""
    ids, texts, seen = [], [], set()
    for row in read_jsonl(path):
        key = first_turn_key(first_turn_text(row["conversations"]))
        if key not in seen:
            seen.add(key)
            ids.append(row["id"])
            texts.append(next(t["value"] for t in row["conversations"] if t["from"] == "human"))
    return ids, texts


def facts_of(texts: Sequence[str], encoder: Encoder, found: Joins, cut: int) -> dict[str, Any]:
    """What the record says."""
    return {
        "first_turns": len(texts),
        "pairs": found.seen,
        "joined": len(found.pairs),
        "pooling": encoder.pooling,
        "dimensions": encoder.dimensions,
        "tokens_read": encoder.most,
        "cut": cut,
    }


def parse_args() -> argparse.Namespace:
    """Command line; the flags are named after the rule's parts."""
    parser = argument_parser(__doc__)
    parser.add_argument("--clean", required=True, type=Path, help="cleaned dialogues (JSONL)")
    parser.add_argument("--encoder", required=True, type=Path, help="folder of an encoder")
    add_made_by(parser)
    parser.add_argument("--threshold", required=True, type=float, help="cosine of a pair")
    add_device(parser)
    parser.add_argument("--pairs", required=True, type=Path)
    parser.add_argument("--record", required=True, type=Path)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    prepare(args)
    with hashing_beside([args.clean, args.encoder], args.made_by) as hashed:
        encoder = open_encoder(args.encoder, args.device)
        ids, texts = first_turns(args.clean)
        inputs = hashed()
        vectors, cut = embed(encoder, texts)
    found = joins(vectors, args.threshold)
    rows = sorted(found.pairs, key=lambda pair: (pair[1], pair[0]))
    write_jsonl(
        args.pairs,
        ({"first": ids[a], "second": ids[b], "similarity": alike} for a, b, alike in rows),
    )
    facts = facts_of(texts, encoder, found, cut)
    facts["encoder_sha256"] = inputs[args.encoder.as_posix()]
    write_record(
        args.record,
        "find_paraphrases",
        inputs=inputs,
        outputs=[args.pairs],
        params={"threshold": args.threshold, "device": args.device},
        facts=facts,
        packages=["torch", "transformers"],
    )
    print(
        f"{facts['pairs']} pairs among {facts['first_turns']} first turns reach "
        f"{args.threshold}; {facts['joined']} of them join all"
    )


if __name__ == "__main__":
    raise SystemExit(run(main))
