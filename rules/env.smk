"""
Environments: one folder a stage family, pinned by a lock file, built from a package registry alone.

INPUTS   envs/{env}.lock, for a GPU envs/train-cuda.lock, for a CPU envs/train.torch, envs/build.txt
OUTPUTS  .snakemake/venvs/{env}-{hash of what it is built from}/READY

A rule builds only an environment that is not there yet. One that is there can never be out of
date, since its name holds the hash of its lock; and a job that must run again behind an `ancient()`
input would make Snakemake 9.27.1 drop every job that follows from it (dag.py, update_needrun: they
are masked, and then not reached). The rule's name stays: whoever asks for an environment a second
time, or while another start has just built it, is told that there is nothing to do.
"""

from mindtune.environments import (
    BUILD_CONSTRAINTS,
    ENVIRONMENTS,
    built_from,
    env_locks,
    site_packages,
    torch_build,
    torch_pins,
    venv_name,
    venvs_folder,
)

for env in ENVIRONMENTS:
    for path in built_from(env, ON_GPU):
        at(path)
VENV = (
    STARTED["environments"]
    if STARTED
    else {env: os.path.join(venvs_folder(BASE), venv_name(env, ON_GPU)) for env in ENVIRONMENTS}
)
PY = {env: os.path.join(VENV[env], "bin", "python") for env in ENVIRONMENTS}
PY["engine"] = PY[SERVE_ENV]
DRIVER_PYTHON = sys.executable
QUANTIZER = site_packages(VENV["qlora"])
# The environment that holds what a demo's base model is made from, by the model's name
MODEL_PACKAGE = config["model"]["id"] if config["model"]["source"] == "package" else ""


def env_ready(*envs):
    """The marker files of environments, for `ancient()` inputs, by the environments' names."""
    return [named(os.path.join(VENV[env], "READY"), f"environment {env}") for env in envs]


def pins(env):
    """Names of the files that pin an environment: its locks, and the build of torch for a CPU."""
    return [*env_locks(env, ON_GPU), *torch_pins(env, ON_GPU)]


def quantizer(run):
    """The environment that a run needs besides the trainer's, if it trains on weights in 4 bits."""
    return ["qlora"] if run_settings(config, run)["method"] == "qlora" else []


def lock_files(run):
    """Names of the files that say what trained and merged a run's model: locks and torch's pin."""
    locks = [lock for env in quantizer(run) for lock in env_locks(env, ON_GPU)]
    return [*pins("train"), BUILD_CONSTRAINTS, *locks]


for env in ENVIRONMENTS:
    if not os.path.exists(os.path.join(VENV[env], "READY")):

        rule:
            name:
                f"build_env_{env}"
            input:
                locks=[at(lock) for lock in env_locks(env, ON_GPU)],
                constraints=at(BUILD_CONSTRAINTS),
                torch=[at(pin) for pin in torch_pins(env, ON_GPU)],
            output:
                ready=os.path.join(VENV[env], "READY"),
            log:
                f"logs/envs/{os.path.basename(VENV[env])}.log",
            localrule: True
            params:
                # the folder's name promises these pins: the program stops if they changed by now
                code=code_hash(
                    "build_env.py", *[f"../{pin}" for pin in (*pins(env), BUILD_CONSTRAINTS)]
                ),
                torch=torch_build(env, ON_GPU),
                # else the first job to import a package does: 4,000 files, 10 s while a card waits
                compiled=(
                    [PY[env], "-m", "compileall", "-q", "-j", "0", site_packages(VENV[env])]
                    if ON_GPU
                    else ["true"]
                ),
            shell:
                r"""
                exec >{log:q} 2>&1
                umask 022 # public packages: a server's account runs them too
                take {GROUPS[build]:q}
                {DRIVER_PYTHON:q} {SCRIPTS:q}/build_env.py \
                    --locks {input.locks:q} \
                    --torch-pin {input.torch:q} \
                    --build-constraints {input.constraints:q} \
                    --torch={params.torch:q} \
                    --ready {output.ready:q}
                {params.compiled:q} || true # templates that are no Python lie among the packages
                """

    else:

        rule:
            name:
                f"build_env_{env}"
            input:
                os.path.join(VENV[env], "READY"),
            localrule: True
