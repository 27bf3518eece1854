"""The doctor tells a sound installation from a broken one, each verdict on an installation made for it."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest

from dala import doctor
from dala.doctor import Check

REQUIREMENTS = "# Runtime.\n-r other.txt\nnumpy==2.4.6\ntorch==2.14.1  # the network\nstreamlit==1.67.0\n"


def card(content: bytes, **changes: Any) -> str:
    """A model card that satisfies the schema, for a file of these bytes."""
    fields = {
        "schema": 1,
        "name": "tiny",
        "title": "A card for a test",
        "network": "DALAResNet50",
        "classes": ["benign", "malignant"],
        "positive": "malignant",
        "input": {
            "size": 224,
            "enlarged": 224,
            "colour": "RGB",
            "mean": [0.5, 0.5, 0.5],
            "std": [0.25, 0.25, 0.25],
            "resize": "bicubic",
            "magnification": "200X",
            "modality": "H&E histology of the breast, bright field",
            "frame": [700, 460],
        },
        "imagenet": "none",
        "training_data": {
            "name": "none",
            "source": "none",
            "terms": "none",
            "pictures": 1,
            "per_class": {"benign": 1},
            "groups": ["14-0001"],
            "magnification": "200X",
        },
        "recipe": {},
        "split": "none",
        "metrics": {"protocol": "none", "command": "none", "values": {}},
        "assumptions": ["none"],
        "limits": ["none"],
        "use": "Research only.",
        "created": "2026-01-31",
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
    }
    return json.dumps(fields | changes)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A folder with weights of 2,500,000 bytes and their card."""
    folder = tmp_path / "weights"
    folder.mkdir()
    content = b"\x00\x01\x02\x03\x04" * 500_000
    (folder / "tiny.safetensors").write_bytes(content)
    (folder / "tiny.json").write_text(card(content))
    return folder


def packages(tmp_path: Path, installed: dict[str, str]) -> list[tuple[str, str]]:
    def version(name: str) -> str:
        if name not in installed:
            raise PackageNotFoundError(name)
        return installed[name]

    requirements = tmp_path / "requirements.txt"
    requirements.write_text(REQUIREMENTS)
    return [(check.name, check.status) for check in doctor.check_packages(requirements, version)]


def test_packages_as_pinned_pass(tmp_path: Path) -> None:
    found = packages(tmp_path, {"numpy": "2.4.6", "torch": "2.14.1+cpu", "streamlit": "1.67.0"})
    assert found == [("numpy", "PASS"), ("torch", "PASS"), ("streamlit", "PASS")]


def test_missing_package_fails_and_another_version_warns(tmp_path: Path) -> None:
    found = packages(tmp_path, {"numpy": "2.4.60", "torch": "2.14.1"})
    assert found == [("numpy", "WARN"), ("torch", "PASS"), ("streamlit", "FAIL")]


def test_absent_requirements_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.metadata, "requires", lambda name: None)
    assert [check.status for check in doctor.check_packages(tmp_path / "requirements.txt")] == ["WARN"]


def test_an_installed_package_names_its_own_pins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.metadata, "requires", lambda name: ["numpy==2.4.6", "torch==2.14.1"])
    found = doctor.check_packages(tmp_path / "requirements.txt", lambda name: "2.14.1")
    assert [(check.name, check.status) for check in found] == [("numpy", "WARN"), ("torch", "PASS")]


def test_the_pins_are_what_these_tests_run_on() -> None:
    checks = doctor.check_packages(doctor.ROOT / "requirements.txt")
    assert {"torch", "torchvision", "streamlit", "pillow"} <= {check.name for check in checks}
    assert [check for check in checks if check.status != "PASS"] == []


@pytest.mark.parametrize(
    ("version", "status"), [((3, 10, 14), "FAIL"), ((3, 11, 0), "PASS"), ((3, 12, 1), "WARN"), ((4, 0, 0), "WARN")]
)
def test_python(version: tuple[int, ...], status: str) -> None:
    assert doctor.check_python(version).status == status


def test_sound_weights_pass_with_their_size(weights: Path) -> None:
    (check,) = doctor.check_weights(weights)
    assert (check.name, check.status) == ("weights tiny", "PASS")
    assert check.detail.startswith("2.5 MB, sha256 ")


@pytest.mark.parametrize("position", [0, 1_250_000, 2_499_999])
def test_one_changed_bit_fails(weights: Path, position: int) -> None:
    file = weights / "tiny.safetensors"
    content = bytearray(file.read_bytes())
    content[position] ^= 1
    file.write_bytes(content)
    (check,) = doctor.check_weights(weights)
    assert check.status == "FAIL"
    assert check.detail == "tiny.safetensors (2.5 MB) is damaged or altered: its sha256 is not the card's."


