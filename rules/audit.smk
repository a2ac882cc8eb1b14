"""
Stage: audit.  What somebody else reads: the report, the lineage page, the graphs, the archive.

INPUTS   records and figures of all stages
OUTPUTS  results/report/report.html, rulegraph.svg, dag.mmd, chart.md, lineage.html, graphs/,
         results/archive/{run}.zip, and a record a rule
"""

from snakemake import __version__ as snakemake_version

from mindtune.audit.code_state import state_of_code

SNAKEFILE = place("Snakefile")
RULEGRAPH = "results/report/rulegraph.json"


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
    data = ("fetch_dataset", "clean_dialogues", "split_dialogues", "write_datasheet")
    data += ("measure_perplexity",) if config["data"]["perplexity"] else ()
    data += ("find_paraphrases",) if ENCODER_PATH else ()
    mixed = ("mix_datasets", "write_mixture_sheet")
    runs = (
        "order_dialogues",
        "pack_stats",
        "train_lora",
        "merge_adapter",
        "verify",
        "export_model",
    )
    talks = ("conversations", "score_conversations")
    per_dataset = ["prompts/{dataset}/{suite}", "base/replies/{dataset}/{suite}"]
    names = [
        "base/fetch_tokenizer",
        "base/fetch_model",
        *expand("data/{dataset}/{stage}", dataset=SETS, stage=data),
        *expand("data/{dataset}/{stage}", dataset=MIXTURES, stage=mixed),
        *expand("data/{dataset}/cache_dataset", dataset=USED_DATASETS),
        *expand(per_dataset, dataset=USED_DATASETS, suite=SUITES),
        *expand("base/baselines/{dataset}/{name}", dataset=USED_DATASETS, name=BASELINE_SUITES),
        *expand("base/letters/{dataset}/{suite}", dataset=USED_DATASETS, suite=LETTER_SUITES),
        *expand("runs/{run}/letters/{suite}", run=RUNS, suite=LETTER_SUITES),
        *expand("runs/{run}/{stage}", run=RUNS, stage=runs),
        *expand("runs/{run}/replies/{suite}", run=RUNS, suite=SUITES),
        *expand("runs/{run}/scores/{suite}", run=RUNS, suite=SCORED),
        *(["judge/judge_replies"] if JUDGED else []),
        "export",
        "tables/evaluation_table",
        *(["tables/score_raters"] if RATED_PATH else []),
        *expand("base/conversations/{dataset}", dataset=USED_DATASETS if TALKING_RUNS else []),
        *expand("runs/{run}/{stage}", run=TALKING_RUNS, stage=talks),
        *(["gates"] if config["gates"] else []),
    ]
    return [SMOKE, *CHOICE, *(f"results/{name}.json" for name in names), RULEGRAPH]


def report_title():
    """What the report and the lineage page are called."""
    run = f"run {EXPORT_RUN}" if EXPORT_RUN else "run by lowest dev loss"
    return f"MindTune: {config['model']['id'] or 'local model'}, {run}"


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
        tables=[f"results/tables/{table}.md" for table in ("summary", "evaluation", "worse")]
        + ["results/tables/raters.md"] * bool(RATED_PATH)
        + expand("results/runs/{run}/drift.md", run=TALKING_RUNS),
        # replies side by side, of the run that is exported; a choice is among runs on one dataset
        base=expand(
            "results/base/replies/{dataset}/{suite}.jsonl",
            dataset=dataset_of(CANDIDATES[0]),
            suite=DIALOGUE_SUITES,
        ),
        tuned=expand(
            "results/runs/{run}/replies/{suite}.jsonl",
            run=CANDIDATES,
            suite=DIALOGUE_SUITES,
        ),
        choice=CHOICE,
        env=ancient(env_ready("core")),
    output:
        report=report("results/report/report.html", category="report"),
        record="results/report/write_report.json",
    log:
        "logs/report/write_report.log",
    localrule: True
    params:
        code=code_hash("write_report.py"),
        title=report_title(),
        run=EXPORT_RUN or "",
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
            --tuned @<(printf '%s\n' {input.tuned:q}) \
            --run {params.run:q} \
            --choice {input.choice:q} \
            --seed {params.seed:q} \
            --title {params.title:q} \
            --report {output.report:q} \
            --record {output.record:q}
        """


rule write_chart:
    """The CHART checklist, each line linked to the records that answer it."""
    input:
        records=[path for path in all_records() if path != RULEGRAPH],
        env=ancient(env_ready("core")),
    output:
        chart="results/report/chart.md",
        record="results/report/write_chart.json",
    log:
        "logs/report/write_chart.log",
    localrule: True
    params:
        code=code_hash("write_chart.py"),
    shell:
        r"""
        exec >{log:q} 2>&1
        {PY[core]:q} {SCRIPTS:q}/write_chart.py \
            --records @<(printf '%s\n' {input.records:q}) \
            --chart {output.chart:q} \
            --record {output.record:q}
        """


rule draw_lineage:
    """Draw what came from what: the lineage page, and the graphs of rules, jobs and files."""
    input:
        records=[
            *all_records(),
            "results/report/write_report.json",
            "results/report/write_chart.json",
        ],
        table="results/tables/evaluation.csv",
        env=ancient(env_ready("core")),
    output:
        page=report("results/report/lineage.html", category="report"),
        graphs=directory("results/report/graphs"),
        record="results/report/draw_lineage.json",
    log:
        "logs/report/draw_lineage.log",
    localrule: True
    params:
        code=code_hash(
            "draw_lineage.py",
            "mindtune/audit/job_graph.py",
            "mindtune/audit/lineage.js",
        ),
        title=report_title(),
        # the graph is a function of the rules' text and of the records' names, which are inputs
        rules=rules_hash(),
    shell:
        r"""
        exec 2>{log:q}
        {DRIVER_PYTHON:q} {SCRIPTS:q}/mindtune/audit/job_graph.py \
            --snakefile {SNAKEFILE:q} \
            --start {START:q} \
            | {PY[core]:q} {SCRIPTS:q}/draw_lineage.py \
                --graph - \
                --records @<(printf '%s\n' {input.records:q}) \
                --table {input.table:q} \
                --start {START_FILE:q} \
                --code {BASE:q} \
                --title {params.title:q} \
                --page {output.page:q} \
                --graphs {output.graphs:q} \
                --record {output.record:q} \
                >&2
        """


rule archive_run:
    """What a stranger needs to check and repeat a run, in one zip; only if asked for by name."""
    input:
        records=all_records(),
        pages=expand(
            "results/report/{page}.json",
            page=["write_report", "write_chart", "draw_lineage"],
        ),
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
