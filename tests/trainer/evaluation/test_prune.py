"""The benchmark of fewer visual tokens, on tiny checkpoints with a way around the LLM and without."""

from __future__ import annotations

import re

import prune
import pytest
import torch

from app.moon.embedder import load_encoder
from app.moon.load import save_moon
from app.moon.merging import Merging
from app.settings import Settings
from tests.app.moon.tiny_models import picture_processors, stir, upcycle, write_base

Table = tuple[list[str], dict[str, list[float]]]
RECALLS = ["R@1", "R@10", "cosine"]


def table(model: str, home, shares: list[float], others: dict | None = None) -> Table:
    """Columns, and the numbers of each row."""
    encoder = load_encoder(Settings(_env_file=None, model=model, detector="none", device="cpu"))
    with torch.inference_mode():
        text = "\n".join(prune.recalls(prune.Designs(encoder, home), shares, others or {}))
    header, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines())
    return header[1:], {name: [float(cell) for cell in cells] for name, *cells in rows}


@pytest.fixture
def asked(monkeypatch) -> list[float]:
    """Shares that visual tokens were merged into."""
    shares: list[float] = []
    of = Merging.of

    def noted(embedded, visual, counted, share):
        shares.append(share)
        return of(embedded, visual, counted, share)

    monkeypatch.setattr(Merging, "of", noted)
    return shares


def check(rows: dict[str, list[float]], places: range) -> None:
    assert all(0 <= rows[name][place] <= 1 for name in rows for place in places if place % 3 < 2)
    for place in (place for place in places if place % 3 == 2):
        assert rows["100%"][place] == pytest.approx(1, abs=1e-3)
        assert rows["25%"][place] < rows["100%"][place]
    assert all(numbers[-1] >= 0 for numbers in rows.values())


def test_a_large_models_architecture_is_asked_with_every_share(home, tmp_path, asked):
    with picture_processors():
        module = stir(upcycle(write_base("qwen3-vl", tmp_path / "base"), attention="causal"))
        save_moon(module, tmp_path / "moon")
        columns, rows = table(str(tmp_path / "moon"), home, [0.5, 0.25])
    assert columns == [*RECALLS, "ms with tower"]
    assert [*rows] == ["100%", "50%", "25%"]
    assert {*asked} == {0.5, 0.25}
    check(rows, range(3))


def test_a_checkpoint_with_a_way_around_its_llm_shows_what_the_llm_alone_finds(home, checkpoint, asked):
    columns, rows = table(str(checkpoint), home, [0.5, 0.25], prune.OTHERS)
    assert columns == [*RECALLS, *(f"LLM {name}" for name in RECALLS), "ms"]
    assert [*rows] == ["100%", "50%", "25%", *(f"25%, {name}" for name in prune.OTHERS)]
    assert {*asked} == {0.5, 0.25}
    check(rows, range(3, 6))


@pytest.mark.parametrize("share", ["0", "1", "-0.5", "half"])
def test_a_share_is_between_none_and_all(share, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["prune.py", "--keep", share])
    with pytest.raises(SystemExit):
        prune.main()
    assert re.search(r"--keep: invalid share value: '.+'|expected at least one", capsys.readouterr().err)
