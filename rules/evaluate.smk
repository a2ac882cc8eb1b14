"""
Stage: evaluate.  Base and tuned answer the prompts of all suites; item scores become tables.

INPUTS   config/suites/*.yaml and the data that they name, results/base/model/,
         results/data/{dataset}/{train,test}.jsonl, results/runs/{run}/merged/
OUTPUTS  results/prompts/{dataset}/{suite}.jsonl, results/base/replies/{dataset}/{suite}.jsonl,
         results/base/baselines/{dataset}/{baseline}/{suite}.jsonl,
         results/runs/{run}/replies/{suite}.jsonl, .../letters/{suite}.jsonl,
         results/runs/{run}/items/{suite}.parquet, results/runs/{run}/scores/{suite}.json,
         results/tables/, results/gates.json; results/tables/raters.csv with evaluate.raters.path
STATE    state/replies/   replies that came in already; a new suite asks only its own prompts

A suite is a file in config/suites; nothing here knows one by its name.
"""

# Replies do not depend on the name under which the model is served
REPLY_ENGINE = {"model_name": "replies"}
# What every table and gate is made from, and the records that stand behind it
SCORED = [*SUITES, *JUDGED]
ITEMS = expand("results/runs/{run}/items/{suite}.parquet", run=RUNS, suite=SCORED)
ITEM_RECORDS = expand("results/runs/{run}/scores/{suite}.json", run=RUNS, suite=SCORED)
LONGEST = {suite: spec["max_new_tokens"] for suite, spec in config["suites"].items()}
# By the words of the keys that say it: what decides, and what make plan names
ASKED_FOR = as_json(suites={suite: {"max_new_tokens": tokens} for suite, tokens in LONGEST.items()})
# The functions that score single items; dialogues have a program of their own
DIALOGUE_SUITES = [suite for suite in SUITES if config["suites"][suite]["scorer"] == "dialogue"]
ITEM_SUITES = [suite for suite in SUITES if suite not in DIALOGUE_SUITES]
LETTER_SUITES = [suite for suite in SUITES if config["suites"][suite]["likelihood"]]
# Further replies of the base model
BASELINES = [name for name, wanted in config["evaluate"]["baselines"].items() if wanted]
BASELINE_SUITES = {f"{name}/{suite}": suite for name in BASELINES for suite in SUITES}
# The folder of filled-in sheets, if there is one, as a source
RATED_PATH = config["evaluate"]["raters"]["path"]
RATED = {"source": "local" if RATED_PATH else "", "path": RATED_PATH}
# Of a suite's file, what its prompts depend on
ASKED = (
    *("form", "dirt", "categories", "languages", "instruction"),
    *("system", "max_items", "shuffles", "sha256"),
)


# Before a plan: a file that is missing behind an input function would be silence
for spec in config["suites"].values():
    for path in [*spec["reads"], *([spec["path"]] if spec["path"] else [])]:
        at(path)


def suite_place(suite, dataset):
    """Where a suite's data lie, as seen from the working directory."""
    spec = config["suites"][suite]
    if spec["source"] == "split":
        return f"results/data/{dataset}/test.jsonl"
    if spec["source"] in ("repository", "user"):
        return place(spec["path"])
    return f"results/suites/{suite}/raw"


def suite_files(suite):
    """{path as the configuration has it: place} of a suite's own files, for other sources none."""
    spec = config["suites"][suite]
    if spec["source"] not in ("repository", "user"):
        return {}
    return local_files({"source": "local", "path": spec["path"]})


def suite_inputs(suite, dataset):
    """What a suite's prompts are made from; a hub's folder is seen by its record."""
    source = config["suites"][suite]["source"]
    if source in ("modelscope", "huggingface"):
        folder = f"results/suites/{suite}"
        return [ancient(f"{folder}/raw"), f"{folder}/fetch_suite.json"]
    if source == "split":
        return [suite_place(suite, dataset)]
    return [named(file, name) for name, file in suite_files(suite).items()]


def suite_contents(suite):
    """SHA-256 of the files that a suite's own path names."""
    files = suite_files(suite)
    return contents_of(files)


def suite_source(suite):
    """A hub's data set, as its program gets it."""
    keys = ("source", "id", "revision", "sha256", "licence")
    return {key: config["suites"][suite][key] for key in keys}


def suite_records(suite, dataset):
    """The records of the stages that made what a suite's prompts are made from."""
    records = [split_record(dataset)]
    if config["suites"][suite]["source"] in ("modelscope", "huggingface"):
        records.append(f"results/suites/{suite}/fetch_suite.json")
    return records


