"""
Stage: train.  A LoRA adapter from the training split, by ms-swift.

INPUTS   results/data/{dataset}/train.jsonl, dev.jsonl, results/base/tokenizer/, results/base/model/
OUTPUTS  results/data/{dataset}/cached/, for all its runs
         results/runs/{run}/cached/ in the order of the run's seed, pack_stats.json, adapter/,
         history.csv, figures/
STATE    state/train/{run}/<key>/   checkpoints and the offline SwanLab run; key = hash of data,
         model, settings and code. Not declared, because Snakemake deletes the outputs of a job that
         fails; safe to delete when nothing runs.
"""

# What decides which packs and steps a run makes of its dialogues
PACKS = ("max_length", "packing", "batch_size", "grad_accumulation", "epochs", "gpus")


rule cache_dataset:
    """Tokenise with the trainer's own template, once for all runs; no GPU waits for it."""
    input:
        train="results/data/{dataset}/train.jsonl",
        dev="results/data/{dataset}/dev.jsonl",
        split_record=lambda w: ancient(split_record(w.dataset)),
        tokenizer=ancient("results/base/tokenizer"),
        tokenizer_record="results/base/fetch_tokenizer.json",
        canaries=[at(CANARIES)] if config["data"]["canaries"]["copies"] else [],
        env=ancient(env_ready("train")),
    output:
        cached=directory("results/data/{dataset}/cached"),
        record="results/data/{dataset}/cache_dataset.json",
    log:
        "logs/data/{dataset}/cache_dataset.log",
    benchmark:
        "benchmarks/data/{dataset}/cache_dataset.tsv"
    priority: TRAINING_FIRST
    resources:
        preparing=ON_GPU,
        mem_mb=4000,
    params:
        code=code_hash("cache_dataset.py"),
        model=leaves_json("model/type", "model/template"),
        settings=leaves_json("train/max_length"),
        copies=config["data"]["canaries"]["copies"],
        canaries=contents(*([CANARIES] if config["data"]["canaries"]["copies"] else [])),
    shell:
        r"""
        exec >{log:q} 2>&1
        {PY[train]:q} {SCRIPTS:q}/cache_dataset.py \
            --train {input.train:q} \
            --dev {input.dev:q} \
            --tokenizer {input.tokenizer:q} \
            --made-by {input.split_record:q} {input.tokenizer_record:q} \
            --model {params.model:q} \
            --settings {params.settings:q} \
            --canaries {input.canaries:q} \
            --copies {params.copies:q} \
            --cached {output.cached:q} \
            --record {output.record:q}
        """


rule order_dialogues:
    """Put the tokenised dialogues, of a mixture its shares, into the order of a run's seed."""
    input:
        cached=lambda w: ancient(f"results/data/{dataset_of(w.run)}/cached"),
        cached_record=lambda w: f"results/data/{dataset_of(w.run)}/cache_dataset.json",
        env=ancient(env_ready("train")),
    output:
        ordered=directory("results/runs/{run}/cached"),
        record="results/runs/{run}/order_dialogues.json",
    log:
        "logs/runs/{run}/order_dialogues.log",
    benchmark:
        "benchmarks/runs/{run}/order_dialogues.tsv"
    priority: TRAINING_FIRST
    resources:
        preparing=ON_GPU,
    params:
        code=code_hash("order_dialogues.py"),
        settings=lambda w: train_json(w.run, "seed"),
        mix=lambda w: as_json(**config["runs"][w.run].get("mix", {})),
    shell:
        r"""
        exec >{log:q} 2>&1
        {PY[train]:q} {SCRIPTS:q}/order_dialogues.py \
            --cached {input.cached:q} \
            --made-by {input.cached_record:q} \
            --settings {params.settings:q} \
            --mix {params.mix:q} \
            --ordered {output.ordered:q} \
            --record {output.record:q}
        """


