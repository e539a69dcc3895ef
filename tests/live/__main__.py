"""``python -m tests.live``: ask a real project the open questions, and print a report."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import sys
import tempfile
from collections.abc import Sequence

from tests.live.settings import SKIPPED, Settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 when all was answered or the suite was skipped, and 1 when something was not answered."""
    parser = argparse.ArgumentParser(prog="python -m tests.live", description=__doc__)
    parser.add_argument("--only", default="", help="ids of questions, with commas; by default all")
    parser.add_argument("--page", action="store_true", help="print docs/open-questions.md and stop")
    parser.add_argument("--wait", type=float, default=24.0, help="hours that jobs may take (24)")
    parser.add_argument(
        "--max-usd", type=float, default=1.0, help="submit nothing when jobs may cost more (1)"
    )
    options = parser.parse_args(arguments)
    settings = Settings.from_environment(wait=options.wait * 3600, max_usd=options.max_usd)
    if settings is None and not options.page:
        print(SKIPPED, file=sys.stderr)
        return 0
    # Airflow logs to what is the standard output when it is imported; the report has it for itself.
    with (
        tempfile.TemporaryDirectory(prefix="gemini-batch-live-", ignore_cleanup_errors=True) as home,
        contextlib.redirect_stdout(sys.stderr),
    ):
        _prepare_airflow(home, settings)
        from tests.live.report import page
        from tests.live.suite import QUESTIONS, ask

        only = [id_.strip() for id_ in options.only.split(",") if id_.strip()]
        if unknown := set(only) - QUESTIONS.keys():
            parser.error(f"unknown questions: {', '.join(sorted(unknown))}")
        if settings is None or options.page:
            text, code = page(QUESTIONS.values()), 0
        else:
            logging.getLogger("tests.live").setLevel(logging.INFO)
            lines, text = ask(settings, only)
            code = 0 if all(line.answer for line in lines) else 1
    print(text, end="")
    return code


def _prepare_airflow(home: str, settings: Settings | None) -> None:
    """Give the hook a connection; Airflow reads its home when it is first imported."""
    os.environ["AIRFLOW_HOME"] = home
    os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "false"
    if settings and "AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT" not in os.environ:
        # Without a key in it, a connection stands for the application default credentials.
        extra = {"project": settings.project, "location": settings.location}
        connection = {"conn_type": "google_cloud_platform", "extra": extra}
        os.environ["AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT"] = json.dumps(connection)


if __name__ == "__main__":
    sys.exit(main())
