"""
Stage: serve.  Start the server on an export, talk to it, end it, and say whether it kept its contract.

INPUTS   results/runs/{run}/export/, verify.json
OUTPUTS  results/runs/{run}/smoke.json   only if every check passed
"""


rule verify_serving:
    """Serve the export; check replies, streaming, history, limits and keys, measure speeds, and prove that nothing is left."""
    input:
        export=ancient("results/runs/{run}/export"),
        export_record="results/runs/{run}/export_model.json",
        verify="results/runs/{run}/verify.json",
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
        engine=as_json(**config["serve"]),
        settings=as_json(
            near_tie=config["verify"]["max_swapped_margin"], **config["smoke"]
        ),
    shell:
        r"""
        exec >{log.program:q} 2>&1
        {PY[core]:q} {SCRIPTS:q}/verify_serving.py \
            --export {input.export:q} --verify {input.verify:q} --made-by {input.export_record:q} \
            --engine {params.engine:q} --engine-python {PY[engine]:q} \
            --settings {params.settings:q} --smoke {output.smoke:q} --server-log {log.server:q}
        """
