"""Draws digital phantoms of H&E: schematic tissue with a known lesion mask, for examples that need no download.

Nothing here is tissue and nothing here has a diagnosis. The images are composed as concentrations of two stains and
turned into colour by the law of Beer and Lambert, I = I0 10^-(h H + e E), with the stain vectors of Ruifrok and
Johnston (Anal Quant Cytol Histol 2001; 23: 291-299), so that stain separation gives the drawn concentrations back. The
scale is that of BreakHis at 200X, about 0.35 um a pixel: a resting nucleus of 7 um is 20 pixels wide.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

HEIGHT, WIDTH = 460, 700
PIXEL_SIZE_UM = 0.35

# Optical density (red, green, blue) of one unit of stain. The third vector is Ruifrok's residual: a trace of it
# follows eosin, as in real sections, whose pink is warmer than the pure vector.
HAEMATOXYLIN = np.array([0.65, 0.70, 0.29], np.float32)
EOSIN = np.array([0.07, 0.99, 0.11], np.float32)
RESIDUAL = np.array([0.27, 0.57, 0.78], np.float32)
RESIDUAL_OF_EOSIN = 0.16

NOTICE = "Drawn by code as a schematic of H&E: it is not tissue and has no diagnosis."

Plane = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Phantom:
    """A drawn image.

    pixels       uint8 (460, 700, 3) RGB, read-only
    lesion_mask  bool (460, 700), read-only: the drawn tumour-like cells and the cytoplasm between them; empty in a
                 benign-like phantom. Stroma and mucin around them are outside.
    """

    name: str
    title: str
    description: str
    pixels: NDArray[np.uint8]
    lesion_mask: Mask
    seed: int


def draw(name: str, seed: int = 0) -> Phantom:
    """The phantom of that name (one of PHANTOMS); another seed, a non-negative integer, gives another field of view.

    Raises ValueError for an unknown name or a negative seed.
    """
    if name not in _DRAWINGS:
        raise ValueError(f"There is no phantom '{name}'; there are {', '.join(PHANTOMS)}.")
    if seed < 0:
        raise ValueError("The seed of a phantom is zero or a positive whole number.")
    drawing = _DRAWINGS[name]
    sheet = _Sheet(np.random.default_rng([seed, PHANTOMS.index(name)]))
    drawing.paint(sheet)
    pixels, lesion = _photograph(sheet), sheet.lesion
    pixels.setflags(write=False)
    lesion.setflags(write=False)
    return Phantom(name, drawing.title, f"{drawing.description} {NOTICE}", pixels, lesion, seed)


# The sheet: two stain concentrations and what has been learnt about the places


@dataclass(eq=False)
class _Sheet:
    """The section while it is drawn; every function below paints onto it in place."""

    rng: np.random.Generator
    h: Plane = field(default_factory=lambda: np.zeros((HEIGHT, WIDTH), np.float32))
    e: Plane = field(default_factory=lambda: np.zeros((HEIGHT, WIDTH), np.float32))
    across: Plane = field(default_factory=lambda: np.zeros((HEIGHT, WIDTH), np.float32))
    lesion: Mask = field(default_factory=lambda: np.zeros((HEIGHT, WIDTH), bool))
    chromatin: Plane = field(init=False)

    def __post_init__(self) -> None:
        fine, coarse = self.noise(1.1), self.noise(2.6)
        self.chromatin = np.clip(0.55 * fine + 0.6 * coarse, -2, 2)

    def noise(self, sigma: float, sigma_y: float | None = None) -> Plane:
        """A smooth random field of mean 0 and standard deviation 1; sigma in pixels along x (and y)."""
        sigma_y = sigma if sigma_y is None else sigma_y
        step_x, step_y = max(1, int(sigma / 3)), max(1, int(sigma_y / 3))
        shape = (HEIGHT // step_y + 2, WIDTH // step_x + 2)
        values = self.rng.standard_normal(shape).astype(np.float32)
        values = _blurred(values, sigma / step_x, sigma_y / step_y)
        values = np.asarray(cv2.resize(values, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC), np.float32)
        return (values - values.mean()) / values.std()

    def lay(self, cover: Plane | Mask, h: Plane | float, e: Plane | float) -> None:
        """Replace both stains where cover (0..1) is high."""
        self.h += cover * (h - self.h)
        self.e += cover * (e - self.e)


def _photograph(sheet: _Sheet) -> NDArray[np.uint8]:
    """Section thickness, optics, lamp and camera."""
    rng = sheet.rng
    thickness = 1 + 0.06 * sheet.noise(60) + 0.03 * sheet.noise(4)
    # Every laboratory stains a little differently.
    h = rng.uniform(0.9, 1.08) * _blurred(np.maximum(sheet.h, 0) * thickness, 0.95)
    e = rng.uniform(0.88, 1.08) * _blurred(np.maximum(sheet.e, 0) * thickness, 1.0)
    density = h[..., None] * HAEMATOXYLIN + e[..., None] * (EOSIN + RESIDUAL_OF_EOSIN * RESIDUAL)
    y, x = np.mgrid[-1 : 1 : HEIGHT * 1j, -1 : 1 : WIDTH * 1j].astype(np.float32)
    lamp = 1 - 0.05 * ((x - rng.uniform(-0.2, 0.2)) ** 2 + (y - rng.uniform(-0.2, 0.2)) ** 2)
    light = np.array([246, 243, 247], np.float32) * lamp[..., None] * np.power(np.float32(10), -density)
    light += 0.35 * (light - cv2.GaussianBlur(light, (0, 0), 2.0))  # the camera sharpens
    grain = cv2.GaussianBlur(rng.standard_normal(light.shape).astype(np.float32), (0, 0), 0.6)
    return np.clip(np.rint(light + 3.0 * grain), 0, 255).astype(np.uint8)


def _blurred(values: Plane, sigma: float, sigma_y: float = 0.0) -> Plane:
    return np.asarray(cv2.GaussianBlur(values, (0, 0), sigma, sigmaY=sigma_y), np.float32)


def _step(value: Plane, low: float, high: float) -> Plane:
    """0 below low, 1 above high, smooth between."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def _folded(value: Plane, limit: int) -> Plane:
    """The value sent back and forth between 0 and limit, so that a pattern goes on without a seam."""
    return np.asarray(np.abs((value + limit) % (2 * limit) - limit), np.float32)


