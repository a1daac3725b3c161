import polars as pl

from app.catalog.problems import Problem, Report


def problem(severity="reject", row=1, field="id", reason="the id is missing", remedy="give every product an id"):
    return Problem(severity, f"p{row}", row, field, reason, remedy)


def test_the_summary_groups_by_kind_and_shows_the_first_few():
    report = Report([problem(row=row) for row in range(1, 6)] + [problem("warning", 9, "images", "torn", "replace it")])
    assert report.summary(examples=2) == [
        "5 x reject, id: give every product an id",
        "    row 1, p1: the id is missing",
        "    row 2, p2: the id is missing",
        "    and 3 more",
        "1 x warning, images: replace it",
        "    row 9, p9: torn",
    ]
    assert (report.count("reject"), report.count("warning")) == (5, 1)


def test_the_file_holds_every_problem_in_the_order_of_the_rows(tmp_path):
    file = tmp_path / "reports" / "build.parquet"
    Report([problem(row=7), problem(row=2)]).write(file)
    assert pl.read_parquet(file).rows() == [
        ("reject", "p2", 2, "id", "the id is missing", "give every product an id", ""),
        ("reject", "p7", 7, "id", "the id is missing", "give every product an id", ""),
    ]


def test_a_run_without_problems_writes_an_empty_table_with_the_same_columns(tmp_path):
    Report().write(tmp_path / "empty.parquet")
    table = pl.read_parquet(tmp_path / "empty.parquet")
    assert (table.height, table.columns) == (0, ["severity", "id", "row", "field", "reason", "remedy", "file"])
