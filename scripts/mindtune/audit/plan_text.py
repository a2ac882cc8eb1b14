"""A plan in sentences: which jobs would run, why, what follows from them, and how long it took the
last time.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mindtune.audit.dag import Job, Plan
from mindtune.audit.settings_changed import (
    changed_code,
    config_key,
    differences,
    pairs,
    sentence_of,
)
from mindtune.audit.timing import in_words, last_seconds, rule_seconds
from mindtune.cli import UserError

MOST_NAMES = 4


def listed(names: Iterable[str], most: int = MOST_NAMES) -> str:
    """`a, b and 3 more`."""
    found = list(names)
    if len(found) > most:
        return f"{', '.join(found[:most])} and {len(found) - most} more"
    return " and ".join([", ".join(found[:-1]), found[-1]] if len(found) > 1 else found)


def param_sentences(
    job: Job, config: Mapping[str, Any], starts: Sequence[Mapping[str, Any]]
) -> list[str]:
    """What differs in a job's parameters, by the keys of the configuration."""
    configs = [config, *(start["config"] for start in starts if "config" in start)]
    names = {str(value): name for name, value in job.params.items()}
    found = []
    for was, now in pairs(job.old_params, job.new_params):
        name = names.get(str(now) if not isinstance(now, dict) else "", "")
        if name == "code":
            found.append(changed_code(job.shell, str(was), starts))
        elif name == "rules":
            found.append("a file in rules/ changed")
        else:
            for path, old, new in differences(was, now):
                key = config_key(path, old, new, configs, job.wildcards.values()) if path else name
                found.append(sentence_of(key or "a parameter", old, new))
    return found


def reasons(job: Job, config: Mapping[str, Any], starts: Sequence[Mapping[str, Any]]) -> list[str]:
    """Why a job would run, besides the jobs before it; one part of a sentence each."""
    found = ["it was asked to"] if job.forced else []
    if job.old_params or job.new_params:
        found += param_sentences(job, config, starts)
    if job.code_changed:
        found.append("its command in rules/ changed")
    if job.updated:
        verb = "are" if len(job.updated) > 1 else "is"
        found.append(f"{listed(job.updated)} {verb} not as the last run read it")
    if job.new_inputs:
        found.append(f"it now reads {listed(job.new_inputs)}")
    if job.lost_inputs:
        found.append(f"it no longer reads {listed(job.lost_inputs)}")
    if job.incomplete:
        found.append(f"{listed(job.incomplete)} was left half made")
    lost = [path for path in job.missing if path not in job.temporary]
    if lost and job.ended is None:
        found.append("it never ran here")
    elif lost:
        found.append(f"{listed(lost)} {'are' if len(lost) > 1 else 'is'} missing")
    return found


def followers(plan: Plan) -> dict[int, set[int]]:
    """{needed job: the needed jobs that read what it makes, directly or not}."""
    needed = plan.needed()
    users: dict[int, set[int]] = {number: set() for number in range(len(plan.jobs))}
    for number in needed:
        for other in plan.jobs[number].needs:
            users[other].add(number)
    found: dict[int, set[int]] = {}
    for start in needed:
        seen, queue = set(), [start]
        while queue:
            for user in users[queue.pop()] - seen:
                seen.add(user)
                queue.append(user)
        found[start] = seen
    return found


def cost(jobs: Sequence[Job], of_rules: Mapping[str, float]) -> str:
    """How long these jobs took the last time, one after the other, a GPU's time apart; one that
    never ran counts as the longest of its rule (`of_rules`, in seconds).
    """
    took = {"of one GPU": 0.0, "": 0.0}
    unknown = []
    for job in jobs:
        own = last_seconds(Path(job.benchmark)) if job.benchmark else 0.0
        seconds = of_rules.get(job.rule) if own is None else own
        if seconds is None:
            unknown.append(job.rule)
        else:
            took["of one GPU" if job.gpus else ""] += seconds * max(1, job.gpus)
    parts = [f"{in_words(seconds)} {what}".strip() for what, seconds in took.items() if seconds]
    if len(parts) > 1:
        parts[1] += " without one"
    said = [f"about {' and '.join(parts)} by the last run"] if parts else []
    said += [f"no time is known of {listed(dict.fromkeys(unknown))}"] if unknown else []
    return "; ".join(said)


