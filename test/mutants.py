"""Takes each protection away and shows that its row of the fault table then fails (`make mutants`).

A mutant that its test survives is an error: the test proves nothing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Mutant:
    """One protection: `old` in a file of src/himoe_ros becomes `new`, and `test` of test/faults must fail."""

    row: int
    test: str
    file: str
    old: str
    new: str


SENSORS, SOURCE, POLICY, ROBOT = (
    "test_sensor_faults.py",
    "test_source_faults.py",
    "test_policy_faults.py",
    "test_robot_faults.py",
)
MALFORMED = f"{SOURCE}::test_06_09_10_a_malformed_chunk_is_dropped_whole_and_the_robot_holds"
MUTANTS = (
    Mutant(
        1,
        f"{SENSORS}::test_01_a_silent_camera_ends_planning_and_the_robot_holds[base]",
        "core/synchronizer.py",
        "if now - oldest > self.limits.max_age_s:",
        "if False:",
    ),
    Mutant(
        2,
        f"{SENSORS}::test_02_a_frozen_camera_is_found_after_ten_equal_images",
        "core/synchronizer.py",
        "same = last is not None and np.array_equal(last, image)",
        "same = False",
    ),
    Mutant(
        3,
        f"{SENSORS}::test_03_images_with_impossible_stamps_are_dropped_and_the_others_used[zero]",
        "core/synchronizer.py",
        "if not stamp > 0.0:",
        "if False:",
    ),
    Mutant(
        3,
        f"{SENSORS}::test_03_images_with_impossible_stamps_are_dropped_and_the_others_used[future]",
        "core/synchronizer.py",
        "if stamp > now + max_future:",
        "if False:",
    ),
    Mutant(
        3,
        f"{SENSORS}::test_03_images_out_of_order_take_their_place",
        "core/synchronizer.py",
        "insort(self.stamps, stamp)",
        "self.stamps.append(stamp)",
    ),
    Mutant(
        4,
        f"{SENSORS}::test_04_a_camera_too_far_behind_the_other_gives_no_observation",
        "core/synchronizer.py",
        "if now - oldest > self.limits.max_age_s:",
        "if False:",
    ),
    Mutant(
        5,
        f"{SENSORS}::test_05_permuted_joint_states_are_the_same_state",
        "core/unified.py",
        "table = dict(zip(names, positions, strict=True))",
        "table = dict(zip(wanted, positions, strict=True))",
    ),
    Mutant(
        5,
        f"{SOURCE}::test_05_permuted_names_give_bit_identical_commands",
        "core/action_guard.py",
        "order = [chunk.names.index(name) for name in space.names]",
        "order = list(range(len(space.names)))",
    ),
    Mutant(
        6,
        f"{SENSORS}::test_06_a_missing_or_doubled_joint_is_refused_by_name",
        "core/unified.py",
        "if len(table) != len(names):",
        "if False:",
    ),
    Mutant(
        6,
        f"{MALFORMED}[6-without_one-chunk names must be exactly]",
        "core/action_guard.py",
        "if sorted(chunk.names) != sorted(space.names):",
        "if False:",
    ),
    Mutant(
        7,
        f"{SENSORS}::test_06_07_extra_joints_and_nan_velocities_change_nothing",
        "nodes/policy.py",
        "named_positions(message.name, message.position, self._embodiment.joint_names)",
        "named_positions(message.name, message.velocity or message.position, self._embodiment.joint_names)",
    ),
    Mutant(
        8,
        f"{SENSORS}::test_08_an_image_of_another_size_or_encoding_is_dropped_with_its_reason",
        "core/synchronizer.py",
        "if last is not None and last.shape != image.shape:",
        "if False:",
    ),
    Mutant(
        9,
        f"{MALFORMED}[9-a value of nan-must be finite]",
        "core/action_guard.py",
        'require_finite(chunk.values, "chunk values")',
        "pass",
    ),
    Mutant(
        9,
        f"{MALFORMED}",
        "nodes/controller.py",
        "            self._check_way(chunk)\n",
        "",
    ),
    Mutant(
        10,
        f"{MALFORMED}",
        "core/action_guard.py",
        "if chunk.times[0] <= 0 or np.any(np.diff(chunk.times) < SHORTEST_STEP_S):",
        "if False:",
    ),
    Mutant(
        11,
        f"{POLICY}::test_11_a_killed_policy_disarms_and_a_restarted_one_moves_nothing",
        "core/chunk_source.py",
        "        if self._trusted is None:\n",
        "        if True:\n",
    ),
    Mutant(
        12,
        f"{POLICY}::test_12_memory_that_runs_out_in_inference_holds_the_robot_and_kills_nobody",
        "policy/local.py",
        "except (RuntimeError, MemoryError) as error:",
        "except ZeroDivisionError as error:",
    ),
    Mutant(
        13,
        f"{SOURCE}::test_13_expired_steps_are_never_sent",
        "core/chunk_buffer.py",
        'past = int(np.searchsorted(times, now, side="right"))',
        "past, times = 0, times + now - chunk.stamp",
    ),
    Mutant(
        14,
        f"{SOURCE}::test_14_a_reply_after_a_newer_one_or_after_its_timeout_is_discarded",
        "core/chunk_buffer.py",
        "if chunk.stamp <= self._stamp:",
        "if False:",
    ),
    Mutant(
        14,
        f"{SOURCE}::test_14_a_reply_after_a_newer_one_or_after_its_timeout_is_discarded",
        "control/loop.py",
        "if now - chunk.stamp > self._safety.chunk_timeout_s:",
        "if False:",
    ),
    Mutant(
        15,
        f"{SOURCE}::test_15_a_source_that_is_alive_but_plans_no_more_is_not_waited_for",
        "core/chunk_buffer.py",
        "if self._plan is None or not self._plan.times[0] <= now <= self._plan.times[-1]:",
        "if self._plan is None:",
    ),
    Mutant(
        15,
        f"{SOURCE}::test_15_a_long_plan_does_not_outlive_the_watchdog",
        "control/loop.py",
        "if self._watchdog.expired(steady):",
        "if False:",
    ),
    Mutant(
        16,
        "test_clock_faults.py::test_16_a_clock_that_jumps_ends_the_plan",
        "control/loop.py",
        "if trouble := self._clock.look(now, steady):",
        'if trouble := "":',
    ),
    Mutant(
        16,
        "test_clock_faults.py::test_16_a_clock_that_stands_still_does_not_keep_a_plan_alive",
        "control/loop.py",
        "if trouble := self._clock.look(now, steady):",
        'if trouble := "":',
    ),
    Mutant(
        17,
        f"{SOURCE}::test_17_a_second_publisher_disarms_within_a_second",
        "core/chunk_source.py",
        "if len(self._endpoints) > 1:",
        "if False:",
    ),
    Mutant(
        18,
        f"{POLICY}::test_18_a_partition_of_five_seconds_holds_and_ends_without_a_burst",
        "core/chunk_source.py",
        "        if self._trusted is None:\n",
        "        if True:\n",
    ),
    Mutant(
        19,
        f"{ROBOT}::test_19_nothing_is_sent_after_a_loss_until_a_person_arms",
        "control/loop.py",
        "            self._fault(str(error))\n",
        "",
    ),
    Mutant(
        20,
        f"{ROBOT}::test_20_a_call_that_blocks_190_ms_makes_no_jump_and_no_fault",
        "control/loop.py",
        "min(elapsed, period)",
        "elapsed",
    ),
    Mutant(
        21,
        f"{ROBOT}::test_21_an_emergency_stop_ends_the_plan_and_releasing_it_moves_nothing",
        "control/loop.py",
        "        if reading.fault:\n            self._fault(reading.fault)\n",
        "",
    ),
    Mutant(
        22,
        "test_parameters.py::test_22_limits_are_read_only_while_armed_and_unsafe_values_are_refused",
        "control/loop.py",
        '        if self.sending:\n            raise GuardError(f"speed_scale may',
        '        if False:\n            raise GuardError(f"speed_scale may',
    ),
    Mutant(
        27,
        f"{POLICY}::test_27_a_policy_of_another_robot_or_action_space_is_refused_at_configure",
        "policy/statistics.py",
        "if (self.embodiment, self.action_space) != (embodiment.name, space.name):",
        "if False:",
    ),
    Mutant(
        31,
        "test_lifecycle.py::test_31_up_and_down_without_failures_leaks_or_stray_commands",
        "control/xarm_link.py",
        "        if api is not None:\n            _disconnect(api)\n",
        "",
    ),
)


def copy(folder: Path) -> None:
    """The tracked files, and what git does not ignore."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)


