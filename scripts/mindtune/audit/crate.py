"""The provenance of a run as a Provenance Run Crate 0.5 (RO-Crate 1.1): which program made which
file from which, when.

https://www.researchobject.org/workflow-run-crate/profiles/provenance_run_crate. Written from what
the archive holds and Snakemake noted; what is not known is left out, not invented.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mindtune.audit.entities import Entity, file_entity, known, ref
from mindtune.audit.jobs_done import DoneJob

CONTEXT = [
    "https://w3id.org/ro/crate/1.1/context",
    "https://w3id.org/ro/terms/workflow-run/context",
]
PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": "Process Run Crate",
    "https://w3id.org/ro/wfrun/workflow/0.5": "Workflow Run Crate",
    "https://w3id.org/ro/wfrun/provenance/0.5": "Provenance Run Crate",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": "Workflow RO-Crate",
}
WORKFLOW = "code/Snakefile"
BIOSCHEMAS = "https://bioschemas.org/profiles/ComputationalWorkflow/1.0-RELEASE"
PARAMETER = "https://bioschemas.org/profiles/FormalParameter/1.0-RELEASE"
HOME, DONE = "https://snakemake.github.io", "http://schema.org/CompletedActionStatus"
LANGUAGE = "https://w3id.org/workflowhub/workflow-ro-crate#snakemake"


@dataclass(frozen=True)
class Story:
    """What a crate tells: files are {name in the archive: {"bytes", "sha256"}}."""

    run: str
    files: Mapping[str, Mapping[str, Any]]
    withheld: Mapping[str, Mapping[str, str]]
    jobs: Sequence[DoneJob]
    title: str
    licence: str
    snakemake: str | None
    version: str | None


def place(path: str, story: Story) -> list[str]:
    """Ids of the entities that stand for an input or output of a job: a file, the files of a
    folder that is in the archive, or a thing that is named by its hash; none if nothing is known.
    """
    if path in story.files:
        return [path]
    if path in story.withheld:
        return [f"#{path}"]
    return [name for name in story.files if name.startswith(f"{path}/")]


def places(paths: Iterable[str], story: Story) -> list[str]:
    """`place` of several paths, each once."""
    return list(dict.fromkeys(name for path in paths for name in place(path, story)))


def job_id(number: int) -> str:
    """The id of a job's action."""
    return f"#job-{number}"


def tools(story: Story) -> list[str]:
    """The programs of the jobs, sorted, as they lie in the archive."""
    names = {f"code/{job.program}" for job in story.jobs if job.program}
    return sorted(names & story.files.keys())


def step_id(rule: str) -> str:
    """The id of a rule's step."""
    return f"{WORKFLOW}#{rule}"


def actions(story: Story) -> list[Entity]:
    """One action a job, and the engine's control of each."""
    found = []
    for number, job in enumerate(story.jobs):
        program = f"code/{job.program}" if job.program else ""
        if program not in story.files:
            continue
        found.append(
            known(
                id=job_id(number), type="CreateAction", name=f"{job.rule}: {job.outputs[0]}",
                description=f"{job.rule} made {len(job.outputs)} of the results",
                instrument=ref(program), object=ref(*places(job.inputs, story)),
                result=ref(*places(job.outputs, story)), startTime=job.start, endTime=job.end,
                actionStatus=DONE,
                subjectOf=ref(*(log for log in job.logs if log in story.files)),
            )
        )  # fmt: skip
        found.append(
            known(
                id=f"#control-{number}", type="ControlAction", name=f"run {job.rule}",
                instrument=ref(step_id(job.rule)), object=ref(job_id(number)),
            )
        )  # fmt: skip
    return found


def program_entities(story: Story) -> list[Entity]:
    """The workflow with its steps, and the programs behind them."""
    programs = {
        job.rule: f"code/{job.program}"
        for job in story.jobs
        if job.program and f"code/{job.program}" in story.files
    }
    workflow = file_entity(WORKFLOW, story.files[WORKFLOW]) | known(
        type=["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"], name="MindTune",
        programmingLanguage=ref(LANGUAGE), conformsTo=ref(BIOSCHEMAS), hasPart=ref(*tools(story)),
        step=ref(*map(step_id, programs)), input=ref("#settings"), output=ref("#results"),
        version=story.version,
    )  # fmt: skip
    steps = [
        known(id=step_id(rule), type="HowToStep", name=rule, position=str(number),
              workExample=ref(program))
        for number, (rule, program) in enumerate(programs.items())
    ]  # fmt: skip
    kinds = ["File", "SoftwareSourceCode"]
    return [
        workflow,
        *steps,
        *(
            file_entity(name, story.files[name]) | known(type=kinds, version=story.version)
            for name in tools(story)
        ),
    ]


