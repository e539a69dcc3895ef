"""The folder of a local run, and the Airflow in it."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from airflow_gemini_batch.testing.stack import LOCATION, PROJECT, LocalStack

DATASET = "bookshop"
BUCKET = "gemini-batch-demo"

# `airflow standalone` starts its parts by this name. Their log servers would listen on all interfaces; the web page
# reads the logs of this machine from the folder.
_AIRFLOW = """#!/bin/sh
case "$1" in scheduler | triggerer) set -- "$@" --skip-serve-logs ;; esac
exec {python} -m airflow "$@"
"""


@dataclass(frozen=True, slots=True)
class Workspace:
    """The folder; nothing is written outside it."""

    folder: Path

    @property
    def airflow_home(self) -> Path:
        """Airflow's own folder: its database, its logs."""
        return self.folder / "airflow"

    @property
    def log(self) -> Path:
        """What Airflow's commands print."""
        return self.folder / "airflow.log"

    def create(self) -> None:
        """Make the folder; what Airflow keeps and prints is for this user only."""
        for folder in (self.airflow_home, self.folder / "tmp", self._commands):
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o700)
        self.log.touch()
        self.log.chmod(0o600)
        command = self._commands / "airflow"
        command.write_text(_AIRFLOW.format(python=shlex.quote(sys.executable)))
        command.chmod(0o700)

    @property
    def _commands(self) -> Path:
        return self.folder / "tmp" / "bin"

    def stack(self, *, keep: bool = False, **vertex: float) -> LocalStack:
        """Return the local servers that have their data here; see :class:`.LocalStack`."""
        return LocalStack(self.folder / "data", keep=keep, **vertex)

    def environment(self, stack: LocalStack, **extra: str) -> dict[str, str]:
        """Return the environment of an Airflow process: this folder, the example DAGs, the local servers."""
        inherited = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("AIRFLOW_", "GOOGLE_", "BIGQUERY_"))
        }
        return {
            **inherited,
            **stack.environment(),
            "AIRFLOW_HOME": str(self.airflow_home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(example_dags_folder()),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "false",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "false",
            "AIRFLOW_VAR_GEMINI_BATCH_PROJECT": PROJECT,
            "AIRFLOW_VAR_GEMINI_BATCH_LOCATION": LOCATION,
            "AIRFLOW_VAR_GEMINI_BATCH_DATASET": DATASET,
            "AIRFLOW_VAR_GEMINI_BATCH_BUCKET": BUCKET,
            # Airflow's commands start one another by name.
            "PATH": os.pathsep.join(
                [str(self._commands), str(Path(sys.executable).parent), os.environ.get("PATH", "")]
            ),
            "TMPDIR": str(self.folder / "tmp"),
            **extra,
        }

    def run_dag(self, dag_id: str, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Start a run of an example DAG; see :meth:`start`."""
        return self.start("airflow_gemini_batch.demo.dag_run", dag_id, environment=environment)

    def start(self, module: str, *arguments: str, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Start a module, as ``python -m`` does, in a process group of its own; its output goes to :attr:`log`."""
        with self.log.open("ab") as log:
            return subprocess.Popen(  # noqa: S603 - our own interpreter
                [sys.executable, "-m", module, *arguments],
                env=dict(environment),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


def example_dags_folder() -> Path:
    """Return the folder of the example DAGs: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).parent.parent
    installed = package / "example_dags"
    return installed if installed.is_dir() else package.parent / "dags"
