"""What importing the package's operators, sensors and triggers costs a DAG file over Airflow itself.

Prints one JSON line: ``added_ms`` and ``added_mb`` (medians over fresh processes) and ``google_modules`` (names
of Google modules that the import brought along; there should be none).

    python tests/benchmarks/imports.py --json
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys

# What the dag processor has loaded before it reads any DAG file, and what any DAG file loads.
BASE = """
import airflow
from airflow.providers.common.compat.sdk import (
    DAG, AirflowFailException, AirflowSkipException, BaseHook, BaseOperator, BaseOperatorLink,
    BaseSensorOperator, PokeReturnValue, XCom,
)
import airflow.triggers.base
DAG, AirflowFailException, BaseHook, BaseOperator, BaseOperatorLink, BaseSensorOperator, PokeReturnValue, XCom
"""

CHILD = (
    BASE
    + """
import json, resource, sys, time
before = set(sys.modules)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.perf_counter()
from airflow_gemini_batch import *
milliseconds = (time.perf_counter() - start) * 1000
added = sorted(set(sys.modules) - before)
print(json.dumps({
    "ms": milliseconds,
    "mb": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) / 1024,
    "google": [name for name in added if name.startswith(("google", "airflow.providers.google"))],
    "modules": len(added),
}))
"""
)


def measure(runs: int) -> dict[str, object]:
    results = [
        json.loads(
            subprocess.run(
                [sys.executable, "-c", CHILD], check=True, capture_output=True
            ).stdout.splitlines()[-1]
        )
        for _ in range(runs)
    ]
    return {
        "added_ms": round(statistics.median(result["ms"] for result in results), 2),
        "added_mb": round(statistics.median(result["mb"] for result in results), 2),
        "google_modules": sorted({name for result in results for name in result["google"]}),
        "modules": results[0]["modules"],
        "runs": runs,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument(
        "--json", action="store_true", help="print one JSON line (the default, and the only form)"
    )
    print(json.dumps(measure(parser.parse_args().runs)))
