"""A plugin of pytest: statements run on GoogleSQL's reference evaluator, not on the local BigQuery.

``python -m tests.googlesql.on_evaluator`` runs the tests whose cases say what statements have to give. They stay as
they are: a client of BigQuery that is made meanwhile is the evaluator's, and the other servers are the local ones.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from tests.googlesql.service import MISSING

TESTS = """
tests/costs/test_earlier.py
tests/landing/bigquery/test_collecting.py
tests/landing/bigquery/test_embedding_tables.py
tests/landing/bigquery/test_inputs.py
tests/landing/bigquery/test_lander.py
tests/landing/bigquery/test_merge_sql.py
tests/landing/bigquery/test_names.py
tests/landing/bigquery/test_staging_sql.py
tests/landing/test_canary_rows.py::test_newer_answers_to_the_question_are_taken[table]
tests/landing/test_canary_rows.py::test_vectors_are_taken[table-target]
tests/landing/test_schema_check_sql.py::test_sql_says_why_an_answer_does_not_fit
tests/landing/test_schema_check_sql.py::test_sql_reads_the_value_of_a_column
tests/landing/test_schema_check_sql.py::test_sql_reads_an_answer_without_fields
tests/landing/test_times_failed.py::test_each_run_that_fails_for_good_counts_once[tables]
tests/landing/test_which_answer_counts.py
tests/ledger/test_ledgers.py::test_records_come_back_as_they_were[table]
tests/ledger/test_ledgers.py::test_records_since[table-all]
tests/ledger/test_ledgers.py::test_records_since[table-at-that-moment]
tests/ledger/test_ledgers.py::test_records_since[table-ended-since]
tests/ledger/test_ledgers.py::test_records_since[table-none]
tests/ledger/test_ledgers.py::test_same_run_is_one_record[table]
tests/outputs/test_row_shapes.py::test_sql_sorts_the_rows
tests/outputs/test_table_follow_ups.py
tests/outputs/test_tables.py::test_tally_of_no_table_is_none_and_of_an_empty_one_is_zero
tests/outputs/test_tables.py::test_tally_counts_by_outcome_and_shows_why
tests/outputs/test_tables.py::test_long_reasons_are_shown_in_part
tests/outputs/test_tables.py::test_other_columns_do_not_matter
tests/outputs/test_usage_both_ways.py::test_tables_are_added_up_by_model_version
tests/outputs/test_vector_follow_ups.py
tests/outputs/test_which_answer_counts.py
tests/requests/bigquery/test_names.py
tests/requests/bigquery/test_refusals.py::test_keys_of_several_columns_are_one_key_only_together
tests/requests/bigquery/test_refusals.py::test_long_keys_are_shown_in_part
tests/requests/bigquery/test_refusals.py::test_of_rows_with_one_key_the_same_is_kept_in_whatever_order_they_come
tests/requests/bigquery/test_refusals.py::test_row_without_a_prompt_does_not_cost_another_one_its_place
tests/requests/bigquery/test_skip_done.py
tests/requests/bigquery/test_tables.py::test_many_rows_are_divided_among_tables
tests/requests/bigquery/test_tables.py::test_other_requests_are_another_table
tests/requests/bigquery/test_tables.py::test_table_that_is_gone_is_written_again_beside_the_others
tests/requests/bigquery/test_text_embedding_tables.py
tests/requests/bigquery/test_values.py
tests/requests/test_both_ways.py::test_bad_rows_are_counted_alike[table]
tests/requests/test_both_ways.py::test_same_rows_become_the_same_requests
tests/requests/test_both_ways.py::test_values_of_each_type_become_the_same_request
tests/requests/test_done_tables.py
tests/requests/test_failed.py
tests/requests/test_media.py::test_rows_in_bigquery_are_judged_alike
tests/requests/test_source_parameters.py::test_query_is_read_with_its_parameters
tests/requests/test_source_parameters.py::test_query_without_its_parameter_is_refused
"""

_FILES = "reads or writes files, which the evaluator does not know"
_OTHERS = "sends a statement that this package does not: only those of the package are known"
_TRANSACTION = "takes back what a transaction has begun, and the evaluator has none"
_LANDER = "tests/landing/bigquery/test_lander.py::test_"
_MERGES = "tests/landing/bigquery/test_merge_sql.py::test_"
_BOTH_WAYS = "tests/requests/test_both_ways.py::test_same_rows_become_the_same_requests"

DIFFERENT = {
    f"{_LANDER}target_of_an_earlier_release_gets_the_column_that_it_lacks": _OTHERS,
    f"{_LANDER}answers_of_a_job_land": _FILES,
    f"{_MERGES}nothing_lands_when_the_failures_can_not": _TRANSACTION,
    f"{_BOTH_WAYS}[Gemini embedding]": _FILES,
    f"{_BOTH_WAYS}[Gemini embedding with the title in the text]": _FILES,
}
"""Tests, or cases of them, that do not pass on the evaluator, and why. One that passes fails: its entry has to go."""


@pytest.fixture(scope="session", autouse=True)
def evaluator() -> Iterator[None]:
    from google.cloud.bigquery import Client

    from tests.googlesql.evaluator import Evaluator

    instead = Evaluator()
    with pytest.MonkeyPatch.context() as patched:
        # Whoever makes a client, the hooks of Airflow too.
        patched.setattr(Client, "__new__", lambda *_, **__: instead)
        yield
    assert instead.statements, "no test has reached the evaluator"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        function = item.nodeid.partition("[")[0]
        if reason := DIFFERENT.get(item.nodeid) or DIFFERENT.get(function):
            item.add_marker(pytest.mark.xfail(reason=reason, strict=True))


def main() -> int:
    """Run the tests; returns pytest's exit code."""
    if MISSING:
        print(f"skipped: {MISSING}")
        return 0
    return pytest.main(["-p", "tests.googlesql.on_evaluator", *TESTS.split(), *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
