"""What many checks of the proof come to: a row a kind of merge, and rates with their intervals."""

from typing import Any

from bench.measuring import wilson

COLUMNS = [
    "model",
    "adapters",
    "is",
    "merge",
    "n",
    "refused",
    "share",
    "rms",
    "largest",
    "swapped margin",
    "agreement",
    "loaded rms",
]


def spread(values: list[float]) -> str:
    """Smallest, median and largest value."""
    values = sorted(values)
    return " / ".join(f"{values[at]:.3g}" for at in (0, len(values) // 2, -1))


def table(checks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row for each model, size of adapter and merge."""
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in checks:
        groups.setdefault(
            tuple(row[key] for key in ("model", "adapters", "is", "merge")), []
        ).append(row)
    return [
        {
            **dict(zip(("model", "adapters", "is", "merge"), key, strict=True)),
            **rates(rows),
            "rms": spread([row["max_rms_in_deviations"] for row in rows]),
            "loaded rms": spread([row["max_loaded_rms_in_deviations"] for row in rows]),
            "largest": spread([row["max_difference_in_deviations"] for row in rows]),
            "swapped margin": spread([row["max_swapped_margin_in_deviations"] for row in rows]),
            "agreement": spread([row["argmax_agreement"] for row in rows]),
        }
        for key, rows in groups.items()
    ]


def rates(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """How many checks refused, of how many, and the 95 % interval of the share."""
    refused = sum(row["refused"] for row in rows)
    low, high = wilson(refused, len(rows))
    first = sum(row["refused by the first"] for row in rows)
    return {
        "n": len(rows),
        "refused": refused,
        "refused by the first": first,
        "share": f"{refused / len(rows):.2f} ({low:.2f} to {high:.2f})",
    }


def false_rates(checks: list[dict[str, Any]]) -> dict[str, Any]:
    """False refusals over all right merges, and for each wrong one the passes, over all models and
    sizes.
    """
    right = [row for row in checks if row["is"] == "right"]
    names = dict.fromkeys(row["merge"] for row in checks if row["is"] != "right")
    passed = {name: rates([row for row in checks if row["merge"] == name]) for name in names}
    return {
        "right merges refused": rates(right),
        "wrong merges refused": {
            name: (
                f"{found['refused']} of {found['n']} (by the first comparison "
                f"{found['refused by the first']})"
            )
            for name, found in passed.items()
        },
        "largest rms of a right merge": max(row["max_rms_in_deviations"] for row in right),
        "largest difference of a right merge": max(
            row["max_difference_in_deviations"] for row in right
        ),
        "largest swapped margin of a right merge": max(
            row["max_swapped_margin_in_deviations"] for row in right
        ),
        "least decisive positions": min(row["decisive_positions"] for row in right),
    }
