"""The head refitted with a site: against scikit-learn and closed forms, and what its file must never hold."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from dala import load_model
from dala.nets.dala_resnet50 import DualActivatedHead
from dala.runtime.pooling import Pooling
from dala.runtime.predict import Model
from dala.sites import SUFFIX, load_site, save_site, with_site
from dala.training.laboratories.fit import head_margins
from dala.training.laboratories.samples import PARTS, Samples
from dala.training.site.fit import (
    HeldOut,
    adapt,
    answered_before,
    joined,
    margins_of,
    mean_for_gate,
    recipe_of,
    refit,
    rule_of,
)
from dala.training.site.images import SiteImages

pytestmark = pytest.mark.slow
WIDTH = 3584


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model("breast", engine="torch")


def cloud(model: Model, count: int, shift: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features of so many images about the gate's first mean, classes in turn, malignant ones moved along some axes."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    x = random.gamma(2.0, 0.2, (count, WIDTH)).astype(np.float32)
    x[:, ::7] += 0.3 * labels[:, None].astype(np.float32) + np.float32(shift)
    return x, labels


def samples_of(model: Model, count: int = 60) -> Samples:
    x, labels = cloud(model, count, 0.0, 0)
    return Samples(
        features=x,
        colours=np.zeros((count, 6), np.float32),
        names=np.array([str(k) for k in range(count)]),
        labels=np.where(np.arange(count) >= count - 4, -1, labels),
        groups=np.array([f"A/{k // 2}" for k in range(count)]),
        laboratories=np.array(["A"] * (count - 4) + ["nothing"] * 4),
        extra=np.arange(count) >= count - 4,
    )


def site_of(model: Model, count: int = 24, shift: float = 0.2) -> SiteImages:
    x, labels = cloud(model, count, shift, 1)
    groups = np.array([f"p{k}" for k in range(count)])
    return SiteImages(tuple(row[None] for row in x), labels.astype(np.int64), groups, (0.25, 0.25), "table")


def test_the_refitted_head_is_what_scikit_learn_and_the_normal_equations_give(model: Model) -> None:
    """Three logistic regressions of a laboratory and a site of equal weight, and their mean by the recipe's shares."""
    samples, site, recipe = samples_of(model), site_of(model), recipe_of(model)
    every = joined(samples, site, "Site")
    head = refit(every, np.flatnonzero(~every.extra), recipe)

    # By hand: every group of a class has one image, so that in A each weighs 1 / 28 and in the site 1 / 12.
    known = np.flatnonzero(~every.extra)
    x, y = every.features[known].astype(np.float64), every.labels[known]
    weights = np.where(every.laboratories[known] == "A", 1 / 28, 1 / 12)
    weights *= len(weights) / weights.sum()
    nothing = every.features[every.extra].astype(np.float64)
    x = np.concatenate([x, nothing, nothing])
    y = np.concatenate([y, np.zeros(4, int), np.ones(4, int)])
    weights = np.concatenate([weights, np.full(8, recipe.nothing * weights.sum() / 8)])
    expected = np.zeros(len(x))
    for part, weight in zip(PARTS.values(), recipe.shares, strict=True):
        z = (x[:, part] - x[:, part].mean(0)) / x[:, part].std(0)
        found = LogisticRegression(C=recipe.logistic_c, tol=1e-8, max_iter=5000).fit(z, y, weights)
        expected += weight * found.decision_function(z)

    answer = head_margins(head, x.astype(np.float32))
    # A hundredth of the random start stays in the head.
    assert np.abs(answer - expected).max() < 0.05 * expected.std()


def test_refitting_leaves_the_model_as_it_is(model: Model) -> None:
    samples, site = samples_of(model), site_of(model)
    before = {key: value.clone() for key, value in model.net.state_dict().items()}
    every = joined(samples, site, "Site")
    refit(every, np.flatnonzero(~every.extra), recipe_of(model))
    assert all(torch.equal(value, before[key]) for key, value in model.net.state_dict().items())


