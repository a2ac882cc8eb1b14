"""
Stage: conversations.  Simulated clients talk with base and tuned over several turns; off unless
evaluate.conversations.client names one.

INPUTS   resources/clients/*.yaml, results/data/{dataset}/train.jsonl, results/base/model/,
         results/runs/{run}/merged/
OUTPUTS  results/base/conversations/{dataset}.jsonl, results/runs/{run}/conversations.jsonl,
         results/runs/{run}/drift.{csv,md}
STATE    state/conversations/   what was said already; nothing is asked twice
"""

CONVERSATIONS = config["evaluate"]["conversations"]
PERSONAS = "resources/clients/personas.yaml"
STYLES = "resources/clients/styles.yaml"
TALKING_RUNS = RUNS if CONVERSATIONS["client"] != "none" else []
# A folder with a model that plays the clients, if there is one, as a source
CLIENT_MODEL = {
    "source": "local" if CONVERSATIONS["client"] == "model" else "",
    "path": CONVERSATIONS["path"],
}
# What a transcript depends on besides the counsellor
CLIENT_IS = as_json(
    **{key: CONVERSATIONS[key] for key in ("client", "base_url", "model")},
    files=list(CONTENTS.hashes(local_files(CLIENT_MODEL).values())),
)
TALKS = as_json(
    **{
        key: CONVERSATIONS[key]
        for key in (
            "personas",
            "turns",
            "seed",
            "max_new_tokens",
            "client_max_new_tokens",
        )
    }
)


def client_json():
    """Who plays the clients, as the program gets it; files as seen from the working directory."""
    files = {
        key: place(CONVERSATIONS[key]) if CONVERSATIONS[key] else None
        for key in ("path", "key_file")
    }
    return as_json(
        kind=CONVERSATIONS["client"],
        **{key: CONVERSATIONS[key] for key in ("base_url", "model")},
        **files,
    )


rule simulate_base_conversations:
    """Let simulated clients talk with the base model; runs on this dataset are compared with it."""
    input:
        model=ancient("results/base/model"),
        model_record="results/base/fetch_model.json",
        train="results/data/{dataset}/train.jsonl",
        split_record=lambda w: ancient(split_record(w.dataset)),
        personas=at(PERSONAS),
        styles=at(STYLES),
        client=local_inputs(CLIENT_MODEL),
        env=ancient(env_ready("core", SERVE_ENV)),
    output:
        transcripts="results/base/conversations/{dataset}.jsonl",
        record="results/base/conversations/{dataset}.json",
    log:
        program="logs/base/conversations/{dataset}.log",
        server="logs/base/conversations/{dataset}.server.log",
    benchmark:
        "benchmarks/base/conversations/{dataset}.tsv"
    priority: THEN_REPLIES
    threads: 8 if ON_GPU else 1
    resources:
        gpu=ON_GPU,
        preparing=ON_GPU * NOTHING_PREPARED,
        mem_mb=64000 if ON_GPU else 2000,
    params:
        code=code_hash("simulate_conversations.py"),
        decides=engine_decides(**REPLY_ENGINE),
        engine=unseen(engine_json(**REPLY_ENGINE)),
        contents=contents(PERSONAS, STYLES),
        who=CLIENT_IS,
        client=unseen(client_json()),
        settings=TALKS,
        system=to_param(config["evaluate"]["system"]),
        concurrency=unseen(config["evaluate"]["concurrency"]),
        state="state/conversations/base/{dataset}",
    shell:
        r"""
        exec >{log.program:q} 2>&1
        {PY[core]:q} {SCRIPTS:q}/simulate_conversations.py \
            --model {input.model:q} \
            --personas {input.personas:q} \
            --styles {input.styles:q} \
            --train {input.train:q} \
            --made-by {input.model_record:q} {input.split_record:q} \
            --system {params.system:q} \
            --client {params.client:q} \
            --settings {params.settings:q} \
            --engine {params.engine:q} \
            --engine-python {PY[engine]:q} \
            --concurrency {params.concurrency:q} \
            --code {params.code:q} \
            --state {params.state:q} \
            --transcripts {output.transcripts:q} \
            --record {output.record:q} \
            --log {log.server:q}
        """


use rule simulate_base_conversations as simulate_tuned_conversations with:
    input:
        model=ancient("results/runs/{run}/merged"),
        model_record="results/runs/{run}/merge_adapter.json",
        train=lambda w: f"results/data/{dataset_of(w.run)}/train.jsonl",
        split_record=lambda w: ancient(split_record(dataset_of(w.run))),
        personas=at(PERSONAS),
        styles=at(STYLES),
        client=local_inputs(CLIENT_MODEL),
        env=ancient(env_ready("core", SERVE_ENV)),
    output:
        transcripts="results/runs/{run}/conversations.jsonl",
        record="results/runs/{run}/conversations.json",
    log:
        program="logs/runs/{run}/conversations.log",
        server="logs/runs/{run}/conversations.server.log",
    benchmark:
        "benchmarks/runs/{run}/conversations.tsv"
    params:
        state="state/conversations/runs/{run}",


rule score_conversations:
    """Count by rules whether the clients stayed clients, with base and with tuned."""
    input:
        base=lambda w: f"results/base/conversations/{dataset_of(w.run)}.jsonl",
        tuned="results/runs/{run}/conversations.jsonl",
        records=lambda w: ancient(
            [
                f"results/base/conversations/{dataset_of(w.run)}.json",
                f"results/runs/{w.run}/conversations.json",
            ]
        ),
        personas=at(PERSONAS),
        styles=at(STYLES),
        env=ancient(env_ready("core")),
    output:
        csv="results/runs/{run}/drift.csv",
        markdown="results/runs/{run}/drift.md",
        record="results/runs/{run}/score_conversations.json",
    log:
        "logs/runs/{run}/score_conversations.log",
    localrule: True
    params:
        code=code_hash("score_conversations.py"),
        contents=contents(PERSONAS, STYLES),
    shell:
        r"""
        exec >{log:q} 2>&1
        {PY[core]:q} {SCRIPTS:q}/score_conversations.py \
            --run {wildcards.run:q} \
            --base {input.base:q} \
            --tuned {input.tuned:q} \
            --personas {input.personas:q} \
            --styles {input.styles:q} \
            --made-by {input.records:q} \
            --csv {output.csv:q} \
            --markdown {output.markdown:q} \
            --record {output.record:q}
        """
