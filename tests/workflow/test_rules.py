"""Properties of the rules themselves: the profile resolves, the seed's run plans, and what no rule
may do.
"""

import os
import re
import subprocess

import pytest
import yaml
from planning import ROOT, snakemake

SMK = sorted((ROOT / "rules").glob("*.smk"))


def test_the_literal_command_plans_in_a_clone(tmp_path):
    """`snakemake --profile slurm-h100 results/export -n`, typed in a fresh clone, needs no
    SLURM.
    """
    subprocess.run(["git", "clone", "--quiet", ROOT, tmp_path / "clone"], check=True)
    done = subprocess.run(
        [ROOT / ".venv/bin/snakemake", "--profile", "slurm-h100", "results/export", "-n"],
        cwd=tmp_path / "clone",
        capture_output=True,
        text=True,
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": str(tmp_path),
            "MINDTUNE_VENVS": str(tmp_path / "venvs"),
        },
    )
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    planned = set(re.findall(r"^(?:local)?rule (\w+):$", output, re.M))
    assert {
        "fetch_dataset",
        "fetch_model",
        "train_lora",
        "merge_adapter",
        "verify_merge",
        "export_model",
        "publish_export",
    } <= planned
    assert not planned & {"generate_base_replies", "evaluation_table", "build_demo_model"}
    training = output[output.index("rule train_lora:") :]
    assert "gpu=1" in training and "gpu_model=h100" in training


def test_a_wrong_key_stops_with_one_sentence(tmp_path):
    (tmp_path / "edit.yaml").write_text("train: {lerning_rate: 1.0e-4}\n")
    status, output = snakemake(
        "--snakefile",
        str(ROOT / "Snakefile"),
        "--directory",
        str(tmp_path),
        "--configfile",
        str(tmp_path / "edit.yaml"),
        "-n",
    )
    assert status == 1
    assert (
        "config key train.lerning_rate is unknown; the nearest known key is learning_rate" in output
    )
    assert "Traceback" not in output


@pytest.mark.parametrize("path", SMK, ids=lambda path: path.name)
def test_what_no_rule_may_do(path):
    text = path.read_text(encoding="utf-8")
    code = re.sub(r'"""[\s\S]*?"""', "", text)
    assert not re.search(r"^\s*(retries|script|run|message|notebook):", code, re.M), (
        "see style: retries in the profile, programs in shell"
    )
    assert "as_json(**config)" not in text and "params.config" not in text
    for block in re.findall(r'r"""[\s\S]*?"""', text):
        for word in re.findall(r"\{(?!\{)([^}]+)\}", block):
            assert word.endswith(":q") or word == "threads", f"{word} reaches the shell unquoted"


@pytest.mark.parametrize("path", SMK, ids=lambda path: path.name)
def test_every_rule_says_what_it_is_and_logs(path):
    text = path.read_text(encoding="utf-8")
    rules = re.split(r"^(?: {4})?rule (\w+):$", text, flags=re.M)[1:]
    for name, body in zip(rules[::2], rules[1::2], strict=True):
        assert re.match(r'\s*"""[A-Z]', body), f"{name} has no docstring"
        assert re.search(r"^\s*log:$", body, re.M), f"{name} has no log"


def test_params_come_from_the_library_the_script_imports():
    """Each shell command's program is the one whose hash stands in its params."""
    for path in SMK:
        for body in re.split(r"^(?: {4})?rule \w+:$", path.read_text(encoding="utf-8"), flags=re.M)[
            1:
        ]:
            programs = set(re.findall(r"\{SCRIPTS:q\}/(\w+\.py)", body))
            hashed = set(re.findall(r'code_hash\(\s*"(\w+\.py)"', body))
            assert programs == hashed, f"{path.name}: runs {programs}, tracks {hashed}"


def test_the_default_profile_is_cosmetic():
    keys = set(yaml.safe_load((ROOT / "profiles/default/config.yaml").read_text()))
    assert keys <= {
        "rerun-incomplete",
        "show-failed-logs",
        "printshellcmds",
        "max-checksum-file-size",
    }


def test_importing_torch_is_not_part_of_planning(tmp_path):
    """The Snakefile is parsed again in every job."""
    code = (
        "import sys, snakemake.cli\n"
        "try:\n"
        f"    snakemake.cli.main(['-s', {str(ROOT / 'Snakefile')!r}, '-d', {str(tmp_path)!r}, "
        f"'--configfile', {str(ROOT / 'config/demo.yaml')!r}, '-n', '-q'])\n"
        "except SystemExit:\n"
        "    pass\n"
        "print(sorted(m for m in ('torch', 'swift', 'transformers', 'datasets') if m in "
        "sys.modules))\n"
    )
    done = subprocess.run([ROOT / ".venv/bin/python", "-c", code], capture_output=True, text=True)
    assert done.stdout.strip().endswith("[]"), done.stdout + done.stderr


