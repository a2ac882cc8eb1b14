"""What an edit reruns: every key of the configuration, a script, a module, and what must rerun
nothing.

The table names, for each key, the rules that read it; what follows from them comes from the graph
of the rules, so the expected set is complete: a rule that reruns beyond it, or one that stays
behind, fails.
"""

# Kept long: one table says of every key and program what its edit reruns.

import re
import shutil

import pytest
import yaml
from mindtune.config import leaves, merge, read_schema, resolve
from mindtune.environments import venv_name
from planning import ROOT, snakemake

CONFIG = ROOT / "config"
SCHEMA = read_schema()
DEMO = resolve(
    merge(
        yaml.safe_load((CONFIG / "config.yaml").read_text(encoding="utf-8")),
        yaml.safe_load((CONFIG / "demo.yaml").read_text(encoding="utf-8")),
    ),
    SCHEMA,
)
REPLIES = {"generate_base_replies", "generate_baseline_replies", "generate_tuned_replies"}
LETTERS = {"measure_base_letters", "measure_tuned_letters"}
SERVED = {*REPLIES, "verify_serving"}
# Suites in which no letter is the answer
OPEN = ("dialogue", "crisis", "harmful", "identity", "over_refusal")
WITHOUT_LETTERS = ("evaluate.dialogue.", *(f"evaluate.suites.{suite}." for suite in OPEN))
PLAN = {"pack_stats", "train_lora"}

