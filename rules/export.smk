"""
Stage: export.  Adapter and base become one model, which is proven before it can be shipped.

INPUTS   results/runs/{run}/adapter/, results/base/model/
OUTPUTS  results/runs/{run}/merged/, verify.json, export/; results/export/ for the run that
         export.run names or lets a figure choose (results/choose_run.json). No plan needs to know
         which that is: the exports are hard links, one a run

An export is the merged files, by hard links, with a card and a manifest. What needs the model
alone, replies and the smoke test, takes merged/: a licence, the proof's settings or a word on the
card reach neither.
"""

from mindtune.config_signing import AMBIENT

SIGNING_KEY, CERTIFICATE = (
    [config["export"][key]] if config["export"][key] else []
    for key in ("signing_key", "signing_certificate")
)
TOKEN = [uri for uri in [config["export"]["signing_token"]] if uri]
TOKEN_ENV = ["signing"] if TOKEN else []
LOGIN = config["export"]["signing_login"]
# A login is never an input: it is another one each time
LOGIN_AT = [LOGIN if LOGIN == AMBIENT else place(LOGIN)] if LOGIN else []
SIGSTORE = [config["export"]["sigstore"]] if LOGIN and config["export"]["sigstore"] else []
GATES = "results/gates.json" if config["gates"] else []
MUST_PASS = bool(config["gates"]) and config["export"]["require_gates"] is not False


rule merge_adapter:
    """Add the adapter to the base weights, tensor by tensor, into shards of limited size."""
    input:
        base=ancient("results/base/model"),
        base_record="results/base/fetch_model.json",
        adapter=ancient("results/runs/{run}/adapter"),
        adapter_record="results/runs/{run}/train_lora.json",
        env=ancient(env_ready("train")),
    output:
        merged=directory("results/runs/{run}/merged"),
        record="results/runs/{run}/merge_adapter.json",
    log:
        "logs/runs/{run}/merge_adapter.log",
    benchmark:
        "benchmarks/runs/{run}/merge_adapter.tsv"
    priority: PROOF_NEXT
    # a 7B has nine shards; 16 take as long, and let nothing else run on a machine with 16 cores
    threads: 8 if ON_GPU else 2
    resources:
        mem_mb=8000 if ON_GPU else 2000,
    params:
        code=code_hash("merge_adapter.py"),
        settings=leaves_json("export/dtype", "export/max_shard_size"),
    shell:
        r"""
        exec >{log:q} 2>&1
        {PY[train]:q} {SCRIPTS:q}/merge_adapter.py \
            --base {input.base:q} \
            --adapter {input.adapter:q} \
            --made-by {input.base_record:q} {input.adapter_record:q} \
            --settings {params.settings:q} \
            --threads {threads} \
            --merged {output.merged:q} \
            --record {output.record:q}
        """


rule verify_merge:
    """Prove the merge: every tensor, the logits, and how trainer and tokenizer render prompts."""
    input:
        base=ancient("results/base/model"),
        base_record="results/base/fetch_model.json",
        adapter=ancient("results/runs/{run}/adapter"),
        adapter_record="results/runs/{run}/train_lora.json",
        merged=ancient("results/runs/{run}/merged"),
        merged_record="results/runs/{run}/merge_adapter.json",
        prompts=lambda w: f"results/data/{dataset_of(w.run)}/dev.jsonl",
        prompts_record=lambda w: ancient(split_record(dataset_of(w.run))),
        env=ancient(env_ready("train")),
    output:
        verify="results/runs/{run}/verify.json",
    log:
        "logs/runs/{run}/verify_merge.log",
    benchmark:
        "benchmarks/runs/{run}/verify_merge.tsv"
    priority: PROOF_NEXT
    threads: 8 if ON_GPU else 1
    resources:
        mem_mb=48000 if ON_GPU else 2000,
    params:
        code=code_hash("verify_merge.py"),
        model=leaves_json("model/type", "model/template"),
        settings=as_json(device="cpu", **config["verify"]),
    shell:
        r"""
        exec >{log:q} 2>&1
        {PY[train]:q} {SCRIPTS:q}/verify_merge.py \
            --base {input.base:q} \
            --adapter {input.adapter:q} \
            --merged {input.merged:q} \
            --prompts {input.prompts:q} \
            --made-by {input.base_record:q} {input.adapter_record:q} \
            {input.merged_record:q} {input.prompts_record:q} \
            --model {params.model:q} \
            --settings {params.settings:q} \
            --threads {threads} \
            --verify {output.verify:q}
        """


