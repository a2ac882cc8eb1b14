"""The shares of a mixture: what is planned in tokens is what is taken, within one dialogue."""

import json
from pathlib import Path

import pandas
import pytest
from mindtune.cli import UserError
from mindtune.records import read_json, write_record
from mindtune.train.cached import training_order
from mindtune.train.history import reconcile
from mindtune.train.mixing import choose, wanted_tokens
from test_cached import ordered, shared

SIZES = {"a": [40, 60, 100, 30, 70] * 8, "b": [25] * 40}  # trained tokens: 2,400 and 1,000
LONGEST = 100


def table(sizes=SIZES):
    """Training dialogues of data sets with these trained tokens."""
    rows = [
        {
            "source": f"{name}:f.jsonl",
            "id": f"{name}:{n}",
            "tokens": 2 * size,
            "trained_tokens": size,
        }
        for name, found in sizes.items()
        for n, size in enumerate(found)
    ]
    return pandas.DataFrame(rows)


def tokens_of(rows, chosen):
    """Trained tokens of the chosen rows by data set."""
    taken = rows.iloc[chosen]
    return taken.trained_tokens.groupby(taken.id.str[0]).sum().to_dict()


@pytest.mark.parametrize(
    ("mix", "wanted"),
    [
        ({}, {"a": 2400, "b": 1000}),
        ({"epochs": {"b": 3}}, {"a": 2400, "b": 3000}),
        ({"epochs": {"b": 1.5}}, {"a": 2400, "b": 1500}),
        ({"max_tokens": {"a": 700}}, {"a": 700, "b": 1000}),
        ({"weights": {"a": 1, "b": 1}}, {"a": 1000, "b": 1000}),
        ({"weights": {"a": 0.3, "b": 0.1}}, {"a": 2400, "b": 800}),
        ({"weights": {"a": 1, "b": 1}, "epochs": {"b": 2}}, {"a": 2000, "b": 2000}),
        ({"temperature": 1.0}, {"a": 2400, "b": 1000}),
        ({"temperature": 2.0}, {"a": 1000 * 2.4**0.5, "b": 1000}),
        ({"temperature": 1000.0, "epochs": {"b": 9}}, {"a": 2400, "b": 2400}),
    ],
)
def test_every_set_gives_its_share_within_one_dialogue(mix, wanted):
    rows = table()
    chosen, facts = choose(rows, mix, 42)
    assert chosen == sorted(chosen)
    given = tokens_of(rows, chosen)
    for name, tokens in wanted.items():
        assert tokens - LONGEST < given[name] <= tokens + 5
        assert facts[name]["trained_tokens"] == given[name]
        assert facts[name]["wanted_share"] == pytest.approx(tokens / sum(wanted.values()), abs=1e-3)
        assert facts[name]["trained_share"] == pytest.approx(
            given[name] / sum(given.values()), abs=1e-6
        )
    # without a share nothing is lost, and nothing comes twice unasked
    if not mix:
        assert chosen == list(range(len(rows)))
    if "epochs" not in mix:
        assert len(set(chosen)) == len(chosen)


def test_the_scarcest_set_gives_the_last_of_its_dialogues():
    """Weights that no float holds exactly."""
    for weight in (0.1, 0.3, 0.7, 1 / 3):
        chosen, _ = choose(table(), {"weights": {"a": weight, "b": 3 * weight}}, 1)
        assert tokens_of(table(), chosen)["b"] == 1000


def test_more_of_a_set_is_the_same_dialogues_and_others():
    chosen = [
        set(choose(table(), {"max_tokens": {"a": most}}, 42)[0]) for most in (500, 1000, 2000)
    ]
    assert chosen[0] < chosen[1] < chosen[2]
    assert set(choose(table(), {"max_tokens": {"a": 500}}, 43)[0]) != chosen[0]


def test_a_set_that_would_give_nothing_is_refused():
    with pytest.raises(UserError, match="data set a would give less than one dialogue"):
        choose(table(), {"max_tokens": {"a": 1}}, 42)
    with pytest.raises(UserError, match="data set b has no token to train on"):
        choose(table({"a": [5], "b": [0]}), {}, 42)


def test_shares_are_exact_fractions():
    wanted = wanted_tokens({"a": 10, "b": 7}, {"weights": {"a": 2, "b": 1}})
    assert (wanted["a"], wanted["b"]) == (10, 5)


def test_a_runs_order_of_a_mixture_is_that_of_its_chosen_dialogues(tmp_path):
    """The program on a mixture's folder; on a folder of one set, mix changes nothing."""
    for folder in ("a+b", "a"):
        work = tmp_path / folder
        work.mkdir()
        cached = shared(work, 30)
        lengths = pandas.read_parquet(cached / "lengths.parquet")
        lengths["source"] = ["a:x.jsonl"] * 20 + ["b:y.jsonl"] * 11
        lengths["trained_tokens"] = 1
        lengths.to_parquet(cached / "lengths.parquet", index=False)
        write_record(work / "cache.json", "cache_dataset", inputs=[], outputs=[cached], params={},
                     facts={})  # fmt: skip
        done = ordered(work, "run", 42, mix={"epochs": {"b": 2}})
        assert done.returncode == 0, done.stderr
    facts = read_json(tmp_path / "a+b/run.json")["facts"]
    assert facts["rows"] == 40 and facts["mixture"]["b"]["repeated"] == 10
    ids = pandas.read_parquet(tmp_path / "a+b/run/lengths.parquet")["id"].tolist()
    base = sorted([*range(30), *range(20, 30)])
    assert ids[:-1] == [f"对话{base[place]}" for place in training_order(40, 42)]
    assert read_json(tmp_path / "a/run.json")["facts"] == {"rows": 30}


def test_what_the_trainer_was_given_is_compared_set_by_set():
    settings = {"epochs": 2, "batch_size": 1, "gpus": 1}
    planned = {"rows": 3, "tokens": 30, "packs": 2, "steps": 4}
    planned["by_dataset"] = {"a": {"tokens": 20}, "b": {"tokens": 10}}
    line = {"rows": 3, "tokens": 30, "packs": 2, "datasets": {"a": 20, "b": 10}}
    rest = {"rows": 0, "tokens": 0, "packs": 0, "datasets": {"a": 0, "b": 0}}
    given = reconcile([line, line, rest, rest], planned, settings, Path("cached"))
    assert given["by_dataset"] == {
        "a": {"tokens": 40, "share": 0.666667},
        "b": {"tokens": 20, "share": 0.333333},
    }
    line = line | {"datasets": {"a": 21, "b": 9}}
    with pytest.raises(UserError, match="given 42 tokens of data set a and pack_stats planned 40"):
        reconcile([line, line, rest, rest], planned, settings, Path("cached"))
    assert json.dumps(given)
