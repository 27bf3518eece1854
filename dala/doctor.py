"""PASS, WARN or FAIL for every part of an installation: `dala doctor`.

A doctor is called when something is broken, so this module imports nothing but the standard library at the top; torch
and the rest of dala are asked inside the check that needs them.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from dala.files import shipped

ROOT = shipped("weights").parent  # the checkout, or what was installed with the package
OLDEST_PYTHON = (3, 11)
TESTED_PYTHON = (3, 11)
OLDEST_OPENSLIDE = (4, 0, 1)  # two faults in its parsers were published before
# The served app with a warm model stays under 1.5 GB; the rest is for the browser beside it.
COMFORTABLE_MEMORY = 2_000_000_000

COMFORTABLE_ROOM = 1_000_000_000  # for scans

Status = Literal["PASS", "WARN", "FAIL"]


@dataclass(frozen=True)
class Check:
    """One line of the table. FAIL: the app or its verdicts cannot be trusted; WARN: something else will not work."""

    name: str
    status: Status
    detail: str


def run_checks(root: Path = ROOT) -> list[Check]:
    """Every check of the installation at `root` (the folder with requirements.txt and weights/), in reading order."""
    return [
        check_python(sys.version_info[:3]),
        *check_packages(root / "requirements.txt"),
        *check_weights(root / "weights"),
        _attempt("cache folder", "WARN", _check_cache_folder),
        check_writable("runs folder", Path.cwd() / "runs"),
        _attempt("threads", "FAIL", check_threads),
        _attempt("bfloat16", "FAIL", check_bf16),
        _attempt("OpenSlide", "WARN", check_openslide),
        check_slides_folder(),
        _attempt("cases", "WARN", check_cases),
        _attempt("engine", "FAIL", lambda: check_engine(root / "weights")),
        _attempt("GPU", "WARN", check_gpu),
        check_memory(),
        check_chromium(),
    ]


def _attempt(name: str, otherwise: Status, check: Callable[[], Check]) -> Check:
    """What the check says; `otherwise` where something that it needs cannot be imported."""
    try:
        return check()
    except Exception as error:  # A broken package may raise anything.
        return Check(name, otherwise, f"Cannot be checked: {_reason(error)}.")


def check_python(version: tuple[int, ...]) -> Check:
    """FAIL below the oldest Python that the pinned packages support, WARN on one that the tests have not run on."""
    text = ".".join(map(str, version))
    if version[:2] < OLDEST_PYTHON:
        return Check("Python", "FAIL", f"{text} is too old; 3.11 is needed.")
    if version[:2] != TESTED_PYTHON:
        return Check("Python", "WARN", f"{text} should work; the tests run on 3.11.")
    return Check("Python", "PASS", text)


def check_packages(file: Path, installed: Callable[[str], str] = metadata.version) -> list[Check]:
    """One check for each `name==version` line: FAIL if it is not installed, WARN if in another version.

    Where there is no such file, as in an installed package, the package's own list counts. `installed` tells the
    version of a package or raises `PackageNotFoundError`. A local label ("2.14.1+cpu") counts as the version before it.
    """
    text = "\n".join(requirements_of(file))
    if not text:
        return [Check("packages", "WARN", f"{file.name} is missing: there is nothing to compare with.")]
    checks = []
    for name, pinned in re.findall(r"^([A-Za-z0-9._-]+)==([^\s;#]+)", text, re.MULTILINE):
        try:
            found = installed(name)
        except metadata.PackageNotFoundError:
            checks.append(Check(name, "FAIL", f"Not installed; {file.name} asks for {pinned}."))
            continue
        if found.split("+")[0] == pinned:
            checks.append(Check(name, "PASS", found))
        else:
            checks.append(Check(name, "WARN", f"{found} is installed; {file.name} asks for {pinned}."))
    return checks


def requirements_of(file: Path = ROOT / "requirements.txt") -> list[str]:
    """The lines of the list of pins; in an installed package, what it said when that was built; [] without either."""
    try:
        return file.read_text(encoding="utf-8").splitlines()
    except OSError:
        pass
    try:
        return metadata.requires("dala") or []
    except metadata.PackageNotFoundError:
        return []


def check_weights(folder: Path) -> list[Check]:
    """One check for each model card NAME.json and for each NAME.safetensors without a card.

    PASS means that the card is valid and that the file beside it has the card's sha256, so that the app will load it.
    """
    cards = sorted(folder.glob("*.json"))
    # What the gate knows, the colours of the lessons and the samples of `dala adapt` belong to NAME.json too.
    known = {card.stem for card in cards}
    stray = [
        path
        for path in sorted(folder.glob("*.safetensors"))
        if re.sub(r"\.(gate|colour|samples)$", "", path.stem) not in known
    ]
    if not cards:
        return [Check("weights", "FAIL", f"There is no model card in {folder}; without one no verdict is possible.")]
    checks = [check for card in cards for check in (_check_card(card), *_check_gate(card))]
    return checks + [
        Check(f"weights {path.stem}", "WARN", f"{path.name} has no model card and is never loaded.") for path in stray
    ]


def _check_card(card: Path) -> Check:
    name, file = f"weights {card.stem}", card.with_suffix(".safetensors")
    try:
        expected = json.loads(card.read_text(encoding="utf-8"))["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return Check(name, "FAIL", f"The model card {card.name} is not readable JSON with a sha256.")
    try:
        with file.open("rb") as opened:
            found = hashlib.file_digest(opened, "sha256").hexdigest()
        size = file.stat().st_size
    except OSError:
        return Check(name, "FAIL", f"{file.name} is missing beside its model card, or cannot be read.")
    if found != expected:
        return Check(name, "FAIL", f"{file.name} ({_size(size)}) is damaged or altered: its sha256 is not the card's.")
    try:
        from dala.errors import WeightsError
        from dala.runtime.card import read_card
    except Exception:  # A broken package has its own line; the sha256 was compared all the same.
        return Check(name, "WARN", f"{_size(size)}, sha256 {found[:12]} as on the card; the card could not be checked.")
    try:
        read_card(card.stem, card.parent)
    except WeightsError as error:
        return Check(name, "FAIL", str(error))
    return Check(name, "PASS", f"{_size(size)}, sha256 {found[:12]} as on the card")


def _check_gate(card: Path) -> list[Check]:
    """PASS or WARN for the statistics of familiarity beside weights; nothing where the weights themselves fail."""
    name = f"gate {card.stem}"
    try:
        from dala.errors import WeightsError
        from dala.runtime.predict import load_model
    except Exception:
        return []
    try:
        model = load_model(card.stem, card.parent, "torch")
    except WeightsError as error:
        return [Check(name, "FAIL", str(error))] if ".gate." in str(error) else []
    if model.familiarity is None:
        return [Check(name, "WARN", "No statistics for these weights: run `dala gate`, or strange images pass.")]
    return [Check(name, "PASS", f"statistics for these weights, limit {model.familiarity.limit:.2f}")]


def check_writable(name: str, folder: Path) -> Check:
    """WARN if nothing can be written to `folder`; for one that is not there yet, to the nearest that is."""
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError:
        return Check(name, "WARN", f"{folder} cannot be written to; the app works, training does not.")
    return Check(name, "PASS", f"{folder}" if nearest == folder else f"{folder} (will be created when needed)")


def _check_cache_folder() -> Check:
    from dala.files import cache_dir

    return check_writable("cache folder", cache_dir())


def check_threads() -> Check:
    """WARN if torch starts more threads than this process may use cores."""
    import torch

    cores, threads = available_cores(), torch.get_num_threads()
    detail = f"torch uses {threads} of {cores:g} available cores ({os.cpu_count()} in the machine)"
    usable = max(1, int(cores))
    if threads > usable:
        return Check("threads", "WARN", f"{detail}: they compete for the cores; set OMP_NUM_THREADS={usable}.")
    return Check("threads", "PASS", detail)


def available_cores(cgroup: Path = Path("/sys/fs/cgroup")) -> float:
    """Cores that this process may use: the machine's, the scheduler's affinity and the container's quota, the least."""
    cores = float(os.cpu_count() or 1)
    if hasattr(os, "sched_getaffinity"):
        cores = min(cores, len(os.sched_getaffinity(0)))
    for read in (_quota_v2, _quota_v1):
        try:
            cores = min(cores, read(cgroup))
        except (OSError, ValueError, ZeroDivisionError):
            continue  # No such file, or "max": this version of cgroups sets no limit.
    return cores


