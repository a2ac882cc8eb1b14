"""Score base and tuned replies to the same prompts, with intervals over dialogues and with floors.

Reads two replies files (one JSON row a counsellor turn). Writes one JSON record whose facts hold
the rows of the evaluation table: BLEU, chrF, ROUGE, distinct-1/2, repetition, length ratio, empty
and truncated counts, and the paired differences tuned - base. These numbers are a regression
check, not the quality of counselling.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from mindtune.cli import UserError, run
from mindtune.provenance import add_made_by, hash_inputs
from mindtune.records import read_jsonl, write_record

TEXT_KEYS = ("id", "dialogue", "reference", "reply", "finish_reason")


def read_replies(path: Path) -> dict[str, dict[str, Any]]:
    """Read a replies file into {id: row}, in the file's order."""
    replies: dict[str, dict[str, Any]] = {}
    for number, row in enumerate(read_jsonl(path), 1):
        bad = [key for key in TEXT_KEYS if not isinstance(row.get(key), str)]
        if bad:
            raise UserError(
                f"{path} line {number}: {bad[0]!r} is {row.get(bad[0])!r}, not text; generate the "
                f"replies again"
            )
        if not row["reference"].strip():
            raise UserError(
                f"{path} line {number} ({row['id']}) has an empty reference; clean the test data "
                f"again"
            )
        if not any(message["role"] == "user" for message in row.get("prompt", [])):
            raise UserError(
                f"{path} line {number} ({row['id']}) has no client turn in its prompt; generate "
                f"the replies again"
            )
        if row["id"] in replies:
            raise UserError(
                f"{path} line {number}: the id {row['id']} stands there twice; generate the "
                f"replies again"
            )
        replies[row["id"]] = row
    return replies


def check_same_prompts(
    base: dict[str, dict[str, Any]], tuned: dict[str, dict[str, Any]], names: tuple[Path, Path]
) -> None:
    """Base and tuned must have answered the same prompts, or their difference means nothing."""
    lonely = sorted(base.keys() ^ tuned.keys())
    if lonely:
        raise UserError(
            f"{names[0]} and {names[1]} hold different turns ({len(lonely)} in one of them only, "
            f"such as {lonely[0]}); "
            "generate both from the same test file"
        )
    for key, row in base.items():
        for part in ("prompt", "reference", "dialogue"):
            if row[part] != tuned[key][part]:
                raise UserError(
                    f"{names[0]} and {names[1]} differ in the {part} of {key}; "
                    "generate both from the same test file with the same system prompt"
                )
    dialogues = {row["dialogue"] for row in base.values()}
    if len(dialogues) < 2:
        raise UserError(
            f"{names[0]} holds {len(dialogues)} dialogue(s), and intervals need at least 2; raise "
            f"the share of test data"
        )


def score(
    base: list[dict[str, Any]], tuned: list[dict[str, Any]], settings: dict[str, Any]
) -> dict[str, Any]:
    """The facts of the record, from rows of equal prompts in equal order."""
    from mindtune.evaluate.metrics import compare, floors, is_chinese

    replies = {"base": base, "tuned": tuned}
    references = [row["reference"] for row in base]
    rows, paired = compare(
        {system: [row["reply"] for row in found] for system, found in replies.items()}
        | floors(base, settings["fixed_line"], settings["seed"]),
        references,
        [row["dialogue"] for row in base],
        {system: [row["finish_reason"] for row in found] for system, found in replies.items()},
        seed=settings["seed"],
        resamples=settings["resamples"],
    )
    chinese = sum(map(is_chinese, references))
    return {
        "suite": "dialogue",
        "rows": rows,
        "paired": paired,
        "languages": {"zh": chinese, "en": len(references) - chinese},
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base", type=Path, required=True, help="replies of the base model, JSONL")
    parser.add_argument(
        "--tuned", type=Path, required=True, help="replies of the tuned model, JSONL"
    )
    add_made_by(parser)
    parser.add_argument(
        "--settings",
        type=json.loads,
        required=True,
        help='JSON {"seed", "resamples", "fixed_line": {"zh", "en"}}',
    )
    parser.add_argument("--scores", type=Path, required=True, help="the record to write")
    args = parser.parse_args()

    inputs = hash_inputs([args.base, args.tuned], args.made_by)
    base, tuned = read_replies(args.base), read_replies(args.tuned)
    check_same_prompts(base, tuned, (args.base, args.tuned))
    facts = score(list(base.values()), [tuned[key] for key in base], args.settings)
    write_record(
        args.scores,
        "score_dialogue",
        inputs=inputs,
        outputs=[],
        params=args.settings,
        facts=facts,
        packages=["sacrebleu", "rouge-score", "numpy"],
    )
    first = facts["rows"][0]
    print(
        f"scored {first['n']} replies of {first['n_dialogues']} dialogues, tuned - base over the "
        f"dialogues:"
    )
    for row in facts["paired"]:
        interval = f"{row['low']:.4f} to {row['high']:.4f}"
        print(
            f"  {row['metric']}: {row['difference']:+.4f} (95 % interval {interval}, p "
            f"{row['p']:.4f})"
        )


if __name__ == "__main__":
    raise SystemExit(run(main))
