"""Does a scan cost no more than its network, and a click no more than a dropped image? And kill -9.

    dala scan-speed --data ROOT [--fields 500] [--most 2400] [--kills 10]
    dala scan-speed --data ROOT --waits-only

A slide is laid out of copies of `slides/CMU-1-Small-Region.svs` below ROOT and written as a pyramid. Scan, bare engine
and a loop as WSInfer's take turns over groups of its fields; the memory of a scan alone is watched in another process.
A viewer walks over the slide in Chromium, and a plain HTTP client asks for the same tiles; fields of the small slide
are clicked, and dropped as files. `dala scan` of
the small slide is killed again and again and compared with one that nobody killed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dala.errors import DataError
from dala.studies.blocks import Block, Chart, Line, Row, Table, Text
from dala.studies.record import Record, Result
from dala.studies.scan_speed_tiles import CONNECTIONS, TileWaits, waits_of
from dala.studies.study import Study, Verb
from dala.terminal import at_least, progress
from dala.words import NO_BREAK, counted

if TYPE_CHECKING:
    from dala.runtime.predict import Model
    from dala.slides.reader import Slide
    from dala.studies.scan_speed_walk import Walk

SOURCE = Path("slides") / "CMU-1-Small-Region.svs"
SIZE = (30_000, 22_500)  # of the slide that is laid out, in pixels
CLICKS = 12
TILE_MS, CLICK_RATIO = 40, 1.10  # what is aimed at


@dataclass(frozen=True, kw_only=True)
class Rates(Record):
    """Fields a second over the same `fields`, the scan's over the bare engine's by processor time and over the loop's,
    and the seconds of the first whole map and of the whole scan at that rate."""

    fields: int
    scan: float
    bare: float
    loop: float
    of_bare: float
    of_bare_by_processor_time: float
    of_loop: float
    first_map_seconds: float
    whole_seconds: float


@dataclass(frozen=True, kw_only=True)
class Curve(Record):
    """Memory of the scanning process above the loaded model, in MB over the number of fields; the most that it was; and
    how it climbs over the second half, in MB for a thousand fields."""

    peak: int
    climb_per_thousand: float
    each: tuple[tuple[int, int], ...]


@dataclass(frozen=True, kw_only=True)
class Waits(Record):
    """Tiles as one viewer in a browser waited for them, and as a plain HTTP client that asked for the same ones did;
    milliseconds of so many moves over the slide until all of what is seen is sharp; and medians of so many fields from
    the click, or from the drop of the same field as a file, until verdict and maps are on the screen."""

    in_browser: TileWaits
    by_client: TileWaits
    moves: int
    sharp_median: float
    sharp_percentile_95: float
    fields: int
    click_verdict: float
    click_maps: float
    drop_verdict: float
    drop_maps: float
    measured: str


@dataclass(frozen=True, kw_only=True)
class Kills(Record):
    """How often a scan was killed, and whether its rows were in the end those of an undisturbed one."""

    times: int
    identical: bool


@dataclass(frozen=True, kw_only=True)
class ScanSpeed(Result):
    """A scan's rate, memory and robustness, and what somebody waits for at the viewer."""

    weights_sha256: str
    engine: str
    threads: int
    width: int
    height: int
    slide_fields: int
    rates: Rates
    memory_mb: Curve
    waits: Waits
    kills: Kills
    measured: str


# Measuring


