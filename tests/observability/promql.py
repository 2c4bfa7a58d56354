"""PromQL as a tree: what an expression selects, over which windows, under which calls.

Knows the parser and the variables that Grafana fills in. Must not know any dashboard or rule.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import promql_parser as promql

# A window that nobody writes stands for the one that Grafana fills in.
RATE_INTERVAL: Final = "$__rate_interval"
_STAND_IN: Final = "7777777s"
_COMPARISONS: Final = frozenset({"==", "!=", "<", "<=", ">", ">="})
_SETS: Final = frozenset({"and", "or", "unless"})


@dataclass(frozen=True, slots=True)
class Selector:
    """A series that an expression names.

    Args:
        window: As it was written, such as `5m` or `$__rate_interval`; empty for none.
        calls: The functions around it, the nearest first.
    """

    name: str
    matchers: Mapping[str, str]
    window: str
    calls: tuple[str, ...]


def parsed(expr: str) -> promql.Expr:
    """Give the tree. Raises: ValueError for what is no PromQL."""
    tree: promql.Expr = promql.parse(expr.replace(RATE_INTERVAL, _STAND_IN))
    return tree


def selectors(expr: str) -> list[Selector]:
    """All series that an expression names, in their order."""
    return list(_selectors(parsed(expr), ()))


def quantiles_without_le(expr: str) -> int:
    """How many quantiles are taken of something that has lost its buckets."""
    return sum(
        "le" not in kept
        for node in _nodes(parsed(expr))
        if isinstance(node, promql.Call) and node.func.name == "histogram_quantile"
        for kept in [labels_kept(node.args[1])]
        if kept is not None
    )


def labels_kept(node: promql.Expr) -> set[str] | None:
    """The labels that the nearest aggregation on the way down keeps; None without one."""
    match node:
        case promql.AggregateExpr():
            if str(node.op) in {"topk", "bottomk"}:
                return labels_kept(node.expr)
            by = node.modifier
            return set() if by is None else set(by.labels)
        case promql.BinaryExpr():
            left = labels_kept(node.lhs)
            return left if left is not None else labels_kept(node.rhs)
        case promql.ParenExpr() | promql.UnaryExpr():
            return labels_kept(node.expr)
        case promql.Call():
            found = [labels_kept(one) for one in node.args]
            kept = next((one for one in found if one is not None), None)
            is_quantile = node.func.name == "histogram_quantile"
            return kept - {"le"} if is_quantile and kept is not None else kept
        case _:
            return None


def operands(expr: str) -> list[str]:
    """What an alert watches: each side of its `and`, `or` and `unless`, without the comparisons."""
    return [_uncompared(one) for one in _sides(parsed(expr))]


def _sides(node: promql.Expr) -> Iterator[promql.Expr]:
    if isinstance(node, promql.BinaryExpr) and str(node.op) in _SETS:
        yield from _sides(node.lhs)
        yield from _sides(node.rhs)
    elif isinstance(node, promql.Call) and node.func.name == "absent":
        yield from _sides(node.args[0])
    else:
        yield node


def _uncompared(node: promql.Expr) -> str:
    def without(one: promql.Expr) -> promql.Expr | None:
        is_comparison = isinstance(one, promql.BinaryExpr) and str(one.op) in _COMPARISONS
        return one.lhs if is_comparison and isinstance(one, promql.BinaryExpr) else None

    return promql.transform(node, post_visit=without).prettify()


def _selectors(node: Any, calls: tuple[str, ...]) -> Iterator[Selector]:
    match node:
        case promql.MatrixSelector():
            window = promql.display_duration(node.range)
            is_filled = node.range == promql.parse_duration(_STAND_IN)
            yield _selector(node.vector_selector, RATE_INTERVAL if is_filled else window, calls)
        case promql.VectorSelector():
            yield _selector(node, "", calls)
        case promql.Call():
            for one in node.args:
                yield from _selectors(one, (node.func.name, *calls))
        case _:
            for one in _children(node):
                yield from _selectors(one, calls)


def _selector(node: Any, window: str, calls: tuple[str, ...]) -> Selector:
    matchers = {one.name: one.value for one in node.matchers.matchers}
    return Selector(node.name or "", matchers, window, calls)


def _children(node: Any) -> list[Any]:
    match node:
        case promql.AggregateExpr() | promql.ParenExpr() | promql.UnaryExpr():
            return [node.expr]
        case promql.SubqueryExpr():
            return [node.expr]
        case promql.BinaryExpr():
            return [node.lhs, node.rhs]
        case promql.Call():
            return list(node.args)
        case _:
            return []


def _nodes(node: Any) -> Iterator[Any]:
    yield node
    for one in _children(node):
        yield from _nodes(one)