def letters(suite, folder):
    """The letters' likelihoods of a suite, if it measures them."""
    return f"results/{folder}/{suite}.jsonl" if suite in LETTER_SUITES else []


def baseline_replies(run, suite, kind="jsonl"):
    """The further replies of the base to a suite, or their records (json)."""
    place = f"results/base/baselines/{dataset_of(run)}"
    return [f"{place}/{baseline}/{suite}.{kind}" for baseline in BASELINES]


def replies_records(run, suite):
    """The records of all replies to a suite."""
    both = [f"base/replies/{dataset_of(run)}", f"runs/{run}/replies"]
    replies = [f"results/{place}/{suite}.json" for place in both]
    return replies + baseline_replies(run, suite, "json")


def scored_records(run, suite):
    """The records of what a suite's scores are made from."""
    dataset = dataset_of(run)
    places = [f"prompts/{dataset}"]
    if suite in LETTER_SUITES:
        places += [f"base/letters/{dataset}", f"runs/{run}/letters"]
    prompts_and_letters = [f"results/{place}/{suite}.json" for place in places]
    return prompts_and_letters + replies_records(run, suite)


def each_suite(pattern):
    """A pattern's path of every suite."""
    return expand(pattern, suite=SUITES)


def each_letters(pattern):
    """A pattern's path of every suite that measures letters."""
    return expand(pattern, suite=LETTER_SUITES)


use rule fetch_dataset as fetch_suite with:
    input:
        env=ancient(env_ready("core")),
    output:
        raw=directory("results/suites/{suite}/raw"),
        record="results/suites/{suite}/fetch_suite.json",
    log:
        "logs/suites/{suite}/fetch_suite.log",
    benchmark:
        "benchmarks/suites/{suite}/fetch_suite.tsv"
    params:
        source=lambda w: source_json(
            suite_source(w.suite), f"results/suites/{w.suite}/fetch_suite.json"
        ),
        spec=unseen(lambda w: as_json(**suite_source(w.suite))),
        local="",


rule prepare_suite:
    """Make a suite's prompts from its data, checked, with the system prompt of the training."""
    input:
        files=lambda w: suite_inputs(w.suite, w.dataset),
        train="results/data/{dataset}/train.jsonl",
        records=lambda w: ancient(suite_records(w.suite, w.dataset)),
        env=ancient(env_ready("core")),
    output:
        prompts="results/prompts/{dataset}/{suite}.jsonl",
        record="results/prompts/{dataset}/{suite}.json",
    log:
        "logs/prompts/{dataset}/{suite}.log",
    benchmark:
        "benchmarks/prompts/{dataset}/{suite}.tsv"
    localrule: True
    params:
        code=code_hash("prepare_suite.py"),
        spec=lambda w: as_json(**{key: config["suites"][w.suite][key] for key in ASKED}),
        settings=lambda w: leaves_json(
            "evaluate/system",
            *(["evaluate/dialogue"] if w.suite in DIALOGUE_SUITES else []),
        ),
        contents=lambda w: suite_contents(w.suite),
        data=unseen(lambda w: suite_place(w.suite, w.dataset)),
    shell:
        r"""
        exec >{log:q} 2>&1
        {PY[core]:q} {SCRIPTS:q}/prepare_suite.py \
            --suite {wildcards.suite:q} \
            --spec {params.spec:q} \
            --settings {params.settings:q} \
            --data {params.data:q} \
            --train {input.train:q} \
            --made-by {input.records:q} \
            --prompts {output.prompts:q} \
            --record {output.record:q}
        """


