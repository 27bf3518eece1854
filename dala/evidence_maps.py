"""What has been measured of the maps and of the engines that make them: tables and sentences for the evidence page.

As in `dala.evidence`, nothing here knows a figure: all of them come out of the files.
"""

from __future__ import annotations

from dala.evidence import Line, Point, Record, Row, figure, share

SETS = {
    "bach_part_b": "Breast: BACH part B, one slide",
    "camelyon": "Lymph node: CAMELYON",
    "phantoms": "Drawn phantoms",
}
METHODS = {
    "gradcam": "Grad-CAM, as on the first page",
    "fine_averaged": "Half-cell shifts, averaged to Grad-CAM's cells",
    "steady_averaged": "Steadier map, averaged to Grad-CAM's cells",
    "fine": "Grad-CAM, half-cell shifts",
    "steady": "Grad-CAM, steadier map",
    "gradcam_moved": "Grad-CAM, moved by half a cell",
    "gradcam_inverted": "Grad-CAM, inverted",
    "pytorch-grad-cam GradCAM": "pytorch-grad-cam: Grad-CAM",
    "pytorch-grad-cam HiResCAM": "pytorch-grad-cam: HiResCAM",
    "pytorch-grad-cam GradCAM++": "pytorch-grad-cam: Grad-CAM++",
    "pytorch-grad-cam LayerCAM": "pytorch-grad-cam: LayerCAM",
    "pytorch-grad-cam EigenCAM": "pytorch-grad-cam: EigenCAM",
    "pytorch-grad-cam ScoreCAM": "pytorch-grad-cam: ScoreCAM",
    "random": "At random",
    "random_fine": "At random, finer cells",
    "centre": "Middle of the image",
    "stain": "Amount of stain",
}
OWN, STEADY, RANDOM, STAIN = "gradcam", "steady", "random", "stain"
SLOW = "pytorch-grad-cam ScoreCAM"
BREAST = "bach_part_b"
RULES = {
    "mean_std": "Mean + k standard deviations",
    "evidence": "Share of the evidence",
    "otsu": "Otsu",
    "percentile": "Percentile of the image",
    "fixed": "Fraction of the maximum",
}
BASELINES = {"blurred": "the image blurred", "glass": "white glass"}
PARTS = {"head": "the head", "layer4": "the last stage and the attention", "both": "both"}


# Do maps lie on lesions?


def localisation_table(record: Record) -> list[Row]:
    """A row a method: pointing game and average precision on every set."""
    methods = dict.fromkeys(name for one in record["sets"].values() for name in one["methods"])
    rows = []
    for method in sorted(methods, key=list(METHODS).index):
        row = {"Map": METHODS[method]}
        for name, title in SETS.items():
            found = record["sets"][name]["methods"].get(method)
            told = "" if found is None else _only(found["pictures"], record["sets"][name]["pictures"])
            row[f"{title}: strongest point"] = "" if found is None else figure(found["pointing_game"]) + told
            row[f"{title}: precision"] = "" if found is None else figure(found["precision_recall"]) + told
        rows.append(row)
    return rows


def _only(images: int, of: int) -> str:
    """Said behind a figure that is of a part of the images."""
    return f", {images} of {of} images" if images < of else ""


def slow_sentence(record: Record) -> str:
    """What ScoreCAM reaches beside Grad-CAM on the same images; nothing where it was not run."""
    lines = []
    for name, title in SETS.items():
        one = record["sets"][name]["methods"].get(SLOW)
        if one is not None:
            lines.append(
                f"- {title}: on {one['pictures']} images its average precision is {figure(one['precision_recall'])}, "
                f"Grad-CAM's on the same {figure(one['gradcam_on_the_same'])}; image by image "
                f"{figure(one['more_than_gradcam'], signed=True)}."
            )
    if not lines:
        return ""
    return "\n".join(
        [
            "ScoreCAM shows the network a masked image for each of its feature maps, so it was run on a few:",
            "",
            *lines,
        ]
    )


def localisation_points(record: Record, name: str) -> list[Point]:
    """Average precision of every map that all images of one set have."""
    found = record["sets"][name]
    methods = {method: row for method, row in found["methods"].items() if row["pictures"] == found["pictures"]}
    known = [method for method in METHODS if method in methods]
    return [Point(METHODS[method], **methods[method]["precision_recall"]) for method in known]


def localisation_sentence(record: Record) -> str:
    """What the masks say of the maps, set by set, beside maps that ask no network."""
    lines = []
    for name, title in SETS.items():
        one = record["sets"][name]
        said = {method: one["methods"][method]["precision_recall"] for method in (OWN, STEADY, RANDOM, STAIN)}
        best = max(said[OWN]["value"], said[STEADY]["value"])
        if said[STEADY]["low"] > said[RANDOM]["high"]:
            verdict = "better than a random map"
        elif said[STEADY]["high"] < said[RANDOM]["low"]:
            verdict = "worse than a random map"
        else:
            verdict = "not clearly different from a random map"
        stain = (
            "and not better than where the stain is dense" if said[STAIN]["value"] >= best else "and better than stain"
        )
        lines.append(
            f"**{title}** ({one['pictures']} images, {share(one['called_malignant'])} of them called malignant): "
            f"average precision {figure(said[OWN])}, of the steadier map {figure(said[STEADY])}, of a random map "
            f"{figure(said[RANDOM])}, of the amount of stain {figure(said[STAIN])}. The steadier map is {verdict}, "
            f"{stain}."
        )
    return "\n\n".join(lines)


