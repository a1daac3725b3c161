"""Fashion200K (Han et al., ICCV 2017, arXiv 1708.01311) as items and records: search by caption and by picture.

As published, ``labels/<kind>_<train or test>_detect_all.txt`` have lines of picture, detection score and caption with
tabs between, pictures are ``women/<category>/<subcategory>/<product>/<product>_<number>.jpeg`` in the set's folder, and
``image_urls.txt`` has their addresses. A product's pictures share its caption.

Our decisions, as the set has no queries: the caption is the text query, and every product with this caption answers it;
the first of several pictures is the image query, of which the product keeps the others. The score is not used.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from app.catalog import fields
from app.catalog.problems import Problem, Report
from app.errors import CatalogError
from trainer.data.columns import split_of_name
from trainer.data.corpus import CorpusWriter
from trainer.data.keys import title_key
from trainer.data.record import SPLITS, Item, Picture, Record, Split

LABELS = "labels/*_detect_all.txt"
ADDRESSES = "image_urls.txt"


@dataclass
class _Product:
    id: str
    caption: str
    category: tuple[str, ...]
    pictures: list[str] = field(default_factory=list)


def label_files(folder: Path) -> tuple[Path, ...]:
    """The files of labels in the set's folder, by name."""
    return tuple(sorted(folder.glob(LABELS)))


def write_fashion200k(files: Iterable[Path], writer: CorpusWriter, report: Report) -> None:
    """Add the products and queries of files of labels; their split is told by their names.

    A picture that does not lie in the set's folder is looked for at its address. Raises CatalogError if a file cannot
    be read.
    """
    files = tuple(files)
    root = files[0].parent.parent
    addresses = _addresses(root / ADDRESSES)
    for split in SPLITS:
        own = [file for file in files if split_of_name(file) == split]
        for product in _products(own, report):
            pictures = [Picture(_location(root, name, addresses)) for name in product.pictures]
            _add(product, pictures, split, writer)


def _add(product: _Product, pictures: list[Picture], split: Split, writer: CorpusWriter) -> None:
    query, kept = (pictures[0], pictures[1:]) if len(pictures) > 1 else (None, pictures)
    meaning = f"caption:{title_key(product.caption)}"
    item = Item(product.id, product.caption, tuple(kept), product.category, answers=(meaning,))
    writer.add_catalog([item])
    writer.add(Record(item.id, product.caption, meaning=meaning, modalities=("text",), split=split))
    if query:
        writer.add(Record(item.id, product.caption, query, modalities=("image", "both"), split=split))


def _products(files: Iterable[Path], report: Report) -> Iterator[_Product]:
    """The products of one split, each with all its pictures, in the order of the files."""
    found: dict[str, _Product] = {}
    for file in files:
        for number, line in _lines(file):
            name, _, caption = (fields.text(part) for part in (*line.split("\t"), "", "")[:3])
            *path, product_id, _ = ("", *name.split("/"))
            if len(path) < 3 or not (all(name.split("/")) and caption):
                reason = f"{file.name}: {line[:60]!r} is no picture, score and caption with tabs between"
                report.add([Problem("reject", "", number, "row", reason, "restore the line")])
                continue
            category = tuple(part.replace("_", " ") for part in path[2:])
            product = found.setdefault(product_id, _Product(product_id, caption, category))
            product.pictures.append(name)
    yield from found.values()


def _addresses(file: Path) -> dict[str, str]:
    """Addresses by picture; none without the file."""
    if not file.is_file():
        return {}
    pairs = (line.split(maxsplit=1) for _, line in _lines(file))
    return {pair[0]: pair[1].strip() for pair in pairs if len(pair) == 2}


def _location(root: Path, name: str, addresses: Mapping[str, str]) -> str:
    """The file, or the address of a picture that is not there; pictures that are nowhere are found out when read."""
    file = (root / name).absolute()
    return str(file) if file.is_file() else addresses.get(name, str(file))


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    """Lines that are not blank, with their numbers from 1."""
    try:
        with file.open(encoding="utf-8", errors="replace") as lines:
            yield from ((number, line.rstrip("\r\n")) for number, line in enumerate(lines, start=1) if line.strip())
    except OSError as error:
        raise CatalogError(f"{file}: the file cannot be read ({error.strerror or error}); check the path") from error
