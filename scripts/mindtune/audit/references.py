"""BibTeX of what a run used, chosen by its records: nothing is cited that was not used."""

import re
from collections.abc import Mapping
from typing import Any

from mindtune.mixture import used_sets

# key: (kind, fields); from the publishers' pages
WORKS: dict[str, tuple[str, dict[str, str]]] = {
    "snakemake": ("article", {
        "author": "M{\\\"o}lder, Felix and Jablonski, Kim Philipp and Letcher, Brice and others",
        "title": "Sustainable data analysis with {Snakemake}", "journal": "F1000Research",
        "volume": "10", "number": "33", "year": "2021", "doi": "10.12688/f1000research.29032.2"}),
    "lora": ("inproceedings", {
        "author": "Hu, Edward J. and Shen, Yelong and Wallis, Phillip and others",
        "title": "{LoRA}: Low-Rank Adaptation of Large Language Models",
        "booktitle": "International Conference on Learning Representations", "year": "2022",
        "eprint": "2106.09685", "archiveprefix": "arXiv"}),
    "qlora": ("inproceedings", {
        "author": "Dettmers, Tim and Pagnoni, Artidoro and Holtzman, Ari and Zettlemoyer, Luke",
        "title": "{QLoRA}: Efficient Finetuning of Quantized {LLM}s",
        "booktitle": "Advances in Neural Information Processing Systems", "year": "2023",
        "eprint": "2305.14314", "archiveprefix": "arXiv"}),
    "dora": ("inproceedings", {
        "author": "Liu, Shih-Yang and Wang, Chien-Yi and Yin, Hongxu and others",
        "title": "{DoRA}: Weight-Decomposed Low-Rank Adaptation",
        "booktitle": "International Conference on Machine Learning", "year": "2024",
        "eprint": "2402.09353", "archiveprefix": "arXiv"}),
    "qwen2.5": ("misc", {
        "author": "{Qwen Team}", "title": "{Qwen2.5} Technical Report", "year": "2024",
        "eprint": "2412.15115", "archiveprefix": "arXiv"}),
    "smollm2": ("misc", {
        "author": "Ben Allal, Loubna and Lozhkov, Anton and Bakouch, Elie and others",
        "title": "{SmolLM2}: When Smol Goes Big -- Data-Centric Training of a Small "
                 "Language Model",
        "year": "2025", "eprint": "2502.02737",
        "archiveprefix": "arXiv"}),
    "swift": ("misc", {
        "author": "Zhao, Yuze and Huang, Jintao and Hu, Jinghan and others",
        "title": "{SWIFT}: A Scalable lightWeight Infrastructure for Fine-Tuning", "year": "2024",
        "eprint": "2408.05517", "archiveprefix": "arXiv"}),
    "peft": ("misc", {
        "author": "Mangrulkar, Sourab and Gugger, Sylvain and Debut, Lysandre and others",
        "title": "{PEFT}: State-of-the-art Parameter-Efficient Fine-Tuning methods",
        "year": "2022", "howpublished": "\\url{https://github.com/huggingface/peft}"}),
    "transformers": ("inproceedings", {
        "author": "Wolf, Thomas and Debut, Lysandre and Sanh, Victor and others",
        "title": "Transformers: State-of-the-Art Natural Language Processing",
        "booktitle": "Proceedings of EMNLP 2020: System Demonstrations", "year": "2020",
        "doi": "10.18653/v1/2020.emnlp-demos.6"}),
    "torch": ("inproceedings", {
        "author": "Paszke, Adam and Gross, Sam and Massa, Francisco and others",
        "title": "{PyTorch}: An Imperative Style, High-Performance Deep Learning Library",
        "booktitle": "Advances in Neural Information Processing Systems", "year": "2019",
        "eprint": "1912.01703", "archiveprefix": "arXiv"}),
    "lmdeploy": ("misc", {
        "author": "{LMDeploy Contributors}",
        "title": "{LMDeploy}: A Toolkit for Compressing, Deploying, and Serving {LLM}",
        "year": "2023", "howpublished": "\\url{https://github.com/InternLM/lmdeploy}"}),
    "flashattention": ("inproceedings", {
        "author": "Dao, Tri and Fu, Daniel Y. and Ermon, Stefano and Rudra, Atri and "
                  "R{\\'e}, Christopher",
        "title": "{FlashAttention}: Fast and Memory-Efficient Exact Attention with {IO}-Awareness",
        "booktitle": "Advances in Neural Information Processing Systems", "year": "2022",
        "eprint": "2205.14135", "archiveprefix": "arXiv"}),
    "bleu": ("inproceedings", {
        "author": "Papineni, Kishore and Roukos, Salim and Ward, Todd and Zhu, Wei-Jing",
        "title": "{BLEU}: a Method for Automatic Evaluation of Machine Translation",
        "booktitle": "Proceedings of ACL 2002", "year": "2002",
        "doi": "10.3115/1073083.1073135"}),
    "sacrebleu": ("inproceedings", {
        "author": "Post, Matt", "title": "A Call for Clarity in Reporting {BLEU} Scores",
        "booktitle": "Proceedings of WMT 2018", "year": "2018", "doi": "10.18653/v1/W18-6319"}),
    "chrf": ("inproceedings", {
        "author": "Popovi{\\'c}, Maja",
        "title": "{chrF}: character n-gram F-score for automatic {MT} evaluation",
        "booktitle": "Proceedings of WMT 2015", "year": "2015", "doi": "10.18653/v1/W15-3049"}),
    "rouge": ("inproceedings", {
        "author": "Lin, Chin-Yew",
        "title": "{ROUGE}: A Package for Automatic Evaluation of Summaries",
        "booktitle": "Text Summarization Branches Out", "year": "2004", "pages": "74--81"}),
    "holm": ("article", {
        "author": "Holm, Sture", "title": "A Simple Sequentially Rejective Multiple Test Procedure",
        "journal": "Scandinavian Journal of Statistics", "volume": "6", "number": "2",
        "pages": "65--70", "year": "1979"}),
    "wilson": ("article", {
        "author": "Wilson, Edwin B.",
        "title": "Probable Inference, the Law of Succession, and Statistical Inference",
        "journal": "Journal of the American Statistical Association", "volume": "22",
        "number": "158", "pages": "209--212", "year": "1927",
        "doi": "10.1080/01621459.1927.10502953"}),
    "mcnemar": ("article", {
        "author": "McNemar, Quinn",
        "title": "Note on the sampling error of the difference between correlated proportions or "
                 "percentages",
        "journal": "Psychometrika", "volume": "12", "pages": "153--157", "year": "1947",
        "doi": "10.1007/BF02295996"}),
    "jackknife": ("book", {
        "author": "Efron, Bradley and Tibshirani, Robert J.",
        "title": "An Introduction to the Bootstrap", "publisher": "Chapman and Hall",
        "year": "1993"}),
    "rocrate": ("article", {
        "author": "Soiland-Reyes, Stian and Sefton, Peter and Crosas, Merc{\\`e} and others",
        "title": "Packaging research artefacts with {RO-Crate}", "journal": "Data Science",
        "volume": "5", "number": "2", "pages": "97--138", "year": "2022",
        "doi": "10.3233/DS-210053"}),
}  # fmt: skip
ALWAYS = ("snakemake", "rocrate")
STATISTICS = ("holm", "wilson", "mcnemar", "jackknife")
BY_PACKAGE = {"ms-swift": "swift", "peft": "peft", "transformers": "transformers",
              "torch": "torch", "lmdeploy": "lmdeploy", "sacrebleu": "sacrebleu"}  # fmt: skip