def _quota_v2(cgroup: Path) -> float:
    quota, period = (cgroup / "cpu.max").read_text().split()
    return int(quota) / int(period)


def _quota_v1(cgroup: Path) -> float:
    quota = int((cgroup / "cpu" / "cpu.cfs_quota_us").read_text())
    if quota <= 0:
        raise ValueError("no limit")
    return quota / int((cgroup / "cpu" / "cpu.cfs_period_us").read_text())


def check_bf16() -> Check:
    """Says whether training can use bfloat16 on this processor; without it training is slower, nothing else."""
    from dala.runtime.engines import bfloat16_units

    if found := bfloat16_units():
        return Check("bfloat16", "PASS", f"{' and '.join(found)}: training on the CPU uses it")
    return Check("bfloat16", "PASS", "not supported by this CPU: training on it uses float32, which is slower")


def check_engine(weights: Path) -> Check:
    """Names what runs the convolutions, having loaded a model with it; WARN if it is torch for want of OpenVINO.

    FAIL if `DALA_ENGINE` names one that cannot run here.
    """
    from dala.errors import EngineError, WeightsError
    from dala.runtime.card import available
    from dala.runtime.engines import AUTO, TORCH, preferred
    from dala.runtime.predict import load_model

    named = os.environ.get("DALA_ENGINE") or AUTO
    try:
        cards = available(weights)[:1]  # breakhis, in the repository
        best = preferred(*cards or ("",)) if named == AUTO else named
        for name in cards:
            load_model(name, weights, best)
    except Exception as error:
        if not isinstance(error, WeightsError) or isinstance(error, EngineError):
            if named == AUTO:
                return Check("engine", "WARN", f"{TORCH}, about half as fast as OpenVINO: {_reason(error)}")
            return Check("engine", "FAIL", _reason(error))
        # Weights that cannot be loaded have a line of their own.
    return Check("engine", "PASS", f"{best}, {'the best of this machine' if named == AUTO else 'named by DALA_ENGINE'}")


