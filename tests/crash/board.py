"""What is shown and counted while the rounds go on."""

from __future__ import annotations

import threading
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from tests.crash.evidence import Outcome
from tests.crash.figures import Figures

_END_OF_LOG = 4000


class Board:
    """Progress on stderr and the figures of each crash point; may be used from several threads."""

    def __init__(self) -> None:
        self.figures: dict[str, Figures] = {}
        self.console = Console(stderr=True)
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[figures]}"),
            console=self.console,
        )
        self._lock = threading.Lock()
        self._bars: dict[str, TaskID] = {}

    def expect(self, point: str, rounds: int) -> None:
        """Announce rounds of a crash point."""
        self.figures[point] = Figures()
        self._bars[point] = self.progress.add_task(point, total=rounds, figures="")

    def record(self, point: str, outcome: Outcome, seconds: float, log: Path) -> None:
        """Count a round, and tell about one that is not clean."""
        with self._lock:
            figures = self.figures[point]
            figures.add(outcome, seconds)
            shown = "[green]clean[/green]" if figures.clean else f"[red]{_unclean(figures)}[/red]"
            self.progress.update(self._bars[point], advance=1, figures=shown)
            if not outcome.clean or outcome.trouble:
                self.console.print(f"[red]{point}[/red]: {outcome}")
                if log.exists():
                    self.console.print(escape(log.read_text(errors="replace")[-_END_OF_LOG:]))


def _unclean(figures: Figures) -> str:
    return (
        f"{figures.duplicate_jobs} duplicate jobs, {figures.lost_rows} lost rows, {figures.stuck_runs} stuck runs, "
        f"{figures.missed_crashes} missed crashes"
    )