def killed(mutant: Mutant, folder: Path) -> bool:
    """Whether the test fails without the protection."""
    path = folder / "src" / "himoe_ros" / mutant.file
    text = path.read_text()
    if text.count(mutant.old) != 1:
        sys.exit(f"error: expected {mutant.old!r} once in {mutant.file}, found it {text.count(mutant.old)} times")
    path.write_text(text.replace(mutant.old, mutant.new))
    variables = {**os.environ, "PYTHONPATH": str(folder / "src"), "HIMOE_CYCLES": "30"}
    command = [sys.executable, "-m", "pytest", "-x", "-m", "", "-p", "no:cacheprovider", f"test/faults/{mutant.test}"]
    try:
        ran = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, timeout=300)
    except subprocess.TimeoutExpired:
        return True
    finally:
        path.write_text(text)
    if ran.returncode not in (0, 1):
        sys.exit(f"error: {mutant.test} could not be run:\n{ran.stdout[-2000:]}{ran.stderr[-2000:]}")
    return ran.returncode == 1


def main() -> None:
    rows = [int(row) for row in sys.argv[1:]]
    survived = []
    with tempfile.TemporaryDirectory(prefix="himoe_mutants_") as name:
        copy(Path(name))
        for mutant in MUTANTS:
            if rows and mutant.row not in rows:
                continue
            dead = killed(mutant, Path(name))
            print(
                f"row {mutant.row:<3} {'fails' if dead else 'SURVIVES':<9} {mutant.file}: {mutant.old.strip()}",
                flush=True,
            )
            survived += [] if dead else [mutant]
    if survived:
        sys.exit(f"{len(survived)} protections can be taken away unnoticed")
    print("every test fails without its protection")


if __name__ == "__main__":
    main()
