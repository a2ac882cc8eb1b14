"""
Stage: serve.  Start the server on what an export ships, talk to it, end it, and say whether it kept
its contract.

INPUTS   results/runs/{run}/merged/
OUTPUTS  results/runs/{run}/smoke.json   only if every check passed
"""


rule verify_serving:
    """Serve the model and check its contract, measure its speed, and prove that nothing is left."""
    input:
        model=ancient("results/runs/{run}/merged"),
        model_record="results/runs/{run}/merge_adapter.json",
        env=ancient(env_ready("core", SERVE_ENV)),
    output:
        smoke="results/runs/{run}/smoke.json",
    log:
        program="logs/runs/{run}/verify_serving.log",
        server="logs/runs/{run}/verify_serving.server.log",
    benchmark:
        "benchmarks/runs/{run}/verify_serving.tsv"
    threads: 8 if ON_GPU else 1
    resources:
        gpu=ON_GPU,
        mem_mb=64000 if ON_GPU else 1000,
    params:
        code=code_hash("verify_serving.py"),
        decides=engine_decides(),
        engine=unseen(engine_json()),
        settings=as_json(near_tie=config["verify"]["max_swapped_margin"], **config["smoke"]),
    shell:
        r"""
        exec >{log.program:q} 2>&1
        {PY[core]:q} {SCRIPTS:q}/verify_serving.py \
            --model {input.model:q} \
            --made-by {input.model_record:q} \
            --engine {params.engine:q} \
            --engine-python {PY[engine]:q} \
            --settings {params.settings:q} \
            --smoke {output.smoke:q} \
            --server-log {log.server:q}
        """