# key (a prefix ends with a dot) -> rules that read it; the first match counts
READERS = [
    ("device", None),  # contradicts the rest of the demo's settings: tested with the configuration
    ("datasets.mh.", set()),  # no run of the demo uses it
    ("datasets.demo.licence", {"write_datasheet", "export_model"}),
    ("datasets.demo.sha256", None),  # tested apart
    ("datasets.demo.id", {"write_datasheet"}),  # a local source has neither
    ("datasets.demo.revision", {"write_datasheet"}),
    ("datasets.demo.fields", {"clean_dialogues"}),
    ("datasets.demo.", {"fetch_dataset", "write_datasheet"}),
    ("matrix", None),  # further runs are another graph: test_further_runs.py
    ("data.accept_unlicensed", set()),  # only whether anything runs at all
    ("model.type", {"cache_dataset", "train_lora", "verify_merge"}),
    ("model.template", {"cache_dataset", "train_lora", "verify_merge"}),
    (
        "model.id",
        {"build_demo_tokenizer", "build_demo_model", "train_lora", "export_model", "write_report"},
    ),
    ("model.sha256", set()),  # a package has its lock
    ("model.", {"export_model"}),  # a package has no path and no revision: they only reach the card
    ("runs.main.dataset", None),  # another dataset is another graph: tested apart
    ("runs.seed43.dataset", None),
    ("runs.seed43.seed", {"order_dialogues", "train_lora"}),
    ("data.clean.", {"clean_dialogues"}),
    ("data.canaries.", None),  # one more suite is another graph: test_mixture.py
    ("data.perplexity", None),  # more rules: tested apart
    ("data.split.paraphrases.path", None),  # as well
    ("data.split.paraphrases.threshold", set()),  # nobody looks for paraphrases in the demo
    ("data.split.", {"split_dialogues"}),
    ("data.contamination.", {"split_dialogues"}),
    ("train.max_length", {"clean_dialogues", "cache_dataset", *PLAN}),
    ("train.seed", {"order_dialogues", "train_lora"}),
    ("train.attention", None),  # has one value on a CPU
    ("train.base_precision", None),  # as well
    ("train.logging_steps", set()),  # how often a training says something
    ("train.save_total_limit", set()),  # how many checkpoints stay beside the one that counts
    *[
        (f"train.{key}", PLAN)
        for key in ("packing", "batch_size", "grad_accumulation", "epochs", "gpus")
    ],
    ("train.", {"train_lora"}),
    ("export.run", {"publish_export", "verify_serving", "write_report"}),
    ("export.accept_unpinned", set()),  # only whether anything runs at all
    ("export.public_key", set()),  # what a server asks of an export, not what an export is
    ("export.dollars_per_gpu_hour", {"export_model"}),
    ("export.require_gates", set()),  # the demo has no gates: tested apart
    ("export.signing_key", {"export_model"}),
    *[
        (f"export.{key}", None)  # each goes with another key: tested apart
        for key in (
            "signing_passphrase",
            "signing_certificate",
            "signing_token",
            "sigstore",
            "authority",
            "identity",
            "issuer",
        )
    ],
    ("export.signing_login", {"export_model"}),
    ("export.revoked", set()),
    ("export.", {"merge_adapter"}),
    ("verify.max_swapped_margin", {"verify_merge", "verify_serving"}),
    ("archive.", set()),  # only what is archived when it is asked for by name
    ("verify.", {"verify_merge"}),
    ("evaluate.only", None),  # fewer suites are another graph: test_suites.py
    *[
        (f"evaluate.suites.{suite}.{key}", rules)
        for suite in (*OPEN, "knowledge", "safety")
        for key, rules in (
            ("max_new_tokens", REPLIES),
            ("max_items", {"prepare_suite"}),
            ("path", None),
        )
    ],
    ("evaluate.system", {"prepare_suite"}),
    ("evaluate.concurrency", set()),
    ("evaluate.baselines.again", None),  # a table without it is another graph: test_suites.py
    ("evaluate.baselines.prompted.", {"generate_baseline_replies"}),
    ("evaluate.dialogue.", {"prepare_suite"}),
    ("evaluate.score.", {"score_dialogue"}),
    ("evaluate.raters.path", None),  # a table more in the report: tested apart
    ("evaluate.conversations.client", None),  # more in the report: tested apart
    ("evaluate.conversations.", set()),  # the demo has none
    ("judge.models", None),  # with a judge there are more rules: tested apart
    ("judge.", set()),  # nobody judges in the demo
    ("privacy.group_readable", set()),
    ("gates", None),  # the demo has none: tested apart
    ("serve.engine", None),  # lmdeploy needs a GPU
    ("serve.model_name", {"verify_serving"}),
    *[
        (f"serve.{key}", set())  # engine transformers does not use them, or not for its replies
        for key in ("backend", "cache_max_entry_count", "memory_gib", "tp", "startup_timeout_s")
    ],
    ("serve.", {*SERVED, *LETTERS}),
    ("smoke.", {"verify_serving"}),
]
# Values that cannot be derived from the present one
VALUES = {
    "datasets.mh.source": "huggingface",
    "serve.memory_gib": 20,
    "datasets.demo.source": None,
    "model.source": None,
    "model.type": "qwen3",
    "model.template": "qwen3",
    "model.id": None,  # the other package is another environment, too
    "export.run": "seed43",
    "export.accept_unpinned": ["model"],
    "export.dtype": "float32",
    "export.max_shard_size": "1GB",
    "export.dollars_per_gpu_hour": 2.5,
    "export.require_gates": False,
    "export.signing_key": "config/hotlines.yaml",
    "export.public_key": "config/hotlines.yaml",
    "export.signing_login": "ambient",
    "export.revoked": "config/hotlines.yaml",
    "archive.data": "hashes",
    "archive.weights": "adapter",
    "verify.logits_dtype": "bfloat16",
    "serve.backend": "turbomind",
    "judge.budget": 10.0,
    "judge.people": "config/hotlines.yaml",
    "train.dtype": "bfloat16",
    "train.kernels": "plain",
    "train.method": "dora",
    "train.checkpoint": "best",
    "train.memory": "fixed",
    "evaluate.dialogue.max_turns_per_dialogue": 3,
    "evaluate.dialogue.max_dialogues": 5,
    "evaluate.conversations.base_url": "http://127.0.0.1:1/v1",
    "evaluate.conversations.personas": ["zh_widower"],
    **{f"evaluate.suites.{suite}.max_items": 3 for suite in (*OPEN, "knowledge", "safety")},
    "data.clean.role_map": {"妈妈": "human"},
    "data.clean.form": "sharegpt",
    "data.clean.over_long": "split",
    "data.clean.crisis": "with_help",
    "data.clean.bad_turns": "context",
    "data.clean.patterns": [{"name": "ad", "find": "加群"}],
    "data.clean.sources": {"zh.jsonl": {"limit": 10}},
    "datasets.demo.erased": ["0" * 64],
    "datasets.mh.erased": ["0" * 64],
    "datasets.mh.fields": {"question": "ask", "answer": "reply"},
    "datasets.demo.fields": {"question": "ask", "answer": "reply"},
    "datasets.demo.path": "resources/dialogues/zh.jsonl",
}


