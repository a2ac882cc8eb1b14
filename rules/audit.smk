"""
Stage: audit.  What somebody else reads: the report, the graph of the rules, the archive of a run.

INPUTS   records and figures of all stages
OUTPUTS  results/report/report.html, rulegraph.svg, dag.mmd, results/archive/{run}.zip, and a record
         a rule
"""

from snakemake import __version__ as snakemake_version

from mindtune.audit.code_state import state_of_code

SNAKEFILE = place("Snakefile")


def rule_families():
    """{rule: stage file it stands in}, for the colours of the graph, whatever is built already."""
    return {f"build_env_{env}": "env" for env in ENVIRONMENTS} | {
        job.name: Path(job.snakefile).stem
        for job in workflow.rules
        if Path(job.snakefile).suffix == ".smk"
    }


def config_hash():
    """Hash of the whole configuration: an archive holds it, and nothing follows from an archive."""
    return hashlib.sha256(to_param(config).encode()).hexdigest()[:16]


def all_records():
    """The records behind the report: of every stage, dataset and run."""
    data = (
        "fetch_dataset",
        "clean_dialogues",
        "split_dialogues",
        "write_datasheet",
        "cache_dataset",
    )
    runs = (
        "order_dialogues",
        "pack_stats",
        "train_lora",
        "merge_adapter",
        "verify",
        "export_model",
    )
    per_dataset = ["prompts/{dataset}/{suite}", "base/replies/{dataset}/{suite}"]
    per_run = ["runs/{run}/replies/{suite}", "runs/{run}/scores/{suite}"]
    names = [
        "base/fetch_tokenizer",
        "base/fetch_model",
        *expand("data/{dataset}/{stage}", dataset=USED_DATASETS, stage=data),
        *expand(per_dataset, dataset=USED_DATASETS, suite=SUITES),
        *expand("base/letters/{dataset}/{suite}", dataset=USED_DATASETS, suite=LETTER_SUITES),
        *expand("runs/{run}/letters/{suite}", run=RUNS, suite=LETTER_SUITES),
        *expand("runs/{run}/{stage}", run=RUNS, stage=runs),
        *expand(per_run, run=RUNS, suite=SUITES),
        f"runs/{EXPORT_RUN}/smoke",
        "export",
        "tables/evaluation_table",
        *(["gates"] if config["gates"] else []),
        "report/rulegraph",
    ]
    return [f"results/{name}.json" for name in names]


rule draw_rulegraph:
    """Draw the graph of the rules, as an SVG and as Mermaid text."""
    input:
        env=ancient(env_ready("core")),
    output:
        svg="results/report/rulegraph.svg",
        mermaid="results/report/dag.mmd",
        record="results/report/rulegraph.json",
    log:
        "logs/report/rulegraph.log",
    localrule: True
    params:
        code=code_hash("draw_rulegraph.py"),
        families=lambda w: as_json(**rule_families()),
        # the graph is a function of the rules' text and of these choices
        rules=rules_hash(),
        choices=as_json(
            model=config["model"]["source"],
            runs=RUNS,
            engine=config["serve"]["engine"],
        ),
    shell:
        r"""
        exec 2>{log:q}
        {DRIVER_PYTHON:q} -m snakemake \
            --snakefile {SNAKEFILE:q} \
            --config start={START:q} \
            --workflow-profile none \
            --rulegraph dot \
            --forceall all \
            | {PY[core]:q} {SCRIPTS:q}/draw_rulegraph.py \
                --dot - \
                --families {params.families:q} \
                --svg {output.svg:q} \
                --mermaid {output.mermaid:q} \
                --record {output.record:q}
        """


rule write_report:
    """One page from the records: what was run, what came out, with which hashes."""
    input:
        records=all_records(),
        images=[
            "results/tables/differences.svg",
            "results/report/rulegraph.svg",
            *expand(
                "results/runs/{run}/figures/{figure}.svg",
                run=RUNS,
                figure=["lengths", "fill", "loss"],
            ),
        ],
        tables=[f"results/tables/{table}.md" for table in ("summary", "evaluation", "worse")],
        base=expand(
            "results/base/replies/{dataset}/{suite}.jsonl",
            dataset=dataset_of(EXPORT_RUN),
            suite=DIALOGUE_SUITES,
        ),
        tuned=expand(
            "results/runs/{run}/replies/{suite}.jsonl",
            run=EXPORT_RUN,
            suite=DIALOGUE_SUITES,
        ),
        env=ancient(env_ready("core")),
    output:
        report=report("results/report/report.html", category="report"),
        record="results/report/write_report.json",
    log:
        "logs/report/write_report.log",
    localrule: True
    params:
        code=code_hash("write_report.py"),
        title=lambda w: f"MindTune: {config['model']['id'] or 'local model'}, run {EXPORT_RUN}",
        seed=config["evaluate"]["score"]["seed"],
    shell:
        r"""
        exec >{log:q} 2>&1
        # a program's arguments have 2 MB in all; lists that grow with the runs go through a file
        {PY[core]:q} {SCRIPTS:q}/write_report.py \
            --records @<(printf '%s\n' {input.records:q}) \
            --images @<(printf '%s\n' {input.images:q}) \
            --tables {input.tables:q} \
            --base {input.base:q} \
            --tuned {input.tuned:q} \
            --seed {params.seed:q} \
            --title {params.title:q} \
            --report {output.report:q} \
            --record {output.record:q}
        """


rule archive_run:
    """What a stranger needs to check and repeat a run, in one zip; only if asked for by name."""
    input:
        records=all_records(),
        report="results/report/write_report.json",
        env=ancient(env_ready("core")),
    output:
        archive="results/archive/{run}.zip",
        record="results/archive/{run}.json",
    log:
        "logs/archive/{run}.log",
    benchmark:
        "benchmarks/archive/{run}.tsv"
    localrule: True
    params:
        code=code_hash("archive_run.py"),
        settings=leaves_json("archive/data", "archive/weights"),
        # looked up only when an archive is asked for
        state=lambda w: as_json(**state_of_code(Path(workflow.basedir))),
        resolved=lambda w: config_hash(),
        about=as_json(snakemake=snakemake_version),
    shell:
        r"""
        exec >{log:q} 2>&1
        {PY[core]:q} {SCRIPTS:q}/archive_run.py \
            --run {wildcards.run:q} \
            --start {START_FILE:q} \
            --code {BASE:q} \
            --settings {params.settings:q} \
            --about {params.about:q} \
            --archive {output.archive:q} \
            --record {output.record:q}
        """