def _inside(mask: Mask) -> Plane:
    """Distance in pixels of a place in the mask from its edge; 0 outside."""
    return np.asarray(cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5), np.float32)


def _blob(sheet: _Sheet, x: float, y: float, radius_x: float, radius_y: float, angle: float, wobble: float) -> Mask:
    """A rounded patch; wobble is the relative depth of its waves."""
    theta = np.linspace(0, 2 * np.pi, 120, endpoint=False)
    radius = 1 + sum(
        wobble / order * np.cos(order * theta + sheet.rng.uniform(0, 2 * np.pi)) * sheet.rng.uniform(0.4, 1)
        for order in range(2, 7)
    )
    ellipse = np.stack([radius_x * radius * np.cos(theta), radius_y * radius * np.sin(theta)])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return _filled((turn @ ellipse).T + np.array([x, y]))


def _opened(mask: Mask, size: int) -> Mask:
    """The mask without what is narrower than a disc of that diameter."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    return cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, disc).astype(bool)


def _filled(points: NDArray[np.float64]) -> Mask:
    canvas = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.fillPoly(canvas, [np.rint(points).astype(np.int32)], 1)
    return canvas.astype(bool)


def _spots(sheet: _Sheet, mask: Mask, spacing: float, jitter: float = 0.3) -> NDArray[np.float64]:
    """Places (x, y) in the mask on a shaken hexagonal grid: packed like cells, never on top of each other."""
    rows = np.arange(-spacing, HEIGHT + spacing, spacing * 0.87, dtype=np.float64)
    columns = np.arange(-spacing, WIDTH + spacing, spacing, dtype=np.float64)
    x, y = np.meshgrid(columns, rows)
    x[1::2] += spacing / 2
    points = np.stack([x.ravel(), y.ravel()], 1)
    points += sheet.rng.uniform(-jitter, jitter, points.shape) * spacing
    inside = (points >= 0).all(1) & (points[:, 0] < WIDTH) & (points[:, 1] < HEIGHT)
    points = points[inside]
    return points[mask[points[:, 1].astype(int), points[:, 0].astype(int)]]


# Cells


@dataclass(frozen=True)
class _Nucleus:
    """How nuclei of one kind look: sizes are half axes in pixels, densities are haematoxylin units."""

    long: tuple[float, float]
    short: tuple[float, float]
    wobble: float  # relative irregularity of the outline
    body: tuple[float, float]  # chromatin
    rim: float  # membrane, on top of the body
    texture: float  # clumping of the chromatin, relative to the body
    nucleolus: float  # chance of a visible one


RESTING = _Nucleus((9, 12), (6.5, 8.5), 0.07, (0.40, 0.64), 0.13, 0.24, 0.2)
FLAT = _Nucleus((8, 11), (2.6, 3.8), 0.05, (0.62, 0.80), 0.05, 0.12, 0.0)
SPINDLE = _Nucleus((7, 15), (2.2, 4.0), 0.09, (0.38, 0.70), 0.04, 0.2, 0.0)
LYMPHOCYTE = _Nucleus((7, 8.5), (6.5, 8), 0.03, (0.85, 1.05), 0.05, 0.20, 0.0)
VESICULAR = _Nucleus((13, 18), (10, 13.5), 0.13, (0.30, 0.52), 0.24, 0.42, 0.75)
DARK = _Nucleus((12, 19), (8, 13), 0.17, (0.58, 0.95), 0.08, 0.28, 0.1)
FILE = _Nucleus((8.5, 12), (6.5, 9), 0.12, (0.48, 0.80), 0.12, 0.28, 0.25)
FLOATING = _Nucleus((9.5, 13), (8, 10.5), 0.10, (0.42, 0.70), 0.16, 0.30, 0.35)


def _nucleus(sheet: _Sheet, x: float, y: float, angle: float, kind: _Nucleus, size: float = 1.0) -> None:
    rng = sheet.rng
    a, b = rng.uniform(*kind.long) * size, rng.uniform(*kind.short) * size
    body, reach = rng.uniform(*kind.body), int(a * (1 + 2 * kind.wobble)) + 4
    left, top = max(0, int(x) - reach), max(0, int(y) - reach)
    right, bottom = min(WIDTH, int(x) + reach + 1), min(HEIGHT, int(y) + reach + 1)
    if right <= left or bottom <= top:
        return
    dx = np.arange(left, right, dtype=np.float32)[None, :] - np.float32(x)
    dy = np.arange(top, bottom, dtype=np.float32)[:, None] - np.float32(y)
    cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    u, v = (dx * cosine + dy * sine) / np.float32(a), (dy * cosine - dx * sine) / np.float32(b)
    theta, rho = np.arctan2(v, u), np.hypot(u, v)
    outline = np.ones_like(rho)
    for order in (2, 3, 5):
        wave = kind.wobble * rng.uniform(0.3, 1) / order**0.5
        outline = outline + np.float32(wave) * np.cos(order * theta + np.float32(rng.uniform(0, 6.3)))
    depth = (outline - rho) * np.float32((a * b) ** 0.5)  # roughly pixels from the membrane inwards
    cover = _step(depth, -1.3, 1.3)
    if not cover.any():
        return
    # Chromatin: a window of the common texture at a random place.
    ty, tx = rng.integers(0, HEIGHT - depth.shape[0]), rng.integers(0, WIDTH - depth.shape[1])
    chromatin = sheet.chromatin[ty : ty + depth.shape[0], tx : tx + depth.shape[1]]
    density = body * (1 + kind.texture * chromatin) + kind.rim * np.exp(-(((depth - 1.4) / 1.5) ** 2))
    eosin = np.full_like(density, 0.10)
    if rng.random() < kind.nucleolus:
        for _ in range(rng.integers(1, 3)):
            nx, ny = rng.uniform(-0.4, 0.4, 2)
            distance = np.hypot((u - nx) * a, (v - ny) * b)
            spot = np.exp(-((distance / rng.uniform(1.7, 2.6)) ** 2))
            density, eosin = density + 0.55 * spot, eosin + 0.18 * spot
    place = np.s_[top:bottom, left:right]
    solid = np.float32(rng.uniform(0.80, 0.95)) * cover  # not every nucleus lies in the focal plane
    sheet.h[place] += solid * (np.maximum(density, sheet.h[place] * 0.9) - sheet.h[place])
    sheet.e[place] += solid * (eosin - sheet.e[place])


def _mitosis(sheet: _Sheet, x: float, y: float, angle: float) -> None:
    """A metaphase plate: a ragged dark bar in a cleared cell."""
    yy, xx = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    sheet.lay(0.7 * np.exp(-(((xx - x) ** 2 + (yy - y) ** 2) / 14**2)), 0.06, 0.14)
    for offset in np.linspace(-9, 9, 7):
        px, py = x + offset * np.cos(angle), y + offset * np.sin(angle)
        kind = _Nucleus((3.2, 4.6), (2.4, 3.4), 0.2, (1.1, 1.3), 0.0, 0.1, 0.0)
        _nucleus(sheet, px, py, angle + sheet.rng.uniform(0.8, 2.2), kind)


def _cytoplasm(
    sheet: _Sheet, region: Mask, spots: NDArray[np.float64], h: float, e: float, border: float, soft: float = 2.0
) -> None:
    """Granular cytoplasm over a region; cell borders, half way between the spots, are paler by `border`."""
    cover = _step(_blurred(region.astype(np.float32), soft), 0.25, 0.75)
    marks = np.ones((HEIGHT, WIDTH), np.uint8)
    marks[spots[:, 1].astype(int), spots[:, 0].astype(int)] = 0
    distance, labels = cv2.distanceTransformWithLabels(marks, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    # Cells are not polygons: the map of who is nearest is bent.
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    bent_x, bent_y = x + 3.0 * sheet.noise(7), y + 3.0 * sheet.noise(7)
    labels = cv2.remap(labels.astype(np.float32), bent_x, bent_y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
    labels = labels.astype(np.int32)
    tone = sheet.rng.normal(0, 0.10, int(labels.max()) + 1).astype(np.float32)[labels]
    edges = cv2.morphologyEx(labels.astype(np.float32), cv2.MORPH_GRADIENT, np.ones((2, 2), np.uint8)) > 0
    line = _blurred(edges.astype(np.float32), 1.1)
    line = np.clip(line / 0.4, 0, 1) * _step(sheet.noise(9), -1.2, 0.6)
    grain = 1 + 0.14 * sheet.noise(1.6) + 0.14 * sheet.noise(5) + tone
    paler = (1 - border * line) * (1 - 0.12 * _step(np.asarray(distance, np.float32), 8, 22))
    sheet.lay(cover, h * grain * paler, e * grain * paler)


# Tissue


def _fibres(
    sheet: _Sheet,
    angle: float,
    around: Mask | None = None,
    eosin: float = 0.30,
    wave: float = 16,
    bundle: float = 7,
    clefts: float = 1.1,
    blue: float = 0.035,
) -> None:
    """Collagen over the whole sheet: streaks along the level lines of a bent coordinate, split by pale clefts.

    Around the structures of a mask the fibres bend and run in parallel to their edge. clefts is the number of standard
    deviations below which a bundle opens: a higher number, fewer clefts.
    """
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    along = x * np.float32(np.cos(angle)) + y * np.float32(np.sin(angle))
    across = y * np.float32(np.cos(angle)) - x * np.float32(np.sin(angle))
    across = across + wave * sheet.noise(70) + 0.30 * wave * sheet.noise(24)
    if around is not None and around.any():
        outside = _blurred(_inside(~around), 9)
        near = 0.75 * np.exp(-outside / 20)
        across = across * (1 - near) + near * (1.2 * outside + 0.2 * across)
    sheet.across = across + 0.16 * wave * sheet.noise(13)
    across = sheet.across + 0.07 * wave * sheet.noise(5)  # the waves of single fibres

    def streaks(width: float, length: float) -> Plane:
        pattern = sheet.noise(length / 4, 3.0)
        return np.asarray(
            cv2.remap(
                pattern,
                _folded(along / 4 + 40, WIDTH - 1),
                _folded(across * (3.0 / width) + 7, HEIGHT - 1),
                cv2.INTER_LINEAR,
            ),
            np.float32,
        )

    wide, middle, fine = streaks(bundle, 42), streaks(bundle * 0.45, 30), streaks(1.3, 16)
    density = eosin * (1 + 0.16 * wide + 0.15 * middle + 0.16 * fine + 0.10 * sheet.noise(40) + 0.07 * sheet.noise(1.2))
    open_ = 0.55 * wide + 0.65 * middle + 0.30 * fine + 0.50 * sheet.noise(34) + 0.20 * sheet.noise(7)
    cleft = _step(-open_, clefts, clefts + 0.7)
    density = np.maximum(density, 0.05) * (1 - 0.94 * cleft)
    sheet.h[:] = blue * (1 + 0.3 * middle + 0.3 * sheet.noise(20)) * (1 - 0.85 * cleft)
    sheet.e[:] = density


def _tangent(sheet: _Sheet, x: float, y: float) -> float:
    """Direction of the fibres at a place."""
    i, j = int(np.clip(y, 2, HEIGHT - 3)), int(np.clip(x, 2, WIDTH - 3))
    gx = float(sheet.across[i, j + 2] - sheet.across[i, j - 2])
    gy = float(sheet.across[i + 2, j] - sheet.across[i - 2, j])
    return float(np.arctan2(gy, gx) + np.pi / 2)


def _solid(sheet: _Sheet) -> Mask:
    """Where there is enough collagen around for a cell not to float in a cleft."""
    return cv2.blur(sheet.e, (13, 13)) > 0.11


def _fibroblasts(sheet: _Sheet, free: Mask, spacing: float) -> None:
    for x, y in _spots(sheet, free & _solid(sheet), spacing, jitter=0.5):
        if sheet.rng.random() < 0.75:
            _nucleus(sheet, x, y, _tangent(sheet, x, y) + sheet.rng.normal(0, 0.12), SPINDLE)


def _scatter(sheet: _Sheet, free: Mask, number: int, kind: _Nucleus) -> None:
    places = np.argwhere(free & _solid(sheet))
    if len(places):
        for y, x in places[sheet.rng.integers(0, len(places), number)]:
            _nucleus(sheet, float(x), float(y), sheet.rng.uniform(0, np.pi), kind)


def _vessel_place(sheet: _Sheet, occupied: Mask) -> Mask:
    """A small oval in the widest free place."""
    room = _inside(~occupied)
    room[:30], room[-30:], room[:, :40], room[:, -40:] = 0, 0, 0, 0
    y, x = np.unravel_index(int(room.argmax()), room.shape)
    radius = float(np.clip(0.55 * room.max(), 16, 30))
    return _blob(sheet, float(x), float(y), radius, 0.68 * radius, sheet.rng.uniform(0, np.pi), 0.18)


def _vessel(sheet: _Sheet, shape: Mask) -> None:
    """A capillary with red cells, lined by flat nuclei."""
    depth = _inside(shape)
    sheet.lay(_step(depth, 0, 2), 0.06, 0.34)
    sheet.lay(_step(depth, 3, 5), 0.008, 0.03)
    for x, y in _spots(sheet, depth > 8, 14, jitter=0.35):
        if sheet.rng.random() < 0.8:
            _red_cell(sheet, x, y, sheet.rng.uniform(5.5, 7))
    _line_with_nuclei(sheet, depth, 2.0, 34, FLAT, along=True)


def _red_cell(sheet: _Sheet, x: float, y: float, radius: float) -> None:
    """Only eosin, paler in the middle."""
    yy, xx = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    distance = np.hypot(xx - np.float32(x), yy - np.float32(y))
    sheet.lay(_step(radius - distance, -0.8, 0.8), 0.02, 0.56 - 0.22 * np.exp(-((distance / (0.5 * radius)) ** 2)))


def _line_with_nuclei(sheet: _Sheet, depth: Plane, level: float, spacing: float, kind: _Nucleus, along: bool) -> None:
    """Nuclei on a level line of the depth, standing on the edge or (along) lying on it."""
    contours, _ = cv2.findContours((depth > level).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    smooth = _blurred(depth, 3)
    for contour in contours:
        points = contour[:, 0, :].astype(float)
        steps = np.hypot(*(np.roll(points, -1, axis=0) - points).T)
        length = np.concatenate([[0.0], np.cumsum(steps)])
        number = int(length[-1] / spacing)
        if number < 3:
            continue
        places = (np.arange(number) + sheet.rng.uniform(-0.22, 0.22, number)) * length[-1] / number
        for index in np.searchsorted(length, places % length[-1]).clip(0, len(points) - 1):
            x, y = points[index] + sheet.rng.normal(0, 1.0, 2)
            i, j = int(np.clip(y, 3, HEIGHT - 4)), int(np.clip(x, 3, WIDTH - 4))
            gx, gy = float(smooth[i, j + 3] - smooth[i, j - 3]), float(smooth[i + 3, j] - smooth[i - 3, j])
            normal = np.arctan2(gy, gx)
            _nucleus(sheet, x, y, normal + (np.pi / 2 if along else 0) + sheet.rng.normal(0, 0.18), kind)


def _ducts(sheet: _Sheet, shapes: list[Mask], thickness: float = 32, secretion: float = 0.5) -> None:
    """Benign-like ducts: basement membrane, flat outer cells, one even row of inner cells, open lumen.

    secretion is the chance of a plug of eosinophilic material in a lumen.
    """
    rng = sheet.rng
    union = np.logical_or.reduce(shapes)
    depth, outside = _inside(union), _inside(~union)
    sheet.lay(0.8 * np.exp(-(((outside - 3) / 2.2) ** 2)) * (~union), 0.05, 0.38)
    grain = 1 + 0.16 * sheet.noise(2) + 0.16 * sheet.noise(7)
    sheet.lay(_step(depth, 0, 2), 0.15 * grain, 0.21 * grain)
    ragged = depth + 2.2 * sheet.noise(5)
    sheet.lay(_step(ragged, thickness - 4, thickness - 2) * 0.5, 0.14, 0.34)  # the cells' upper border
    wisps = _step(sheet.noise(4) + 0.8 * sheet.noise(14), 0.9, 2.4)
    sheet.lay(_step(ragged, thickness, thickness + 2.5), 0.008, 0.012 + 0.10 * wisps)
    material = 0.34 + 0.04 * sheet.noise(6)
    for shape in shapes:
        own = np.where(shape, depth, 0)
        width = float(own.max()) - thickness
        if rng.random() < secretion and width > 16:
            y, x = np.unravel_index(int(own.argmax()), own.shape)
            radius = width * rng.uniform(0.4, 0.7)
            plug = _blob(sheet, float(x), float(y), radius, radius * 0.7, rng.uniform(0, 3), 0.3)
            sheet.lay(_step(_inside(plug), 0, 3), 0.03, material)
    _line_with_nuclei(sheet, depth, 4.0, 27, FLAT, along=True)
    _line_with_nuclei(sheet, depth, thickness * 0.53, 19.5, RESTING, along=False)


def _fat(sheet: _Sheet, region: Mask) -> None:
    """Adipose tissue: large empty cells, thin walls, a flat nucleus here and there."""
    spots = _spots(sheet, np.ones_like(region), 120, jitter=0.22)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    x, y = x + 9 * sheet.noise(45), y + 9 * sheet.noise(45)
    distances = np.stack([np.hypot(x - np.float32(px), y - np.float32(py)) for px, py in spots])
    distances = np.partition(distances, 2, axis=0)[:3]
    distances.sort(axis=0)
    wall = (distances[1] - distances[0]) / 2
    cover = _step(_blurred(region.astype(np.float32), 3), 0.3, 0.7)
    thin = np.exp(-((wall / 1.7) ** 2))
    corner = np.exp(-(((distances[2] - distances[0]) / 16) ** 2))
    stain = np.maximum(thin, corner)
    sheet.lay(cover, 0.006 + 0.05 * stain, 0.012 + 0.26 * stain)
    walls = np.argwhere((wall < 1.5) & region)
    if len(walls):
        for row, column in walls[sheet.rng.integers(0, len(walls), int(6 * region.mean()) + 2)]:
            gx = float(wall[row, min(column + 3, WIDTH - 1)] - wall[row, max(column - 3, 0)])
            gy = float(wall[min(row + 3, HEIGHT - 1), column] - wall[max(row - 3, 0), column])
            _nucleus(sheet, float(column), float(row), float(np.arctan2(gx, -gy)), FLAT)


def _tumour(sheet: _Sheet, region: Mask) -> None:
    """A sheet of crowded, large, unequal nuclei without order; the region becomes lesion."""
    rng = sheet.rng
    depth = _inside(region)
    spots = _spots(sheet, region & (depth > 8), 31, jitter=0.33)
    sheet.lesion |= region
    gap = np.exp(-((_inside(~region) / 4) ** 2)) * (~region)  # cells shrink away from the stroma
    sheet.lay(0.75 * gap * _step(sheet.noise(30), -0.5, 0.6), 0.01, 0.03)
    _cytoplasm(sheet, region, spots, 0.20, 0.27, 0.55)
    for x, y in spots[rng.permutation(len(spots))]:
        kind = DARK if rng.random() < 0.35 else VESICULAR
        size = float(np.clip(rng.lognormal(-0.05, 0.18), 0.62, 1.45))
        _nucleus(sheet, x, y, rng.uniform(0, np.pi), kind, size)
    deep = np.argwhere(depth > 20)
    if len(deep):
        for y, x in deep[rng.integers(0, len(deep), 1 + int(region.mean() * 4))]:
            _mitosis(sheet, float(x), float(y), rng.uniform(0, np.pi))


# The drawings


def _paint_ducts(sheet: _Sheet) -> None:
    rng = sheet.rng
    places = [(110, 110), (300, 95), (520, 130), (190, 320), (400, 300), (600, 350)]
    ducts = [
        _blob(
            sheet,
            x + rng.uniform(-25, 25),
            y + rng.uniform(-20, 20),
            rng.uniform(58, 84),
            rng.uniform(48, 64),
            rng.uniform(0, np.pi),
            0.16,
        )
        for x, y in places
    ]
    shapes = _apart(ducts)
    vessel = _vessel_place(sheet, np.logical_or.reduce(shapes))
    everything = np.logical_or.reduce([*shapes, vessel])
    _fibres(sheet, rng.uniform(-0.5, 0.5), everything, eosin=0.27, clefts=0.85)
    free = _inside(~everything) > 12
    _fibroblasts(sheet, free, 44)
    _scatter(sheet, free, 9, LYMPHOCYTE)
    _vessel(sheet, vessel)
    _ducts(sheet, shapes)


def _apart(shapes: list[Mask]) -> list[Mask]:
    """The shapes without the margin of those before them, so that stroma stays between."""
    taken = np.zeros((HEIGHT, WIDTH), bool)
    kept = []
    for shape in shapes:
        free = shape & (_inside(~taken) > 22) if taken.any() else shape
        opened = _opened(free, 41)  # takes away the thin horns that cutting leaves
        if opened.sum() > 3000:
            kept.append(opened)
            taken |= opened
    return kept


def _paint_fibroadenoma(sheet: _Sheet) -> None:
    rng = sheet.rng
    shapes = []
    for x, y, turn in ((170, 130, 0.5), (480, 110, -0.4), (330, 330, 0.1), (610, 330, 1.0)):
        t = np.linspace(-1, 1, 60)
        bend, phase, angle = rng.uniform(45, 75), rng.uniform(0, 6.3), turn + rng.uniform(-0.3, 0.3)
        px, py = t * rng.uniform(110, 145), bend * np.sin(2.4 * t + phase) - bend * np.sin(phase)
        line = np.stack([x + px * np.cos(angle) - py * np.sin(angle), y + px * np.sin(angle) + py * np.cos(angle)], 1)
        canvas = np.zeros((HEIGHT, WIDTH), np.uint8)
        cv2.polylines(canvas, [np.rint(line).astype(np.int32)], False, 1, thickness=int(rng.integers(56, 66)))
        shapes.append(canvas.astype(bool))
    shapes = _apart(shapes)
    everything = np.logical_or.reduce(shapes)
    _fibres(sheet, rng.uniform(0, np.pi), everything, eosin=0.16, wave=30, bundle=5, clefts=1.1, blue=0.07)
    free = _inside(~everything) > 10
    _fibroblasts(sheet, free, 31)
    _ducts(sheet, shapes, thickness=25, secretion=0)


def _paint_sheets(sheet: _Sheet) -> None:
    rng = sheet.rng
    angle = rng.uniform(-0.5, 0.5)
    stroma = sheet.noise(42, 34) + 0.35 * sheet.noise(16)
    region = stroma < np.quantile(stroma, 0.62)
    region = _opened(region, 37)
    _fibres(sheet, angle, region, eosin=0.33, clefts=1.0)
    free = _inside(~region) > 7
    _fibroblasts(sheet, free, 34)
    _scatter(sheet, free, 26, LYMPHOCYTE)
    _tumour(sheet, region)


def _paint_files(sheet: _Sheet) -> None:
    rng = sheet.rng
    _fibres(sheet, rng.uniform(-0.7, 0.7), eosin=0.33, wave=22, clefts=1.25)
    everywhere = np.ones((HEIGHT, WIDTH), bool)
    _fibroblasts(sheet, everywhere, 52)
    rows: list[list[tuple[float, float, float]]] = []
    taken = np.ones((HEIGHT, WIDTH), np.uint8)
    for x, y in _spots(sheet, everywhere, 74, jitter=0.4):
        row: list[tuple[float, float, float]] = []
        heading = _tangent(sheet, x, y) + (np.pi if rng.random() < 0.5 else 0)
        for _ in range(rng.integers(4, 10)):
            if not (0 <= x < WIDTH and 0 <= y < HEIGHT) or not taken[int(y), int(x)]:
                break
            turn = _tangent(sheet, x, y)
            turn += np.pi if np.cos(turn - heading) < 0 else 0  # the level line has two directions; keep going
            heading = turn
            row.append((x, y, heading))
            step = rng.uniform(18, 23)
            x, y = x + step * np.cos(heading), y + step * np.sin(heading) + rng.normal(0, 1)
        if len(row) >= 2:
            rows.append(row)
            for px, py, _ in row:
                cv2.circle(taken, (int(px), int(py)), 24, 0, -1)
    canvas = np.zeros((HEIGHT, WIDTH), np.uint8)
    for row in rows:
        for px, py, heading in row:
            axes = (14, 11)
            cv2.ellipse(canvas, (int(px), int(py)), axes, float(np.degrees(heading)), 0, 360, 1, -1)
    region = canvas.astype(bool)
    sheet.lesion |= region
    centres = np.array([(px, py) for row in rows for px, py, _ in row]).clip(0, (WIDTH - 1, HEIGHT - 1))
    gap = np.exp(-((_inside(~region) / 3) ** 2)) * (~region)
    sheet.lay(0.7 * gap * _step(sheet.noise(18), -0.4, 0.5), 0.01, 0.04)
    _cytoplasm(sheet, region, centres, 0.14, 0.25, 0.5, soft=1.5)
    for row in rows:
        for px, py, heading in row:
            _nucleus(sheet, px, py, heading + rng.normal(0, 0.35), FILE, float(rng.uniform(0.85, 1.12)))


def _paint_mixed(sheet: _Sheet) -> None:
    rng = sheet.rng
    nest = _blob(sheet, 205 + rng.uniform(-20, 20), 235, 150, 175, rng.uniform(-0.3, 0.3), 0.22)
    ducts = [
        _blob(sheet, x + rng.uniform(-15, 15), y, rng.uniform(60, 76), rng.uniform(50, 60), rng.uniform(0, 3), 0.15)
        for x, y in ((475, 100), (500, 260), (460, 400))
    ]
    shapes = _apart([nest, *ducts])
    nest, ducts = shapes[0], shapes[1:]
    everything = np.logical_or.reduce(shapes)
    _fibres(sheet, rng.uniform(1.2, 1.9), everything, eosin=0.29, clefts=0.95)
    x = np.arange(WIDTH, dtype=np.float32)[None, :] + 18 * sheet.noise(50)
    fat = (x > 596) & ~(_inside(~everything) < 14) & ~everything
    free = (_inside(~everything) > 10) & ~fat
    _fibroblasts(sheet, free, 42)
    _scatter(sheet, free & (_inside(~nest) < 45), 22, LYMPHOCYTE)
    _fat(sheet, fat)
    _ducts(sheet, ducts)
    _tumour(sheet, nest)


def _paint_mucin(sheet: _Sheet) -> None:
    rng = sheet.rng
    walls = np.abs(sheet.noise(75))
    _fibres(sheet, rng.uniform(-0.6, 0.6), walls > 0.22, eosin=0.32)
    pool = _step(walls, 0.16, 0.24)
    strands = np.abs(sheet.noise(22, 10) + 0.5 * sheet.noise(6, 4))
    veil = _blurred(np.exp(-((strands / 0.35) ** 2)) * _step(sheet.noise(30), -0.6, 1.2), 1.5)
    tone = 1 + 0.25 * sheet.noise(50)
    sheet.lay(pool, (0.055 + 0.045 * veil) * tone, (0.035 + 0.03 * veil) * tone)
    _fibroblasts(sheet, walls < 0.13, 30)
    depth = _inside(walls > 0.3)
    clusters = np.zeros((HEIGHT, WIDTH), bool)
    for x, y in _spots(sheet, depth > 22, 128, jitter=0.3):
        clusters |= _blob(sheet, x, y, rng.uniform(28, 56), rng.uniform(22, 36), rng.uniform(0, np.pi), 0.3)
    clusters &= walls > 0.25
    sheet.lesion |= clusters
    spots = _spots(sheet, _inside(clusters) > 6, 23, jitter=0.3)
    _cytoplasm(sheet, clusters, spots, 0.17, 0.24, 0.5)
    for x, y in spots:
        _nucleus(sheet, x, y, rng.uniform(0, np.pi), FLOATING)


@dataclass(frozen=True)
class _Drawing:
    title: str
    description: str
    paint: Callable[[_Sheet], None]


_DRAWINGS = {
    "regular_ducts": _Drawing(
        "Benign-like: regular ducts",
        "Round ducts with an open lumen, one even row of inner nuclei, flat outer nuclei and wavy collagen between.",
        _paint_ducts,
    ),
    "loose_stroma": _Drawing(
        "Benign-like: fibroadenoma-like stroma",
        "Long, compressed, two-layered ducts in a pale, cellular, loose stroma.",
        _paint_fibroadenoma,
    ),
    "solid_sheets": _Drawing(
        "Lesion-like: crowded sheets",
        "Sheets of crowded, large, irregular nuclei with nucleoli and a few mitoses, cut by bands of collagen.",
        _paint_sheets,
    ),
    "single_files": _Drawing(
        "Lesion-like: single files in stroma",
        "Small, uniform tumour-like cells that follow each other in single rows between collagen fibres.",
        _paint_files,
    ),
    "nest_beside_ducts": _Drawing(
        "Mixed: a lesion-like nest beside regular ducts",
        "One large nest of irregular nuclei on the left, regular ducts in the middle, adipose tissue on the right.",
        _paint_mixed,
    ),
    "mucin_pools": _Drawing(
        "Lesion-like: clusters in mucin",
        "Pale pools of mucin-like material, divided by thin collagen, with floating clusters of cells.",
        _paint_mucin,
    ),
}
PHANTOMS: tuple[str, ...] = tuple(_DRAWINGS)