def test_the_picture_in_the_readme_shows_todays_rules(tmp_path):
    status, output = snakemake(
        "--snakefile",
        str(ROOT / "Snakefile"),
        "--directory",
        str(tmp_path),
        "--rulegraph",
        "--forceall",
        "all",
    )
    assert status == 0, output
    rules = {
        name
        for name in re.findall(r'\[label = "(\w+)', output)
        if not name.startswith("build_env_")
    }
    picture = (ROOT / "docs/rulegraph.svg").read_text(encoding="utf-8")
    assert rules == {name for name in rules if f"<!-- {name} -->" in picture}, "run make docs"


@pytest.mark.parametrize("path", SMK, ids=lambda path: path.name)
def test_a_folder_is_taken_with_its_record(path):
    """An `ancient()` folder alone would hide from Snakemake that its producer runs again (see
    rules/env.smk).
    """
    for body in re.split(r"^(?: {4})?rule \w+:$", path.read_text(encoding="utf-8"), flags=re.M)[1:]:
        for name, folder in re.findall(r'(\w+)=ancient\(f?"(results/[^"]+(?<!json))"\)', body):
            assert f"{name}_record=" in body or "records=" in body, (
                f"{path.name}: {folder} without a record"
            )


def test_environments_that_are_older_than_their_locks_hide_nothing(project):
    """Everything is planned in a fresh working directory, whatever the times of environments and
    locks are.
    """
    import os

    for path in (project.root / "envs").iterdir():
        os.utime(path)
    status, output = snakemake(
        *project.command("--dry-run", "--directory", str(project.root / "fresh"))
    )
    assert status == 0, output
    assert re.search(r"^all +1$", output, re.M) and re.search(r"^train_lora +2$", output, re.M), (
        output
    )


def test_asking_for_an_environment_that_is_there_is_no_mistake(project):
    """Two starts may want the same one, and whoever comes second asks for what is built by then."""
    for env, sentence in (("core", "Nothing to be done"), ("serve", "build_env_serve")):
        status, output = snakemake(*project.command("--dry-run", "--", f"build_env_{env}"))
        assert status == 0 and sentence in output, output


def test_a_torn_record_is_named_before_anything_runs(project):
    """Even one that no later stage reads: it would pass for made."""
    record = project.work / "results/data/demo/split_dialogues.json"
    whole = record.read_bytes()
    record.write_text('{"facts": {"对话', encoding="utf-8")
    try:
        status, output = snakemake(*project.command("--dry-run"))
    finally:
        record.write_bytes(whole)
    assert status == 1
    assert (
        f"{record.relative_to(project.work)} is not whole JSON" in output
        and "delete it and run again" in output
    )


def test_the_manifest_names_all_that_a_gpu_trained_with(tmp_path):
    """The locks of torch for CUDA and of the quantiser, too: they made the model as much as
    train.lock did.
    """
    edit = tmp_path / "edit.json"
    edit.write_text('{"train": {"method": "qlora"}}', encoding="utf-8")
    status, output = snakemake(
        "--snakefile", str(ROOT / "Snakefile"), "--directory", str(tmp_path), "--configfile",
        str(edit), "-n", "-p", "--", "results/export"
    )  # fmt: skip
    assert status == 0, output
    locks = re.search(r"--locks ([^\n\\]*)\\\n *--code", output)[1].split()
    assert [os.path.basename(name) for name in locks] == [
        "train.lock",
        "train-cuda.lock",
        "build.txt",
        "qlora.lock",
    ]


@pytest.mark.parametrize("path", SMK, ids=lambda path: path.name)
def test_a_result_is_read_with_the_record_of_who_made_it(path):
    """A program that reads results gets their records as --made-by; the card and the report get
    all of them as --records.
    """
    for body in re.split(r"^(?: {4})?rule \w+:$", path.read_text(encoding="utf-8"), flags=re.M)[1:]:
        inputs, command = body.split("output:")[0], body.split("shell:")[-1]
        read = [
            name
            for name in re.findall(r"\"(results/[^\"]+)\"", inputs)
            if not name.endswith(".json")
        ]
        if read and "{SCRIPTS:q}" in command:
            # a list that grows with the runs goes through a file
            given = (
                r"--made-by (@<\(printf '%s\\n' )?\{input\.|--records [^\n]*\{input\.records:q\}"
            )
            assert re.search(given, command), f"{path.name}: {read}"


@pytest.mark.parametrize("device", ["gpu", "cpu"])
def test_an_environment_for_a_card_is_compiled_before_a_job_imports_it(tmp_path, device):
    config = ROOT / "config" / ("config.yaml" if device == "gpu" else "demo.yaml")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINDTUNE_VENVS", str(tmp_path / "venvs"))
        status, output = snakemake(
            "--snakefile", str(ROOT / "Snakefile"), "--directory", str(tmp_path), "--configfile",
            str(config), "--cores", "2", "-n", "-p", "--", "build_env_train"
        )  # fmt: skip
    assert status == 0, output
    assert ("-m compileall" in output) == (device == "gpu"), output
