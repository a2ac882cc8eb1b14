"""
Stage: evaluate.  Base and tuned answer the same held-out prompts; scores with intervals and floors become tables.

INPUTS   results/data/{dataset}/test.jsonl, results/base/model/, results/runs/{run}/export/
OUTPUTS  results/base/replies/{dataset}/{suite}.jsonl, results/runs/{run}/replies/{suite}.jsonl,
         results/runs/{run}/scores/{suite}.json, results/tables/
"""

# Replies do not depend on the name under which the model is served
REPLY_ENGINE = {"model_name": "replies"}


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
        decides=engine_decides(**REPLY_ENGINE),
        engine=unseen(engine_json(**REPLY_ENGINE)),
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
        model=ancient("results/runs/{run}/merged"),
        model_record="results/runs/{run}/merge_adapter.json",
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
        decides=engine_decides(**REPLY_ENGINE),
        engine=unseen(engine_json(**REPLY_ENGINE)),
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
            --settings {params.settings:q} --scores {output.scores:q}
        """


rule evaluation_table:
    """Put every score of every run into one table, in three formats."""
    input:
        scores=expand("results/runs/{run}/scores/{suite}.json", run=RUNS, suite=SUITES),
        # no table of a model that is not what was trained
        proofs=expand("results/runs/{run}/verify.json", run=RUNS),
        env=ancient(env_ready("core")),
    output:
        csv="results/tables/evaluation.csv",
        markdown="results/tables/evaluation.md",
        latex="results/tables/evaluation.tex",
        record="results/tables/evaluation_table.json",
    log:
        "logs/tables/evaluation_table.log",
    benchmark:
        "benchmarks/tables/evaluation_table.tsv"
    localrule: True
    params:
        code=code_hash("evaluation_table.py"),
        runs=[run for run in RUNS for _ in SUITES],
    shell:
        r"""
        exec >{log:q} 2>&1
        {PY[core]:q} {SCRIPTS:q}/evaluation_table.py \
            --scores @<(printf '%s\n' {input.scores:q}) --runs @<(printf '%s\n' {params.runs:q}) \
            --csv {output.csv:q} --markdown {output.markdown:q} --latex {output.latex:q} --record {output.record:q}
        """
