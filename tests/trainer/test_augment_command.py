from __future__ import annotations

import sys

import polars as pl
import pytest

from trainer import cli


@pytest.fixture
def trainer(monkeypatch, capsys, tmp_path):
    """Run a command; returns (exit code, stdout, stderr)."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("MOON_DATA", str(tmp_path / "moon"))

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["trainer", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        output = capsys.readouterr()
        return int(exit_.value.code or 0), output.out, output.err

    return run


def words(output: str) -> str:
    return " ".join(output.split())


def test_augment_says_what_it_kept_and_goes_on(trainer, home_folder, checkpoint, tmp_path, monkeypatch):
    monkeypatch.setenv("MOON_MODEL", str(checkpoint))
    out = tmp_path / "out"
    command = (
        "augment",
        home_folder,
        out,
        "--pictures",
        "light",
        "--pictures",
        "crop",
        "--min-score",
        "-1",
        "--limit",
        6,
    )
    code, output, _ = trainer(*command)
    augmented, rejects = (pl.read_parquet(out / name) for name in ("augmented.parquet", "rejects.parquet"))
    assert code == (3 if len(rejects) else 0)
    assert set(augmented["kind"]) | set(rejects["kind"]) <= {"title", "light", "crop"}
    assert len(augmented) + len(rejects) == 18
    assert "6 products, 6 of them new; 0 left out" in words(output)
    assert f"Wrote {out}; look at {out / 'sheet.html'} and {out / 'titles.csv'}." in output
    assert (out / "sheet.html").exists()
    assert "6 products, 0 of them new" in words(trainer(*command)[1])

    code, _, error = trainer(*command, "--min-score", "1")
    assert (code, error) == (
        1,
        f"Error: nothing is good enough to be kept; {out / 'rejects.csv'} has the reasons\n",
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--titles", "model"), "--titles model needs the model that writes them; name it with --model"),
        (("--titles", "none", "--model", "m"), "--titles none needs no --model; leave one of them out"),
        (("--pictures", "mirror"), "--pictures mirror: choose of crop, ground, scene, geometry, light, or none alone"),
        (("--pictures", "none", "--pictures", "crop"), "--pictures none: choose of"),
        (("--boxes", "BOXES"), "make them with `trainer detect`"),
        (("--model", "NOWHERE"), "the model that writes titles cannot be loaded"),
        (("--editor", "NOWHERE"), "--editor needs the extra `generate`"),
    ],
)
def test_what_cannot_be_done_is_one_line(trainer, home_folder, checkpoint, tmp_path, monkeypatch, options, message):
    monkeypatch.setenv("MOON_MODEL", str(checkpoint))
    monkeypatch.setitem(sys.modules, "diffusers", None)
    places = {"BOXES": tmp_path / "none", "NOWHERE": tmp_path / "nowhere"}
    code, _, error = trainer("augment", home_folder, tmp_path / "out", *(places.get(word, word) for word in options))
    assert code == 1
    assert error.splitlines()[-1].startswith("Error: ")
    assert message in error.splitlines()[-1]


def test_fit_refuses_a_folder_that_augment_did_not_finish(trainer, home_folder, checkpoint, tmp_path):
    code, _, error = trainer(
        "fit", tmp_path / "run", "--data", home_folder, "--model", checkpoint, "--augmented", tmp_path
    )
    assert code == 1
    assert "make them with `trainer augment`" in error.splitlines()[-1]


def test_help_explains_arguments_and_options(trainer):
    code, output, _ = trainer("augment", "--help")
    assert code == 0
    for part in ("DATA <path>", "OUT <path>", "for `trainer fit --augmented`", "Exit status: 0 if all is kept"):
        assert part in words(output)
