"""A thousand variants of the training plan in the time that a person waits for."""

import json
import resource
from pathlib import Path

from planning import ROOT, snakemake

VARIANTS, SECONDS = 1000, 25


def planning_seconds(folder: Path, variants: int) -> float:
    """CPU seconds of a plan of so many variants, so that a busy machine does not decide; idle, they are those of a clock."""
    runs = {f"seed{number}": {"dataset": "demo", "seed": number} for number in range(variants)}
    edit = folder / f"{variants}.json"
    edit.write_text(json.dumps({"runs": runs}), encoding="utf-8")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    status, output = snakemake(
        "--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder), "--configfile", str(ROOT / "config/demo.yaml"),
        str(edit), "--cores", "2", "--dry-run", "--quiet", "rules", "--", "all",
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert status == 0, output[-2000:]
    # main and seed43 of the demo are among them or beside them
    assert f"train_lora {variants + 1}" in " ".join(output.split()), output[-3000:]
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_a_thousand_variants_plan_in_25_s(tmp_path):
    """Or, where that is too much for the machine, in no more than twelve times what a tenth of them takes there."""
    seconds = planning_seconds(tmp_path, VARIANTS)
    if seconds > SECONDS:
        tenth = planning_seconds(tmp_path, VARIANTS // 10)
        assert seconds <= 12 * tenth, f"planning took {seconds:.1f} s, and {tenth:.1f} s for a tenth of the variants"
