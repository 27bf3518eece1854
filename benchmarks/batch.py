"""Is a batch as fast as its network? Images a second from a ZIP to records, against the bare forward pass.

    python benchmarks/batch.py [--images 300]

Drawn images of 700 x 460 px in a ZIP; the batch reads, decodes, analyses, maps and makes thumbnails, the bare pass gets
pixels that lie ready. Both take turns over groups of 20, so that a machine which is busy otherwise slows both. Memory
is this process's VmRSS (Linux) after a third of the batch and at its end: it must not grow with the images.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import time
import zipfile
from itertools import islice
from pathlib import Path

from dala.batch import analyse
from dala.explanation.render import encode_png
from dala.intake.archive import Upload, members
from dala.intake.image import read_image
from dala.phantoms.tissue import PHANTOMS, draw
from dala.runtime.predict import load_model, predict

GROUP = 20


def resident() -> int:
    """Megabytes of this process in memory."""
    found = re.search(r"VmRSS:\s+(\d+)", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) // 1024


def main() -> None:
    """Print the rates, their ratio and the memory as one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=300)
    number = parser.parse_args().images
    files = [encode_png(draw(name, seed).pixels) for name in PHANTOMS for seed in range(2)]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for place in range(number):
            archive.writestr(f"{place:04}.png", files[place % len(files)])
    patches = [read_image(data) for data in files]
    model = load_model("breakhis")
    for patch in patches[:3]:
        predict(patch, model)

    coming = analyse(members([Upload("drawn.zip", packed)]), model)
    batch = bare = 0.0
    memory = []
    for first in range(0, number, GROUP):
        size = min(GROUP, number - first)
        start = time.perf_counter()
        assert sum(1 for _ in islice(coming, size)) == size
        batch += time.perf_counter() - start
        memory.append(resident())
        start = time.perf_counter()
        for place in range(first, first + size):
            predict(patches[place % len(patches)], model)
        bare += time.perf_counter() - start
    print(
        json.dumps(
            {
                "pictures": number,
                "batch_per_second": round(number / batch, 2),
                "bare_per_second": round(number / bare, 2),
                "ratio": round(bare / batch, 3),
                "memory_mb_after_a_third": memory[len(memory) // 3],
                "memory_mb_at_the_end": memory[-1],
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
