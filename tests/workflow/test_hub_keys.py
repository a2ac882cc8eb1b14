"""A hub's keys reach the program that fetches from a hub, and no other."""

import re
import subprocess

import pytest
from planning import ROOT
from snakemake.utils import format as format_shell

TAKE = re.compile(r"^ *(\[.*take .*hub.*)$", re.M)


@pytest.mark.parametrize("rule", [0, 1])
@pytest.mark.parametrize(("local", "takes"), [("", True), ("data/对话 1", False), ("-n", False)])
def test_a_hubs_keys_are_for_hubs(rule, local, takes):
    lines = TAKE.findall((ROOT / "rules/data.smk").read_text(encoding="utf-8"))
    assert len(lines) == 2
    line = lines[rule].replace("params.local", "local").replace("GROUPS[hub]", "group")
    script = "take() { echo taken; }; " + format_shell(line, local=local, group="hub")
    said = subprocess.run(["bash", "-euc", script], capture_output=True, text=True, check=True)
    assert (said.stdout == "taken\n") is takes, said.stderr
