"""What Airflow and a DAG's author see of the package: the metadata, the public names, the parameters."""

from __future__ import annotations

import importlib
import inspect
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import airflow
import jsonschema
import pytest

import airflow_gemini_batch
from airflow_gemini_batch.provider_info import get_provider_info

PYPROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
INFO = get_provider_info()
# Sections that list modules, and the base class of what those modules are there for.
KINDS = {
    "operators": "BaseOperator",
    "sensors": "BaseSensorOperator",
    "hooks": "BaseHook",
    "triggers": "BaseTrigger",
}


def test_provider_info_is_what_airflow_expects():
    schema = json.loads((Path(airflow.__file__).parent / "provider_info.schema.json").read_text())
    jsonschema.validate(INFO, schema)


def test_provider_has_the_name_and_the_version_of_the_distribution():
    assert INFO["package-name"] == PYPROJECT["project"]["name"]
    # `airflow providers list` fails on a name that is not spelled as the distribution's, with hyphens.
    assert "_" not in INFO["package-name"]
    assert INFO["versions"][0] == airflow_gemini_batch.__version__


def test_entry_point_leads_to_the_provider_info():
    (entry,) = PYPROJECT["project"]["entry-points"]["apache_airflow_provider"].values()
    module, _, function = entry.partition(":")
    assert getattr(importlib.import_module(module), function)() == INFO


def paths(section: str) -> Iterator[str]:
    """Yield the import paths of modules and objects that a section names."""
    for entry in INFO[section]:
        if isinstance(entry, str):
            yield entry
        elif "class-name" in entry:
            yield entry["class-name"]
        elif "python-modules" in entry:
            yield from entry["python-modules"]
        elif "hook-class-name" in entry:
            yield entry["hook-class-name"]


def load(path: str) -> Any:
    """Import a module, or an object of one."""
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError:
        module, _, name = path.rpartition(".")
        return getattr(importlib.import_module(module), name)


@pytest.mark.parametrize(
    "path",
    [
        path
        for section in [*KINDS, "connection-types", "extra-links", "task-decorators", "notifications"]
        for path in paths(section)
    ],
)
def test_every_path_of_the_provider_info_leads_somewhere(path):
    assert load(path) is not None


@pytest.mark.parametrize("kind", KINDS)
def test_provider_info_names_the_home_of_every_public_class(kind):
    homes = {public.__module__ for public in public_classes() if base_of(public) == kind}
    assert homes
    assert homes <= set(paths(kind))


def test_connection_type_is_the_hook_s_own():
    (connection,) = INFO["connection-types"]
    hook = load(connection["hook-class-name"])
    assert (connection["connection-type"], connection["hook-name"]) == (hook.conn_type, hook.hook_name)


def test_connection_s_form_has_the_fields_that_the_hook_adds():
    (connection,) = INFO["connection-types"]
    fields = connection["conn-fields"]
    assert {"project", "location", "vertex_base_url", "keyfile_dict", "key_path"} <= fields.keys()
    # Shown as dots.
    assert fields["keyfile_dict"]["schema"]["format"] == "password"


def test_form_that_airflow_before_3_2_asks_the_hook_for_is_the_same():
    (connection,) = INFO["connection-types"]
    hook = load(connection["hook-class-name"])
    behaviour = connection["ui-field-behaviour"]
    assert hook.get_ui_field_behaviour() == {name.replace("-", "_"): behaviour[name] for name in behaviour}
    pytest.importorskip("flask_appbuilder")
    widgets = hook.get_connection_form_widgets()
    labels = {name: field["label"] for name, field in connection["conn-fields"].items()}
    assert {name: widget.args[0] for name, widget in widgets.items()} == labels
    secrets = {name for name, widget in widgets.items() if widget.field_class.__name__ == "PasswordField"}
    assert secrets == {"keyfile_dict"}


def public_classes() -> list[type]:
    found = (getattr(airflow_gemini_batch, name) for name in airflow_gemini_batch.__all__)
    return [public for public in found if isinstance(public, type)]


def base_of(kind: type) -> str | None:
    """Return the section of the provider info that a class belongs to."""
    names = {base.__name__ for base in kind.__mro__}
    # A sensor is an operator as well.
    return next((section for section in reversed(list(KINDS)) if KINDS[section] in names), None)


def test_public_names_are_those_that_are_found():
    assert airflow_gemini_batch.__all__ == sorted(airflow_gemini_batch._HOMES)
    assert set(airflow_gemini_batch.__all__) <= set(dir(airflow_gemini_batch))


@pytest.mark.parametrize("name", airflow_gemini_batch.__all__)
def test_public_name_is_what_its_home_calls_so(name):
    found = getattr(airflow_gemini_batch, name)
    assert found.__name__ == name
    assert found.__module__ == f"airflow_gemini_batch.{airflow_gemini_batch._HOMES[name]}"


def test_name_that_does_not_exist_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'airflow_gemini_batch' has no attribute 'Nothing'"):
        _ = airflow_gemini_batch.Nothing