def other_value(key, value):
    """A valid value that differs from the present one."""
    if key in VALUES:
        return VALUES[key]
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return value * 0.99
    if isinstance(value, list):
        return value[:-1]
    if key.endswith("sha256"):
        return "0" * 64
    return f"{value or ''}x"


def readers(key):
    """The table's entry for a key."""
    for pattern, rules in READERS:
        if key == pattern or (pattern.endswith(".") and key.startswith(pattern)):
            return rules
    raise AssertionError(f"{key} is missing from READERS: say which rules read it")


def nested(path, value):
    """{"a": {"b": value}} for ("a", "b")."""
    for name in reversed(path):
        value = {name: value}
    return value


@pytest.fixture(scope="session")
def followers(project):
    """{rule: every rule that follows from it}, from Snakemake's own graph of the rules."""
    status, output = snakemake(*project.command("--rulegraph", "--forceall"))
    assert status == 0, output
    names = dict(re.findall(r'^\s*(\d+)\[label = "(\w+)', output, re.M))
    children = {name: set() for name in names.values()}
    for source, target in re.findall(r"^\s*(\d+) -> (\d+)", output, re.M):
        children[names[source]].add(names[target])

    def closure(rules):
        found, queue = set(), list(rules)
        while queue:
            rule = queue.pop()
            if rule not in found:
                found.add(rule)
                queue += children[rule]
        return found - {"all"}

    return closure


KEYS = [(path, value) for path, value in leaves(DEMO)]


@pytest.mark.parametrize(("path", "value"), KEYS, ids=[".".join(path) for path, _ in KEYS])
def test_a_key_reruns_its_readers_and_what_follows(project, followers, path, value):
    key = ".".join(path)
    rules = readers(key)
    new = other_value(key, value)
    if rules is None or new is None:
        return
    assert new != value
    # the other run is the one that is published and served
    untouched = {"publish_export", "verify_serving"} if key.startswith("runs.seed43.") else set()
    untouched |= LETTERS if key.startswith(WITHOUT_LETTERS) else set()
    assert project.planned(nested(path, new)) - {"draw_rulegraph"} == followers(
        rules
    ) - untouched - {"draw_rulegraph"}


@pytest.mark.parametrize(
    ("keys", "rules"),
    [
        (("signing_key", "signing_passphrase"), {"export_model"}),
        (("signing_key", "signing_certificate"), {"export_model"}),
        (("signing_login", "sigstore"), {"export_model"}),
        (("authority", "identity"), set()),
        (("issuer", "identity", "sigstore"), set()),
    ],
)
def test_keys_that_go_together_rerun_their_readers(project, followers, keys, rules):
    edit = {"export": dict.fromkeys(keys, "config/hotlines.yaml")}
    words = {"signing_login": "ambient", "issuer": "https://example.org"}
    edit["export"] |= {key: word for key, word in words.items() if key in keys}
    assert project.planned(edit) - {"draw_rulegraph"} == followers(rules) - {"draw_rulegraph"}


def test_only_a_key_in_hardware_asks_for_its_packages(project, followers):
    module = ROOT / "config/hotlines.yaml"
    edit = {"export": {"signing_token": f"pkcs11:token=a;object=b?module-path={module}"}}
    planned = project.planned(edit) - {"draw_rulegraph"}
    assert planned == {"build_env_signing"} | followers({"export_model"}) - {"draw_rulegraph"}


