"""Parametrised tests whose later cases repeat, on other data, what the first ones show.

`make test` runs the first cases; the others are slow tests, which `make test-all` runs.
"""

FIRST_CASES = {
    "audit/verify/test_segment.py::test_corpus_gets_the_same_reports_in_segments": 2,
    "doctor/test_check.py::test_a_planted_mistake_is_the_only_finding": 12,
    "doctor/test_cost_choice.py::test_the_doctor_leaves_what_may_have_been_agreed": 2,
    "engine/full/test_effects.py::test_slopes_and_break_evens_are_those_of_new_runs": 2,
    "engine/full/test_effects.py::test_the_effect_of_a_factor_is_that_of_a_new_run": 2,
    "engine/full/test_latency.py::test_held_out_percentiles_are_within_a_tenth": 2,
    "engine/test_clusters.py::test_order_and_threads_change_no_byte_of_clustered_results": 1,
    "engine/test_clusters.py::test_sums_of_clusters_are_the_plain_loops": 4,
    "engine/test_full_oracle.py::test_full_projections_equal_the_row_loop": 2,
    "engine/test_replay_determinism.py::test_a_method_required_by_name_is_used": 3,
    "engine/test_replay_determinism.py::test_order_and_threads_change_no_byte": 2,
    "engine/test_replay_table.py::test_a_row_that_is_no_request_is_counted_by_column": 4,
    "engine/test_replay_table.py::test_types_that_say_the_same_give_the_same_bytes": 2,
    "engine/test_replay_vectors.py::test_the_rust_engines_results_are_ours": 3,
    "engine/test_suggest.py::test_replaying_a_suggestion_on_the_held_out_half_agrees": 1,
    "engine/test_suggest.py::test_conditions_are_only_on_what_is_asked_for": 2,
    "logs/formats/test_otlp.py::test_the_status_is_read_from_the_error": 3,
    "logs/sources/test_files.py::test_compressed_files_are_read_under_any_name": 2,
    "logs/sources/test_parquet.py::test_invalid_values_are_refused_and_nothing_is_written": 4,
    "logs/test_malformed.py::test_a_file_that_is_not_a_log_is_refused": 2,
    "logs/test_malformed.py::test_an_invalid_value_is_reported_and_not_imported": 6,
    "logs/test_reader.py::test_an_unusable_row_refuses_the_file_or_is_reported": 8,
    "operations/test_backup.py::test_each_problem_is_named": 2,
    "operations/test_drift.py::test_each_edit_in_sql_is_named_by_route_and_field": 4,
    "operations/test_reconcile.py::test_projected_figures_are_the_plans_own": 1,
    "operations/test_drift.py::test_nothing_is_repaired_if_the_signed_state_is_unknown": 2,
    "panel/test_panel.py::test_buttons_stay_disabled_until_every_step_is_done": 2,
    "panel/test_panel.py::test_verify_shows_what_it_proves": 3,
    "plots/test_plots.py::test_at_half_the_width_nothing_is_cut_and_no_labels_overlap": 3,
    "test_revert.py::test_a_drifted_store_is_not_reverted": 2,
    "universes/test_break_even.py::test_replays_save_what_slopes_say": 1,
    "universes/test_simulator.py::test_each_request_is_answered": 12,
    "universes/test_simulator.py::test_the_same_seed_makes_the_same_log": 12,
    "universes/test_worlds.py::test_expected_savings_are_those_of_the_world": 12,
    "views/test_views.py::test_parts_add_up_to_the_plan_to_the_last_digit": 2,
    "workspace/test_workspace.py::test_a_plan_that_cannot_be_made_is_not_kept": 3,
}
"""How many cases of a test `make test` runs, by its path below tests/."""
