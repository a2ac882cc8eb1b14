"""A thousand variants of the training plan in the time that a person waits for."""

import json
import resource

from planning import ROOT, snakemake

VARIANTS, SECONDS = 1000, 25


def test_a_thousand_variants_plan_in_25_s(tmp_path):
    runs = {f"seed{number}": {"dataset": "demo", "seed": number} for number in range(VARIANTS)}
    edit = tmp_path / "runs.json"
    edit.write_text(json.dumps({"runs": runs}), encoding="utf-8")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    status, output = snakemake(
        "--snakefile", str(ROOT / "Snakefile"), "--directory", str(tmp_path), "--configfile", str(ROOT / "config/demo.yaml"),
        str(edit), "--cores", "2", "--dry-run", "--quiet", "rules", "--", "all",
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert status == 0, output[-2000:]
    # main and seed43 of the demo are among them or beside them
    assert f"train_lora {VARIANTS + 1}" in " ".join(output.split()), output[-3000:]
    # CPU time, so that a busy machine does not decide; idle, the two are the same
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert seconds <= SECONDS, f"planning took {seconds:.1f} s"
