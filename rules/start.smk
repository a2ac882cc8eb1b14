"""
The start: what its jobs are to do is written down once, by the process that plans them; no rules.

INPUTS   the resolved configuration, the environments, the programs and rules as they are now
OUTPUTS  .snakemake/mindtune/{hash}.json, by a start that runs something; its jobs on a cluster get
         `--config start=` that file. Needed as long as a job of that start waits or runs.
         results/starts/{number}.json, by the same start: with which code, configuration and machine
         it made what. No rule reads it.
"""

if not STARTED:
    from mindtune.audit.starts import begin, end
    from mindtune.code import keep

    START_TEXT = start_text(config, VENV, rule_files())
    keep(LOOKED_THROUGH)
    START = str(start_path(START_TEXT))
    # What Snakemake types for a job: this file, and not what it was itself started with
    workflow.config_settings.configfiles = []
    workflow.config_settings.config_args = [f"start={START}"]
    BEGUN = []

    onstart:
        if ON_GPU and workflow.local_exec and "gpu" not in workflow.global_resources:
            raise WorkflowError(
                "--jobs beside --cores looks like a cluster, so nothing counts this "
                "machine's GPUs; leave --jobs out, or add --resources gpu=N"
            )
        write_start(START_TEXT)
        BEGUN.append(begin(config, Path(workflow.basedir), snakemake_version))

    onsuccess:
        keep_made()
        end(BEGUN[0], True)

    onerror:
        keep_made()
        end(BEGUN[0], False)


START_FILE = os.path.abspath(START)

# Every job: an environment of listed variables (a rule can `take` a group of them more), UTF-8
# whatever the node's locale, one thread per library unless a program says otherwise, no hub, no
# telemetry; and where its program finds what it should be (mindtune.unchanged).
shell.prefix(
    "set -euo pipefail; "
    + shell_prefix().replace("{", "{{").replace("}", "}}")
    + "export PYTHONUTF8=1 LC_ALL=C.UTF-8 PYTHONNOUSERSITE=1 PYTHONHASHSEED=0 OMP_NUM_THREADS=1 "
    "TOKENIZERS_PARALLELISM=false DO_NOT_TRACK=1 HF_HUB_DISABLE_TELEMETRY=1 "
    "MINDTUNE_START={START_FILE:q}; "
)
