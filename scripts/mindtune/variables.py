"""The environment that a program starts from: variables that stand in a list, and never one whose
name looks like a secret.

Libraries act on what they find in the environment: ms-swift sends a ModelScope token to its hub as
soon as it is imported. So a rule's shell un-exports everything that is not listed
(`shell_prefix`), and a program called by hand takes it out of its own environment first
(`keep_listed`, by mindtune.cli.run). What only some programs need stands in a group: see PROGRAMS.
"""

import os
from collections.abc import Iterable, Mapping, MutableMapping
from fnmatch import fnmatchcase
from pathlib import Path

# Exactly these, also where a name looks like a secret
EXACT = (
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "TERM", "TZ", "LANG", "LANGUAGE", "TMPDIR", "TMP",
    "TEMP", "PWD", "OLDPWD", "SHLVL",
    "_", "HOSTNAME", "VIRTUAL_ENV", "CC", "CXX", "CPATH", "LIBRARY_PATH", "GPU_DEVICE_ORDINAL",
    "TOKENIZERS_PARALLELISM",
    "MINDTUNE_API_KEY_FILE", "DO_NOT_TRACK", "NO_COLOR", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE",
    "HF_HUB_DISABLE_TELEMETRY",
)  # fmt: skip
# Families: the system's, Python's, the cluster's, the card's and the numeric libraries'
FAMILIES = (
    "LC_*", "LD_*", "XDG_*", "PYTHON*", "CONDA_*", "MINDTUNE_*", "SLURM*", "SBATCH_*", "SRUN_*",
    "PMI*", "OMPI_*", "CUDA*", "NVIDIA_*",
    "NCCL_*", "GLOO_*", "UCX_*", "FI_*", "IBV_*", "TORCH*", "PYTORCH_*", "TRITON_*", "LIGER_*",
    "FLASH_ATTENTION_*",
    "LMDEPLOY_*", "OMP_*", "GOMP_*", "KMP_*",
    "MKL_*", "OPENBLAS_*", "NUMEXPR_*", "RAYON_*", "MALLOC_*", "MPL*",
)  # fmt: skip
SECRETS = ("*TOKEN*", "*KEY*", "*SECRET*", "*PASSW*", "*CREDENTIAL*", "*JWT*", "*COOKIE*")
# names more variables, with spaces or commas between them; secrets excepted
MORE = "MINDTUNE_ENVIRONMENT"
NETWORK = (
    "http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY",
    "NO_PROXY", "SSL_CERT_FILE",
    "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE",
)  # fmt: skip
# What single programs need besides, secrets among it
GROUPS: Mapping[str, tuple[str, ...]] = {
    "hub": ("HF_*", "HUGGING_FACE_*", "MODELSCOPE_*", *NETWORK),
    "swanlab": ("SWANLAB_API_KEY", *NETWORK),
    "judge": ("MINDTUNE_JUDGE_KEY_*", *NETWORK),
    # what the CIs that Sigstore knows give a job to show who it is
    "signing": (
        "ACTIONS_ID_TOKEN_*",
        "GITHUB_ACTIONS",
        "GITLAB_CI",
        "SIGSTORE_ID_TOKEN",
        "BUILDKITE*",
        "CIRCLECI",
        "CIRCLE_OIDC_TOKEN*",
        "GOOGLE_SERVICE_ACCOUNT_NAME",
        *NETWORK,
    ),
    "build": ("UV_*", "PIP_*", "NETRC", *NETWORK),
    # programs that start Snakemake, whose jobs clear the environment for themselves
    "everything": ("*",),
}

# By name, and not in the programs: an environment is named by the bytes of build_env.py, among
# others
PROGRAMS = {
    "fetch_dataset.py": ("hub",),
    "fetch_model.py": ("hub",),
    "sync_swanlab.py": ("swanlab",),
    "judge_replies.py": ("judge",),
    "export_model.py": ("signing",),
    "build_env.py": ("build",),
    "lock_environments.py": ("build",),
    "bench_chain.py": ("everything",),
    "demo.py": ("everything",),
    "reproduce.py": ("everything",),
    "bench_demo.py": ("everything",),
    "slurm_doctor.py": ("everything",),
    "write_docs.py": ("everything",),
}


def is_listed(name: str, groups: Iterable[str] = (), more: str = "") -> bool:
    """True if a program that asked for `groups` may see a variable; `more` is the value of
    MINDTUNE_ENVIRONMENT.
    """
    if name in EXACT or any(
        fnmatchcase(name, pattern) for group in groups for pattern in GROUPS[group]
    ):
        return True
    if any(fnmatchcase(name.upper(), pattern) for pattern in SECRETS):
        return False
    return (
        any(fnmatchcase(name, pattern) for pattern in FAMILIES)
        or name in more.replace(",", " ").split()
    )


def listed(environ: Mapping[str, str], groups: Iterable[str] = ()) -> dict[str, str]:
    """The listed part of an environment."""
    more = environ.get(MORE, "")
    return {name: value for name, value in environ.items() if is_listed(name, groups, more)}


def keep_listed(groups: Iterable[str], environ: MutableMapping[str, str] = os.environ) -> None:
    """Take everything that is not listed out of this process's environment.

    Libraries that cache do so in the working directory, not in the user's home, where a copy of
    dialogues would outlive it; but the hubs' downloads stay where the user has them, and Triton's
    kernels where the user wants them or a server may not write here.
    """
    for name in environ.keys() - listed(environ, groups).keys():
        del environ[name]
    if not {"hub", "everything"} & set(groups):
        environ.update(caches(Path.cwd() / ".cache"))
    if os.access(Path.cwd(), os.W_OK):
        environ.setdefault("TRITON_CACHE_DIR", str(Path.cwd() / ".cache/triton"))


def caches(folder: Path) -> dict[str, str]:
    """Variables that put the caches of the Hugging Face and ModelScope libraries into a folder."""
    return {"HF_HOME": str(folder / "huggingface"), "MODELSCOPE_CACHE": str(folder / "modelscope")}


def shell_prefix() -> str:
    """Bash that un-exports what is not listed; `take PATTERN...` exports variables again, for a
    rule that needs a group.
    """
    return (
        'only_listed() { local name; for name in $(compgen -A function); do export -nf "$name"; '
        "done; "
        "for name in $(compgen -e); do "
        f"case $name in {'|'.join(EXACT)}) continue;; esac; "
        f'case ${{name^^}} in {"|".join(SECRETS)}) export -n "$name"; continue;; esac; '
        f"case $name in {'|'.join(FAMILIES)}) continue;; esac; "
        f'case " ${{{MORE}-}} " in *[\\ ,]"$name"[\\ ,]*) continue;; esac; export -n "$name"; '
        f"done; }}; "
        "take() { local name pattern; for name in $(compgen -v); do for pattern; do "
        'case $name in $pattern) export "$name";; esac; done; done; }; only_listed; '
    )