def check_openslide() -> Check:
    """WARN without OpenSlide, or with one older than `OLDEST_OPENSLIDE`: slides come from elsewhere, unchecked."""
    import openslide

    found = str(openslide.__library_version__)
    if tuple(int(part) for part in re.findall(r"\d+", found)[:3]) < OLDEST_OPENSLIDE:
        least = ".".join(map(str, OLDEST_OPENSLIDE))
        return Check("OpenSlide", "WARN", f"{found} has known faults in security; {least} or newer is needed.")
    return Check("OpenSlide", "PASS", found)


def check_slides_folder(named: str | None = None) -> Check:
    """WARN if the folder of slides that `DALA_SLIDES` names is not there, or if there is hardly room for scans here."""
    named = os.environ.get("DALA_SLIDES") if named is None else named
    free = shutil.disk_usage(Path.cwd()).free
    if named and not os.access(named, os.R_OK | os.X_OK):
        return Check("slides", "WARN", f"DALA_SLIDES names {named}, which is no folder that can be read.")
    where = named or "no folder configured (DALA_SLIDES)"
    if free < COMFORTABLE_ROOM:
        return Check("slides", "WARN", f"{where}; only {_size(free)} free here, and a scan takes up to 20 MB a slide.")
    return Check("slides", "PASS", f"{where}; {_size(free)} free here")


