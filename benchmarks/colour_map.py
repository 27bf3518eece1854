"""The colour map made for H&E: how it is drawn, and how far each colour map stands out on true fields.

    python benchmarks/colour_map.py --images BreakHis=DIR UCSB=DIR ...

Prints the 33 anchors of `dala.explanation.render.VERDANT`, computed from its definition: in CIELAB (D65) lightness
rises from 35 to 96 while the hue turns from 190 degrees (blue-green) to 104 (yellow), at 95 % of the chroma that sRGB
holds, in equal steps of CIEDE2000. Haematoxylin and eosin lie between 290 and 360 degrees, where none of it goes.

Then, for every folder of images, how far a pixel under the map is from the same pixel without it, in CIEDE2000 at the
page's opacity: the worst over the scale of the 5th percentile, and of the median; and between its two ends the median.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from skimage import color, io

from dala.explanation.render import COLOUR_MAPS

Array = NDArray[np.float64]
LIGHTNESS, HUE, SHARE = (35.0, 96.0), (190.0, 104.0), 0.95
FINE, ANCHORS = 400, 33
LEVELS, OPACITY = (0, 64, 128, 191, 255), 0.5
IMAGES, PIXELS = 20, 150
XYZ_TO_RGB = np.array(
    [[3.2404542, -1.5371385, -0.4985314], [-0.9692660, 1.8760108, 0.0415560], [0.0556434, -0.2040259, 1.0572252]]
)


def difference(first: Array, second: Array) -> Array:
    """CIEDE2000 of two rows of CIELAB colours."""
    return np.asarray(color.deltaE_ciede2000(first, second), np.float64)  # type: ignore[no-untyped-call]


def most_chroma(lightness: float, hue: float) -> float:
    """The largest chroma, in steps of 1, that sRGB holds at this lightness and hue (degrees)."""
    chroma = np.arange(0, 120, 1.0)
    turned = np.radians(hue)
    lab = np.stack([np.full_like(chroma, lightness), chroma * np.cos(turned), chroma * np.sin(turned)], -1)
    linear = color.lab2xyz(lab[None])[0] @ XYZ_TO_RGB.T
    return float(chroma[((linear >= -0.001) & (linear <= 1.001)).all(1)].max())


def anchors() -> NDArray[np.uint8]:
    """The anchors, (33, 3) uint8 RGB."""
    along = np.linspace(0, 1, FINE)
    lightness, hue = (first + (last - first) * along for first, last in (LIGHTNESS, HUE))
    most = SHARE * np.array([most_chroma(*one) for one in zip(lightness, hue, strict=True)])
    window = np.hanning(81)
    smooth = np.minimum(np.convolve(np.pad(most, 40, mode="edge"), window / window.sum(), "valid"), most / SHARE)
    turned = np.radians(hue)
    lab = np.stack([lightness, smooth * np.cos(turned), smooth * np.sin(turned)], -1)
    for _ in range(3):
        gone = np.concatenate([[0], np.cumsum(difference(lab[:-1], lab[1:]))])
        even = np.linspace(0, gone[-1], FINE)
        lab = np.stack([np.interp(even, gone, lab[:, one]) for one in range(3)], -1)
    places = np.linspace(0, FINE - 1, ANCHORS)
    lab = np.stack([np.interp(places, np.arange(FINE), lab[:, one]) for one in range(3)], -1)
    return np.asarray(np.round(255 * np.clip(color.lab2rgb(lab[None])[0], 0, 1)), np.uint8)


def pixels_of(folder: Path) -> Array:
    """Up to 20 images' worth of random pixels, (N, 3), 0..1; masks are left out."""
    random = np.random.default_rng(0)
    files = sorted(
        file
        for file in folder.rglob("*.*")
        if file.suffix.lower() in (".png", ".jpg", ".tif") and "mask" not in str(file.relative_to(folder))
    )
    if not files:
        raise SystemExit(f"There are no images below {folder}.")
    some = random.choice(len(files), min(IMAGES, len(files)), replace=False)
    images = (np.asarray(io.imread(files[place]))[..., :3].reshape(-1, 3) for place in some)
    return np.concatenate([image[random.choice(len(image), PIXELS)] for image in images]) / 255.0


def contrast(table: NDArray[np.uint8], pixels: Array) -> tuple[float, float, float]:
    """The worst 5th percentile and the worst median over the scale, and the median between its ends: CIEDE2000."""
    tissue = color.rgb2lab(pixels[None])[0]
    blends = [color.rgb2lab(((1 - OPACITY) * pixels + OPACITY * table[level] / 255.0)[None])[0] for level in LEVELS]
    seen = [difference(blend, tissue) for blend in blends]
    return (
        min(float(np.percentile(one, 5)) for one in seen),
        min(float(np.median(one)) for one in seen),
        float(np.median(difference(blends[0], blends[-1]))),
    )


def rows(folders: dict[str, Path]) -> Iterator[str]:
    for name, folder in folders.items():
        pixels = pixels_of(folder)
        for title, table in COLOUR_MAPS.items():
            least, usual, ends = contrast(table, pixels)
            yield f"| {name} | {title} | {least:.1f} | {usual:.1f} | {ends:.1f} |"


def main() -> None:
    """Print the anchors and the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", nargs="+", required=True, metavar="NAME=DIR")
    folders = dict(one.split("=", 1) for one in parser.parse_args().images)
    print(anchors().tobytes().hex())
    print("| laboratory | colour map | least (5 %) | median | between the ends |\n|---|---|---:|---:|---:|")
    for row in rows({name: Path(folder) for name, folder in folders.items()}):
        print(row)


if __name__ == "__main__":
    main()