def parameter(name: str, about: str, examples: Sequence[str]) -> Entity:
    """What the workflow as a whole reads or makes."""
    return known(
        id=f"#{name}", type="FormalParameter", additionalType="File", name=name, description=about,
        conformsTo=ref(PARAMETER), workExample=ref(*examples),
    )  # fmt: skip


def run_entities(story: Story, taken: Sequence[Entity]) -> list[Entity]:
    """The run as a whole, and the engine that ran it."""
    engine = f"https://pypi.org/project/snakemake/{story.snakemake}/" if story.snakemake else HOME
    controls = [entity["@id"] for entity in taken if entity["@type"] == "ControlAction"]
    times = {"startTime": min((job.start for job in story.jobs), default=None),
             "endTime": max((job.end for job in story.jobs), default=None)}  # fmt: skip
    made = [name for name in story.files if name.startswith("results/")]
    return [
        parameter("settings", "the resolved configuration", ["config.json"]),
        parameter("results", "records, tables and report", made),
        known(id=LANGUAGE, type="ComputerLanguage", name="Snakemake", alternateName="Snakemake",
              url=ref(HOME), identifier=ref(HOME)),
        known(id=engine, type="SoftwareApplication", name="Snakemake", url=ref(HOME),
              softwareVersion=story.snakemake),
        known(id="#run", type="CreateAction", name=f"the workflow's run "
f"{story.run}", description="all jobs of the run",
              instrument=ref(WORKFLOW), object=ref("config.json"), result=ref(*made), **times,
              actionStatus=DONE),
        known(id="#engine-run", type="OrganizeAction", name="Snakemake runs the workflow",
              instrument=ref(engine), object=ref(*controls), result=ref("#run"), **times),
    ]  # fmt: skip


def plain_files(story: Story, described: set[str]) -> list[Entity]:
    """The files that nothing else describes, and what the archive names by hash alone."""
    files = []
    for name, about in story.files.items():
        if name in described:
            continue
        found = file_entity(name, about)
        if name == "config.json":
            found |= known(exampleOfWork=ref("#settings"))
        elif name == "README.md":
            found |= known(about=ref("./"))
        elif name.startswith("results/"):
            found |= known(exampleOfWork=ref("#results"))
        files.append(found)
    withheld = [
        known(id=f"#{path}", type="CreativeWork", name=path, sha256=about["sha256"],
              description=f"not in the archive: {about['why']}")
        for path, about in story.withheld.items()
    ]  # fmt: skip
    return [*files, *withheld]


def root_entities(story: Story, jobs: Sequence[str]) -> list[Entity]:
    """The crate itself, its licence and its profiles."""
    root = known(
        id="./", type="Dataset", name=story.title,
        description="A run of MindTune: settings, code, records, tables, report, logs, hashes.",
        datePublished=max((job.end for job in story.jobs), default=None),
        license=ref(story.licence), conformsTo=ref(*PROFILES), hasPart=ref(*story.files),
        mainEntity=ref(WORKFLOW), mentions=ref("#run", "#engine-run", *jobs),
    )  # fmt: skip
    profiles = [
        known(id=name, type="CreativeWork", name=title, version=name.rsplit("/", 1)[-1])
        for name, title in PROFILES.items()
    ]
    licence = known(
        id=story.licence, type="CreativeWork", name="Licence of the code", url=story.licence,
        description="The data keep their own licence.",
    )  # fmt: skip
    return [root, licence, *profiles]


def crate(story: Story) -> Entity:
    """The content of ro-crate-metadata.json."""
    taken = actions(story)
    flow = [*program_entities(story), *run_entities(story, taken)]
    jobs = [entity["@id"] for entity in taken if entity["@type"] == "CreateAction"]
    descriptor = known(
        id="ro-crate-metadata.json", type="CreativeWork", about=ref("./"),
        conformsTo=ref("https://w3id.org/ro/crate/1.1",
                       "https://w3id.org/workflowhub/workflow-ro-crate/1.0"),
    )  # fmt: skip
    files = plain_files(story, {entity["@id"] for entity in flow})
    graph = [descriptor, *root_entities(story, jobs), *flow, *taken, *files]
    return {"@context": CONTEXT, "@graph": graph}
