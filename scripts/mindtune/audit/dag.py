"""Snakemake's own plan, job by job, with its reasons and what it stored of the last run.

Needs the driver's environment: it asks Snakemake's library, and parses nothing that Snakemake
prints. `--list-changes params` is no help, it names outputs that have not changed.
"""

import ast
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mindtune.audit.timing import gpu_of
from mindtune.cli import UserError
from mindtune.records import sha256_file


@dataclass
class Job:
    """One job of the plan; other jobs are named by their numbers in the plan's list."""

    rule: str
    wildcards: dict[str, str]
    outputs: list[str]
    inputs: list[str]
    temporary: set[str]
    benchmark: str | None
    gpus: int
    threads: int
    shell: str
    params: dict[str, Any]
    needed: bool
    needs: dict[int, list[str]] = field(default_factory=dict)  # job -> files taken from it
    old_params: list[Any] = field(default_factory=list)
    new_params: list[Any] = field(default_factory=list)
    code_changed: bool = False
    inputs_changed: bool = False
    lost_inputs: list[str] = field(default_factory=list)
    new_inputs: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)  # inputs that changed, from no job of the plan
    missing: list[str] = field(default_factory=list)
    incomplete: list[str] = field(default_factory=list)
    forced: bool = False
    ended: float | None = None  # of the last run, seconds since 1970

    @property
    def about(self) -> str:
        """Its wildcards in words: `main/dialogue`."""
        return "/".join(self.wildcards.values())

    @property
    def name(self) -> str:
        """The rule, and its wildcards if it has some: `train_lora (main)`."""
        return f"{self.rule} ({self.about})" if self.wildcards else self.rule

    @property
    def changed(self) -> bool:
        """Whether its own settings, code or inputs differ from those of the last run."""
        return bool(
            self.old_params or self.new_params or self.code_changed or self.inputs_changed
            or self.updated or self.incomplete or self.forced
        )  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """The jobs that a target asks for, and the resolved configuration that they come from."""

    jobs: list[Job]
    config: dict[str, Any]

    def needed(self) -> list[int]:
        """The numbers of the jobs that would run; a rule without outputs is no job."""
        return [n for n, job in enumerate(self.jobs) if job.needed and job.outputs]

    def is_root(self, number: int) -> bool:
        """Whether a job would run whatever became of the others: it changed itself, or what it
        makes is not there, nothing that it reads is made anew, and it is not temporary.
        """
        job = self.jobs[number]
        lost = set(job.missing) - job.temporary
        return job.changed or bool(lost and not any(self.jobs[other].needed for other in job.needs))

    def maker(self, path: str) -> int | None:
        """The job that makes a file, or the folder in which it lies."""
        for number, job in enumerate(self.jobs):
            if any(path == made or path.startswith(f"{made}/") for made in job.outputs):
                return number
        return None

    def before(self, number: int) -> "Plan":
        """The part of the plan that one job needs, itself included."""
        seen, queue = {number}, [number]
        while queue:
            for other in self.jobs[queue.pop()].needs.keys() - seen:
                seen.add(other)
                queue.append(other)
        place = {old: new for new, old in enumerate(sorted(seen))}
        jobs = [
            replace(job, needs={place[n]: files for n, files in job.needs.items()})
            for job in (self.jobs[old] for old in place)
        ]
        return Plan(jobs, self.config)


def read_plan(
    snakefile: Path,
    workdir: Path,
    configfiles: Sequence[Path],
    targets: Sequence[str],
    cores: int = 1,
) -> Plan:
    """Plan `targets` as `snakemake -n` does; nothing is run or written. The working directory is
    another one afterwards. What the workflow refuses is a UserError.
    """
    with built_dag(snakefile, workdir, targets, cores, configfiles=list(configfiles)) as workflow:
        return Plan(take_jobs(workflow), workflow.globals["config"])


