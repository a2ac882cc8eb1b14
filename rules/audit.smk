"""
Stage: audit.  What somebody else reads: the report, and the graph of the rules.

INPUTS   records and figures of all stages
OUTPUTS  results/report/report.html, rulegraph.svg, dag.mmd, and a record a rule
"""

SNAKEFILE = place("Snakefile")


def rule_families():
    """{rule: stage file it stands in}, for the colours of the graph; the same whichever environments are built."""
    return {f"build_env_{env}": "env" for env in ENVIRONMENTS} | {
        job.name: Path(job.snakefile).stem
        for job in workflow.rules
        if Path(job.snakefile).suffix == ".smk"
    }


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
        records=[
            "results/base/fetch_tokenizer.json",
            "results/base/fetch_model.json",
            *expand(
                "results/data/{dataset}/{stage}.json",
                dataset=USED_DATASETS,
                stage=[
                    "fetch_dataset",
                    "clean_dialogues",
                    "split_dialogues",
                    "write_datasheet",
                    "cache_dataset",
                ],
            ),
            *expand(
                "results/base/replies/{dataset}/{suite}.json",
                dataset=USED_DATASETS,
                suite=SUITES,
            ),
            *expand(
                "results/runs/{run}/{stage}.json",
                run=RUNS,
                stage=[
                    "order_dialogues",
                    "pack_stats",
                    "train_lora",
                    "merge_adapter",
                    "verify",
                    "export_model",
                ],
            ),
            *expand("results/runs/{run}/replies/{suite}.json", run=RUNS, suite=SUITES),
            *expand("results/runs/{run}/scores/{suite}.json", run=RUNS, suite=SUITES),
            f"results/runs/{EXPORT_RUN}/smoke.json",
            "results/export.json",
            "results/tables/evaluation_table.json",
            "results/report/rulegraph.json",
        ],
        images=[
            "results/report/rulegraph.svg",
            *expand(
                "results/runs/{run}/figures/{figure}.svg",
                run=RUNS,
                figure=["lengths", "fill", "loss"],
            ),
        ],
        table="results/tables/evaluation.md",
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
    shell:
        r"""
        exec >{log:q} 2>&1
        # a program's arguments have 2 MB in all; lists that grow with the runs go through a file
        {PY[core]:q} {SCRIPTS:q}/write_report.py \
            --records @<(printf '%s\n' {input.records:q}) \
            --images @<(printf '%s\n' {input.images:q}) \
            --tables {input.table:q} \
            --title {params.title:q} \
            --report {output.report:q} \
            --record {output.record:q}
        """
