"""Put a data set's tokenised dialogues into the order in which a run trains on them: the one that
ms-swift would have drawn with the run's seed.

Reads   the cached data set, in the order of its splits (cache_dataset)
Writes  the same three parts, train/ and lengths.parquet in the run's order, and the stage's record
"""

import argparse
from pathlib import Path

from mindtune.cli import add_json, argument_parser, run
from mindtune.provenance import add_made_by, hash_inputs
from mindtune.records import link_or_copy, list_files, partial_folder, write_record
from mindtune.train.cached import save_split, training_order


def order(cached: Path, folder: Path, seed: int) -> int:
    """Fill `folder` with the cached data set in the order of a seed; return the number of training
    dialogues.
    """
    import pandas
    from datasets import load_from_disk

    split = load_from_disk(str(cached / "train"))
    rows = training_order(len(split), seed)
    save_split(split.select(rows), folder / "train")
    for name in list_files(cached / "val"):
        link_or_copy(cached / "val" / name, folder / "val" / name)
    lengths = pandas.read_parquet(cached / "lengths.parquet")
    train, dev = (lengths[lengths.split == name] for name in ("train", "dev"))
    ordered = pandas.concat([train.iloc[rows], dev], ignore_index=True)
    ordered.to_parquet(folder / "lengths.parquet", index=False)
    return len(rows)


def parse_args() -> argparse.Namespace:
    """Command line; the flags are named after the rule's parts."""
    parser = argument_parser(__doc__)
    parser.add_argument("--cached", required=True, type=Path)
    add_made_by(parser)
    add_json(parser, "--settings", "seed")
    parser.add_argument("--ordered", required=True, type=Path)
    parser.add_argument("--record", required=True, type=Path)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    inputs = hash_inputs([args.cached], args.made_by)
    with partial_folder(args.ordered) as folder:
        rows = order(args.cached, folder, args.settings["seed"])
    write_record(
        args.record,
        "order_dialogues",
        inputs=inputs,
        outputs=[args.ordered],
        params=args.settings,
        facts={"rows": rows},
        packages=["datasets", "numpy"],
    )


if __name__ == "__main__":
    raise SystemExit(run(main))
