"""Lay a graph out in layers, without graphviz: the layer of each node, the order within each layer
with few crossings, and the place of each node.
"""

import random
import re
import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from mindtune.cli import UserError

NODE = re.compile(r'^\s*(\w+)\s*\[\s*label\s*=\s*"([^"\\]*)', re.MULTILINE)
EDGE = re.compile(r"^\s*(\w+)\s*->\s*(\w+)\s*;?\s*$", re.MULTILINE)
STARTS, SWEEPS, SETTLING = 24, 12, 200

Rank = dict[Any, int]
Order = list[list[Any]]


def parse_dot(text: str) -> tuple[list[str], list[tuple[str, str]]]:
    """Rule names and edges (from, to), sorted, of Snakemake's dot text."""
    names = dict(NODE.findall(text))
    if not names:
        raise UserError(
            "no rule in the dot text; give the output of `snakemake --rulegraph dot`, one rule a "
            "line"
        )
    edges = {(names[a], names[b]) for a, b in EDGE.findall(text) if names[a] != names[b]}
    return sorted(set(names.values())), sorted(edges)


def reduced(names: Sequence[str], edges: Sequence[tuple[str, str]]) -> Any:
    """The graph without the edges that a longer path implies (its transitive reduction), nodes and
    edges sorted.
    """
    import networkx as nx

    full = nx.DiGraph(edges)
    if not nx.is_directed_acyclic_graph(full):
        raise UserError(
            "the rule graph has a circle, which Snakemake never draws; check the dot text"
        )
    graph = nx.DiGraph()
    graph.add_nodes_from(names)
    graph.add_edges_from(sorted(nx.transitive_reduction(full).edges))
    return graph


def rank_rules(graph: Any) -> Rank:
    """The layer of each rule: as early as its inputs allow, then later where that shortens its
    arrows.
    """
    import networkx as nx

    rank = {
        name: layer
        for layer, names in enumerate(nx.topological_generations(graph))
        for name in names
    }
    for name in reversed(list(nx.lexicographical_topological_sort(graph))):
        if graph.out_degree(name) > graph.in_degree(name):
            rank[name] = min(rank[after] for after in graph.successors(name)) - 1
    return rank


def with_lanes(graph: Any, rank: Rank) -> Any:
    """The graph with each long edge cut at every layer that it passes; the cuts are nodes (from,
    to, layer).
    """
    import networkx as nx

    layered = nx.DiGraph()
    layered.add_nodes_from((name, {"layer": rank[name]}) for name in graph)
    for start, end in graph.edges:
        lanes = [(start, end, layer) for layer in range(rank[start] + 1, rank[end])]
        layered.add_nodes_from((lane, {"layer": lane[2]}) for lane in lanes)
        nx.add_path(layered, [start, *lanes, end])
    return layered


def crossings(layered: Any, order: Order) -> int:
    """How many pairs of edges cross between neighbouring layers."""
    total = 0
    for above, below in pairwise(order):
        place = {node: position for position, node in enumerate(below)}
        ends = [
            end
            for node in above
            for end in sorted(place[after] for after in layered.successors(node))
        ]
        total += sum(ends[i] > ends[j] for i in range(len(ends)) for j in range(i + 1, len(ends)))
    return total


def swept(layered: Any, order: Order, sweep: int) -> None:
    """Sort each layer by the mean place of its neighbours in the layer above (even sweeps,
    downwards) or below.
    """
    down = sweep % 2 == 0
    near = layered.predecessors if down else layered.successors
    layers = range(1, len(order)) if down else range(len(order) - 2, -1, -1)
    for layer in layers:
        beside = order[layer - 1 if down else layer + 1]
        place = {node: (position + 0.5) / len(beside) for position, node in enumerate(beside)}
        own = {
            node: (position + 0.5) / len(order[layer]) for position, node in enumerate(order[layer])
        }
        centre = {
            node: [place[other] for other in near(node)] or [own[node]] for node in order[layer]
        }
        order[layer].sort(key=lambda node: sum(centre[node]) / len(centre[node]))


def order_layers(layered: Any) -> Order:
    """The order in each layer with the fewest crossings that barycentre sweeps find from a few
    seeded starts.
    """
    layers = 1 + max(layer for _, layer in layered.nodes(data="layer"))
    best: Order = []
    fewest = sys.maxsize
    for start in range(STARTS):
        order = [
            sorted((n for n, at in layered.nodes(data="layer") if at == layer), key=str)
            for layer in range(layers)
        ]
        for layer in order:
            random.Random(start).shuffle(layer)
        for sweep in range(SWEEPS):
            swept(layered, order, sweep)
            found = crossings(layered, order)
            if found < fewest:
                best, fewest = [list(layer) for layer in order], found
    return best


def spread(
    wanted: Sequence[float], weights: Sequence[float], widths: Sequence[float]
) -> list[float]:
    """Places as near as possible to the wanted ones (weighted least squares) in the given order
    without overlap.

    Pool adjacent violators: with the widths before it taken off, no place may lie left of the one
    before.
    """
    offsets = [sum(widths[:position]) + width / 2 for position, width in enumerate(widths)]
    pools: list[tuple[float, float, int]] = []
    for target, weight, offset in zip(wanted, weights, offsets, strict=True):
        pools.append((target - offset, weight, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (right, heavy, many), (left, light, few) = pools.pop(), pools.pop()
            pools.append(
                ((left * light + right * heavy) / (light + heavy), light + heavy, few + many)
            )
    levels = [mean for mean, _, count in pools for _ in range(count)]
    return [level + offset for level, offset in zip(levels, offsets, strict=True)]


def pull(one: Any, other: Any) -> float:
    """How hard an edge pulls its ends together: most inside a long edge, so that its lanes stand
    in one line.
    """
    return {0: 1.0, 1: 2.0, 2: 8.0}[isinstance(one, tuple) + isinstance(other, tuple)]


def place(layered: Any, order: Order, widths: Mapping[Any, float]) -> dict[Any, float]:
    """The middle of each node in inches from the left: near its neighbours, lanes straight,
    nothing overlapping.
    """
    x: dict[Any, float] = {}
    for layer in order:
        x |= dict(
            zip(
                layer,
                spread([0.0] * len(layer), [1.0] * len(layer), [widths[n] for n in layer]),
                strict=True,
            )
        )
    near = {
        n: {m: pull(n, m) for m in (*layered.predecessors(n), *layered.successors(n))} or {n: 1.0}
        for n in layered
    }
    for sweep in range(SETTLING):
        for layer in order if sweep % 2 == 0 else reversed(order):
            weights = [sum(near[node].values()) for node in layer]
            wanted = [
                sum(x[m] * force for m, force in near[n].items()) / sum(near[n].values())
                for n in layer
            ]
            x |= dict(
                zip(layer, spread(wanted, weights, [widths[node] for node in layer]), strict=True)
            )
    left = min(x[node] - widths[node] / 2 for node in layered)
    return {node: x[node] - left for node in layered}
