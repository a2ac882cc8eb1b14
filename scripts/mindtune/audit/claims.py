"""What a run claims, each with the command that shows it, the value to expect, how far off it may
be, and the minutes that it takes. All of it is from records and benchmark files.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mindtune.audit.timing import in_words, last_seconds
from mindtune.mixture import sets_of
from mindtune.primary import primary_metric

Records = Mapping[str, Mapping[str, Any]]
EXACT = "none: the numbers are equal, on any machine"
EXACT_ON_CPU = "none on a CPU: equal runs give equal bytes"
ON_GPU = "1 %: a GPU adds in another order (docs/archive.md)"
UNMEASURED = "not measured"


@dataclass(frozen=True)
class Claim:
    """One row of the table of claims."""

    sentence: str
    target: str
    expected: str
    tolerance: str
    minutes: str


def minutes_of(*patterns: str) -> str:
    """What the jobs of these benchmark files took, one after the other."""
    paths = sorted({path for pattern in patterns for path in Path("benchmarks").glob(pattern)})
    times = [seconds for path in paths if (seconds := last_seconds(path)) is not None]
    return in_words(sum(times)) if times else UNMEASURED


def tolerance_of(device: str | None) -> str:
    """How far figures of a training may differ."""
    return EXACT_ON_CPU if device == "cpu" else ON_GPU


def data_claims(records: Records, dataset: str) -> Iterator[Claim]:
    """Cleaning counts every row, and the sides share nothing."""
    place = f"results/data/{dataset}"
    if clean := records.get(f"{place}/clean_dialogues.json"):
        facts = clean["facts"]
        rejected = facts["read"] - facts["kept"]
        yield Claim(
            f"Of the rows of data set {dataset}, every one is kept or rejected with a reason.",
            f"{place}/clean_dialogues.json",
            f"{facts['read']:,} read, {facts['kept']:,} kept, {rejected:,} rejected",
            EXACT,
            minutes_of(f"data/{dataset}/fetch_dataset.tsv", f"data/{dataset}/clean_dialogues.tsv"),
        )
    if split := records.get(f"{place}/split_dialogues.json"):
        facts = split["facts"]
        sizes = ", ".join(
            f"{facts['dialogues'][side]:,} {side}" for side in ("train", "dev", "test")
        )
        yield Claim(
            "No group of near-duplicate dialogues and no first client turn is on two sides.",
            f"{place}/split_dialogues.json",
            f"{sizes}; {facts['shared_groups']} groups and {facts['shared_first_turns']} first "
            "turns shared",
            EXACT,
            minutes_of(f"data/{dataset}/split_dialogues.tsv"),
        )


def training_claims(records: Records, run: str, device: str | None) -> Iterator[Claim]:
    """The trainer consumed what was planned, and ended at its loss."""
    place = f"results/runs/{run}"
    train, stats = records.get(f"{place}/train_lora.json"), records.get(f"{place}/pack_stats.json")
    if not train:
        return
    facts = train["facts"]
    if stats:
        yield Claim(
            f"The training of {run} consumed exactly the packs that were planned for it.",
            f"{place}/train_lora.json",
            f"{facts['steps']:,} steps, {facts['packs']:,} packs, {facts['tokens']:,} tokens",
            EXACT,
            minutes_of(f"runs/{run}/order_dialogues.tsv", f"runs/{run}/pack_stats.tsv"),
        )
    dev = facts.get("last_dev_loss")
    yield Claim(
        f"The training of {run} ends at this loss.",
        f"{place}/train_lora.json",
        f"train {facts['last_loss']:.4f}, dev {UNMEASURED if dev is None else f'{dev:.4f}'}",
        tolerance_of(device),
        minutes_of(f"runs/{run}/train_lora.tsv"),
    )


def proof_claims(records: Records, run: str, device: str | None) -> Iterator[Claim]:
    """The merged model is what was trained, and it can be served."""
    place = f"results/runs/{run}"
    merged, proof = records.get(f"{place}/merge_adapter.json"), records.get(f"{place}/verify.json")
    if merged and proof:
        yield Claim(
            f"Every merged tensor of {run} is the base's plus the adapter's, rounded once.",
            f"{place}/verify.json",
            f"{merged['facts']['merged_tensors']} merged and "
            f"{merged['facts']['other_tensors']} other tensors proven",
            EXACT,
            minutes_of(f"runs/{run}/merge_adapter.tsv", f"runs/{run}/verify_merge.tsv"),
        )
    for path in (f"{place}/smoke.json", "results/smoke.json"):
        if smoke := records.get(path):
            yield Claim(
                "The served model keeps its contract.",
                path,
                f"{smoke['facts']['passed']} of {len(smoke['facts']['checks'])} checks passed",
                EXACT,
                minutes_of(f"runs/{run}/verify_serving.tsv", "verify_serving.tsv"),
            )


def read_table(path: Path) -> list[dict[str, str]]:
    """The rows of results/tables/evaluation.csv; none without it."""
    if not path.is_file():
        return []
    with open(path, encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def evaluation_claims(table: Sequence[Mapping[str, str]], run: str) -> Iterator[Claim]:
    """What the tuned model is better and worse at than the base, by each suite's primary metric."""
    asked = minutes_of(
        *("prompts/*/*.tsv", "base/replies/*.tsv", "base/letters/*.tsv", "base/baselines/*.tsv"),
        *(f"runs/{run}/replies.tsv", f"runs/{run}/letters.tsv"),
    )
    rows = [
        row
        for row in table
        if row["run"] == run and row["system"] == "tuned-base" and row["p"] and row["value"]
    ]
    for suite in sorted({row["suite"] for row in rows}):
        chosen = primary_metric(row["metric"] for row in rows if row["suite"] == suite)
        mine = [row for row in rows if (row["suite"], row["metric"]) == (suite, chosen)]
        shown = "; ".join(f"{named(row)} {span_of(row)}" for row in mine)
        yield Claim(
            f"On suite {suite}, {run} differs from the base by this (tuned - base).",
            "results/tables/evaluation.csv",
            shown,
            "the 95 % interval in brackets; " + EXACT_ON_CPU,
            f"{minutes_of(f'runs/{run}/scores/{suite}.tsv')}, after the replies to all suites "
            f"({asked})",
        )


def named(row: Mapping[str, str]) -> str:
    """A metric with its stratum."""
    return f"{row['metric']} ({row['stratum']})" if row["stratum"] else row["metric"]


def span_of(row: Mapping[str, str]) -> str:
    """A difference as it was measured, with its interval and its adjusted p."""
    value, low, high, p = (float(row[key]) for key in ("value", "low", "high", "p"))
    return f"{value:+.4g} ({low:.4g} to {high:.4g}), p {p:.2g}"


def claims(
    records: Records, table: Sequence[Mapping[str, str]], run: str, config: Any
) -> list[Claim]:
    """All claims of a run, in the order of the stages; what has no record is not claimed."""
    device = config.get("device")
    return [
        *(claim for name in sets_of(config["runs"][run]) for claim in data_claims(records, name)),
        *training_claims(records, run, device),
        *proof_claims(records, run, device),
        *evaluation_claims(table, run),
    ]


def claims_table(found: Sequence[Claim]) -> str:
    """The claims as Markdown, C1 to Cn."""
    head = "| | claim | target | expected | may differ by | machine time |\n"
    head += "|---|---|---|---|---|---|\n"
    return head + "".join(
        f"| C{number} | {claim.sentence} | `{claim.target}` | {claim.expected} | "
        f"{claim.tolerance} | {claim.minutes} |\n"
        for number, claim in enumerate(found, 1)
    )
