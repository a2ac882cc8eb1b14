"""Snakemake's own tools on a finished project: each works, or docs/lineage.md says in a sentence
what to use instead.
"""

import re
import shutil
import subprocess
import sys
import tarfile
import zipfile

import pytest
from planning import ROOT, snakemake

DOCS = (ROOT / "docs/lineage.md").read_text(encoding="utf-8")
# What Snakemake's lint says of this workflow, all of it by decision
LINTS = {
    "Mixed rules and functions in same snakefile.",
    "Shell command directly uses variable",
    "Specify a conda environment or container for each rule.",
}


def called(project, *words):
    """What Snakemake prints, for a call that must end well."""
    status, output = snakemake(*project.command(*words))
    assert status == 0, output[-3000:]
    return output


def test_summary_says_of_every_file_that_it_is_up_to_date(project):
    for words in (("--summary",), ("--detailed-summary",)):
        lines = [line for line in called(project, *words).splitlines() if "\t" in line]
        paths = {line.split("\t")[0] for line in lines[1:]}
        assert {"results/export", "results/report/lineage.html"} <= paths
        assert all(line.rstrip().endswith("no update") for line in lines[1:])


@pytest.mark.parametrize("words", [("--dag", "dot"), ("--rulegraph", "dot"), ("--filegraph",)])
def test_graphs_are_printed(project, words):
    printed = called(project, *words)
    assert "digraph snakemake_dag" in printed and "train_lora" in printed
    assert len(re.findall(r"^\s*\d+ -> \d+", printed, re.M)) > 50


def test_the_report_holds_our_pages_as_html_and_as_zip(project):
    for name in ("own.html", "own.zip"):
        printed = called(project, "--report", name)
        assert "Adding report.html" in printed and "Adding lineage.html" in printed
    with zipfile.ZipFile(project.work / "own.zip") as archive:
        names = archive.namelist()
        assert archive.testzip() is None
    assert any(name.endswith("report.html") for name in names)
    page = (project.work / "own.html").read_text(encoding="utf-8")
    assert "train_lora" in page and "lineage.html" in page
    for name in ("own.html", "own.zip"):
        (project.work / name).unlink()


def test_lint_says_only_what_is_by_decision(project):
    status, output = snakemake(*project.command("--lint", "text"))
    said = {
        line.strip(" *").rstrip(":") for line in output.splitlines() if line.startswith("    * ")
    }
    assert status == 1
    assert {re.sub(r" variable .*", " variable", lint) for lint in said} == LINTS
    assert "`--lint` ends with status 1" in DOCS and "`make lint`" in DOCS


def test_its_archive_has_no_result_and_ours_is_named_instead(project):
    called(project, "--archive", "own.tar.gz")
    path = project.work / "own.tar.gz"
    with tarfile.open(path) as archive:
        assert not [name for name in archive.getnames() if name.startswith("results/")]
    path.unlink()
    assert "`--archive` packs no result" in DOCS and "results/archive/main.zip" in DOCS


def test_its_unit_tests_are_written_with_another_configuration(project):
    """It names the workflow's own configuration last, which so wins over the one that was given."""
    # it takes only files below the folder in which it is called
    command = [sys.executable, "-m", "snakemake", "--directory", "demo", "--configfile",
               "config/demo.yaml", "--cores", "1", "--generate-unit-tests", "own"]  # fmt: skip
    done = subprocess.run(command, cwd=project.root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    text = (project.work / "own/test_pack_stats.py").read_text(encoding="utf-8")
    shutil.rmtree(project.work / "own")
    named = re.search(r'"--configfile",\n((?: +"[^"]+",\n)+)', text)[1]
    files = [line.strip(' ",') for line in named.splitlines()]
    assert len(files) > 2 and files[files.index("--directory") - 1].endswith("config/config.yaml")
    assert "`--generate-unit-tests` writes tests" in DOCS and "`make reproduce`" in DOCS
