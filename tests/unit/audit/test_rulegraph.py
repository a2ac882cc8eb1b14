"""The picture of the rules: arrows, layout, equal bytes."""

import itertools
import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from mindtune.audit import layers
from mindtune.cli import UserError
from test_report import SCRIPTS

# What Snakemake 9.27.1 prints for three rules and a target, the padding included.
DOT = """digraph snakemake_dag {
    graph[bgcolor=white, margin=0];
    node[shape=box, style=rounded, fontname=sans,                 fontsize=10, penwidth=2];
    edge[penwidth=2, color=grey];
\t0[label = "all", color = "0.00 0.6 0.85", style="rounded"];
\t1[label = "score_dialogue", color = "0.50 0.6 0.85", style="rounded"];
\t2[label = "train_lora", color = "0.33 0.6 0.85", style="rounded"];
\t3[label = "fetch_model", color = "0.17 0.6 0.85", style="rounded"];
\t1 -> 0
\t3 -> 0
\t2 -> 1
\t3 -> 1
\t3 -> 2
}
"""


def test_dot_is_read_and_implied_arrows_are_dropped():
    names, edges = layers.parse_dot(DOT)
    assert names == ["all", "fetch_model", "score_dialogue", "train_lora"] and len(edges) == 5
    graph = layers.reduced(names, edges)
    assert sorted(graph.edges) == [
        ("fetch_model", "train_lora"),
        ("score_dialogue", "all"),
        ("train_lora", "score_dialogue"),
    ]
    with pytest.raises(UserError, match="no rule in the dot text"):
        layers.parse_dot("Building DAG of jobs...\n")


def test_layout_points_downwards_and_overlaps_nowhere():
    edges = [(a, b) for a in range(12) for b in range(12) if a < b and (a * 7 + b * 5) % 4 == 0]
    graph = layers.reduced([f"r{n}" for n in range(12)], [(f"r{a}", f"r{b}") for a, b in edges])
    rank = layers.rank_rules(graph)
    assert all(rank[start] < rank[end] for start, end in graph.edges)
    layered = layers.with_lanes(graph, rank)
    assert all(
        layered.nodes[end]["layer"] == layered.nodes[start]["layer"] + 1
        for start, end in layered.edges
    )
    order = layers.order_layers(layered)
    assert sorted(map(str, itertools.chain(*order))) == sorted(map(str, layered))
    x = layers.place(layered, order, dict.fromkeys(layered, 1.0))
    for layer in order:
        assert all(x[right] - x[left] > 1 - 1e-9 for left, right in itertools.pairwise(layer))


def test_spread_keeps_order_and_stays_near():
    assert layers.spread([0, 5], [1, 1], [2, 2]) == [0, 5]
    assert layers.spread([3, 3], [1, 1], [2, 2]) == [2, 4]
    assert layers.spread([3, 3], [3, 1], [2, 2]) == [2.5, 4.5]


def test_picture_program_gives_equal_bytes_without_a_date(tmp_path: Path):
    families = json.dumps({"train_lora": "train", "fetch_model": "data"})

    def run(name: str, chosen: str = families) -> subprocess.CompletedProcess:
        command = [sys.executable, SCRIPTS / "draw_rulegraph.py", "--dot", "-"]
        command += ["--families", chosen]
        command += ["--svg", f"{name}.svg", "--mermaid", f"{name}.mmd", "--record", f"{name}.json"]
        return subprocess.run(
            command, cwd=tmp_path, input=DOT, check=False, capture_output=True, encoding="utf-8"
        )

    first, second = run("a"), run("b")
    assert first.returncode == second.returncode == 0, first.stderr
    svg = (tmp_path / "a.svg").read_text(encoding="utf-8")
    assert svg == (tmp_path / "b.svg").read_text(encoding="utf-8")
    assert ET.fromstring(svg).tag.endswith("svg") and "dc:date" not in svg
    assert all(
        f"<!-- {name} -->" in svg for name in ("all", "score_dialogue", "train_lora", "fetch_model")
    )
    mermaid = (tmp_path / "a.mmd").read_text(encoding="utf-8")
    assert (
        "    train_lora --> score_dialogue\n" in mermaid
        and "train_lora(train_lora):::train" in mermaid
    )
    # the picture leaves out what a longer path implies, the text does not
    names, edges = layers.parse_dot(DOT)
    assert {tuple(arrow.split(" --> ")) for arrow in re.findall(r"\w+ --> \w+", mermaid)} == set(
        edges
    )
    refused = run("c", '{"train_lora": "trian"}')
    assert (
        refused.returncode == 2
        and "'trian'" in refused.stderr
        and not (tmp_path / "c.svg").exists()
    )