def test_truncated_and_absent_weights_fail(weights: Path) -> None:
    file = weights / "tiny.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    assert doctor.check_weights(weights)[0].status == "FAIL"
    file.unlink()
    (check,) = doctor.check_weights(weights)
    assert (check.status, check.detail) == (
        "FAIL",
        "tiny.safetensors is missing beside its model card, or cannot be read.",
    )


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"name": "tiny"}', "\ufeff\x00"])
def test_unreadable_card_fails(weights: Path, text: str) -> None:
    (weights / "tiny.json").write_text(text)
    assert [check.status for check in doctor.check_weights(weights)] == ["FAIL"]


def test_card_against_the_schema_fails_though_the_sha256_agrees(weights: Path) -> None:
    content = (weights / "tiny.safetensors").read_bytes()
    (weights / "tiny.json").write_text(card(content, classes=["malignant"]))
    (check,) = doctor.check_weights(weights)
    assert check.status == "FAIL"
    assert "classes" in check.detail


def test_weights_without_a_card(weights: Path) -> None:
    (weights / "stray.safetensors").write_bytes(b"1")
    (weights / "tiny.samples.safetensors").write_bytes(b"1")  # of `dala adapt`
    assert [(c.name, c.status) for c in doctor.check_weights(weights)] == [
        ("weights tiny", "PASS"),
        ("weights stray", "WARN"),
    ]
    (weights / "tiny.json").unlink()
    assert [(c.name, c.status) for c in doctor.check_weights(weights)] == [("weights", "FAIL")]


