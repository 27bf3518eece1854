"""What is said of many users at once, from a record worked out by hand."""

from __future__ import annotations

from dataclasses import replace

from dala.studies.load import Load, Memory, Seconds, memory, sentence, waits

LOAD = Load(
    protocol="p",
    command="c",
    weights_sha256="0",
    engine="torch",
    users=3,
    verdicts=4,
    mixed_up=0,
    errors=(),
    seconds=Seconds(median=2.04, percentile_95=5.96, each=((9.0, 6.0), (1.0, 2.0), (2.0, 2.1), (3.0, 1.0))),
    memory_mb=Memory(
        after_warm_up=1000,
        largest_later=1100,
        climb_per_minute=3.2,
        climb_second_half=-0.4,
        each=((0.0, 900), (60.0, 1000), (80.0, 1100)),
    ),
)


def test_load_in_a_sentence() -> None:
    assert sentence(LOAD) == (
        "3 users at once got 4 verdicts, none of them mixed up: half of them within 2.0 s, 95 % within 6.0 s. Memory "
        "after the first minute: 1,000 MB, at most 1,100 MB later; from then on it climbs by +3.2 MB a minute, in the "
        "second half of the test by -0.4. No error."
    )
    bad = replace(LOAD, mixed_up=1, errors=("a.", "b", "a."))
    assert "1 of them mixed up" in sentence(bad)
    assert sentence(bad).endswith("Errors: 2 x a; 1 x b.")


def test_lines_run_in_time() -> None:
    line = waits(LOAD)
    assert (line.x, line.y) == ((1.0, 2.0, 3.0, 9.0), (2.0, 2.1, 1.0, 6.0))
    assert memory(LOAD).y == (900.0, 1000.0, 1100.0)