rule pack_stats:
    """Say exactly which packs and steps the trainer will make."""
    input:
        cached=ancient("results/runs/{run}/cached"),
        cached_record="results/runs/{run}/order_dialogues.json",
        env=ancient(env_ready("core")),
    output:
        lengths=report("results/runs/{run}/figures/lengths.svg", category="data"),
        fill=report("results/runs/{run}/figures/fill.svg", category="data"),
        record="results/runs/{run}/pack_stats.json",
    log:
        "logs/runs/{run}/pack_stats.log",
    benchmark:
        "benchmarks/runs/{run}/pack_stats.tsv"
    priority: TRAINING_FIRST
    resources:
        preparing=ON_GPU,
    params:
        code=code_hash("pack_stats.py"),
        settings=lambda w: train_json(w.run, *PACKS),
    shell:
        r"""
        exec >{log:q} 2>&1
        {PY[core]:q} {SCRIPTS:q}/pack_stats.py \
            --cached {input.cached:q} \
            --made-by {input.cached_record:q} \
            --settings {params.settings:q} \
            --lengths-figure {output.lengths:q} \
            --fill-figure {output.fill:q} \
            --record {output.record:q}
        """


rule train_lora:
    """Fine-tune; goes on from its own state after a kill, a time limit or a preemption."""
    input:
        cached=ancient("results/runs/{run}/cached"),
        cached_record="results/runs/{run}/order_dialogues.json",
        stats="results/runs/{run}/pack_stats.json",
        model=ancient("results/base/model"),
        model_record="results/base/fetch_model.json",
        env=ancient(env_ready("train")),
        quantizer=lambda w: ancient(env_ready(*quantizer(w.run))),
    output:
        adapter=directory("results/runs/{run}/adapter"),
        history="results/runs/{run}/history.csv",
        loss=report("results/runs/{run}/figures/loss.svg", category="training"),
        record="results/runs/{run}/train_lora.json",
    log:
        "logs/runs/{run}/train_lora.log",
    benchmark:
        "benchmarks/runs/{run}/train_lora.tsv"
    priority: TRAINING_FIRST
    threads: 8 if ON_GPU else 1
    resources:
        gpu=lambda w: ON_GPU * run_settings(config, w.run)["gpus"],
        mem_mb=96000 if ON_GPU else 2000,
        runtime=lambda w, attempt: 240 * attempt,
    params:
        code=code_hash("train_lora.py"),
        model=leaves_json("model/id", "model/type", "model/template"),
        decides=lambda w: train_json(w.run, without=DECIDES_NOTHING),
        settings=unseen(lambda w: train_json(w.run)),
        state="state/train/{run}",
    shell:
        r"""
        exec >{log:q} 2>&1
        {PY[train]:q} {SCRIPTS:q}/train_lora.py \
            --run {wildcards.run:q} \
            --cached {input.cached:q} \
            --pack-stats {input.stats:q} \
            --model {input.model:q} \
            --made-by {input.model_record:q} {input.cached_record:q} \
            --model-kind {params.model:q} \
            --settings {params.settings:q} \
            --quantizer {QUANTIZER:q} \
            --code {params.code:q} \
            --state-root {params.state:q} \
            --adapter {output.adapter:q} \
            --history {output.history:q} \
            --loss-figure {output.loss:q} \
            --record {output.record:q}
        """


rule sync_swanlab:
    """Send a training's offline SwanLab record to a server; only if asked for by name."""
    input:
        train_record="results/runs/{run}/train_lora.json",
        env=ancient(env_ready("train")),
    output:
        record="results/runs/{run}/sync_swanlab.json",
    log:
        "logs/runs/{run}/sync_swanlab.log",
    benchmark:
        "benchmarks/runs/{run}/sync_swanlab.tsv"
    localrule: True
    params:
        code=code_hash("sync_swanlab.py"),
        state="state/train/{run}",
    shell:
        r"""
        exec >{log:q} 2>&1
        take {GROUPS[swanlab]:q}
        {PY[train]:q} {SCRIPTS:q}/sync_swanlab.py \
            --train-record {input.train_record:q} \
            --state-root {params.state:q} \
            --project mindtune \
            --record {output.record:q}
        """
