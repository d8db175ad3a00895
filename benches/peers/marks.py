"""Marks, and how far a figure is from one."""


class Judged:
    """A figure beside its mark: whether that is met, and by how much it is missed."""

    def __init__(self, figure: float, mark: float, more_is_better: bool):
        self.met = figure >= mark if more_is_better else figure <= mark
        self.missed_by_percent = None
        if not self.met and mark:
            self.missed_by_percent = round(100 * abs(figure - mark) / mark, 1)

    def row(self) -> dict:
        return {"met": self.met, "missed_by_percent": self.missed_by_percent}

    @staticmethod
    def verdict(row: dict) -> str:
        """What is printed of a row."""
        if row["met"] is None:
            return ""
        if row["met"]:
            return "met"
        short = row.get("missed_by_percent")
        return f"MISSED by {short:.0f} %" if short and short >= 1 else f"MISSED by {short} %" if short else "MISSED"
