"""How long a plan would take, from what its jobs, or jobs like them, took before.

A job that ran here counts as it took then. A training is scaled: its start stays as it was, its
steps go with the tokens that pack_stats plans. Another job that never ran counts as the mean of
its rule's, of the same suite if there is one. What nothing is known of is named, not guessed at.
"""

import csv
import heapq
import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mindtune.audit.dag import Job, Plan
from mindtune.audit.timing import in_words
from mindtune.config import DATA_OF_A_RUN, run_settings
from mindtune.records import read_json

TRAINING = "train_lora"
CLOCK, CPU = "s", "cpu_time"  # columns of a benchmark file, both in seconds
# A training is scaled from one with the same of these: they decide what a token costs
SAME_WORK = (
    *("method", "device", "dtype", "base_precision", "kernels"),
    *("gpus", "gradient_checkpointing", "max_length"),
)


@dataclass(frozen=True)
class Estimate:
    """Seconds of a job, and where they come from; None where nothing is known."""

    job: Job
    seconds: float | None
    why: str


def took(path: Path, column: str) -> float | None:
    """Seconds of the last run in a benchmark file; None if it is not there or torn."""
    try:
        with open(path, encoding="utf-8", newline="") as stream:
            return float(list(csv.DictReader(stream, delimiter="\t"))[-1][column])
    except (OSError, ValueError, LookupError):
        return None


def record_at(path: str) -> dict[str, Any]:
    """A stage's record, or nothing."""
    return read_json(path) if Path(path).is_file() else {}


def data_of(config: Mapping[str, Any], run: str) -> dict[str, Any]:
    """What decides on which dialogues a run trains."""
    return {key: config["runs"][run].get(key) for key in DATA_OF_A_RUN}


def planned_tokens(
    config: Mapping[str, Any], run: str, others: Iterable[str]
) -> tuple[int, str] | None:
    """(tokens that a run would train on in all its epochs, the run whose pack_stats say so): its
    own, or that of a run with the same dialogues.
    """
    settings, data = run_settings(config, run), data_of(config, run)
    for name in (run, *sorted(others)):
        stats = record_at(f"results/runs/{name}/pack_stats.json")
        alike = stats and stats["params"]["max_length"] == settings["max_length"]
        if alike and name in config["runs"] and data_of(config, name) == data:
            return stats["facts"]["tokens"] * settings["epochs"], name
    return None


def share_of_steps(record: Mapping[str, Any], run: str, clock: float) -> float:
    """The share of a training's time that its steps took; the rest is its start. Without the
    observer's lines or the record's own figure all of it counts as steps.
    """
    seconds = record["facts"].get("step_seconds")
    lines = Path("state/train", run, record["facts"]["run_id"], "steps.jsonl")
    if seconds is None and lines.is_file():
        steps = {}
        for text in lines.read_text(encoding="utf-8").splitlines():
            try:
                line = json.loads(text)
            except ValueError:
                continue  # torn by a kill
            steps[line["step"]] = line["seconds"]
        seconds = sum(steps.values())
    return min(1.0, seconds / clock) if seconds and clock else 1.0


def trained(config: Mapping[str, Any], run: str, column: str) -> tuple[float, str] | None:
    """(seconds, why) of a training by one that ended here, the run's own first; None without one
    that worked in the same way.
    """
    ended = (path.parent.name for path in Path("results/runs").glob("*/train_lora.json"))
    names = sorted(ended, key=lambda name: (name != run, name))
    planned, settings = planned_tokens(config, run, names), run_settings(config, run)
    for name in names:
        record = record_at(f"results/runs/{name}/train_lora.json")
        benchmark = Path(f"benchmarks/runs/{name}/train_lora.tsv")
        before, clock = took(benchmark, column), took(benchmark, CLOCK)
        same = all(record["params"].get(key) == settings[key] for key in SAME_WORK)
        if before and clock and planned and same:
            steps, scale = (
                share_of_steps(record, name, clock),
                planned[0] / record["facts"]["tokens"],
            )
            why = f"{planned[0]:,} tokens, {scale:.2f} times the training of {name}"
            return before * (1 - steps + steps * scale), why
    return None


def like(job: Job, known: Mapping[str, Sequence[tuple[Job, float]]]) -> tuple[float, str] | None:
    """(seconds, why) by jobs of the same rule, those of the same suite if there are some."""
    others = known.get(job.rule, ())
    suite = job.wildcards.get("suite")
    same = [took for other, took in others if other.wildcards.get("suite") == suite]
    found = same or [took for _, took in others]
    if not found:
        return None
    number = f"{len(found)} jobs" if len(found) > 1 else "one job"
    return statistics.fmean(found), f"as {number} of {job.rule}"


