"""Cells of CSV files that people open with a spreadsheet."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def defused(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula: a quote stands before what would start one.

    >>> defused("=1+1"), defused("Chair")
    ("'=1+1", 'Chair')
    """
    return f"'{cell}" if cell.lstrip(" ").startswith(_FORMULA) else cell