@pytest.mark.slow
def test_decorator_is_found_by_its_name():
    from airflow.providers.common.compat.sdk import task

    (decorator,) = INFO["task-decorators"]
    assert getattr(task, decorator["name"]) is load(decorator["class-name"])


def in_a_fresh_process(code: str) -> str:
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.splitlines()[-1]


@pytest.mark.slow
def test_importing_the_package_loads_nothing_else():
    code = "import sys, airflow_gemini_batch; print([n for n in sys.modules if n.split('.')[0] == 'airflow'])"
    assert in_a_fresh_process(code) == "[]"


@pytest.mark.slow
def test_importing_what_a_dag_file_imports_loads_no_google_library():
    # A DAG file pays for these on every parse: google-genai alone costs a second. Airflow itself looks up the
    # empty packages above them.
    code = (
        "import sys\nfrom airflow_gemini_batch import *\n"
        "heavy = ('google.genai', 'google.auth', 'google.api_core', 'google.cloud.', 'google.oauth2',"
        " 'airflow.providers.google.c', 'aiohttp')\n"
        "print(sorted(name for name in sys.modules if name.startswith(heavy)))"
    )
    assert in_a_fresh_process(code) == "[]"


BUILD = {"source": "bq://project-1.d.t", "key": "isbn", "prompt": "a", "model": "gemini-3.8-flash"}
# The arguments that each operator and each sensor can't do without.
NEEDED: dict[str, dict[str, Any]] = {
    "BuildGeminiRequestsOperator": BUILD,
    "PreflightGeminiBatchOperator": {**BUILD, "target": "bq://project-1.d.t"},
    "LandGeminiResultsOperator": {"manifest": {}, "key": "isbn", "target": "bq://project-1.d.t"},
    "BuildEmbeddingRequestsOperator": {
        "model": "gemini-embedding-001",
        "source": "bq://project-1.d.t",
        "key": "id",
        "text": "title",
    },
    "PreflightTextEmbeddingBatchOperator": {
        "model": "text-embedding-005",
        "source": "bq://project-1.d.t",
        "key": "id",
        "text": "title",
        "target": "bq://project-1.d.vectors",
    },
    "LandEmbeddingsOperator": {"manifest": {}, "key": "id", "target": "bq://project-1.d.t"},
    "SubmitGeminiBatchOperator": {"model": "gemini-3.8-flash", "requests": "gs://bucket/in.jsonl"},
    "SubmitTextEmbeddingBatchOperator": {"model": "text-embedding-005", "requests": "gs://bucket/in.jsonl"},
    "JudgeCanaryOperator": {
        "canary": airflow_gemini_batch.Canary(),
        "question": None,
        "key": "isbn",
        "target": "bq://project-1.d.t",
    },
    "LandCanaryOperator": {"question": None, "key": "isbn", "target": "bq://project-1.d.t"},
    "RollbackOperator": {"target": "bq://project-1.d.t", "key": "isbn"},
    "GeminiBatchJobSensor": {},
    "GeminiBatchOutputFilesSensor": {"prefix": "gs://bucket/out"},
    "GeminiBatchOutputTableSensor": {"table": "bq://project-1.d.t"},
}


def test_every_operator_and_sensor_is_looked_at():
    tasks = {kind.__name__ for kind in public_classes() if base_of(kind) in ("operators", "sensors")}
    assert tasks == set(NEEDED)


@pytest.mark.parametrize("name", NEEDED)
def test_template_fields_are_attributes_that_init_assigns_untouched(name):
    kind = getattr(airflow_gemini_batch, name)
    fields = list(kind.template_fields)
    assert len(set(fields)) == len(fields)
    templates = {field: f"{{{{ var.value.{field} }}}}" for field in fields}
    task = kind(task_id="t", **{**NEEDED[name], **templates})
    assert {field: getattr(task, field) for field in fields} == templates


def former_names(kind):
    """The parameters that are only documented as the former name of another."""
    return set(
        re.findall(r":param (\w+): former name of", "".join(base.__doc__ or "" for base in kind.__mro__))
    )


@pytest.mark.parametrize("name", NEEDED)
def test_every_string_parameter_that_can_change_from_run_to_run_is_a_template(name):
    kind = getattr(airflow_gemini_batch, name)
    texts = {
        parameter.name
        for base in kind.__mro__
        if base.__module__.startswith("airflow_gemini_batch") and "__init__" in vars(base)
        for parameter in inspect.signature(base.__init__).parameters.values()
        if "str" in str(parameter.annotation)
        and f":param {parameter.name}: former name of" not in (base.__doc__ or "")
    }
    assert texts - former_names(kind) <= set(kind.template_fields)


@pytest.mark.parametrize("kind", public_classes(), ids=lambda kind: kind.__name__)
def test_parameters_are_given_by_name(kind):
    if base_of(kind) == "hooks":
        return
    for base in kind.__mro__:
        if not base.__module__.startswith("airflow_gemini_batch") or "__init__" not in vars(base):
            continue
        kinds = {
            parameter.kind for parameter in list(inspect.signature(base.__init__).parameters.values())[1:]
        }
        assert kinds <= {inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD}, base
