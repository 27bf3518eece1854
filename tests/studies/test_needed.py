"""Deletion and insertion of the served weights: gains worked out by hand, and maps that are those of the first page."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dala.opinion import second_opinion
from dala.phantoms.tissue import draw
from dala.runtime.predict import load_model
from dala.studies import needed
from dala.studies.deletion import areas
from dala.studies.maps import GRADCAM, RANDOM, STAIN
from dala.studies.needed import AVERAGED, INVERTED, Kept, Laboratory, Needed, Order, laboratory_of
from tests.helpers.records import around, cells, interval, partly, plain


def test_a_cell_is_the_mean_of_what_it_covers() -> None:
    finer = np.array([[1.0, 3, 0, 0], [5, 7, 0, 4]])
    np.testing.assert_array_equal(needed.to_cells(finer, (1, 2)), [[4, 1]])


def kept(group: str, own: tuple[float, float], chance: tuple[float, float], laboratory: str = "A") -> Kept:
    areas = {baseline: {GRADCAM: own, RANDOM: chance} for baseline in needed.INSTEAD}
    return Kept(f"{group} {own}", group, laboratory, areas, 0.25)


def test_gains_are_paired_by_image_and_patients_weigh_the_same() -> None:
    """Deletion gains where its area is smaller than at random, insertion where it is larger."""
    rows = [
        kept("p", (0.2, 0.9), (0.5, 0.5)),  # sooner gone by 0.3, sooner back by 0.4
        kept("p", (0.4, 0.7), (0.5, 0.7)),  # 0.1 and 0
        kept("q", (0.6, 0.4), (0.5, 0.5)),  # -0.1 and -0.1
    ]
    found = laboratory_of(rows)
    assert (found.images, found.groups, found.redrawn["value"]) == (3, 2, 0.25)
    for baseline in needed.INSTEAD:
        assert list(found.orders[baseline]) == [GRADCAM]
        order = found.orders[baseline][GRADCAM]
        assert order.deletion["value"] == pytest.approx((0.2 - 0.1) / 2)
        assert order.insertion["value"] == pytest.approx((0.2 - 0.1) / 2)


def test_the_section_counts_what_is_clear() -> None:
    def laboratory(own: Order) -> Laboratory:
        stain = Order(deletion=interval(0.1), insertion=interval(0.1))
        return Laboratory(
            images=2,
            groups=2,
            orders={baseline: {GRADCAM: own, STAIN: stain} for baseline in needed.INSTEAD},
            redrawn=interval(-0.125),
        )

    clear = Order(deletion=around(0.2, 0.1), insertion=around(-0.2, 0.1))
    vague = Order(deletion=around(0.05, 0.1), insertion=interval(0.3))
    record = partly(Needed, laboratories={"A": laboratory(clear), "B": laboratory(vague)})
    assert needed.summary(record).endswith(
        "the strongest cells of the map move the probability clearly more than a random order in 2, clearly less in 2; "
        "more than the most stained cells in 4."
    )
    assert plain(needed.redrawn_sentence(record)).endswith("was never trained: A -0.125, B -0.125.")
    rows = cells(needed.table(record))
    assert len(rows) == 8
    assert rows[0] == [
        *("A", "the image blurred", "Grad-CAM, as on the first page"),
        *("+0.200 (+0.100 to +0.300)", "-0.200 (-0.300 to -0.100)"),
    ]


@pytest.mark.slow
def test_the_map_is_that_of_the_first_page_and_the_ends_are_the_image_and_its_baseline() -> None:
    model, pixels = load_model("breast"), draw("solid_sheets").pixels[:128, :192]
    opinion = second_opinion(pixels, model, pixel_size_um=0.5)
    label = opinion.prediction.label
    maps, call, _ = needed.maps_of(pixels, model, model.net.head, 0)
    assert opinion.prediction.classes[call] == label
    np.testing.assert_allclose(maps[GRADCAM], opinion.maps[label].values, atol=1e-4)
    np.testing.assert_array_equal(maps[INVERTED], -maps[GRADCAM])
    assert {one.shape for one in maps.values()} == {maps[GRADCAM].shape}
    assert np.corrcoef(maps[AVERAGED].ravel(), maps[GRADCAM].ravel())[0, 1] > 0.5
    judge = needed.judge_of(model, model.net.head)
    p = judge(pixels[None, None])[0]
    np.testing.assert_allclose(p, opinion.prediction.probabilities, atol=2e-3)
    found = areas(pixels, {GRADCAM: maps[GRADCAM]}, judge, call, 1, 0)
    gone = judge(np.full_like(pixels, 243)[None, None])[0]
    expected = pytest.approx((p[call] + gone[call]) / 2, abs=2e-3)  # one step: a straight line between the two
    assert found["glass"][GRADCAM] == [expected, expected]


def test_what_was_kept_is_not_done_again(shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dala.studies.held_out import sample
    from dala.training.laboratories.sources import items_of

    model, items = load_model("breast"), items_of(shared_data)
    monkeypatch.setattr(needed, "maps_of", lambda *_: pytest.fail("it was done before"))
    chosen = sample(np.array([item.group for item in items]), 1)
    path = tmp_path / f"needed-{str(model.card.fields['sha256'])[:8]}-1-8.jsonl"
    rows = [kept(items[k].group, (0.2, 0.9), (0.5, 0.5), items[k].laboratory) for k in chosen]
    named = [
        row.__dict__ | {"name": f"{items[k].laboratory}/{items[k].name}"} for row, k in zip(rows, chosen, strict=True)
    ]
    path.write_text("".join(json.dumps(one) + "\n" for one in named))
    record = needed.measure(shared_data, model, tmp_path, 1, 8, lambda done, total: None)
    assert [one.groups for one in record.laboratories.values()] == [37, 24, 39]
    assert all(one.orders["glass"][GRADCAM].deletion["value"] == 0.3 for one in record.laboratories.values())