def test_fields_of_an_image_are_pooled_as_they_are_served(model: Model) -> None:
    """The most suspicious of three fields, less the shift times ln 3."""
    site = site_of(model, 6)
    together = SiteImages(
        (np.concatenate(site.views[:3]), *site.views[3:]), site.labels[2:], site.groups[2:], (1, 1), "table"
    )
    each = head_margins(model.net.head, np.concatenate(site.views))
    found = margins_of(model.net.head, together, Pooling("top_k", 1, 0.25))
    assert found[0] == pytest.approx(each[:3].max() - 0.25 * np.log(3), abs=1e-4)
    assert found[1:] == pytest.approx(each[3:], abs=1e-4)


def test_patients_weigh_the_same_in_the_mean_of_the_gate(model: Model) -> None:
    site = replace(site_of(model, 4), groups=np.array(["p", "p", "p", "q"]))
    first, second, third, last = (one[0, PARTS["layer3"]].astype(np.float64) for one in site.views)
    assert mean_for_gate(site) == pytest.approx(((first + second + third) / 3 + last) / 2, abs=1e-6)


def held_out_of(margins: list[float], count: int) -> HeldOut:
    """Distances 1.0 to the site and 2.0 to the only other laboratory."""
    distances = np.tile([2.0, 1.0], (1, count, 1))
    return HeldOut(np.array([margins]), distances, np.ones((1, count)))


def test_limits_are_of_the_sites_own_patients_held_out(model: Model) -> None:
    """Ten patients, one image each: at a tenth the set must hold .9 * 11 = 9.9 of them, so the limit is the least
    probability that was given to a true class; at a twentieth 10.45 would be needed, and every class is in the set."""
    site, calibration = site_of(model, 10), model.card.calibration
    assert calibration is not None
    sure = [-3.0, 3.0] * 5
    sure[3] = -0.5  # a malignant one, missed
    rule = rule_of(held_out_of(sure, 10), site, calibration)
    assert rule.thresholds is not None and rule.decides == 0.10
    assert rule.thresholds[0.10] == pytest.approx(1 / (1 + np.exp(0.5 / calibration.temperature)), abs=1e-6)
    assert rule.thresholds[0.05] == 0.0
    assert rule.limit == 1.0 and rule.margin == pytest.approx(3.0)  # 2 squared less 1 squared


def test_below_nine_patients_there_are_no_limits_of_its_own(model: Model) -> None:
    site, calibration = site_of(model, 8), model.card.calibration
    assert calibration is not None
    assert rule_of(held_out_of([-3.0, 3.0] * 4, 8), site, calibration).thresholds is None


def test_what_the_gate_refuses_is_not_answered(model: Model) -> None:
    site = site_of(model, 6)
    assert model.familiarity is not None
    far = replace(model, familiarity=replace(model.familiarity, limit=0.0))
    assert answered_before(np.full(6, 9.0), site, far).share["value"] == 0.0


def test_a_fitted_site_tells_its_images_apart_and_holds_none_of_them(model: Model, tmp_path: Path) -> None:
    samples, site = samples_of(model), site_of(model, shift=0.6)
    fitted = adapt(site, "Our laboratory", model, samples, repeats=1)
    assert fitted.facts["after"]["scores"]["auc"]["value"] > 0.95
    assert (fitted.facts["images"], fitted.facts["groups"], fitted.facts["decides"]) == (24, 24, 0.05)
    path = tmp_path / f"ours{SUFFIX}"
    head = {key: value for key, value in fitted.head.state_dict().items()}
    save_site(path, fitted.facts, head, fitted.mean)
    content = path.read_bytes()
    for row in np.concatenate(site.views):
        for kind in (np.float16, np.float32, np.float64):
            for start in range(0, WIDTH - 4, 128):
                assert row[start : start + 4].astype(kind).tobytes() not in content
    assert not any(group.encode() in content for group in site.groups.tolist() if len(group) > 2)
    answering = with_site(model, load_site(path))
    assert isinstance(answering.net.head, DualActivatedHead)
    # In sixteen bits the margins are those of the fit, to a hundredth.
    every = joined(samples, site, "Our laboratory")
    exact = head_margins(refit(every, np.flatnonzero(~every.extra), recipe_of(model)), site.features)
    assert head_margins(answering.net.head, site.features) == pytest.approx(exact, abs=0.05)
