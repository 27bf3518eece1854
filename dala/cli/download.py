"""Commands that bring data: download, a verb for each data set, and samples, a small deck of true images."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

from dala.cli import Command
from dala.errors import DataError
from dala.terminal import WrongCall, complain, progress

DATASETS = ("breakhis", "bach", "tnbc", "brca_m2c", "ucsb", "mini_ddsm")
YES = "accept the terms without being asked"


def add(command: Command) -> None:
    """Add download and samples."""
    for key in DATASETS:
        sub = command(
            "download", partial(_download, key), f"fetch, unpack and check {key}; goes on where it stopped", key
        )
        sub.add_argument("--to", type=Path, required=True, metavar="DIR", help="where the data set is to lie")
        sub.add_argument("--yes", action="store_true", help=YES)
        sub.add_argument("--from", dest="address", default=None, metavar="URL", help="another address of the archive")
        sub.add_argument(
            "--archive",
            type=Path,
            default=None,
            metavar="FILE",
            help="an archive that was fetched by hand",
        )
        sub.add_argument("--keep", action="store_true", help="keep the archive after unpacking")
    sub = command("samples", _samples, "fetch a small deck of true images for teaching and the first page (30 MB)")
    sub.add_argument("--to", type=Path, default=None, metavar="DIR", help="default: the folder that DALA_SAMPLES names")
    sub.add_argument("--yes", action="store_true", help=YES)


def _download(key: str, options: argparse.Namespace) -> int:
    from dala.data.download import File, fetch, need_space
    from dala.data.download_archive import unpack
    from dala.data.download_sources import SOURCES, by_hand, complete, summary, told

    source, folder = SOURCES[key], options.to
    if options.archive is not None and options.address is not None:
        raise WrongCall("Name either an archive that is there or the address of one, not both.")
    there = complete(source, folder, progress("check")) if folder.is_dir() else None
    if there is not None and there.complete:
        print("\n".join([f"{source.title} in {folder} is complete; nothing was fetched.", *there.lines]))
        return 0
    file = source.file
    if options.address is not None:
        known = file or File("", f"{key}.archive", source.page)
        file = replace(known, url=options.address)
    if options.archive is None and file is None:
        raise DataError(by_hand(source, f"dala download {key} --to {folder}"))
    if options.archive is not None and not options.archive.is_file():
        raise DataError(f"There is no archive {options.archive}.")
    print(told(source))
    _agree(options.yes)
    if options.archive is not None:
        archive = options.archive
        need_space(_existing(folder), round(source.unpacked))
    else:
        assert file is not None
        archive = fetch(file, folder, progress(file.name, "B"), unpacked=round(source.unpacked))
    written = unpack(archive, folder, source.at_most, progress("unpack", "B"))
    if options.archive is None and not options.keep:
        archive.unlink()
    checked = source.check(folder, progress("check"))
    print("\n".join(summary(checked, source.title, len(written))))
    if not checked.complete:
        complain(f"{source.title} in {folder} is not complete.")
    return 0 if checked.complete else 1


def _samples(options: argparse.Namespace) -> int:
    from dala.data.download_samples import DECK, TABLE, fetch_deck
    from dala.data.download_sources import SOURCES, told

    named = os.environ.get("DALA_SAMPLES")
    folder = options.to or (Path(named).expanduser() if named else None)
    if folder is None:
        raise WrongCall("Say with --to or with the environment variable DALA_SAMPLES where the images are to lie.")
    print(f"{len(DECK)} images are taken out of these collections:\n")
    print("\n\n".join(told(SOURCES[key]) for key in dict.fromkeys(sample.collection for sample in DECK)))
    _agree(options.yes)
    found = fetch_deck(folder, progress("samples"))
    print(f"{len(found)} images lie in {folder}; {TABLE} says where each comes from.")
    if named is None or Path(named).expanduser().resolve() != folder.resolve():
        print(f"The pages show them when the server is started with DALA_SAMPLES={folder}.")
    return 0


def _agree(yes: bool) -> None:
    """Ask whether the terms are accepted; DataError where they are not."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise DataError("Nothing was fetched: accept the terms above with --yes.")
    if input("Fetch it under these terms? [y/N] ").strip().lower() not in ("y", "yes"):
        raise DataError("Nothing was fetched.")


def _existing(folder: Path) -> Path:
    """The folder, or the nearest above it that exists."""
    return next(path for path in (folder.absolute(), *folder.absolute().parents) if path.is_dir())
