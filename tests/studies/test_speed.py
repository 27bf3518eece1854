"""Sentences and rows about speed, from a record worked out by hand."""

from __future__ import annotations

from dala.studies.speed import Speed, Start, Throughput, WithMaps, sentence, table
from tests.helpers.records import partly

SPEED = partly(
    Speed,
    maps={
        "torch": WithMaps(milliseconds=100.4, of_pgc=0.25, of_torch_cam=0.5),
        "openvino-bf16": WithMaps(milliseconds=50.2, of_pgc=0.125, of_torch_cam=0.25),
        "pytorch-grad-cam": WithMaps(milliseconds=401.6, of_pgc=1.0, of_torch_cam=2.0),
    },
    batches={
        "openvino-bf16": Throughput(images_per_second=20.04, of_torch=2.5),
        "torch": Throughput(images_per_second=8.0, of_torch=1.0),
    },
    start_seconds={
        "openvino-bf16": Start(imported=1.5, loaded=2.0, first_answer=2.04),
        "torch": Start(imported=1.5, loaded=1.6, first_answer=1.8),
    },
)


def test_programs_are_listed_by_their_time() -> None:
    rows = table(SPEED)
    assert [row["Answer and both maps"].split()[0] for row in rows] == ["50", "100", "402"]
    assert [row["Images a second, no maps"] for row in rows] == ["20.0", "8.0", ""]
    assert rows[0]["of torch-cam's time"] == "0.25"


def test_speed_in_a_sentence() -> None:
    assert sentence(SPEED) == (
        "One image takes 50 ms, 0.12 of the time of pytorch-grad-cam and 0.25 of that of torch-cam on the same two "
        "cores. From a fresh process to the first whole opinion: 2.0 s, of which 1.5 s go to importing libraries."
    )