BY_METRIC = {"BLEU": "bleu", "chrF": "chrf", "ROUGE": "rouge"}
BY_METHOD = {"lora": "lora", "qlora": "qlora", "dora": "dora"}
BY_MODEL = (("qwen2.5-", "qwen2.5"), ("smollm2", "smollm2"))
HUB_PAGES = {"huggingface": "https://huggingface.co/", "modelscope": "https://modelscope.cn/"}


def used(
    config: Mapping[str, Any], records: Mapping[str, Mapping[str, Any]], metrics: set[str]
) -> list[str]:
    """The keys of WORKS that a results folder used, sorted."""
    packages = {name for record in records.values() for name in record["env"]}
    found = {*ALWAYS, *(work for name, work in BY_PACKAGE.items() if name in packages)}
    found |= {work for name, work in BY_METRIC.items() if any(m.startswith(name) for m in metrics)}
    found |= set(STATISTICS) if metrics else set()
    for record in records.values():
        if record["stage"] == "train_lora":
            found |= {BY_METHOD[m] for m in [record["params"]["method"]] if m in BY_METHOD}
            if str(record["params"]["attention"]).startswith("flash"):
                found.add("flashattention")
    name = str(config["model"].get("id") or "").lower().rpartition("/")[2]
    found |= {work for start, work in BY_MODEL if name.startswith(start)}
    return sorted(found)


def entry(kind: str, key: str, fields: Mapping[str, str]) -> str:
    """One BibTeX entry."""
    lines = "".join(f"  {name} = {{{value}}},\n" for name, value in fields.items())
    return f"@{kind}{{{key},\n{lines}}}\n"


def escaped(text: str) -> str:
    """Text in which no sign has a meaning for BibTeX."""
    return re.sub(r"([&%$#_{}])", r"\\\1", text)


def source_entry(key: str, what: str, spec: Mapping[str, Any]) -> str:
    """A model or data set of a hub, at the revision that was taken; of another one what is known,
    and who made it is not.
    """
    place = HUB_PAGES.get(spec["source"])
    name = str(spec.get("id") or spec.get("path") or key).rpartition("/" if not place else "\0")[2]
    kind = (
        "datasets/" if what == "data set" else "models/" if spec["source"] == "modelscope" else ""
    )
    fields = {"title": f"{{{escaped(name)}}} ({what})"}
    if place:
        fields["howpublished"] = f"\\url{{{place}{kind}{spec['id']}}}"
    note = [f"revision {spec['revision']}"] if spec.get("revision") else []
    note += [f"licence {spec['licence']}"] if spec.get("licence") else []
    fields |= {"note": escaped(", ".join(note))} if note else {}
    return entry("misc", re.sub(r"[^\w.-]", "-", key), fields)


def bibtex(
    config: Mapping[str, Any], records: Mapping[str, Mapping[str, Any]], metrics: set[str]
) -> str:
    """The whole file: works, then the base, then the data sets of the runs."""
    parts = [entry(WORKS[key][0], key, WORKS[key][1]) for key in used(config, records, metrics)]
    parts.append(source_entry("base-model", "base model", config["model"]))
    for name in used_sets(config):
        parts.append(source_entry(f"data-{name}", "data set", config["datasets"][name]))
    return "\n".join(parts)
