# MindTune: raw mental-health dialogues -> cleaned, packed, LoRA-tuned, merged, proven, exported,
# served and evaluated.
# The stages stand in pipeline order; config/README.md lists every setting.

from snakemake.utils import min_version

min_version("9.27.1")


# A job takes what its start wrote down (rules/start.smk), whatever the files say by then
if "start" not in config:

    configfile: f"{workflow.basedir}/config/config.yaml"


include: "rules/common.smk"
include: "rules/env.smk"
include: "rules/data.smk"
include: "rules/train.smk"
include: "rules/export.smk"
include: "rules/evaluate.smk"
include: "rules/conversations.smk"
include: "rules/judge.smk"
include: "rules/serve.smk"
include: "rules/audit.smk"
include: "rules/start.smk"


localrules:
    all,
    data,
    eval,
    smoke,
    report,


rule all:
    default_target: True
    input:
        "results/export",
        "results/tables/evaluation.csv",
        SMOKE,
        "results/report/report.html",
        "results/report/chart.md",
        "results/report/lineage.html",
        expand("results/data/{dataset}/DATASHEET.md", dataset=SETS + MIXTURES),


rule data:
    input:
        expand("results/data/{dataset}/DATASHEET.md", dataset=SETS + MIXTURES),


rule eval:
    input:
        "results/tables/evaluation.csv",


rule smoke:
    input:
        SMOKE,


rule report:
    input:
        "results/report/report.html",
        "results/report/chart.md",
        "results/report/lineage.html",
