"""Does a scan of your own slide cost no more than its network? The parts of `dala scan-speed` that need no browser.

    python benchmarks/slides.py slide.tiff --make CMU-1-Small-Region.svs    # 20,000 x 15,000 px, laid out of copies
    python benchmarks/slides.py slide.tiff [--fields 600]                   # rates beside engine and loop
    python benchmarks/slides.py slide.tiff --memory 3000                    # memory of a scan of so many fields
    python benchmarks/slides.py CMU-1-Small-Region.svs --kills 10           # kill -9, then the same rows

`dala scan-speed` measures these on one slide, and tiles and clicks in a browser, and writes evidence/scan_speed.json.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

from dala.runtime.predict import load_model
from dala.slides.reader import open_slide
from dala.studies.scan_speed_runs import compare, killed, watched
from dala.studies.scan_speed_slide import make
from dala.terminal import progress

MADE = (20_000, 15_000)


def main() -> None:
    """Print the figures as one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slide", type=Path)
    parser.add_argument("--make", type=Path, default=None, metavar="FROM", help="make the slide out of this one")
    parser.add_argument("--fields", type=int, default=600, help="over which scan, engine and loop take turns")
    parser.add_argument("--memory", type=int, default=0, metavar="FIELDS", help="watch memory over so many")
    parser.add_argument("--kills", type=int, default=0)
    options = parser.parse_args()
    if options.make is not None:
        make(options.make, options.slide, MADE)
        return
    if options.kills:
        times, identical = killed(options.slide, options.kills)
        print(json.dumps({"kills": times, "identical": identical}))
        return
    if options.memory:
        with tempfile.TemporaryDirectory() as out:
            each, peak = watched(options.slide, "breast", options.memory, Path(out))
        print(json.dumps({"memory_mb_above_the_model": each, "peak_mb_above_the_model": peak}))
        return
    with open_slide(options.slide) as slide, tempfile.TemporaryDirectory() as out:
        start = time.perf_counter()
        _ = slide.overview
        seconds = time.perf_counter() - start
        model = load_model("breast", many=True)
        found = compare(slide, model, options.fields, Path(out), progress("scan", "field"))
    scan, bare, loop = (one.per_second for one in (found.scan, found.bare, found.loop))
    figures = {
        "engine": model.runs_on.name,
        "threads": found.threads,
        "fields_of_the_slide": found.planned,
        "fields": found.scan.done,
        "per_second": {"scan": round(scan, 2), "bare": round(bare, 2), "loop": round(loop, 2)},
        "scan_over_bare": round(scan / bare, 3),
        "scan_over_bare_by_processor_time": round(found.by_processor_time, 3),
        "scan_over_loop": round(scan / loop, 2),
        "first_map_over_whole": f"1/{found.whole / found.first_map:.1f}",
        "overview_seconds": round(seconds, 2),
    }
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