rule generate_base_replies:
    """Let the base model answer all suites; every run on this dataset is compared with it."""
    input:
        model=ancient("results/base/model"),
        model_record="results/base/fetch_model.json",
        prompts=each_suite("results/prompts/{{dataset}}/{suite}.jsonl"),
        prompts_records=ancient(each_suite("results/prompts/{{dataset}}/{suite}.json")),
        env=ancient(env_ready("core", SERVE_ENV)),
    output:
        replies=each_suite("results/base/replies/{{dataset}}/{suite}.jsonl"),
        records=each_suite("results/base/replies/{{dataset}}/{suite}.json"),
    log:
        program="logs/base/replies/{dataset}.log",
        server="logs/base/replies/{dataset}.server.log",
    benchmark:
        "benchmarks/base/replies/{dataset}.tsv"
    priority: THEN_REPLIES
    threads: 8 if ON_GPU else 1
    resources:
        gpu=ON_GPU,
        preparing=ON_GPU * NOTHING_PREPARED,
        mem_mb=64000 if ON_GPU else 1000,
    params:
        code=code_hash("generate_replies.py"),
        decides=engine_decides(**REPLY_ENGINE),
        engine=unseen(engine_json(**REPLY_ENGINE)),
        longest=ASKED_FOR,
        suites=unseen(as_json(**LONGEST)),
        systems=as_json(),
        order=[],
        concurrency=unseen(config["evaluate"]["concurrency"]),
        state="state/replies/base/{dataset}",
    shell:
        r"""
        exec >{log.program:q} 2>&1
        {PY[core]:q} {SCRIPTS:q}/generate_replies.py \
            --model {input.model:q} \
            --suites {params.suites:q} \
            --prompts {input.prompts:q} \
            --systems {params.systems:q} \
            {params.order:q} \
            --made-by {input.model_record:q} {input.prompts_records:q} \
            --engine {params.engine:q} \
            --engine-python {PY[engine]:q} \
            --concurrency {params.concurrency:q} \
            --code {params.code:q} \
            --state {params.state:q} \
            --replies {output.replies:q} \
            --records {output.records:q} \
            --log {log.server:q}
        """


use rule generate_base_replies as generate_tuned_replies with:
    input:
        model=ancient("results/runs/{run}/merged"),
        model_record="results/runs/{run}/merge_adapter.json",
        prompts=lambda w: each_suite(f"results/prompts/{dataset_of(w.run)}/{{suite}}.jsonl"),
        prompts_records=lambda w: ancient(
            each_suite(f"results/prompts/{dataset_of(w.run)}/{{suite}}.json")
        ),
        env=ancient(env_ready("core", SERVE_ENV)),
    output:
        replies=each_suite("results/runs/{{run}}/replies/{suite}.jsonl"),
        records=each_suite("results/runs/{{run}}/replies/{suite}.json"),
    log:
        program="logs/runs/{run}/replies.log",
        server="logs/runs/{run}/replies.server.log",
    benchmark:
        "benchmarks/runs/{run}/replies.tsv"
    params:
        state="state/replies/runs/{run}",


# Without a baseline the rule would have no outputs
if BASELINES:

    use rule generate_base_replies as generate_baseline_replies with:
        input:
            model=ancient("results/base/model"),
            model_record="results/base/fetch_model.json",
            prompts=expand(
                "results/prompts/{{dataset}}/{suite}.jsonl", suite=BASELINE_SUITES.values()
            ),
            prompts_records=ancient(each_suite("results/prompts/{{dataset}}/{suite}.json")),
            env=ancient(env_ready("core", SERVE_ENV)),
        output:
            replies=expand("results/base/baselines/{{dataset}}/{name}.jsonl", name=BASELINE_SUITES),
            records=expand("results/base/baselines/{{dataset}}/{name}.json", name=BASELINE_SUITES),
        log:
            program="logs/base/baselines/{dataset}.log",
            server="logs/base/baselines/{dataset}.server.log",
        benchmark:
            "benchmarks/base/baselines/{dataset}.tsv"
        params:
            suites=unseen(as_json(**{name: LONGEST[s] for name, s in BASELINE_SUITES.items()})),
            systems=as_json(
                **{
                    name: config["evaluate"]["baselines"]["prompted"]
                    for name in BASELINE_SUITES
                    if name.startswith("prompted/")
                }
            ),
            order="--reversed",
            state="state/replies/baselines/{dataset}",


