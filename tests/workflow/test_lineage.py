"""The lineage page's arrows are Snakemake's own, each of them and no other."""

import json
import re
import subprocess
import sys
from collections import Counter

from planning import snakemake

# In a process of its own, since Snakemake's library is of one workflow a process
READ = """
import json, sys
from pathlib import Path
from mindtune.audit.dag import built_dag
from mindtune.audit.job_graph import job_graph

root, work, *files = map(Path, sys.argv[1:])
with built_dag(root / "Snakefile", work, ["all"], configfiles=files) as workflow:
    print(json.dumps(job_graph(workflow.dag)))
"""
FILES = re.compile(r"^    (input|output): (.*)$", re.M)


def read_graph(project):
    """The jobs as the page gets them."""
    files = [str(project.root / "config/demo.yaml"), str(project.edit)]
    command = [sys.executable, "-c", READ, str(project.root), str(project.work), *files]
    done = subprocess.run(command, capture_output=True, text=True, cwd=project.root / "scripts")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def printed_jobs(project):
    """(inputs, outputs) of each job, as a dry run prints them."""
    status, output = snakemake(*project.command("--dry-run", "--forceall"))
    assert status == 0, output
    jobs = re.split(r"^(?:local)?rule \w+:$", output.partition("Job stats")[2], flags=re.M)[1:]
    found = []
    for job in jobs:
        sides = {side: set(names.split(", ")) for side, names in FILES.findall(job)}
        found.append((sides.get("input", set()), frozenset(sides.get("output", set()))))
    return found


def test_the_arrows_are_those_that_the_files_say(project):
    """A file goes from the job that makes it to every job that reads it: set-equal."""
    jobs, printed = read_graph(project), printed_jobs(project)
    assert len(jobs) == len(printed)
    maker = {path: outputs for _, outputs in printed for path in outputs}
    wanted = {
        (maker[path], outputs) for inputs, outputs in printed for path in inputs if path in maker
    }
    made = [frozenset(job["outputs"]) for job in jobs]
    assert {(made[n], made[j]) for j, job in enumerate(jobs) for n in job["needs"]} == wanted
    assert len(wanted) > 150


def test_the_arrows_are_those_that_snakemake_draws(project):
    status, output = snakemake(*project.command("--d3dag", "--forceall"))
    assert status == 0, output
    [line] = [line for line in output.splitlines() if line.startswith('{"nodes"')]
    own = json.loads(line)
    rule = {node["id"]: node["value"]["rule"] for node in own["nodes"]}
    jobs = read_graph(project)
    assert Counter(rule.values()) == Counter(job["rule"] for job in jobs)
    assert Counter((rule[edge["u"]], rule[edge["v"]]) for edge in own["edges"]) == Counter(
        (jobs[n]["rule"], job["rule"]) for job in jobs for n in job["needs"]
    )