def check_cases() -> Check:
    """Where cases are kept, whether the database answers, its schema, and the room for images; makes nothing.

    WARN where they could not be kept: opinions are given all the same.
    """
    from dala.cases.opening import settings
    from dala.errors import StoreError

    try:
        found = settings()
        if found is None:
            return Check("cases", "PASS", "switched off (DALA_DATABASE=off)")
        from dala.cases.database import HEAD, Database

        database = Database(found.url)
        new = database.file is not None and not database.file.exists()
        schema = None if new else database.schema()
    except StoreError as error:
        return Check("cases", "WARN", str(error))
    nearest = next(path for path in (found.folder, *found.folder.parents) if path.exists())
    if not os.access(nearest, os.W_OK | os.X_OK):
        return Check("cases", "WARN", f"{nearest} cannot be written to; name a folder by DALA_CASES_FOLDER, or off.")
    free = shutil.disk_usage(nearest).free
    says = "will be made when the first case is kept" if schema is None else f"answers, schema {schema}"
    lives = "" if found.days is None else f"; cases live {found.days} days"
    images = f"images in {found.folder}" if found.keeps_images else "images are not kept"
    detail = f"{database} {says}{lives}; {images}; {_size(free)} free"
    if schema not in (None, HEAD):
        return Check("cases", "WARN", f"{detail}; this version writes schema {HEAD}: the next start brings it there.")
    return Check("cases", "WARN" if free < COMFORTABLE_ROOM else "PASS", detail)


def check_gpu() -> Check:
    """Names the CUDA devices and the build of torch; to have none is no fault, nor is a build that could use one."""
    import torch

    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    build = f"torch is built for CUDA {torch.version.cuda}" if torch.version.cuda else "torch is the build without CUDA"
    if not names and torch.version.cuda:
        build += ", which takes 4 GB and is not used here"
    found = ", ".join(names) or "none, and none is needed: verdicts are computed on the CPU"
    return Check("GPU", "PASS", f"{found}; {build}")


def check_memory(meminfo: Path = Path("/proc/meminfo"), cgroup: Path = Path("/sys/fs/cgroup")) -> Check:
    """WARN if less memory is free than the served app and a browser take."""
    try:
        available = int(re.findall(r"^MemAvailable:\s+(\d+) kB", meminfo.read_text(), re.MULTILINE)[0]) * 1024
    except (OSError, IndexError):
        return Check("memory", "PASS", "this system does not say how much is free")
    try:
        limit, used = ((cgroup / name).read_text() for name in ("memory.max", "memory.current"))
        available = min(available, int(limit) - int(used))
    except (OSError, ValueError):
        pass  # No container limit, or "max".
    if available < COMFORTABLE_MEMORY:
        return Check("memory", "WARN", f"{_size(available)} are free; the app needs {_size(COMFORTABLE_MEMORY)}.")
    return Check("memory", "PASS", f"{_size(available)} free")


def check_chromium() -> Check:
    """WARN if the browser that the browser tests drive is absent."""
    named = os.environ.get("DALA_CHROMIUM")
    found = next(filter(None, map(shutil.which, (named,) if named else ("chromium-headless-shell", "chromium"))), None)
    if found:
        return Check("Chromium", "PASS", found)
    if named:
        return Check("Chromium", "WARN", f"DALA_CHROMIUM names {named}, which is not a program.")
    return Check("Chromium", "WARN", "Not found; only the browser tests need it.")


def table(checks: list[Check]) -> str:
    """The checks as aligned text, closed by a line that counts them."""
    width = max(len(check.name) for check in checks)
    lines = [f"{check.status}  {check.name:<{width}}  {check.detail}" for check in checks]
    counts = {status: sum(check.status == status for check in checks) for status in ("PASS", "WARN", "FAIL")}
    return "\n".join([*lines, "", ", ".join(f"{count} {status}" for status, count in counts.items())])


def main() -> int:
    """Print the table; 1 if anything is FAIL, else 0."""
    checks = run_checks()
    print(table(checks))
    return int(any(check.status == "FAIL" for check in checks))


def _size(count: int) -> str:
    """Bytes in words of a thousand, as file managers show them."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def _reason(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