# Without a suite that measures letters a rule for them would have no outputs
if LETTER_SUITES:

    rule measure_base_letters:
        """Ask the base model itself how likely each letter is; one start for all suites."""
        input:
            model=ancient("results/base/model"),
            model_record="results/base/fetch_model.json",
            prompts=each_letters("results/prompts/{{dataset}}/{suite}.jsonl"),
            prompts_records=ancient(each_letters("results/prompts/{{dataset}}/{suite}.json")),
            env=ancient(env_ready(SERVE_ENV)),
        output:
            letters=each_letters("results/base/letters/{{dataset}}/{suite}.jsonl"),
            records=each_letters("results/base/letters/{{dataset}}/{suite}.json"),
        log:
            "logs/base/letters/{dataset}.log",
        benchmark:
            "benchmarks/base/letters/{dataset}.tsv"
        priority: THEN_REPLIES
        threads: 8 if ON_GPU else 1
        resources:
            gpu=ON_GPU,
            preparing=ON_GPU * NOTHING_PREPARED,
            mem_mb=64000 if ON_GPU else 2000,
        params:
            code=code_hash("measure_letters.py"),
            decides=engine_decides(**REPLY_ENGINE),
            engine=unseen(engine_json(**REPLY_ENGINE)),
        shell:
            r"""
            exec >{log:q} 2>&1
            {PY[engine]:q} {SCRIPTS:q}/measure_letters.py \
                --model {input.model:q} \
                --prompts {input.prompts:q} \
                --made-by {input.model_record:q} {input.prompts_records:q} \
                --engine {params.engine:q} \
                --letters {output.letters:q} \
                --records {output.records:q}
            """

    use rule measure_base_letters as measure_tuned_letters with:
        input:
            model=ancient("results/runs/{run}/merged"),
            model_record="results/runs/{run}/merge_adapter.json",
            prompts=lambda w: each_letters(f"results/prompts/{dataset_of(w.run)}/{{suite}}.jsonl"),
            prompts_records=lambda w: ancient(
                each_letters(f"results/prompts/{dataset_of(w.run)}/{{suite}}.json")
            ),
            env=ancient(env_ready(SERVE_ENV)),
        output:
            letters=each_letters("results/runs/{{run}}/letters/{suite}.jsonl"),
            records=each_letters("results/runs/{{run}}/letters/{suite}.json"),
        log:
            "logs/runs/{run}/letters.log",
        benchmark:
            "benchmarks/runs/{run}/letters.tsv"


rule score_dialogue:
    """Compare replies with the counsellors' own: BLEU, chrF and ROUGE, beside floors."""
    input:
        base=lambda w: f"results/base/replies/{dataset_of(w.run)}/{w.suite}.jsonl",
        tuned="results/runs/{run}/replies/{suite}.jsonl",
        baselines=lambda w: baseline_replies(w.run, w.suite),
        replies_records=lambda w: ancient(replies_records(w.run, w.suite)),
        env=ancient(env_ready("core")),
    output:
        item_scores="results/runs/{run}/items/{suite}.parquet",
        scores="results/runs/{run}/scores/{suite}.json",
    log:
        "logs/runs/{run}/scores/{suite}.log",
    benchmark:
        "benchmarks/runs/{run}/scores/{suite}.tsv"
    wildcard_constraints:
        suite="|".join(DIALOGUE_SUITES) or "-",
    threads: 2
    params:
        code=code_hash("score_dialogue.py"),
        settings=as_json(**config["evaluate"]["score"]),
        note=lambda w: config["suites"][w.suite]["note"],
    shell:
        r"""
        exec >{log:q} 2>&1
        {PY[core]:q} {SCRIPTS:q}/score_dialogue.py \
            --base {input.base:q} \
            --tuned {input.tuned:q} \
            --baselines {input.baselines:q} \
            --made-by {input.replies_records:q} \
            --suite {wildcards.suite:q} \
            --run {wildcards.run:q} \
            --note {params.note:q} \
            --settings {params.settings:q} \
            --threads {threads} \
            --items {output.item_scores:q} \
            --scores {output.scores:q}
        """


rule score_suite:
    """Score every item of a suite, of base and tuned, by the function that its file names."""
    input:
        prompts=lambda w: f"results/prompts/{dataset_of(w.run)}/{w.suite}.jsonl",
        base=lambda w: f"results/base/replies/{dataset_of(w.run)}/{w.suite}.jsonl",
        tuned="results/runs/{run}/replies/{suite}.jsonl",
        baselines=lambda w: baseline_replies(w.run, w.suite),
        records=lambda w: ancient(scored_records(w.run, w.suite)),
        base_letters=lambda w: letters(w.suite, f"base/letters/{dataset_of(w.run)}"),
        tuned_letters=lambda w: letters(w.suite, f"runs/{w.run}/letters"),
        reads=lambda w: [at(path) for path in config["suites"][w.suite]["reads"]],
        env=ancient(env_ready("core")),
    output:
        item_scores="results/runs/{run}/items/{suite}.parquet",
        scores="results/runs/{run}/scores/{suite}.json",
    log:
        "logs/runs/{run}/scores/{suite}.log",
    benchmark:
        "benchmarks/runs/{run}/scores/{suite}.tsv"
    wildcard_constraints:
        suite="|".join(ITEM_SUITES) or "-",
    params:
        code=lambda w: code_hash(
            "score_suite.py",
            f"mindtune/evaluate/scorers/{config['suites'][w.suite]['scorer']}.py",
        ),
        scorer=lambda w: config["suites"][w.suite]["scorer"],
        contents=lambda w: contents(*config["suites"][w.suite]["reads"]),
        note=lambda w: config["suites"][w.suite]["note"],
    shell:
        r"""
        exec >{log:q} 2>&1
        {PY[core]:q} {SCRIPTS:q}/score_suite.py \
            --suite {wildcards.suite:q} \
            --run {wildcards.run:q} \
            --scorer {params.scorer:q} \
            --note {params.note:q} \
            --prompts {input.prompts:q} \
            --base {input.base:q} \
            --tuned {input.tuned:q} \
            --baselines {input.baselines:q} \
            --letters {input.base_letters:q} {input.tuned_letters:q} \
            --reads {input.reads:q} \
            --made-by {input.records:q} \
            --items {output.item_scores:q} \
            --scores {output.scores:q}
        """


