"""The summary of `inspect`, for people."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

BARS = "▁▂▃▄▅▆▇█"


def format_summary(summary: Mapping[str, Any]) -> str:
    """Several lines of text from what `inspect` returns."""
    length, total, success = summary["length"], summary["return"], summary["success"]
    count = summary["episodes"]
    lines = [
        f"source       {summary['source']} ({summary['format']})",
        f"environment  {summary['env'] or 'not recorded'}{_versions(summary['versions'])}",
        f"episodes     {count}, {summary['transitions']} transitions",
        f"length       {length['min']} to {length['max']} steps, median {length['median']:g}",
        "return       "
        + ("not recorded" if total is None else f"{total['min']:.4g} to {total['max']:.4g}, mean {total['mean']:.4g}"),
        "success      " + ("not recorded" if success is None else _success(success)),
        f"ends         {summary['terminated']} terminated, {summary['truncated']} truncated, "
        f"{summary['final_obs']} of {count} with a final observation",
    ]
    if summary["filter_keys"]:
        lines.append("filter keys  " + ", ".join(f"{k} ({n})" for k, n in summary["filter_keys"].items()))
    lines += [
        "",
        *_table(
            ["observation", "shape", "dtype", "min", "max", ""], _obs_rows(summary["obs"], summary["constant_obs"])
        ),
    ]
    lines += [f"left out     {key}: {text}" for key, text in summary["left_out"].items()]
    lines += [
        "",
        *_table(["action", "min", "max", "mean", "std", "from min to max", ""], _action_rows(summary["action"])),
    ]
    if summary["attrs"]:
        lines += ["", *(f"{_short(k, 12):<12} {_short(v, 85)}" for k, v in summary["attrs"].items())]
    if summary["extras"]:
        lines += ["", "also stored  " + ", ".join(f"{k} {_shape(v['shape'])}" for k, v in summary["extras"].items())]
    if summary["unread"]:
        lines += ["", f"not kept     {unread_text(summary['unread'])}"]
    remarks = [f"note: {text}" for text in summary["notes"]] + [f"warning: {text}" for text in summary["warnings"]]
    return "\n".join([*lines, *([""] if remarks else []), *remarks])


def unread_text(unread: Mapping[str, str], most: int = 4) -> str:
    """The first few arrays that are not kept, and how many there are besides."""
    shown = [f"{key}: {text}" for key, text in list(unread.items())[:most]]
    return "; ".join(shown) + (f"; and {len(unread) - most} more" if len(unread) > most else "")


def _short(value: Any, width: int) -> str:
    """One line of at most `width` characters."""
    text = " ".join(str(value).split())
    return text if len(text) <= width else text[: width - 3] + "..."


def _versions(versions: Mapping[str, Any]) -> str:
    recorded = ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in versions["recorded"].items())
    return f" ({recorded})" if recorded else ""


def _success(success: Mapping[str, int]) -> str:
    return f"{success['at_end']} of {success['known']} episodes at the end, {success['ever']} at some step"


def _shape(shape: list[int]) -> str:
    return "(" + ", ".join(map(str, shape)) + ")"


def _obs_rows(obs: Mapping[str, Any], constant: Mapping[str, list[int]]) -> list[list[str]]:
    rows = []
    for key, v in obs.items():
        bounds = f"{v['min']:.4g}", f"{v['max']:.4g}"
        rows.append([key, _shape(v["shape"]), v["dtype"], *bounds, _constant(constant.get(key, []), v["shape"])])
    return rows


def _constant(dims: list[int], shape: list[int]) -> str:
    if not dims:
        return ""
    if len(dims) == math.prod(shape):
        return "constant"
    return "constant: " + ", ".join(map(str, dims[:6])) + (", ..." if len(dims) > 6 else "")


def _action_rows(dims: list[dict[str, Any]]) -> list[list[str]]:
    rows = []
    for index, dim in enumerate(dims):
        remark = "constant" if dim["constant"] else "two values" if dim["binary"] else ""
        bars = sparkline(dim["histogram"])
        rows.append([str(index), *(f"{dim[k]:.4g}" for k in ("min", "max", "mean", "std")), bars, remark])
    return rows


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in [head, *rows]
    ]


def sparkline(counts: list[int]) -> str:
    """One character a bin, its height the count's share of the largest; a space where there is nothing."""
    largest = max(counts)
    return "".join(" " if n == 0 else BARS[min(len(BARS) - 1, n * len(BARS) // (largest + 1))] for n in counts)
