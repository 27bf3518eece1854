"""What has been measured of speed and of many users at once, as text, rows and lines for the evidence page."""

from __future__ import annotations

from typing import Any

from dala.evidence import NO_BREAK, Line, Row

Record = dict[str, Any]

PROGRAMS = {
    "openvino-bf16": "This tool, OpenVINO, 16 bits",
    "openvino-f32": "This tool, OpenVINO, 32 bits",
    "torch": "This tool, torch",
    "torch-bf16": "This tool, torch, 16 bits",
    "openvino-int8": "OpenVINO, 8 bits (not offered: it changes verdicts)",
    "pytorch-grad-cam": "pytorch-grad-cam",
    "torch-cam": "torch-cam",
}
BASE = "pytorch-grad-cam"


def speed_table(record: Record) -> list[Row]:
    """A row a program: time for one image with its maps, and images a second in batches, the fastest first."""
    rows = []
    for name, told in sorted(record["maps"].items(), key=lambda item: float(item[1]["milliseconds"])):
        batch = record["batches"].get(name)
        rows.append(
            {
                "Program": PROGRAMS[name],
                "Answer and both maps": f"{told['milliseconds']:.0f}{NO_BREAK}ms",
                f"of {BASE}'s time": f"{told[f'of {BASE}']:.2f}",
                "of torch-cam's time": f"{told['of torch-cam']:.2f}",
                "Images a second, no maps": "" if batch is None else f"{batch['pictures_per_second']:.1f}",
            }
        )
    return rows


def speed_sentence(record: Record) -> str:
    """How fast the default is, beside the other programs, and how long a fresh start takes."""
    default = next(name for name in PROGRAMS if name in record["start_seconds"])
    told, start = record["maps"][default], record["start_seconds"][default]
    return (
        f"One image takes {told['milliseconds']:.0f} ms, {told[f'of {BASE}']:.2f} of the time of {BASE} and "
        f"{told['of torch-cam']:.2f} of that of torch-cam on the same two cores. From a fresh process to the first "
        f"whole opinion: {start['first_answer']:.1f} s, of which {start['imported']:.1f} s go to importing libraries."
    )


def load_sentence(record: Record) -> str:
    """What many users at once got, and what went wrong."""
    seconds, memory = record["seconds"], record["memory_mb"]
    mixed = "none of them mixed up" if not record["mixed_up"] else f"{record['mixed_up']} of them mixed up"
    errors = record["errors"]
    lines = [
        f"{record['users']} users at once got {record['verdicts']} verdicts, {mixed}: half of them within "
        f"{seconds['median']:.1f} s, 95 % within {seconds['percentile_95']:.1f} s.",
        f"Memory after the first minute: {memory['after_warm_up']:,} MB, at most {memory['largest_later']:,} MB later; "
        f"from then on it climbs by {memory['climb_per_minute']:+.1f} MB a minute, in the second half of the test by "
        f"{memory['climb_second_half']:+.1f}.",
    ]
    lines.append("No error." if not errors else f"Errors: {counted(errors)}.")
    return " ".join(lines)


def counted(errors: list[str]) -> str:
    """Every kind of error with how often it came."""
    kinds = {kind: errors.count(kind) for kind in errors}
    return "; ".join(f"{count} x {kind.rstrip('.')}" for kind, count in kinds.items())


def waits(record: Record) -> Line:
    """How long every verdict took (s), over the time at which it came (s)."""
    return _line("a verdict", sorted(record["seconds"]["each"]))


def memory(record: Record) -> Line:
    """The server's memory (MB) over time (s)."""
    return _line("memory of the server", record["memory_mb"]["each"])


def _line(name: str, pairs: list[list[float]]) -> Line:
    return Line(name, tuple(float(at) for at, _ in pairs), tuple(float(value) for _, value in pairs))
