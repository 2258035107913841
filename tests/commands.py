"""Every command that a page shows, and who answers for it: a test that runs it, or what it needs that no test has.

A new command on a page wants a row here, unless one fits it already. `ON_SMALL_INPUTS` runs it as it is written, on a
small teacher, data set and number of steps, and wants nothing more.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "reflow" / "demo" / "assets" / "README.md"]
)
ON_SMALL_INPUTS = "tests/test_documented.py::test_commands_run_on_small_inputs"
TARGETS = "tests/test_documented.py::test_targets_of_make_are_there"
WHEEL = "tests/test_dist.py::test_the_wheel_runs_in_an_empty_environment_from_another_folder"
SLURM = "tests/slurm/test_jobs.py::"
_PROGRAM = r"(?:\.venv/bin/)?(?:python\b|reflow-|lerobot-|pip\b|make\b|\.ci/run|sbatch\b|sha256sum\b|apt\b)"
_FENCE = re.compile(r"^```(?:bash|sh)?\n(.*?)^```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(
    r"`((?:(?:\.venv/bin/)?python -m |make |lerobot-\w+ --|pip install|apt install|sha256sum -)[^`]+)`"
)


@dataclass(frozen=True)
class Needs:
    """What a command needs that a test does not have.

    Attributes:
        what: as in "needs a robot".
    """

    what: str


ROWS: tuple[tuple[str, str | Needs], ...] = (
    # The first pattern that matches a command from its beginning answers for it.
    (r"make demo$", WHEEL),  # the same command; make itself is asked below
    (r"make|\.ci/run", TARGETS),
    (r"pip install '?(\.|dist/)", WHEEL),
    (r"pip install '?(reflow|lerobot)", Needs("a release on the index; what extras bring is in the lock")),
    (r"apt install", Needs("root")),
    (r"sha256sum -c SHA256SUMS", "tests/policies/test_sums.py::test_sha256sum_reads_it"),
    (r"reflow-train \+fix=full32$", WHEEL),
    (
        r"REFLOW_TRUST=my_package reflow-train",
        "tests/thirdparty/test_objective.py::test_the_command_distills_with_it",
    ),
    (
        r"lerobot-rollout .*--inference.type=rtc",
        "tests/runtimes/test_stock.py::test_real_time_chunking_jumps_with_its_default_weight_and_not_with_the_flag",
    ),
    (r"lerobot-rollout", Needs("a robot")),
    (
        r"python -m lerobot.async_inference",
        "tests/runtimes/test_stock.py::test_server_and_client_on_loopback",
    ),
    (r"lerobot-eval .*--env.type=pick", "tests/demo/test_pick_env.py::test_stock_lerobot_eval_plays_it"),
    (
        r"lerobot-eval .*--env.type=aloha",
        "tests/demo/test_embedded.py::test_stock_lerobot_eval_runs_a_policy_and_asks_the_network_for_nothing",
    ),
    (
        r"lerobot-eval .*--env.type=metaworld",
        "tests/simulator/test_metaworld.py::test_equals_lerobots_own_rollout",
    ),
    (r"sbatch .*reflow.pairs", SLURM + "test_a_pair_cache_is_made_by_an_array"),
    (r"sbatch --nodes=2", SLURM + "test_two_nodes_are_two_ranks"),
    (r"sbatch", "tests/slurm/test_requeue.py::test_what_reaches_its_time_limit_goes_on"),
    (r"reflow.train -m \+launcher=slurm", SLURM + "test_a_sweep_is_a_job_array"),
    (r"reflow.train -m \+launcher=joblib", "tests/test_launchers.py::test_joblib_runs_jobs_at_once"),
    (r"reflow.train .*trainer=sharded", "tests/distill/test_ranks.py::test_a_sharded_run_goes_on"),
    (
        r"reflow.train \+fix=full32 name=two",
        "tests/distill/test_ranks.py::test_two_processes_learn_what_one_does",
    ),
    (
        r"reflow.pairs .*trainer.devices=2$",
        "tests/test_pairs_command.py::test_two_ranks_leave_the_same_bytes",
    ),
    (r"reflow.pairs .*grown_from=", "tests/endpoints/test_grow.py"),
    (r"reflow.pairs verify", "tests/test_pairs_command.py::test_damage_is_found_and_mended"),
    (
        r"reflow.rollouts",
        "tests/simulator/test_recorder.py::test_the_command_writes_a_data_set_and_goes_on_where_it_stopped",
    ),
    (r"reflow.rounds", "tests/test_rounds.py::test_a_round_adds_to_those_before_and_none_is_done_twice"),
    (
        r"reflow.report .*after=",
        "tests/reports/test_compare.py::test_errors_at_equal_seconds_stand_beside_the_last_ones",
    ),
    (r"reflow.report evaluations=", "tests/reports/test_tasks.py::test_the_command_reads_folders"),
    (r"reflow.evaluate .*delay=", "tests/evaluation/test_evaluate.py::test_in_a_world_that_goes_on"),
    (r"reflow.evaluate .*env", "tests/evaluation/test_evaluate.py::test_in_the_simulator"),
    (r"reflow.benchmark .*quality=true", "tests/speed/test_benchmark.py::test_a_race_alone"),
    (
        r"reflow.benchmark",
        "tests/speed/test_benchmark.py::test_it_leaves_numbers_and_a_figure_in_a_folder_named_by_what_was_measured",
    ),
    (r"reflow.push", "tests/hub/test_as_users_do.py::test_a_student_goes_to_the_hub_and_comes_back"),
    (r"reflow.export relocate", "tests/bundle/test_relocate.py::test_the_command"),
    (r"reflow.export", "tests/bundle/test_export.py::test_export_json_says_what_was_done"),
    (r"reflow.sizes", "tests/test_sizes.py::test_the_command_prints_tables_or_json"),
    (
        r"reflow.demo.record_metaworld",
        "tests/demo/test_record_metaworld.py::test_the_command_records_the_same_with_worker_processes",
    ),
    (
        r"reflow.demo.record",
        "tests/demo/test_record.py::test_the_command_records_what_the_seeds_say_and_leaves_no_litter",
    ),
    (
        r"reflow.demo.train_teacher start=",
        "tests/demo/test_train_teacher.py::test_a_teacher_goes_on_from_another",
    ),
    (
        r"reflow.demo.train_teacher",
        "tests/demo/test_train_teacher.py::test_a_teacher_is_trained_saved_and_resumed",
    ),
    (
        r"reflow.demo.measure",
        "tests/demo/test_embedded.py::test_ten_steps_pick_the_cube_and_one_step_does_not",
    ),
    (
        r"reflow.demo.embed .*demonstrations=",
        "tests/demo/test_embedded.py::test_a_slice_keeps_some_episodes_whole_and_the_start_of_the_others",
    ),
    (
        r"reflow.demo.embed",
        "tests/demo/test_embedded.py::test_embedding_names_the_vlm_relative_to_the_bundle",
    ),
    (r"tests.runtimes.measure", "tests/runtimes/test_stock.py"),
    (r"tests.contract.figures|tests.contract.teachers", "tests/contract/test_contract.py"),
    (r"reflow\.(train|diagnose|evaluate|pairs|report)\b", ON_SMALL_INPUTS),
)


@dataclass(frozen=True)
class Shown:
    """A command on a page.

    Attributes:
        page: where.
        text: what is typed, in one line, without the way to Python.
    """

    page: str
    text: str


def shown() -> Iterator[Shown]:
    """Every command in a block of its own, and every whole one in a sentence."""
    for page in PAGES:
        text = page.read_text()
        for block in _FENCE.findall(text):
            for line in block.replace("\\\n", " ").splitlines():
                if re.match(rf"\s*(?:\w+=\S+ )*{_PROGRAM}", line):
                    yield Shown(page.name, _bare(line))
        for line in map(_bare, _INLINE.findall(_FENCE.sub("", text))):
            if " " in line:  # else it is the name of a command
                yield Shown(page.name, line)


def _bare(line: str) -> str:
    line = re.sub(r"\s+#.*", "", line)  # a remark
    line = re.sub(r"(?:\.venv/bin/)?python -m (?=reflow|tests)", "", line)
    return re.sub(r"\s+", " ", line).strip()


def answers(command: str) -> str | Needs | None:
    """Who answers for a command, or None."""
    return next((who for pattern, who in ROWS if re.match(pattern, command)), None)