rule export_model:
    """Ship what was proven: the merged files, a card from the records, a manifest of every byte."""
    input:
        merged=ancient("results/runs/{run}/merged"),
        verify="results/runs/{run}/verify.json",
        base=ancient("results/base/model"),
        records=lambda w: [
            "results/base/fetch_model.json",
            *of_parts(dataset_of(w.run), "fetch_dataset.json"),
            *of_parts(dataset_of(w.run), "clean_dialogues.json"),
            *of_parts(dataset_of(w.run), "split_dialogues.json"),
            *[split_record(dataset) for dataset in MIXTURES if dataset == dataset_of(w.run)],
            *[
                f"results/runs/{w.run}/{stage}.json"
                for stage in ("pack_stats", "train_lora", "merge_adapter", "verify")
            ],
        ],
        # no cycle: what is evaluated is merged/, not the export
        gates=GATES,
        locks=lambda w: [at(name) for name in lock_files(w.run)],
        key=[at(key) for key in SIGNING_KEY],
        certificate=[at(certificate) for certificate in CERTIFICATE],
        sigstore=[at(trust) for trust in SIGSTORE],
        env=ancient(env_ready("core", *TOKEN_ENV)),
    output:
        export=directory("results/runs/{run}/export"),
        record="results/runs/{run}/export_model.json",
    log:
        "logs/runs/{run}/export_model.log",
    benchmark:
        "benchmarks/runs/{run}/export_model.tsv"
    params:
        code=code_hash("export_model.py"),
        locks=lambda w: contents(*lock_files(w.run)),
        key=contents(*SIGNING_KEY, *CERTIFICATE, *SIGSTORE),
        login=LOGIN_AT,
        token=TOKEN,
        token_packages=[site_packages(VENV[env]) for env in TOKEN_ENV],
        # no input: Snakemake would note its hash, from which a short one can be guessed
        passphrase=[place(path) for path in [config["export"]["signing_passphrase"]] if path],
        price=[p for p in [config["export"]["dollars_per_gpu_hour"]] if p is not None],
        settings=lambda w: as_json(
            model=described(config["model"]),
            data_licence={
                part: spec["licence"] for part, spec in specs_of(dataset_of(w.run)).items()
            },
        ),
    shell:
        r"""
        exec >{log:q} 2>&1
        [ -z {params.login:q} ] || take {GROUPS[signing]:q} # how a job shows who it is
        {PY[core]:q} {SCRIPTS:q}/export_model.py \
            --merged {input.merged:q} \
            --verify {input.verify:q} \
            --base {input.base:q} \
            --records {input.records:q} \
            --gates {input.gates:q} \
            --run {wildcards.run:q} \
            --locks {input.locks:q} \
            --code {params.code:q} \
            --settings {params.settings:q} \
            --dollars-per-gpu-hour {params.price:q} \
            --signing-key {input.key:q} \
            --signing-token {params.token:q} \
            --token-packages {params.token_packages:q} \
            --signing-login {params.login:q} \
            --sigstore {input.sigstore:q} \
            --signing-passphrase {params.passphrase:q} \
            --signing-certificate {input.certificate:q} \
            --export {output.export:q} \
            --record {output.record:q}
        """


rule choose_run:
    """Say which run's adapter has the lowest dev loss; only where export.run asks for it."""
    input:
        histories=expand("results/runs/{run}/history.csv", run=RUNS),
        records=expand("results/runs/{run}/train_lora.json", run=RUNS),
        env=ancient(env_ready("core")),
    output:
        record="results/choose_run.json",
    log:
        "logs/choose_run.log",
    localrule: True
    params:
        code=code_hash("choose_run.py"),
    shell:
        r"""
        exec >{log:q} 2>&1
        {PY[core]:q} {SCRIPTS:q}/choose_run.py \
            --histories @<(printf '%s\n' {input.histories:q}) \
            --made-by @<(printf '%s\n' {input.records:q}) \
            --record {output.record:q}
        """


rule publish_export:
    """Put the export of the run of export.run, named or chosen, where people look for it."""
    input:
        exports=ancient(expand("results/runs/{run}/export", run=CANDIDATES)),
        export_records=expand("results/runs/{run}/export_model.json", run=CANDIDATES),
        choice=CHOICE,
        gates=GATES,
        env=ancient(env_ready("core")),
    output:
        export=directory("results/export"),
        record="results/export.json",
    log:
        "logs/publish_export.log",
    benchmark:
        "benchmarks/publish_export.tsv"
    localrule: True
    params:
        code=code_hash("publish_export.py"),
        run=EXPORT_RUN or "",
        unless_passed=[] if MUST_PASS else ["--whatever-the-verdict"],
    shell:
        r"""
        exec >{log:q} 2>&1
        {PY[core]:q} {SCRIPTS:q}/publish_export.py \
            --exports @<(printf '%s\n' {input.exports:q}) \
            --made-by @<(printf '%s\n' {input.export_records:q}) \
            --gates {input.gates:q} \
            {params.unless_passed:q} \
            --run {params.run:q} \
            --choice {input.choice:q} \
            --published {output.export:q} \
            --record {output.record:q}
        """