rule evaluation_table:
    """Make tables, summary and forest plot from the item scores of every run and suite."""
    input:
        item_scores=ITEMS,
        records=ancient(ITEM_RECORDS),
        # no table of a model that is not what was trained
        proofs=expand("results/runs/{run}/verify.json", run=RUNS),
        env=ancient(env_ready("core")),
    output:
        csv="results/tables/evaluation.csv",
        markdown="results/tables/evaluation.md",
        latex="results/tables/evaluation.tex",
        summary="results/tables/summary.md",
        worse="results/tables/worse.md",
        seeds="results/tables/seeds.csv",
        forest="results/tables/differences.svg",
        record="results/tables/evaluation_table.json",
    log:
        "logs/tables/evaluation_table.log",
    benchmark:
        "benchmarks/tables/evaluation_table.tsv"
    localrule: True
    params:
        code=code_hash("evaluation_table.py"),
        variants=lambda w: as_json(params={"variants": variants(config, DECIDES_NOTHING)}),
    shell:
        r"""
        exec >{log:q} 2>&1
        {PY[core]:q} {SCRIPTS:q}/evaluation_table.py \
            --items @<(printf '%s\n' {input.item_scores:q}) \
            --made-by @<(printf '%s\n' {input.records:q}) \
            --variants <(printf '%s' {params.variants:q}) \
            --csv {output.csv:q} \
            --markdown {output.markdown:q} \
            --latex {output.latex:q} \
            --summary {output.summary:q} \
            --worse {output.worse:q} \
            --seeds {output.seeds:q} \
            --forest {output.forest:q} \
            --record {output.record:q}
        """


rule score_raters:
    """Score the sheets that people filled in: their agreement, and what they found."""
    input:
        sheets=local_inputs(RATED),
        # judges' verdicts; and a sheet of other replies than today's is refused
        item_scores=ITEMS,
        records=ancient(ITEM_RECORDS),
        env=ancient(env_ready("core")),
    output:
        csv="results/tables/raters.csv",
        markdown="results/tables/raters.md",
        answers="results/tables/raters.jsonl",
        record="results/tables/score_raters.json",
    log:
        "logs/tables/score_raters.log",
    localrule: True
    params:
        code=code_hash("score_raters.py"),
        contents=contents_of(local_files(RATED)),
        folder=unseen(local_place(RATED)),
    shell:
        r"""
        exec >{log:q} 2>&1
        {PY[core]:q} {SCRIPTS:q}/score_raters.py \
            --sheets {params.folder:q} \
            --key {params.folder:q}/key.json \
            --items @<(printf '%s\n' {input.item_scores:q}) \
            --made-by @<(printf '%s\n' {input.records:q}) \
            --csv {output.csv:q} \
            --markdown {output.markdown:q} \
            --answers {output.answers:q} \
            --record {output.record:q}
        """


rule decide_gates:
    """Decide for every run which gates it passes; a gate that fails is no error here."""
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
            --items @<(printf '%s\n' {input.item_scores:q}) \
            --made-by @<(printf '%s\n' {input.records:q}) \
            --gates {params.gates:q} \
            --record {output.record:q}
        """


rule gate:
    """Fail if a gate of the exported run fails or could not be decided; what people type."""
    input:
        gates="results/gates.json",
        choice=CHOICE,
        env=ancient(env_ready("core")),
    log:
        "logs/gate.log",
    localrule: True
    params:
        code=code_hash("gate.py"),
        run=EXPORT_RUN or "",
    shell:
        r"""
        {PY[core]:q} {SCRIPTS:q}/gate.py \
            --gates {input.gates:q} \
            --run {params.run:q} \
            --choice {input.choice:q} 2>&1 | tee {log:q}
        """