def rules_table(record: Record, name: str, method: str = OWN) -> list[Row]:
    """A row a rule: overlap at its default and at the parameter that other images chose, and how pure the kept is."""
    rows = []
    for rule, one in record["sets"][name]["methods"][method]["rules"].items():
        rows.append(
            {
                "Rule": RULES[rule],
                "Default": f"{one['default']:g}",
                "Kept": share(one["kept_at_default"]),
                "Of it on the lesion": figure(one["precision_at_default"], percent=True),
                "Overlap (IoU)": figure(one["iou_at_default"]),
                "Best overlap": f"{figure(one['iou_at_chosen'])} at {one['chosen']:g}",
            }
        )
    return rows


def purity_lines(record: Record, name: str, method: str = OWN) -> list[Line]:
    """Share of the kept that lies on the lesion over the share of the image that is kept, a line a rule."""
    lines = []
    for rule, one in record["sets"][name]["methods"][method]["rules"].items():
        points = sorted((point["kept"], point["precision"]) for point in one["curve"])
        lines.append(Line(RULES[rule], tuple(x for x, _ in points), tuple(y for _, y in points)))
    return lines


# Does the probability follow the map?


def faithfulness_table(record: Record, baseline: str) -> list[Row]:
    """A row a map of the usual cells: its gains over a random order, and over Grad-CAM, image by image."""
    rows = []
    for method, one in _in_order(record["methods"][baseline]):
        if method == RANDOM or "deletion_over_gradcam" not in one:
            continue

        def over_own(key: str, method: str = method, one: Record = one) -> str:
            return "" if method == OWN else figure(one[key], signed=True)

        rows.append(
            {
                "Map": METHODS[method] + _only(one["pictures"], record["data"]["pictures"]),
                "Taken away: over random": figure(one["deletion_gain"], signed=True),
                "Taken away: over Grad-CAM": over_own("deletion_over_gradcam"),
                "Shown: over random": figure(one["insertion_gain"], signed=True),
                "Shown: over Grad-CAM": over_own("insertion_over_gradcam"),
            }
        )
    return rows


def areas_table(record: Record, baseline: str) -> list[Row]:
    """A row a map: the areas themselves; finer maps have gains over a random order of cells as small as theirs."""
    return [
        {
            "Map": METHODS[method] + _only(one["pictures"], record["data"]["pictures"]),
            "Deletion (less is better)": figure(one["deletion"]),
            "sooner than at random": figure(one["deletion_gain"], signed=True),
            "Insertion (more is better)": figure(one["insertion"]),
            "more than at random": figure(one["insertion_gain"], signed=True),
        }
        for method, one in _in_order(record["methods"][baseline])
    ]


def _in_order(methods: dict[str, Record]) -> list[tuple[str, Record]]:
    return sorted(methods.items(), key=lambda item: list(METHODS).index(item[0]))


def faithfulness_sentence(record: Record) -> str:
    """Whether taking the map's strongest cells away, or putting them first, does more than a random order."""
    lines = []
    for baseline, words in BASELINES.items():
        one = record["methods"][baseline][OWN]
        for key, what in (("deletion_gain", "taken away first"), ("insertion_gain", "shown first")):
            gain = one[key]
            if gain["low"] > 0:
                says = "moves the probability more than a random order"
            elif gain["high"] < 0:
                says = "moves it less than a random order"
            else:
                says = "does not clearly do more than a random order"
            lines.append(
                f"- With {words} in place of tissue, the strongest cells {what}: {says} ({figure(gain, signed=True)})."
            )
    return "\n".join(lines)


def randomised_table(record: Record) -> list[Row]:
    """Rank correlation of a map with that of the same network with a part drawn anew."""
    return [
        {"Drawn anew": words, "Rank correlation of the maps": figure(record["randomised"][part], signed=True)}
        for part, words in PARTS.items()
    ]


# Engines


def engines_table(record: Record) -> list[Row]:
    """A row an engine: differences from torch."""
    return [
        {
            "Engine": name,
            "Probability moves by, mean": f"{one['probability']['mean']:.3f}",
            "at most": f"{one['probability']['largest']:.3f}",
            "Labels changed": f"{one['changed']['label']} of {one['pictures']}",
            "Sets changed": str(one["changed"]["set"]),
            "Gate changed": str(one["changed"]["gate"]),
            "Map correlation, smallest": f"{one['map_correlation']['smallest']:.3f}",
        }
        for name, one in record["engines"].items()
    ]
