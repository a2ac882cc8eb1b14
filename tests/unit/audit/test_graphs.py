"""The graphs of rules, jobs and files: every form has every arrow, and a label is only a label."""

import re
import xml.etree.ElementTree as ET

import pytest
from mindtune.audit import graphs

EVIL = "</script><img src=x onerror=alert('坏')>\"'"


def job(rule: str, needs: list[int], inputs: list[str], outputs: list[str]) -> dict:
    return {
        "rule": rule, "stage": "train", "wildcards": {"run": EVIL}, "needs": needs,
        "inputs": inputs, "outputs": outputs,
    }  # fmt: skip


JOBS = [
    job("fetch", [], ["原始.jsonl"], ["results/raw"]),
    job("train", [0], ["results/raw"], [f"results/{EVIL}.json"]),
    job("score", [0, 1], ["results/raw", f"results/{EVIL}.json"], ["results/scores.json"]),
    job("all", [0, 1, 2], ["results/scores.json"], []),
]


@pytest.mark.parametrize("kind", [graphs.rule_graph, graphs.job_graph, graphs.file_graph])
def test_every_form_of_a_graph_has_every_arrow(kind):
    graph = kind(JOBS)
    edges = set(graph.edges)
    assert (
        len(edges)
        == len(graph.edges)
        == {"rule_graph": 6, "job_graph": 6, "file_graph": 8}[kind.__name__]
    )
    dot, mermaid, svg = graphs.dot(graph), graphs.mermaid(graph), graphs.svg(graph)
    assert set(re.findall(r"^    (\w+) -> (\w+);$", dot, re.M)) == edges
    assert set(re.findall(r"^    (\w+) --> (\w+)$", mermaid, re.M)) == edges
    root = ET.fromstring(svg)
    drawn = {tuple(path.get("data-edge").split()) for path in root.iter() if path.get("data-edge")}
    assert drawn == edges
    shown = {text.text for text in root.iter("{http://www.w3.org/2000/svg}text")}
    assert shown == {label for label, _ in graph.nodes.values()}


def test_a_label_is_a_label_in_every_form():
    graph = graphs.Graph({"a": (f'\\"{EVIL}\n]-->', "data"), "b": ("中文", "other")}, [("a", "b")])
    assert graphs.dot(graph).count("\n") == 6 and '\\\\\\"</script>' in graphs.dot(graph)
    assert all(sign not in graphs.mermaid(graph).split('"')[1] for sign in '<>"&`\\\n')
    assert "onerror=" not in re.sub(r"<text[^>]*>[^<]*</text>", "", graphs.svg(graph))


def test_layers_go_downwards_and_nothing_is_lost():
    edges = [
        (f"n{a}", f"n{b}") for a in range(60) for b in range(a + 1, 60) if (a * 7 + b) % 9 == 0
    ]
    graph = graphs.Graph({f"n{n}": (f"n{n}", "data") for n in range(60)}, edges)
    layers = graphs.layers_of(graph)
    at = {name: number for number, layer in enumerate(layers) for name in layer}
    assert sorted(at) == sorted(graph.nodes) and sum(map(len, layers)) == 60
    assert all(at[start] < at[end] for start, end in edges)
