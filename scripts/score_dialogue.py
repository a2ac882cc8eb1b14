"""Score base and tuned replies to the same prompts, item by item, with baselines and floors beside
them.

Reads two replies files (one JSON row a counsellor turn), and those of the baselines. Writes the
item scores as Parquet (BLEU, chrF, ROUGE, distinct-1/2, repetition, length ratio, empty and
truncated replies, each by language), from which tables, gates and figures are made, and a record
with the values and the paired differences. These numbers are a regression check, not the quality
of counselling.
"""

from pathlib import Path
from typing import Any

from mindtune.cli import UserError, add_json, argument_parser, run
from mindtune.evaluate.baselines import baseline_paths, same_prompt
from mindtune.evaluate.scoring import add_replies, add_scored
from mindtune.provenance import hash_inputs
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
    for file, other, lacking in (
        (names[0], names[1], tuned.keys() - base.keys()),
        (names[1], names[0], base.keys() - tuned.keys()),
    ):
        if lacking:
            raise UserError(
                f"{file} lacks {len(lacking)} of the replies that {other} has, such as "
                f"{min(lacking)}; generate both from the same test file"
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
            f"{names[0]} holds {len(dialogues)} dialogue(s), and floors need at least 2; raise "
            f"the share of test data"
        )


def read_baseline(model: str, path: Path, base: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """The replies of a baseline in the base's order. Each answers what the base was asked, but for
    the system turn of base_prompted, which may leave no room for the last prompts.
    """
    found = read_replies(path)
    for key, row in found.items():
        asked = base.get(key, {"prompt": [], "reference": None})
        same = same_prompt(model, asked["prompt"], row["prompt"])
        if not same or row["reference"] != asked["reference"]:
            raise UserError(
                f"{path}: {key} answers another prompt than the base's reply of that id; generate "
                "both from the same test file"
            )
    return [found[key] for key in base if key in found]


def facts_of(items: Path, suite: str, note: str, references: list[str]) -> dict[str, Any]:
    """The facts of the record, read from the item scores as everybody else reads them."""
    from mindtune.evaluate.compare import compare, system_values
    from mindtune.evaluate.items import read_items
    from mindtune.evaluate.tokens import is_chinese

    frame = read_items([items])
    chinese = sum(map(is_chinese, references))
    return {
        "suite": suite,
        "note": note,
        "rows": system_values(frame),
        "paired": compare(frame),
        "languages": {"zh": chinese, "en": len(references) - chinese},
    }


def main() -> None:
    parser = argument_parser(__doc__)
    add_json(parser, "--settings", "seed", "fixed_line")
    parser.add_argument("--suite", required=True, help="the suite's name")
    parser.add_argument("--note", default="", help="what a reader of the table should know")
    parser.add_argument("--run", required=True, help="the name of the tuned model's run")
    add_replies(parser)
    add_scored(parser)
    parser.add_argument("--threads", type=int, default=1, help="the result does not depend on it")
    args = parser.parse_args()

    inputs = hash_inputs([args.base, args.tuned, *args.baselines], args.made_by)
    base, tuned = read_replies(args.base), read_replies(args.tuned)
    check_same_prompts(base, tuned, (args.base, args.tuned))
    replies = {"base": list(base.values()), "tuned": [tuned[key] for key in base]}
    for model, path in baseline_paths(args.baselines).items():
        replies[model] = read_baseline(model, path, base)
    from mindtune.evaluate.dialogue import dialogue_items
    from mindtune.evaluate.items import write_items
    from mindtune.evaluate.metrics import signatures

    settings = args.settings
    items = dialogue_items(
        replies, args.run, settings["fixed_line"], settings["seed"], args.threads
    )
    write_items(args.items, items.assign(suite=args.suite), signatures())
    facts = facts_of(
        args.items, args.suite, args.note, [row["reference"] for row in replies["base"]]
    )
    write_record(
        args.scores,
        "score_dialogue",
        inputs=inputs,
        outputs=[args.items],
        params=settings | {"suite": args.suite, "run": args.run},
        facts=facts,
        packages=["sacrebleu", "numpy", "pyarrow", "scipy"],
    )
    clusters = len({row["dialogue"] for row in replies["base"]})
    print(f"scored {len(base)} replies of {clusters} dialogues for two systems and their floors")


if __name__ == "__main__":
    raise SystemExit(run(main))
