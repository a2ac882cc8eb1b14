"""
Stage: evaluate.  Base and tuned answer the same held-out prompts; scores with intervals and floors become tables.

INPUTS   results/data/{dataset}/test.jsonl, results/base/model/, results/runs/{run}/export/
OUTPUTS  results/base/replies/{dataset}/{suite}.jsonl, results/runs/{run}/replies/{suite}.jsonl,
         results/runs/{run}/items/{suite}.parquet, results/runs/{run}/scores/{suite}.json,
         results/tables/, results/gates.json
"""

# Replies do not depend on the name under which the model is served
REPLY_ENGINE = as_json(**{**config["serve"], "model_name": "replies"})
# What every table and gate is made from, and the records that stand behind it
ITEMS = expand("results/runs/{run}/items/{suite}.parquet", run=RUNS, suite=SUITES)
ITEM_RECORDS = expand("results/runs/{run}/scores/{suite}.json", run=RUNS, suite=SUITES)


rule generate_base_replies:
    """Let the base model answer; every run on this dataset is compared with these replies."""
    input:
        model=ancient("results/base/model"),
        model_record="results/base/fetch_model.json",
        prompts="results/data/{dataset}/test.jsonl",
        prompts_record=ancient("results/data/{dataset}/split_dialogues.json"),
        env=ancient(env_ready("core", SERVE_ENV)),
    output:
        replies="results/base/replies/{dataset}/{suite}.jsonl",
        record="results/base/replies/{dataset}/{suite}.json",
    log:
        program="logs/base/replies/{dataset}/{suite}.log",
        server="logs/base/replies/{dataset}/{suite}.server.log",
    benchmark:
        "benchmarks/base/replies/{dataset}/{suite}.tsv"
    threads: 8 if ON_GPU else 1
    resources:
        gpu=ON_GPU,
        mem_mb=64000 if ON_GPU else 1000,
    params:
        code=code_hash("generate_replies.py"),
        engine=REPLY_ENGINE,
        settings=lambda w: as_json(**config["evaluate"][w.suite]),
    shell:
        r"""
        exec >{log.program:q} 2>&1
        {PY[core]:q} {SCRIPTS:q}/generate_replies.py \
            --model {input.model:q} --suite {wildcards.suite:q} --prompts {input.prompts:q} \
            --made-by {input.model_record:q} {input.prompts_record:q} \
            --engine {params.engine:q} --engine-python {PY[engine]:q} --settings {params.settings:q} \
            --replies {output.replies:q} --record {output.record:q} --log {log.server:q}
        """


rule generate_tuned_replies:
    """Let the exported model answer the same prompts."""
    input:
        model=ancient("results/runs/{run}/export"),
        model_record="results/runs/{run}/export_model.json",
        prompts=lambda w: f"results/data/{dataset_of(w.run)}/test.jsonl",
        prompts_record=lambda w: ancient(
            f"results/data/{dataset_of(w.run)}/split_dialogues.json"
        ),
        env=ancient(env_ready("core", SERVE_ENV)),
    output:
        replies="results/runs/{run}/replies/{suite}.jsonl",
        record="results/runs/{run}/replies/{suite}.json",
    log:
        program="logs/runs/{run}/replies/{suite}.log",
        server="logs/runs/{run}/replies/{suite}.server.log",
    benchmark:
        "benchmarks/runs/{run}/replies/{suite}.tsv"
    threads: 8 if ON_GPU else 1
    resources:
        gpu=ON_GPU,
        mem_mb=64000 if ON_GPU else 1000,
    params:
        code=code_hash("generate_replies.py"),
        engine=REPLY_ENGINE,
        settings=lambda w: as_json(**config["evaluate"][w.suite]),
    shell:
        r"""
        exec >{log.program:q} 2>&1
        {PY[core]:q} {SCRIPTS:q}/generate_replies.py \
            --model {input.model:q} --suite {wildcards.suite:q} --prompts {input.prompts:q} \
            --made-by {input.model_record:q} {input.prompts_record:q} \
            --engine {params.engine:q} --engine-python {PY[engine]:q} --settings {params.settings:q} \
            --replies {output.replies:q} --record {output.record:q} --log {log.server:q}
        """