def grouped(jobs: Sequence[Job]) -> list[str]:
    """`train_lora (main, seed43)` for jobs of one rule, in the order given."""
    by_rule: dict[str, list[str]] = {}
    for job in jobs:
        by_rule.setdefault(job.rule, []).append(job.about)
    return [
        f"{rule} ({listed(abouts)})" if any(abouts) else rule for rule, abouts in by_rule.items()
    ]


def plan_lines(plan: Plan, starts: Sequence[Mapping[str, Any]]) -> list[str]:
    """The whole plan: a line for everything that changed, what follows from it, and the sum."""
    jobs, needed = plan.jobs, plan.needed()
    total = sum(1 for job in jobs if job.outputs)
    if not needed:
        return [f"Nothing would run: all {total} jobs are done, with these settings and this code."]
    of_rules = rule_seconds((job.rule, job.benchmark) for job in jobs)
    roots: dict[tuple[str, tuple[str, ...]], list[int]] = {}
    for number in filter(plan.is_root, needed):
        why = (jobs[number].rule, tuple(reasons(jobs[number], plan.config, starts)))
        roots.setdefault(why, []).append(number)
    after, lines = followers(plan), []
    for (_, why), numbers in ordered(roots, after):
        own = [jobs[number] for number in numbers]
        because = f"{grouped(own)[0]} would run because {'; '.join(why)}"
        lines.append("; ".join(filter(None, [because, cost(own, of_rules)])) + ".")
        follow = set().union(*(after[number] for number in numbers)) - set(numbers)
        if len(roots) > 1 and follow:
            lines[-1] += f" {len(follow)} {'jobs follow' if len(follow) > 1 else 'job follows'}."
    if names := grouped([jobs[number] for number in needed if not plan.is_root(number)]):
        lines.append(f"{listed(names, 99)} {'follow' if len(names) > 1 else 'follows'}.")
    in_all = f"In all {len(needed)} of {total} jobs would run"
    sums = cost([jobs[number] for number in needed], of_rules)
    return [*lines, "; ".join(filter(None, [in_all, sums])) + "."]


def ordered(
    roots: Mapping[tuple[str, tuple[str, ...]], list[int]], after: Mapping[int, set[int]]
) -> list[tuple[tuple[str, tuple[str, ...]], list[int]]]:
    """Groups of jobs, the one from which most follows first."""
    return sorted(
        roots.items(),
        key=lambda item: (-max(len(after[number]) for number in item[1]), item[0][0], item[1]),
    )


def why_lines(plan: Plan, path: str, starts: Sequence[Mapping[str, Any]]) -> list[str]:
    """Why one file would be made again, or that it would not."""
    number = plan.maker(path)
    if number is None:
        readers = [job.name for job in plan.jobs if path in job.inputs]
        if readers:
            return [f"No rule makes {path}: it was given, and {listed(readers)} reads it."]
        raise UserError(
            f"{path} is made by no rule of this configuration, and read by none; give a file below "
            f"results/, as make audit lists them"
        )
    job = plan.jobs[number]
    if not job.needed:
        seconds = last_seconds(Path(job.benchmark)) if job.benchmark else None
        took = f" in {in_words(seconds)}" if seconds is not None else ""
        ended = time.strftime("%Y-%m-%d %H:%M", time.localtime(job.ended)) if job.ended else ""
        made = f"{job.name} made it" + (f" on {ended}" if ended else "") + took
        reads = f", from {listed(job.inputs, 99)}" if job.inputs else ""
        return [
            f"{path} would not be made again: {made}{reads}.",
            "Nothing that it depends on has changed.",
        ]
    part = plan.before(number)
    return [f"{path} would be made again, by {job.name}:", *plan_lines(part, starts)]
