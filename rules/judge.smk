"""
Stage: judge.  Judges answer the questions of rubrics about replies and conversations; without one
nothing runs.

INPUTS   config/rubrics/*.yaml, results/base/replies/, results/runs/{run}/replies/, people's answers
         and, with evaluate.conversations, results/{base,runs/{run}}/conversations
OUTPUTS  results/judge/answers.jsonl (every request with its raw answer), judge_replies.json,
         results/runs/{run}/items/{rubric}.parquet, results/runs/{run}/scores/{rubric}.json
STATE    state/judge/   answers that came in already; nothing is paid for twice

A rubric is a file in config/rubrics, and its scores are those of a suite with its name.
"""

JUDGES = config["judge"]["models"]
# What a judge's answers depend on, and what only says how to reach it
JUDGE_DECIDES = ("base_url", "model", "path", "max_tokens")
JUDGE_LIMITS = (
    "max_items",
    "pairs",
    "concurrency",
    "timeout_s",
    "patience_s",
    "budget",
)
LOCAL_JUDGES = [name for name, judge in JUDGES.items() if judge["path"]]


# Before a plan: a file that is missing behind an input function would be silence
for judge in JUDGES.values():
    if judge["path"]:
        at(os.path.join(judge["path"], "config.json"))


def judges_json():
    """Every judge as the program gets it; its files as seen from the working directory."""
    return as_json(
        **{
            name: judge | {key: place(judge[key]) for key in ("path", "key_file") if judge[key]}
            for name, judge in JUDGES.items()
        }
    )


def judged_replies():
    """{file of replies or conversations: {"dataset", "run", "suite"}}, base's with an empty run."""
    suites = sorted({suite for spec in config["rubrics"].values() for suite in spec["suites"]})
    found = {}
    for suite in suites:
        base, tuned = (
            (f"{WHOLE_TALKS}/{{dataset}}", WHOLE_TALKS)
            if suite == WHOLE_TALKS
            else (f"replies/{{dataset}}/{suite}", f"replies/{suite}")
        )
        for dataset in USED_DATASETS:
            found[f"results/base/{base.format(dataset=dataset)}.jsonl"] = {
                "dataset": dataset,
                "run": "",
                "suite": suite,
            }
        for run in RUNS:
            found[f"results/runs/{run}/{tuned}.jsonl"] = {
                "dataset": dataset_of(run),
                "run": run,
                "suite": suite,
            }
    return found


def rubric_paths(*names):
    """The files that rubrics are made of, as the repository has them."""
    return sorted(
        {
            path
            for name in names
            for path in (
                config["rubrics"][name]["path"],
                *config["rubrics"][name]["reads"],
            )
        }
    )


def people_paths():
    """People's answers, if the configuration names some."""
    return [config["judge"]["people"]] if config["judge"]["people"] else []


rule judge_replies:
    """Ask the judges about what base and every run said, and keep each raw answer."""
    input:
        replies=list(judged_replies()),
        records=ancient([path.replace(".jsonl", ".json") for path in judged_replies()]),
        rubrics=[at(config["rubrics"][name]["path"]) for name in JUDGED],
        reads=[at(path) for path in rubric_paths(*JUDGED)],
        env=ancient(env_ready("judge", *([SERVE_ENV] if LOCAL_JUDGES else []))),
    output:
        answers="results/judge/answers.jsonl",
        record="results/judge/judge_replies.json",
    log:
        program="logs/judge/judge_replies.log",
        server="logs/judge/judge_replies.server.log",
    benchmark:
        "benchmarks/judge/judge_replies.tsv"
    localrule: not LOCAL_JUDGES  # compute nodes may see no endpoint
    threads: 8 if ON_GPU and LOCAL_JUDGES else 1
    resources:
        gpu=ON_GPU if LOCAL_JUDGES else 0,
        mem_mb=64000 if ON_GPU and LOCAL_JUDGES else 1000,
    params:
        code=code_hash("judge_replies.py"),
        decides=as_json(
            **{name: {key: judge[key] for key in JUDGE_DECIDES} for name, judge in JUDGES.items()}
        ),
        chosen=leaves_json("judge/max_items", "judge/pairs"),
        contents=contents(*rubric_paths(*JUDGED)),
        judges=unseen(judges_json()),
        limits=unseen(leaves_json(*(f"judge/{key}" for key in JUDGE_LIMITS))),
        about=unseen(as_json(**judged_replies())),
        tuned=as_json(id=config["model"]["id"] or "", type=config["model"]["type"]),
        engine=unseen(engine_json(model_name="judge")),
        root=unseen(BASE),
        state="state/judge",
    shell:
        r"""
        exec >{log.program:q} 2>&1
        take {GROUPS[judge]:q}
        {PY[judge]:q} {SCRIPTS:q}/judge_replies.py \
            --judges {params.judges:q} \
            --settings {params.limits:q} \
            --rubrics {input.rubrics:q} \
            --root {params.root:q} \
            --replies @<(printf '%s\n' {params.about:q}) \
            --made-by @<(printf '%s\n' {input.records:q}) \
            --tuned {params.tuned:q} \
            --engine {params.engine:q} \
            --engine-python {PY[engine]:q} \
            --state {params.state:q} \
            --answers {output.answers:q} \
            --record {output.record:q} \
            --log {log.server:q}
        """


rule score_judged:
    """Score a rubric for base and tuned from the judges' raw answers, without asking anybody."""
    input:
        answers="results/judge/answers.jsonl",
        records=ancient("results/judge/judge_replies.json"),
        rubric=lambda w: at(config["rubrics"][w.suite]["path"]),
        reads=lambda w: [at(path) for path in rubric_paths(w.suite)],
        people=[at(path) for path in people_paths()],
        env=ancient(env_ready("core")),
    output:
        item_scores="results/runs/{run}/items/{suite}.parquet",
        scores="results/runs/{run}/scores/{suite}.json",
    log:
        "logs/runs/{run}/scores/{suite}.log",
    benchmark:
        "benchmarks/runs/{run}/scores/{suite}.tsv"
    wildcard_constraints:
        suite="|".join(JUDGED) or "-",
    localrule: True
    params:
        code=code_hash("score_judged.py"),
        contents=lambda w: contents(*rubric_paths(w.suite), *people_paths()),
        dataset=lambda w: dataset_of(w.run),
        root=unseen(BASE),
    shell:
        r"""
        exec >{log:q} 2>&1
        {PY[core]:q} {SCRIPTS:q}/score_judged.py \
            --answers {input.answers:q} \
            --rubric {input.rubric:q} \
            --root {params.root:q} \
            --run {wildcards.run:q} \
            --dataset {params.dataset:q} \
            --people {input.people:q} \
            --made-by {input.records:q} \
            --items {output.item_scores:q} \
            --scores {output.scores:q}
        """
