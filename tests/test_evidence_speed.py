"""Sentences and rows about speed and load, from a record worked out by hand."""

from __future__ import annotations

from dala.evidence_speed import load_sentence, memory, speed_sentence, speed_table, waits

SPEED = {
    "maps": {
        "torch": {"milliseconds": 100.4, "of pytorch-grad-cam": 0.25, "of torch-cam": 0.5},
        "openvino-bf16": {"milliseconds": 50.2, "of pytorch-grad-cam": 0.125, "of torch-cam": 0.25},
        "pytorch-grad-cam": {"milliseconds": 401.6, "of pytorch-grad-cam": 1.0, "of torch-cam": 2.0},
    },
    "batches": {"openvino-bf16": {"pictures_per_second": 20.04}, "torch": {"pictures_per_second": 8.0}},
    "start_seconds": {
        "openvino-bf16": {"imported": 1.5, "loaded": 2.0, "first_answer": 2.04},
        "torch": {"imported": 1.5, "loaded": 1.6, "first_answer": 1.8},
    },
}
LOAD = {
    "users": 3,
    "verdicts": 4,
    "mixed_up": 0,
    "errors": [],
    "seconds": {"median": 2.04, "percentile_95": 5.96, "each": [[9.0, 6.0], [1.0, 2.0], [2.0, 2.1], [3.0, 1.0]]},
    "memory_mb": {
        "after_warm_up": 1000,
        "largest_later": 1100,
        "climb_per_minute": 3.2,
        "climb_second_half": -0.4,
        "each": [[0.0, 900], [60.0, 1000], [80.0, 1100]],
    },
}


def test_programs_are_listed_by_their_time() -> None:
    rows = speed_table(SPEED)
    assert [row["Answer and both maps"].split()[0] for row in rows] == ["50", "100", "402"]
    assert [row["Images a second, no maps"] for row in rows] == ["20.0", "8.0", ""]
    assert rows[0]["of torch-cam's time"] == "0.25"


def test_speed_in_a_sentence() -> None:
    assert speed_sentence(SPEED) == (
        "One image takes 50 ms, 0.12 of the time of pytorch-grad-cam and 0.25 of that of torch-cam on the same two "
        "cores. From a fresh process to the first whole opinion: 2.0 s, of which 1.5 s go to importing libraries."
    )


def test_load_in_a_sentence() -> None:
    assert load_sentence(LOAD) == (
        "3 users at once got 4 verdicts, none of them mixed up: half of them within 2.0 s, 95 % within 6.0 s. Memory "
        "after the first minute: 1,000 MB, at most 1,100 MB later; from then on it climbs by +3.2 MB a minute, in the "
        "second half of the test by -0.4. No error."
    )
    bad = LOAD | {"mixed_up": 1, "errors": ["a.", "b", "a."]}
    assert "1 of them mixed up" in load_sentence(bad)
    assert load_sentence(bad).endswith("Errors: 2 x a; 1 x b.")


def test_lines_run_in_time() -> None:
    line = waits(LOAD)
    assert (line.x, line.y) == ((1.0, 2.0, 3.0, 9.0), (2.0, 2.1, 1.0, 6.0))
    assert memory(LOAD).y == (900.0, 1000.0, 1100.0)