def test_writable_folder_is_probed_without_making_it(tmp_path: Path) -> None:
    wanted = tmp_path / "a" / "b"
    assert doctor.check_writable("runs folder", wanted).status == "PASS"
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "a").write_text("a file where a folder should be")
    assert doctor.check_writable("runs folder", wanted).status == "WARN"


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 8.0),
        ({"cpu.max": "max 100000\n"}, 8.0),
        ({"cpu.max": "250000 100000\n"}, 2.5),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8.0),
        ({"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 0.5),
    ],
)
def test_cores_follow_the_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], cores: float
) -> None:
    monkeypatch.setattr(doctor.os, "cpu_count", lambda: 8)
    monkeypatch.setattr(doctor.os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert doctor.available_cores(tmp_path) == cores


@pytest.mark.parametrize(("cores", "status"), [(4.0, "PASS"), (3.0, "WARN"), (0.5, "WARN")])
def test_more_threads_than_cores_warn(monkeypatch: pytest.MonkeyPatch, cores: float, status: str) -> None:
    monkeypatch.setattr("torch.get_num_threads", lambda: 4)
    monkeypatch.setattr(doctor, "available_cores", lambda: cores)
    assert doctor.check_threads().status == status


@pytest.mark.slow
def test_the_engine_is_named_and_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = doctor.ROOT / "weights"
    monkeypatch.setenv("DALA_ENGINE", "openvino-f32")
    assert doctor.check_engine(weights) == Check("engine", "PASS", "openvino-f32, named by DALA_ENGINE")
    monkeypatch.setenv("DALA_ENGINE", "abacus")
    assert doctor.check_engine(weights).status == "FAIL"
    monkeypatch.setenv("DALA_ENGINE", "auto")
    best = doctor.check_engine(weights)
    assert best.status == "PASS" and best.detail.startswith("openvino-")
    monkeypatch.setitem(sys.modules, "openvino", None)
    without = doctor.check_engine(weights)
    assert without.status == "WARN"
    assert without.detail.startswith("torch, about half as fast as OpenVINO: OpenVINO is not installed")


def test_memory_is_the_smaller_of_machine_and_container(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    assert doctor.check_memory(meminfo, tmp_path).status == "PASS"  # a system without /proc
    meminfo.write_text("MemTotal:  9000000 kB\nMemAvailable:   4000000 kB\n")
    assert doctor.check_memory(meminfo, tmp_path) == Check("memory", "PASS", "4.1 GB free")
    (tmp_path / "memory.max").write_text("3000000000\n")
    (tmp_path / "memory.current").write_text("1500000000\n")
    assert doctor.check_memory(meminfo, tmp_path).detail.startswith("1.5 GB are free")
    assert doctor.check_memory(meminfo, tmp_path).status == "WARN"
    (tmp_path / "memory.max").write_text("max\n")
    assert doctor.check_memory(meminfo, tmp_path).detail == "4.1 GB free"


def test_chromium(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("DALA_CHROMIUM", raising=False)
    assert doctor.check_chromium().status == "WARN"
    for name in ("chromium", "chromium-headless-shell"):  # the second is preferred
        program = tmp_path / name
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
        assert doctor.check_chromium() == Check("Chromium", "PASS", str(program))
    monkeypatch.setenv("DALA_CHROMIUM", str(tmp_path / "other"))
    assert doctor.check_chromium().status == "WARN"


def test_table_is_aligned_and_only_a_failure_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    checks = [Check("Python", "PASS", "3.11.7"), Check("weights breakhis", "WARN", "late")]
    monkeypatch.setattr(doctor, "run_checks", lambda: checks)
    assert doctor.main() == 0
    assert capsys.readouterr().out == (
        "PASS  Python            3.11.7\nWARN  weights breakhis  late\n\n1 PASS, 1 WARN, 0 FAIL\n"
    )
    monkeypatch.setattr(doctor, "run_checks", lambda: [*checks, Check("numpy", "FAIL", "gone")])
    assert doctor.main() == 1
    assert capsys.readouterr().out.endswith("FAIL  numpy             gone\n\n1 PASS, 1 WARN, 1 FAIL\n")


def test_a_whole_installation(weights: Path) -> None:
    (weights.parent / "requirements.txt").write_text("pillow==0.0.1\n")
    found = {check.name: check.status for check in doctor.run_checks(weights.parent)}
    assert found["pillow"] == "WARN"
    assert found["weights tiny"] == "PASS"
    assert " ".join(found) == (
        "Python pillow weights tiny cache folder runs folder threads bfloat16 OpenSlide slides cases engine GPU "
        "memory Chromium"
    )


def test_it_runs_where_nothing_is_installed() -> None:
    """With the standard library alone: what needs a package fails, and nothing ends in a traceback."""
    code = (
        "import sys\n"
        "class Bare:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] not in sys.stdlib_module_names | {'dala'}:\n"
        "            raise ModuleNotFoundError(f'No module named {name}')\n"
        "sys.meta_path.insert(0, Bare())\n"
        "from dala.cli.main import main\n"
        "raise SystemExit(main(['doctor']))\n"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr) == (1, "")
    for line in ("WARN  weights breakhis ", "FAIL  threads ", "FAIL  engine "):
        assert line in done.stdout


@pytest.mark.parametrize(
    ("version", "status"), [("4.0.1", "PASS"), ("4.1.0-rc1", "PASS"), ("4.0.0", "WARN"), ("3.4.1", "WARN")]
)
def test_an_old_openslide_is_warned_of(version: str, status: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import openslide

    monkeypatch.setattr(openslide, "__library_version__", version)
    assert doctor.check_openslide().status == status


def test_a_folder_of_slides_that_is_not_there_is_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor.check_slides_folder(str(tmp_path)).status == "PASS"
    assert doctor.check_slides_folder("").status == "PASS"
    missing = doctor.check_slides_folder(str(tmp_path / "absent"))
    assert missing.status == "WARN" and "DALA_SLIDES" in missing.detail
    monkeypatch.setattr(doctor, "COMFORTABLE_ROOM", 10**18)
    assert "free here" in doctor.check_slides_folder(str(tmp_path)).detail
    assert doctor.check_slides_folder(str(tmp_path)).status == "WARN"


# Cases


def test_where_cases_are_kept_is_said_and_nothing_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor.check_cases() == Check("cases", "PASS", "switched off (DALA_DATABASE=off)")
    monkeypatch.delenv("DALA_DATABASE")
    monkeypatch.setenv("DALA_CASES_FOLDER", str(tmp_path / "kept"))
    monkeypatch.setenv("DALA_CASES_DAYS", "90")
    found = doctor.check_cases()
    assert found.status == "PASS" and not (tmp_path / "kept").exists()
    assert f"{tmp_path / 'kept' / 'cases.sqlite3'} will be made" in found.detail and "90 days" in found.detail
    monkeypatch.setenv("DALA_CASES_DAYS", "soon")
    assert doctor.check_cases().status == "WARN"


def test_a_database_of_cases_that_cannot_be_used_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dala.cases.database import HEAD
    from dala.cases.opening import open_store, settings

    monkeypatch.delenv("DALA_DATABASE")
    monkeypatch.setenv("DALA_CASES_FOLDER", str(tmp_path))
    wanted = settings()
    assert wanted is not None
    store = open_store(wanted)
    assert f"answers, schema {HEAD}" in doctor.check_cases().detail
    with store.database.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    assert doctor.check_cases().status == "WARN"
    store.database.close()
    (tmp_path / "cases.sqlite3").write_bytes(b"a letter and no database" * 1000)
    assert doctor.check_cases().status == "WARN"
    monkeypatch.setenv("DALA_DATABASE", "postgresql://dala:very-secret@127.0.0.1:1/dala")
    found = doctor.check_cases()
    assert found.status == "WARN" and "very-secret" not in found.detail
