"""OUT/report.html: what became of the photographs, in one file to look at or to send."""

from dust3r_sfm.report.page import write_report

__all__ = ["write_report"]
