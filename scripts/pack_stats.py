"""Say exactly what the trainer will see: rows, tokens, trained tokens, packs, fill and optimizer
steps.

Reads   lengths.parquet of the cached data set (token counts by the trainer's template, in training
        order)
Writes  pack_stats.json, which is the record, and two figures
"""

import argparse
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mindtune.cli import add_json, argument_parser, run
from mindtune.provenance import add_made_by, hash_inputs
from mindtune.records import write_record
from mindtune.train.figures import histogram
from mindtune.train.packing import one_row_each, packs, steps_per_epoch

SETTINGS = ("max_length", "packing", "batch_size", "grad_accumulation", "epochs", "gpus")
PERCENTILES = (5, 25, 50, 75, 95, 100)


def percentiles(values: Any) -> dict[str, int]:
    """Percentiles of a column of whole numbers, nearest rank."""
    return {
        f"p{share}": int(values.quantile(share / 100, interpolation="nearest"))
        for share in PERCENTILES
    }


def plan(rows: Any, settings: Mapping[str, Any]) -> tuple[list[int], dict[str, Any]]:
    """Return (tokens of each sequence, facts) for one split's rows (columns source, tokens,
    trained_tokens).
    """
    lengths = rows.tokens.tolist()
    sequences = (
        packs(lengths, settings["max_length"]) if settings["packing"] else one_row_each(lengths)
    )
    filled = [sum(lengths[row] for row in sequence) for sequence in sequences]
    return filled, {
        "rows": len(lengths),
        "tokens": sum(lengths),
        "trained_tokens": int(rows.trained_tokens.sum()),
        "tokens_per_dialogue": percentiles(rows.tokens),
        "packs": len(sequences),
        "fill": round(sum(lengths) / (len(sequences) * settings["max_length"]), 6),
        "by_source": by_source(rows, sequences),
    }


def by_source(rows: Any, sequences: list[list[int]]) -> dict[str, dict[str, Any]]:
    """What each source file gives: rows, tokens, trained tokens and their share, and the packs
    that hold some of it.
    """
    names = rows.source.tolist()
    held = Counter(name for sequence in sequences for name in {names[row] for row in sequence})
    trained = int(rows.trained_tokens.sum())
    return {
        str(name): {
            "rows": len(part),
            "tokens": int(part.tokens.sum()),
            "trained_tokens": int(part.trained_tokens.sum()),
            "trained_share": round(int(part.trained_tokens.sum()) / trained, 6) if trained else 0.0,
            "packs": held[name],
        }
        for name, part in rows.groupby("source")
    }


def parse_args() -> argparse.Namespace:
    """Command line; the flags are named after the rule's parts."""
    parser = argument_parser(__doc__)
    parser.add_argument("--cached", required=True, type=Path)
    add_made_by(parser)
    add_json(parser, "--settings", *SETTINGS)
    parser.add_argument("--lengths-figure", required=True, type=Path)
    parser.add_argument("--fill-figure", required=True, type=Path)
    parser.add_argument("--record", required=True, type=Path)
    return parser.parse_args()


def make_facts(
    train: Any, dev: Any, settings: Mapping[str, Any]
) -> tuple[list[int], dict[str, Any]]:
    """Return (tokens of each training sequence, the record's facts) for the rows of both splits."""
    filled, facts = plan(train, settings)
    sequences = settings["batch_size"] * settings["grad_accumulation"] * settings["gpus"]
    steps = steps_per_epoch(
        facts["packs"], settings["batch_size"], settings["grad_accumulation"], settings["gpus"]
    )
    return filled, facts | {
        "steps_per_epoch": steps,
        "steps": steps * settings["epochs"],
        "sequences_per_step": sequences,
        "dev": plan(dev, settings)[1],
    }


def main() -> None:
    args = parse_args()

    import pandas

    inputs = hash_inputs([args.cached], args.made_by)
    lengths = pandas.read_parquet(args.cached / "lengths.parquet")
    train, dev = (lengths[lengths.split == name] for name in ("train", "dev"))
    filled, facts = make_facts(train, dev, args.settings)
    limit = args.settings["max_length"]
    tokens = train.tokens.tolist()
    histogram(args.lengths_figure, tokens, limit, "tokens per dialogue", "dialogues")
    histogram(args.fill_figure, filled, limit, "tokens per pack", "packs")
    write_record(
        args.record,
        "pack_stats",
        inputs=inputs,
        outputs=[args.lengths_figure, args.fill_figure],
        params=args.settings,
        facts=facts,
        packages=["binpacking"],
    )


if __name__ == "__main__":
    raise SystemExit(run(main))