@contextmanager
def built_dag(
    snakefile: Path, workdir: Path, targets: Sequence[str], cores: int = 1, **given: Any
) -> Iterator[Any]:
    """A workflow whose DAG of `targets` is built, from what is given of Snakemake's ConfigSettings.
    Nothing is run or written; the working directory is another one afterwards.
    """
    from snakemake.api import SnakemakeApi
    from snakemake.exceptions import RuleException, WorkflowError
    from snakemake.logging import logger
    from snakemake.settings.types import (
        ConfigSettings,
        DAGSettings,
        OutputSettings,
        Quietness,
        ResourceSettings,
    )

    os.chdir(workdir)
    try:
        with SnakemakeApi(OutputSettings(dryrun=True, quiet={Quietness.ALL})) as api:
            logger.setLevel("WARNING")  # quiet or not, it would say that it builds the DAG
            flow = api.workflow(
                resource_settings=ResourceSettings(cores=cores),
                config_settings=ConfigSettings(**given),
                snakefile=snakefile,
                workdir=Path.cwd(),
            )
            flow.dag(DAGSettings(targets=set(targets)))
            workflow = flow._workflow
            # as Snakemake's own --summary: the public part of its library prints a plan only
            workflow._prepare_dag(forceall=False, ignore_incomplete=True, lock_warn_only=True)
            workflow._build_dag()
            yield workflow
    except (WorkflowError, RuleException) as error:
        raise UserError(" ".join(str(error).split())) from None


def numbered(dag: Any) -> dict[Any, int]:
    """{job: its number} of a DAG, in the order of rules and wildcards."""
    jobs = sorted(dag.jobs, key=lambda job: (job.rule.name, sorted(job.wildcards_dict.items())))
    return {job: number for number, job in enumerate(jobs)}


def take_jobs(workflow: Any) -> list[Job]:
    """The jobs of a workflow's DAG, sorted by rule and wildcards."""
    dag = workflow.dag
    number = numbered(dag)
    jobs = [take_job(workflow, job) for job in number]
    for job, taken in zip(number, jobs, strict=True):
        taken.needs = {
            number[other]: sorted(map(str, files))
            for other, files in sorted(
                dag.dependencies[job].items(), key=lambda item: number[item[0]]
            )
        }
    return jobs


def take_job(workflow: Any, job: Any) -> Job:
    """One job, in plain values.

    Snakemake stops looking for reasons once a job follows from another one; what changed is asked
    for again here, of every job that would run.
    """
    from snakemake.io import is_flagged

    dag, stored = workflow.dag, workflow.persistence
    reason, needed = dag.reason(job), dag.needrun(job)
    records = [record for path in job.output if (record := stored.metadata(path))]
    now, before = set(map(str, job.input)), {path for r in records for path in r.input or ()}
    params = stored.params_changed(job) if needed else None
    inputs_changed = needed and any(stored.input_changed(job))
    others = other_bytes(records) if needed else set()
    return Job(
        rule=job.rule.name,
        wildcards=dict(sorted(job.wildcards_dict.items())),
        outputs=sorted(map(str, job.output)),
        inputs=sorted(now),
        temporary={str(path) for path in job.output if is_flagged(path, "temp")},
        benchmark=str(job.benchmark) if job.benchmark else None,
        gpus=gpu_of(job.resources.get("gpu", 0)),
        threads=job.threads,
        shell=job.shellcmd or "",
        params=dict(job.params.items()),
        needed=needed,
        old_params=plain(params.only_old) if params else [],
        new_params=plain(params.only_new) if params else [],
        code_changed=needed and any(stored.code_changed(job)),
        inputs_changed=inputs_changed,
        lost_inputs=sorted(before - now) if inputs_changed else [],
        new_inputs=sorted(now - before) if inputs_changed else [],
        # what never ran has read nothing
        updated=sorted({*map(str, reason.updated_input), *others} if records else ()),
        missing=sorted(map(str, reason.missing_output)),
        incomplete=sorted(map(str, reason.incomplete_output)),
        forced=reason.forced,
        ended=max((record.endtime for record in records if record.endtime), default=None),
    )


def plain(stored: set[str]) -> list[Any]:
    """The values that Snakemake stored as texts of Python."""
    return [ast.literal_eval(text) for text in sorted(stored)]


def other_bytes(records: list[Any]) -> set[str]:
    """Inputs from outside results/ whose bytes are not those that Snakemake noted."""
    return {
        path
        for record in records
        for path, noted in (record.input_checksums or {}).items()
        if not path.startswith("results/") and os.path.isfile(path)
        if noted.startswith("sha256:") and noted != f"sha256:{sha256_file(path)}"
    }