def climb(memory: tuple[tuple[int, int], ...]) -> float:
    """By least squares over the second half of the fields: MB for a thousand of them."""
    part = np.array(memory[len(memory) // 2 :], float)
    return round(float(np.polyfit(part[:, 0], part[:, 1], 1)[0]) * 1000, 1)


def fields_as_files(slide: Slide, model: Any, folder: Path) -> tuple[list[tuple[float, float]], list[Path]]:
    """The middles of fields that the gate does not refuse, and these fields as TIFF with their scale."""
    from tifffile import imwrite

    from dala.opinion import opinion_of
    from dala.slides.plan import plan_of

    places, files = list[tuple[float, float]](), list[Path]()
    for spot in plan_of(slide).spots:
        patch = slide.read_field(spot.column, spot.row)
        if patch.pixel_size is None or not opinion_of(patch, model).gate.inside:
            continue
        left, top, right, bottom = slide.grid.box(spot.column, spot.row)
        places.append(((left + right) / 2, (top + bottom) / 2))
        files.append(folder / f"field-{len(files)}.tiff")
        per_cm = (1e4 / patch.pixel_size.columns, 1e4 / patch.pixel_size.rows)
        imwrite(files[-1], patch.pixels, photometric="rgb", resolution=per_cm, resolutionunit="CENTIMETER")
        if len(files) > CLICKS:
            return places, files
    if len(files) < 2:
        raise DataError("There are not two fields of the slide that the gate takes.")
    return places, files


# The command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, metavar="ROOT", help=f"holds {SOURCE}")
    parser.add_argument("--fields", type=at_least(100), default=500, help="over which scan, engine and loop take turns")
    parser.add_argument("--most", type=at_least(200), default=2400, help="fields over which memory is watched")
    parser.add_argument("--kills", type=at_least(1), default=10)
    parser.add_argument("--waits-only", action="store_true", help="tiles, clicks and drops; the rest of FILE stays")
    parser.add_argument("--out", type=Path, default=Path(STUDY.path), metavar="FILE")


def run(options: argparse.Namespace) -> int:
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    from dala.runtime.predict import load_model
    from dala.slides.reader import open_slide
    from dala.studies.scan_speed_runs import compare, killed, watched
    from dala.studies.scan_speed_slide import make
    from dala.studies.scan_speed_walk import walked

    source = options.data / SOURCE
    if not source.is_file():
        raise DataError(f"There is no {SOURCE} in {options.data.name}.")
    earlier = read(options.out) if options.waits_only else None
    model = load_model(STUDY.weights or "", many=True)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for name in ("slides", "fields"):
            (folder / name).mkdir()
        large, small = folder / "slides" / "large.tiff", folder / "slides" / "small.svs"
        small.symlink_to(source.resolve())
        make(source, large, SIZE)
        with open_slide(small) as slide:
            walk = walked(large, small, slide.size, *fields_as_files(slide, model, folder / "fields"))
        if earlier is not None:
            tell(with_waits(earlier, waits_in(walk), model), options.out)
            return 0
        with ProcessPoolExecutor(1, get_context("spawn")) as beside:  # its memory is not this process's
            memory, peak = beside.submit(watched, large, model.name, options.most, folder / "alone").result()
        with open_slide(large) as slide:
            found = compare(slide, model, options.fields, folder / "scan", progress("scan", "field"))
            width, height = slide.size
        times, identical = killed(small, options.kills)
    scan, bare, loop = (one.per_second for one in (found.scan, found.bare, found.loop))
    record = ScanSpeed(
        protocol=protocol_of(found.scan.done),
        command=f"{STUDY.command} --fields {options.fields} --most {options.most}",
        weights_sha256=str(model.card.fields["sha256"]),
        engine=model.runs_on.name,
        threads=found.threads,
        width=width,
        height=height,
        slide_fields=found.planned,
        rates=Rates(
            fields=found.scan.done,
            scan=round(scan, 2),
            bare=round(bare, 2),
            loop=round(loop, 2),
            of_bare=round(scan / bare, 3),
            of_bare_by_processor_time=round(found.by_processor_time, 3),
            of_loop=round(scan / loop, 2),
            first_map_seconds=round(found.first_map, 1),
            whole_seconds=round(found.whole, 1),
        ),
        memory_mb=Curve(peak=peak, climb_per_thousand=climb(memory), each=memory),
        waits=waits_in(walk),
        kills=Kills(times=times, identical=identical),
        measured=time.strftime("%Y-%m-%d"),
    )
    tell(record, options.out)
    return 0


def waits_in(walk: Walk) -> Waits:
    """What somebody waited for."""
    columns = [column for rows in (walk.clicked, walk.dropped) for column in zip(*rows, strict=True)]
    medians = [round(statistics.median(column)) for column in columns]
    return Waits(
        in_browser=waits_of(walk.tiles),
        by_client=waits_of(walk.replayed),
        moves=len(walk.sharp),
        sharp_median=round(statistics.median(walk.sharp)),
        sharp_percentile_95=round(float(np.percentile(walk.sharp, 95))),
        fields=len(walk.clicked),
        click_verdict=medians[0],
        click_maps=medians[1],
        drop_verdict=medians[2],
        drop_maps=medians[3],
        measured=time.strftime("%Y-%m-%d"),
    )


def read(path: Path) -> dict[str, Any]:
    """The JSON of an earlier run, whose waits may be told as an older version did."""
    try:
        told = json.loads(path.read_bytes())
        if isinstance(told, dict):
            return told
    except (OSError, ValueError):
        pass
    raise DataError(f"There is no file of `{STUDY.command}` at {path}.")


def with_waits(told: dict[str, Any], waits: Waits, model: Model) -> ScanSpeed:
    """A record of an earlier run with other waits; DataError for one of other weights."""
    if told.get("weights_sha256") != model.card.fields["sha256"]:
        raise DataError("The other figures of this file are of other weights: measure all of them.")
    try:
        fields = int(told["rates"]["fields"])
    except (KeyError, TypeError, ValueError) as error:
        raise DataError("This is no file of `dala scan-speed`.") from error
    return ScanSpeed.from_json(told | {"waits": waits.to_json(), "protocol": protocol_of(fields)})


def protocol_of(fields: int) -> str:
    """How everything is measured, the rates over so many fields."""
    return (
        f"a slide laid out of copies of {SOURCE.stem} (OpenSlide's test data), tiled JPEG; {fields} fields in groups"
        " of 100, in turn by the scan, by the bare engine with inputs that lie ready, asked by as many threads as it "
        "has streams, and by a loop that reads every patch from level 0, resizes it and hands it on by torch's "
        "DataLoader in batches of 32 to the same network by torch; memory: of a process that scans and does nothing "
        "else, less what it holds when the model has "
        "answered once; tiles: from the request to the last byte, first of a viewer in Chromium, which works and "
        "draws by software on the same cores, then of a plain HTTP client that asks for the same tiles of the "
        f"slide, opened anew, with the viewer's pauses, what was wanted together at once, over {CONNECTIONS} "
        "connections that are kept alive; of these in the route alone: waiting for a thread, reading, encoding; a "
        "move: from the gesture's end until every tile in sight is drawn; clicks and drops of the same fields in "
        "the served app, warm; waits may be measured apart (--waits-only), on the day that they name; scans killed "
        "by SIGKILL after random numbers of rows"
    )


def tell(record: ScanSpeed, out: Path) -> None:
    """Write it, and print it."""
    STUDY.write(record, out)
    for row in table(record):
        print("; ".join(f"{key}: {value}" for key, value in row.items()))
    print(f"{summary(record)}\nwritten to {out}")


# The page


def table(record: ScanSpeed) -> list[Row]:
    """A row a figure."""
    rates, waits, memory = record.rates, record.waits, record.memory_mb
    told = {
        "Fields a second: scan, bare engine, loop": f"{rates.scan:.1f}, {rates.bare:.1f}, {rates.loop:.1f}",
        "Scan beside the bare engine": f"{rates.of_bare:.2f}",
        "Scan beside the loop": f"{rates.of_loop:.2f}",
        "First whole map, whole scan": f"{rates.first_map_seconds:.0f}{NO_BREAK}s, "
        f"{rates.whole_seconds:.0f}{NO_BREAK}s",
        "Memory above the model, at most": f"{memory.peak}{NO_BREAK}MB",
        "Tiles from the server: half within, 95 % within": of_tiles(waits.by_client),
        "The same in a browser on these cores": of_tiles(waits.in_browser),
        "A move until all in sight is sharp: half within, 95 % within": f"{waits.sharp_median:.0f}{NO_BREAK}ms, "
        f"{waits.sharp_percentile_95:.0f}{NO_BREAK}ms",
        "Click to verdict, to maps": f"{waits.click_verdict:.0f}{NO_BREAK}ms, {waits.click_maps:.0f}{NO_BREAK}ms",
        "Drop of the same field to verdict, to maps": f"{waits.drop_verdict:.0f}{NO_BREAK}ms, "
        f"{waits.drop_maps:.0f}{NO_BREAK}ms",
    }
    return [{"What": what, "Measured": value} for what, value in told.items()]


def of_tiles(waits: TileWaits) -> str:
    """Half of them, 95 % of them, and how much of these is drawing."""
    return (
        f"{waits.median:.0f}{NO_BREAK}ms, {waits.percentile_95:.0f}{NO_BREAK}ms (of these to draw them: "
        f"{waits.route_median:.0f}{NO_BREAK}ms, {waits.route_percentile_95:.0f}{NO_BREAK}ms)"
    )


def summary(record: ScanSpeed) -> str:
    """Rate, memory, waits and kills."""
    rates, waits, memory = record.rates, record.waits, record.memory_mb
    rows = "the same to the byte" if record.kills.identical else "not the same"
    return (
        f"On {counted(record.threads, 'core')} a slide is scanned at {rates.scan:.1f} fields a second, "
        f"{rates.of_bare:.2f} of what the bare network does and {rates.of_loop:.1f} times a loop that reads patch by "
        f"patch; memory climbs by {memory.climb_per_thousand:+.1f} MB for a thousand fields (watched over "
        f"{counted(memory.each[-1][0], 'field')}). A click has its verdict after {waits.click_verdict / 1000:.2f} s, "
        f"{waits.click_verdict / waits.drop_verdict:.2f} of the time of a dropped image. After "
        f"{counted(record.kills.times, 'kill')} the rows of a scan were {rows}."
    )


def section(record: ScanSpeed) -> list[Block]:
    """The figures, and the memory."""
    return [
        Text(summary(record)),
        Table(table(record), "Speed of a scan, and waits at the viewer"),
        Chart(
            "scan-memory",
            "Memory of a scan above the model, over the fields that it has seen",
            "Fields",
            "Memory above the model (MB)",
            lines=[Line.through("memory of the scan", [(float(x), float(y)) for x, y in record.memory_mb.each])],
            from_zero=True,
            height=300,
        ),
    ]


STUDY = Study(
    "scan_speed",
    "scan_speed.json",
    ScanSpeed,
    "breast",
    "dala scan-speed --data ROOT",
    part="Speed and load",
    title="Scans of whole slides",
    question="Does a scan cost no more than its network, does its memory stay flat, and does a field answer as fast as "
    "an image?",
    section=section,
    summary=summary,
    verb=Verb(
        "scan-speed",
        None,
        "a scan beside its bare network and a usual loop, its memory, tiles and clicks in a browser, and kill -9 (12 "
        "minutes on two cores)",
        add_arguments,
        run,
    ),
)
