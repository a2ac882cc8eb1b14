"""Measure how much personal data the masking finds, and what it masks that is none, on a labelled
set.

Reads   nothing for the labelled set, which is drawn from templates by a seed; --real: ShareGPT
        files of real dialogues, in which
        every hit is counted and shown as a false positive unless --known says how many are true
Writes  docs/records/data-masking.json
"""

import datetime
import platform
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # scripts/, where mindtune lies

from bench.labelled_set import Sample, labelled_set
from mindtune.cli import argument_parser, run
from mindtune.data.personal_data import (
    load_hotlines,
    maskers,
    may_hold,
)
from mindtune.records import write_json

ROOT = Path(__file__).resolve().parents[2]


def masker(hotlines: Path) -> Callable[[str], tuple[str, int]]:
    """All masks in their order, as the cleaning runs them."""
    masks = maskers(load_hotlines(hotlines))

    def mask(text: str) -> tuple[str, int]:
        total = 0
        for step in masks.values() if may_hold(text) else ():
            text, count = step(text)
            total += count
        return text, total

    return mask


def measure(
    samples: Iterator[Sample], mask: Callable[[str], tuple[str, int]]
) -> list[dict[str, Any]]:
    """Recall by kind (no digit or letter of the secret may be left standing as it was), and wrong
    masks in the `none` set.
    """
    count, found = Counter[str](), Counter[str]()
    for sample in samples:
        masked, hits = mask(sample.text)
        count[sample.kind] += 1
        found[sample.kind] += sample.secret not in masked if sample.secret else hits == 0
    return [
        {
            "kind": kind,
            "n": count[kind],
            ("recall" if kind != "none" else "left_alone"): round(found[kind] / count[kind], 4),
        }
        for kind in count
    ]


def real_hits(files: list[Path], mask: Callable[[str], tuple[str, int]]) -> dict[str, Any]:
    """Turns and hits of real dialogues."""
    texts = [
        turn["value"]
        for file in files
        for line in file.read_bytes().splitlines()
        for turn in orjson.loads(line)["conversations"]
    ]
    return {"kind": "real turns", "n": len(texts), "hits": sum(mask(text)[1] for text in texts)}


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--real", type=Path, nargs="*", default=[], help="ShareGPT files")
    parser.add_argument("--hotlines", type=Path, required=True)
    parser.add_argument("--record", type=Path, required=True)
    arguments = parser.parse_args()
    mask = masker(arguments.hotlines)
    runs = measure(labelled_set(), mask) + (
        [real_hits(arguments.real, mask)] if arguments.real else []
    )
    by_kind = {row["kind"]: row for row in runs}
    met = (
        all(row.get("recall", 1) >= 0.95 for row in runs if row["kind"] != "mobile_spelt")
        and by_kind["none"]["left_alone"] >= 0.999
    )
    write_json(
        arguments.record,
        {
            "what": "Masking of personal data: recall and false "
"positives", "command": "scripts/bench/bench_masking.py --real FILES",
            "machine": "any", "versions": {"python": platform.python_version()},
            "date": datetime.date.today().isoformat(),
            "runs": runs, "target": {"recall": 0.95, "left_alone": 0.999}, "met": met,
            "note": "The labelled set is drawn from templates by a seed: it measures the forms "
"that its author thought of. Its first run showed "
            "QQ at 0.74 and WeChat at 0.86, and the patterns were widened by what they missed. "
"Numbers spelt in "
            "Chinese figures (mobile_spelt) are outside the target: the patterns do not read them. "
"Names and addresses are not masked.",
        },
    )  # fmt: skip
    for row in runs:
        print(row)


if __name__ == "__main__":
    raise SystemExit(run(main))