rule score_dialogue:
    """Compare replies with the counsellors' own: BLEU, chrF, ROUGE with Chinese tokenizers, beside floors."""
    input:
        base=lambda w: f"results/base/replies/{dataset_of(w.run)}/dialogue.jsonl",
        tuned="results/runs/{run}/replies/dialogue.jsonl",
        replies_records=lambda w: [
            ancient(f"results/base/replies/{dataset_of(w.run)}/dialogue.json"),
            ancient(f"results/runs/{w.run}/replies/dialogue.json"),
        ],
        env=ancient(env_ready("core")),
    output:
        item_scores="results/runs/{run}/items/dialogue.parquet",
        scores="results/runs/{run}/scores/dialogue.json",
    log:
        "logs/runs/{run}/scores/dialogue.log",
    benchmark:
        "benchmarks/runs/{run}/scores/dialogue.tsv"
    params:
        code=code_hash("score_dialogue.py"),
        settings=as_json(**config["evaluate"]["score"]),
    shell:
        r"""
        exec >{log:q} 2>&1
        {PY[core]:q} {SCRIPTS:q}/score_dialogue.py \
            --base {input.base:q} --tuned {input.tuned:q} --made-by {input.replies_records:q} \
            --settings {params.settings:q} --run {wildcards.run:q} \
            --items {output.item_scores:q} --scores {output.scores:q}
        """


rule evaluation_table:
    """Make tables, summary and forest plot from the item scores of every run and suite."""
    input:
        item_scores=ITEMS,
        records=ancient(ITEM_RECORDS),
        env=ancient(env_ready("core")),
    output:
        csv="results/tables/evaluation.csv",
        markdown="results/tables/evaluation.md",
        latex="results/tables/evaluation.tex",
        summary="results/tables/summary.md",
        worse="results/tables/worse.md",
        forest="results/tables/differences.svg",
        record="results/tables/evaluation_table.json",
    log:
        "logs/tables/evaluation_table.log",
    benchmark:
        "benchmarks/tables/evaluation_table.tsv"
    localrule: True
    params:
        code=code_hash("evaluation_table.py"),
    shell:
        r"""
        exec >{log:q} 2>&1
        {PY[core]:q} {SCRIPTS:q}/evaluation_table.py \
            --items @<(printf '%s\n' {input.item_scores:q}) --made-by @<(printf '%s\n' {input.records:q}) \
            --csv {output.csv:q} --markdown {output.markdown:q} --latex {output.latex:q} \
            --summary {output.summary:q} --worse {output.worse:q} --forest {output.forest:q} --record {output.record:q}
        """


rule decide_gates:
    """Decide for every run which gates of the configuration it passes; a gate that fails is no error here."""
    input:
        item_scores=ITEMS,
        records=ancient(ITEM_RECORDS),
        env=ancient(env_ready("core")),
    output:
        record="results/gates.json",
    log:
        "logs/decide_gates.log",
    localrule: True
    params:
        code=code_hash("decide_gates.py"),
        gates=as_json(**config["gates"]),
    shell:
        r"""
        exec >{log:q} 2>&1
        {PY[core]:q} {SCRIPTS:q}/decide_gates.py \
            --items @<(printf '%s\n' {input.item_scores:q}) --made-by @<(printf '%s\n' {input.records:q}) \
            --gates {params.gates:q} --record {output.record:q}
        """


rule gate:
    """Fail if a gate of the exported run fails or could not be decided; what people type."""
    input:
        gates="results/gates.json",
        env=ancient(env_ready("core")),
    localrule: True
    params:
        run=EXPORT_RUN,
    shell:
        "{PY[core]:q} {SCRIPTS:q}/gate.py --gates {input.gates:q} --run {params.run:q}"