def test_nothing_is_planned_without_an_edit(project):
    assert project.planned() == set()


def test_another_dataset_of_a_run_reruns_that_run(project):
    planned = project.planned(
        {
            "runs": {"seed43": {"dataset": "zh"}},
            "datasets": {
                "zh": {**DEMO["datasets"]["demo"], "path": "resources/dialogues/zh.jsonl"}
            },
        }
    )
    assert {
        "fetch_dataset",
        "clean_dialogues",
        "cache_dataset",
        "train_lora",
        "evaluation_table",
    } <= planned
    assert "publish_export" not in planned and "build_demo_model" not in planned


def test_a_new_run_reuses_what_is_shared(project):
    other = {"dataset": "demo", "lora": {"rank": 16}, "seed": 7}
    planned = project.planned({"runs": {"rank16": other}})
    assert {"order_dialogues", "train_lora", "evaluation_table"} <= planned
    assert not planned & {
        "cache_dataset",
        "fetch_dataset",
        "clean_dialogues",
        "split_dialogues",
        "build_demo_model",
        "generate_base_replies",
        "generate_baseline_replies",
    }


def test_only_a_run_in_4_bits_asks_for_the_quantiser(project, followers):
    planned = project.planned({"runs": {"seed43": {"method": "qlora"}}})
    assert planned - {"draw_rulegraph"} == {"build_env_qlora"} | followers({"train_lora"}) - {
        "publish_export",
        "verify_serving",
        "draw_rulegraph",
    }


JUDGE = {"models": {"a": {"base_url": "http://127.0.0.1:9/v1", "model": "x"}}}


def test_a_judge_adds_its_rules_and_no_model_is_asked_again(project, followers):
    planned = project.planned({"judge": JUDGE}) - {"draw_rulegraph"}
    judging = {"build_env_judge", "judge_replies", "score_judged"}
    assert planned == judging | followers({"evaluation_table"}) - {"draw_rulegraph"}


@pytest.mark.parametrize("required", [None, True, False])
def test_a_gate_is_decided_before_a_card_is_written_and_nothing_else_reruns(
    project, followers, required
):
    gates = {"dialogue.chrF": {"max_loss": 2.0}}
    planned = project.planned({"gates": gates, "export": {"require_gates": required}})
    exported = followers({"export_model"}) - {"draw_rulegraph"}
    assert planned - {"draw_rulegraph"} == {"decide_gates", *exported}


@pytest.fixture
def edited(project):
    """Append a comment to a file of the project; taken back afterwards, with the file's time."""
    saved = []

    def edit(name):
        path = project.root / name
        saved.append((path, path.read_bytes(), path.stat()))
        path.write_bytes(
            path.read_bytes() + (b"\nEDITED = 1\n" if path.suffix == ".py" else b"\n# edited\n")
        )

    yield edit
    import os

    for path, content, stat in saved:
        path.write_bytes(content)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