def estimates(plan: Plan, column: str = CLOCK) -> list[Estimate]:
    """What each job of a plan that would run is expected to take, in the plan's order."""
    known: dict[str, list[tuple[Job, float]]] = {}
    for job in plan.jobs:
        seconds = took(Path(job.benchmark), column) if job.benchmark else None
        if seconds is not None:
            known.setdefault(job.rule, []).append((job, seconds))
    found = []
    for number in plan.needed():
        job = plan.jobs[number]
        own = [seconds for other, seconds in known.get(job.rule, ()) if other is job]
        said: tuple[float, str] | None
        if job.rule == TRAINING:
            said = trained(plan.config, job.wildcards["run"], column)
        elif own:
            said = own[0], "as the last time"
        elif job.benchmark:
            said = like(job, known)
        else:
            said = 0.0, "not measured, because it is short"
        found.append(Estimate(job, *(said or (None, "no job like it ended here"))))
    return found


def span(plan: Plan, found: Sequence[Estimate], cores: int, gpus: int) -> float:
    """Seconds from the first job to the last, if at any time those run that fit into the cores and
    GPUs, those before the longest way first. Jobs of which nothing is known take none.
    """
    place = {id(estimate.job): estimate for estimate in found}
    numbers = [n for n, job in enumerate(plan.jobs) if id(job) in place]
    seconds = {n: place[id(plan.jobs[n])].seconds or 0.0 for n in numbers}
    waits = {n: {m for m in plan.jobs[n].needs if m in seconds} for n in numbers}
    users: dict[int, list[int]] = {n: [] for n in numbers}
    for number, needs in waits.items():
        for other in needs:
            users[other].append(number)
    way = longest_ways(seconds, users)
    free, now, running = [cores, gpus], 0.0, []
    ready = {n for n in numbers if not waits[n]}
    while ready or running:
        for number in sorted(ready, key=lambda n: (-way[n], n)):
            job = plan.jobs[number]
            need = min(job.threads, cores), min(job.gpus, gpus)
            if need[0] <= free[0] and need[1] <= free[1]:
                ready.discard(number)
                free = [have - takes for have, takes in zip(free, need, strict=True)]
                heapq.heappush(running, (now + seconds[number], number, need))
        now, number, need = heapq.heappop(running)
        free = [have + gives for have, gives in zip(free, need, strict=True)]
        for user in users[number]:
            waits[user].discard(number)
            if not waits[user]:
                ready.add(user)
    return now


def longest_ways(
    seconds: Mapping[int, float], users: Mapping[int, Sequence[int]]
) -> dict[int, float]:
    """{job: seconds from its begin to the end of the last job that follows from it}."""
    found: dict[int, float] = {}
    stack = list(seconds)
    while stack:
        number = stack[-1]
        later = [user for user in users[number] if user not in found]
        if number not in found and later:
            stack += later
            continue
        stack.pop()
        after = max((found[user] for user in users[number]), default=0.0)
        found.setdefault(number, seconds[number] + after)
    return found


def estimate_lines(plan: Plan, cores: int, gpus: int) -> list[str]:
    """The estimate in sentences: the whole, then the rules, the longest first."""
    found = estimates(plan)
    if not found:
        return ["Nothing would run, so it takes no time."]
    work = sum(estimate.seconds or 0.0 for estimate in found)
    on_gpus = sum((e.seconds or 0.0) * e.job.gpus for e in found)
    lines = [
        f"{len(found)} jobs would run in about {in_words(span(plan, found, cores, gpus))} on "
        f"{cores} cores; one after the other they take {in_words(work)}."
    ]
    if on_gpus:
        lines.append(f"GPUs are held for {in_words(on_gpus)} in all.")
    rules: dict[str, list[Estimate]] = {}
    for estimate in found:
        rules.setdefault(estimate.job.rule, []).append(estimate)
    sums = {rule: sum(e.seconds or 0.0 for e in mine) for rule, mine in rules.items()}
    for rule, mine in sorted(rules.items(), key=lambda item: (-sums[item[0]], item[0])):
        if mine[0].seconds is not None:
            lines.append(f"{in_words(sums[rule]):>14}  {rule} x {len(mine)}: {mine[0].why}")
    unknown = sorted({e.job.rule for e in found if e.seconds is None})
    if unknown:
        lines.append(f"Not in it, because no job like them ended here: {', '.join(unknown)}.")
    return lines
