"""What a catalog of any size costs: hours of devices, time of a rebuild, memory, disk and nodes of a Qdrant cluster.

    python benchmarks/capacity.py [--products 1e7 1e9] [--dim 1024] [--rate 20.1] [--gpus 8] [--ram 64] ...

Prints the tables of docs/scale.md, which says of every default whether it was measured, by which command, or assumed.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from math import ceil

LEAD_BYTES = 500
HASH_LETTERS = 64
DIMENSIONS = (256, 576, 1024, 2048, 3584)

DEFAULTS = {
    "dim": (1024.0, "numbers of a vector"),
    "rate": (20.1, "products a second of one device, by encode.py or rebuild.py"),
    "gpus": (8.0, "devices that embed"),
    "lead": (0.5, "milliseconds a product of the process that leads, by catalog.py"),
    "graph": (2.3, "processor milliseconds a product of loading and graph, by index.py"),
    "links": (173.0, "bytes of HNSW links a product, by footprint.py as the next four"),
    "payload": (1132.0, "bytes of payload a product"),
    "indexes": (493.0, "bytes of payload indexes a product"),
    "words": (968.0, "bytes of words a product"),
    "ids": (34.0, "bytes of ids and the rest a product"),
    "ram": (64.0, "GB of memory of a node"),
    "usable": (0.75, "share of it that the index may take"),
    "cores": (16.0, "of a node"),
    "replicas": (2.0, "MOON_QDRANT_REPLICAS"),
    "keep": (1.0, "MOON_KEEP_BUILDS"),
    "changed": (0.01, "share of the products that an update changes"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--products", type=float, nargs="+", default=[1e7, 1e9], help="sizes of the catalog")
    for name, (default, meaning) in DEFAULTS.items():
        parser.add_argument(f"--{name}", type=float, default=default, help=f"{meaning} (default: {default:g})")
    given = vars(parser.parse_args())
    print(report(given.pop("products"), given))


def report(products: list[float], given: dict[str, float]) -> str:
    """Two tables: bytes a product by vector length, and what catalogs of ``products`` cost, given the other inputs."""
    lengths = sorted({*DIMENSIONS, int(given["dim"])})
    sizes = {dim: product_bytes(given | {"dim": dim}) for dim in lengths}
    by_length = [[f"{dim:,}", *(f"{count:,.0f}" for count in sizes[dim].values())] for dim in lengths]
    costs = [cost(size, given) for size in products]
    by_size = [[name, *(column[name] for column in costs)] for name in costs[0]]
    heads = ["numbers", *sizes[lengths[0]]], ["", *(f"{size:,.0f} products" for size in products)]
    return "\n\n".join(table(head, rows) for head, rows in zip(heads, (by_length, by_size), strict=True))


def product_bytes(given: dict[str, float]) -> dict[str, float]:
    """Bytes of a product on a Qdrant server: vectors and payload on disk, 8-bit numbers and the rest in memory too."""
    dim = given["dim"]
    int8 = dim + 4
    memory = int8 + given["links"] + given["indexes"] + given["words"] + given["ids"]
    return {
        "float32": 4 * dim,
        "int8": int8,
        "HNSW links": given["links"],
        "in memory": memory,
        "on disk": 4 * dim + given["payload"] + memory,
    }


def cost(products: float, given: dict[str, float]) -> dict[str, str]:
    """Every line of the table of costs, by its name."""
    sizes = product_bytes(given)
    copies = products * given["replicas"] * (given["keep"] + 1)
    memory, disk = copies * sizes["in memory"], copies * sizes["on disk"]
    nodes = max(given["replicas"], ceil(memory / (given["ram"] * given["usable"] * 1e9)))
    device = products / given["rate"] / 3600
    lead = products * given["lead"] / 3.6e6
    graph = products * given["replicas"] * given["graph"] / 3.6e6
    whole, update = (
        (share * device / given["gpus"], lead, graph / nodes / given["cores"]) for share in (1, given["changed"])
    )
    return {
        "device hours to embed": f"{device:,.0f}",
        "rebuild: embed": hours(whole[0]),
        "rebuild: lead": hours(lead),
        "rebuild: load and graph": hours(whole[2]),
        "rebuild, together": hours(sum(whole)),
        "update: embed": hours(update[0]),
        "update, together": hours(sum(update)),
        "memory of the leading process": amount(products * LEAD_BYTES),
        "vectors in Parquet": amount(products * (4 * given["dim"] + HASH_LETTERS)),
        "memory of the cluster": amount(memory),
        "disk of the cluster": amount(disk),
        "nodes": f"{nodes:,.0f}",
        "disk of a node": amount(disk / nodes),
    }


def hours(count: float) -> str:
    return f"{count:,.1f} h" if count < 100 else f"{count / 24:,.0f} days"


def amount(count: float) -> str:
    return f"{count / 1e12:,.1f} TB" if count >= 1e12 else f"{count / 1e9:,.1f} GB"


def table(head: list[str], rows: Iterable[list[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main()