@pytest.mark.parametrize(
    ("name", "rules"),
    [
        ("scripts/merge_adapter.py", {"merge_adapter"}),
        ("scripts/score_dialogue.py", {"score_dialogue"}),
        ("scripts/deploy/verify_export.py", {"publish_export"}),
        ("scripts/mindtune/train/packing.py", {"pack_stats"}),
        ("scripts/mindtune/evaluate/metrics.py", {"score_dialogue"}),
        ("scripts/mindtune/evaluate/forest.py", {"evaluation_table"}),
        (
            "scripts/mindtune/evaluate/compare.py",
            {"score_dialogue", "score_suite", "evaluation_table"},
        ),
        ("scripts/mindtune/evaluate/seeds.py", {"evaluation_table"}),
        ("scripts/mindtune/evaluate/gates.py", set()),  # the demo has none
        ("scripts/mindtune/export/choosing.py", set()),  # the demo names its run
        ("scripts/mindtune/choice.py", {"publish_export", "write_report"}),
        ("scripts/mindtune/matrix.py", set()),
        ("scripts/mindtune/audit/starts.py", set()),
        ("scripts/gate.py", set()),
        ("scripts/mindtune/train/swift.py", {"cache_dataset", "train_lora"}),
        ("scripts/mindtune/train/flags.py", {"train_lora"}),
        ("scripts/mindtune/train/swift_plugin/mindtune_plugin.py", {"train_lora"}),
        ("scripts/mindtune/train/watch.py", {"train_lora"}),
        ("scripts/mindtune/train/lora.py", {"train_lora"}),
        ("scripts/mindtune/train/isolation.py", {"train_lora"}),
        ("scripts/mindtune/train/history.py", {"train_lora"}),
        ("scripts/mindtune/train/card.py", {"train_lora"}),
        ("scripts/mindtune/train/token_columns.py", {"cache_dataset"}),
        ("scripts/mindtune/export/adapter.py", {"merge_adapter"}),
        ("scripts/mindtune/export/proof_prompts.py", {"cache_dataset"}),
        ("scripts/mindtune/nvml.py", set()),
        ("scripts/mindtune/preflight.py", set()),
        ("scripts/mindtune/cli.py", set()),
        ("scripts/mindtune/serve/transformers_server.py", SERVED),
        ("scripts/mindtune/export/model_card.md.j2", {"export_model"}),
        ("scripts/verify_merge.py", {"verify_merge"}),
        ("scripts/order_dialogues.py", {"order_dialogues"}),
        ("envs/train.lock", {"export_model"}),
        ("scripts/mindtune/data/datasheet.md.j2", {"write_datasheet"}),
        ("scripts/mindtune/batches.py", set()),  # the demo asks for neither of its users
        ("config/hotlines.yaml", {"clean_dialogues", "score_suite"}),
        ("config/suites/knowledge.yaml", set()),  # a comment
        ("scripts/prepare_suite.py", {"prepare_suite"}),
        ("scripts/mindtune/evaluate/questions.py", {"prepare_suite"}),
        ("scripts/mindtune/evaluate/letters.py", {"score_suite"}),
        ("scripts/mindtune/evaluate/scorers/crisis.py", {"score_suite"}),
        ("scripts/mindtune/evaluate/next_token.py", LETTERS),
        ("scripts/mindtune/evaluate/reply_store.py", REPLIES),
        ("resources/crisis/items.yaml", {"score_suite"}),
        ("config/rubrics/empathy.yaml", set()),  # nobody judges in the demo
        ("resources/dialogues/zh.jsonl", {"fetch_dataset"}),
        ("resources/knowledge/questions.jsonl", {"split_dialogues", "prepare_suite"}),
        ("scripts/tools/demo.py", set()),
        ("resources/README.md", set()),
    ],
)
def test_a_byte_reruns_its_users_and_what_follows(project, followers, edited, name, rules):
    edited(name)
    assert project.planned() - {"draw_rulegraph"} == followers(rules) - {"draw_rulegraph"}


@pytest.mark.parametrize(
    "name",
    ["scripts/mindtune/records.py", "scripts/train_lora.py", "scripts/mindtune/train/watch.py"],
)
def test_a_comment_or_a_docstring_reruns_nothing(project, edited, name):
    edited(name)
    path = project.root / name
    text = path.read_text(encoding="utf-8").removesuffix("\nEDITED = 1\n")
    path.write_text(
        '"""Another docstring: 说明。"""  # and a comment\n\n\n' + text.partition('"""\n')[2],
        encoding="utf-8",
    )
    assert project.planned() == set()


def test_times_alone_rerun_nothing(project):
    import os

    for path in sorted(project.root.rglob("*")):
        if path.is_file() and not path.is_relative_to(project.work):
            os.utime(path)
    assert project.planned() == set()


def test_an_environment_that_is_built_later_reruns_nothing(project):
    ready = project.root.parent / "venvs" / venv_name("serve", on_gpu=False) / "READY"
    assert not ready.exists()  # the demo does not need it, so its rule has stood in the plan so far
    ready.parent.mkdir(parents=True)
    ready.touch()
    try:
        assert project.planned() == set()
    finally:
        shutil.rmtree(ready.parent)
