"""Whether the wheel moves a pin of an environment that has Airflow and the Google provider.

    python -m tests.pins

For the oldest and the newest supported pair it asks pip what such an environment holds, then what installing the wheel
into it would bring, with all that is there as constraints. It installs nothing, but reads metadata from the package
index that pip is set up with, so it stands outside the tests, which may not leave this machine.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]

ENVIRONMENTS = [
    ["apache-airflow==2.11.*", "apache-airflow-providers-google==22.2.*"],
    ["apache-airflow==3.*", "apache-airflow-providers-google>=22.2"],
]


def resolved(folder: Path, *arguments: str) -> dict[str, str]:
    """Return the version of each package that pip would install into an empty environment."""
    report = folder / "report.json"
    command = [sys.executable, "-m", "pip", "install", "-q", "--dry-run", "--ignore-installed"]
    subprocess.run([*command, "--report", str(report), *arguments], check=True)
    packages = [each["metadata"] for each in json.loads(report.read_text())["install"]]
    return {package["name"].lower().replace("_", "-"): package["version"] for package in packages}


def main() -> None:
    """Print what the wheel adds to each environment; exits with 1 where it would move something."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--wheel-dir", name, str(ROOT)]
        subprocess.run(build, check=True)
        (wheel,) = folder.glob("*.whl")
        for environment in ENVIRONMENTS:
            before = resolved(folder, *environment)
            constraints = folder / "constraints.txt"
            constraints.write_text("".join(f"{name}=={version}\n" for name, version in before.items()))
            print(f"{' '.join(environment)}: {len(before)} packages", flush=True)
            try:
                after = resolved(folder, *environment, str(wheel), "--constraint", str(constraints))
            except subprocess.CalledProcessError:
                sys.exit("The wheel can't be installed without moving one of them. pip says above which.")
            added = sorted(f"{name} {after[name]}" for name in after.keys() - before.keys())
            print(f"  the wheel moves none of them and adds {', '.join(added)}", flush=True)


if __name__ == "__main__":
    main()
