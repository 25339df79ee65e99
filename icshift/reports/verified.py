"""Whether a run is what was written, in words: `icshift info --verify`."""

from __future__ import annotations

from dataclasses import asdict

from icshift.reports.report import Report
from icshift.runs.verify import Verified


def verified_report(found: Verified) -> Report:
    """Returns the report of what was read of a run, and of every problem with it."""
    manifests = "1 manifest" if found.manifests == 1 else f"{found.manifests} manifests"
    files = "1 file" if found.files == 1 else f"{found.files:,} files"
    sealed = found.sealed + found.manifests_sealed
    whole = found.files + found.manifests
    sums = f"{sealed:,} of {whole:,} have checksums" if sealed < whole else "all of them have checksums"
    problems = "1 problem" if len(found.problems) == 1 else f"{len(found.problems):,} problems"
    return Report(
        heading=f"{found.path} · {manifests} and {files} of rows read; {sums}",
        warnings=found.problems,
        notes=()
        if sealed == whole
        else ("Files of older versions have no checksums: of these, types and ranges were looked at.",),
        verdict=problems if found.problems else "ok",
        data={**asdict(found), "path": str(found.path), "ok": not found.problems},
    )
