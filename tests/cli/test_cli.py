"""The command line: a JSON line a file, exports that are complete or absent, sentences instead of tracebacks."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from dala import __version__, batch
from dala.cli.main import main
from dala.explanation.gradcam import Lattice, SignedMap
from dala.explanation.render import encode_png
from dala.explanation.threshold import threshold
from dala.phantoms.film import draw_film
from dala.phantoms.tissue import PHANTOMS, draw
from dala.runtime import predict as runtime
from dala.runtime.card import read_card
from tests.helpers.dicoms import film_dicom

pytestmark = pytest.mark.usefixtures("weights_stay_loaded")


@pytest.fixture(autouse=True)
def without_familiarity(monkeypatch: pytest.MonkeyPatch) -> None:
    """These images are drawn, and the gate knows drawings from tissue: without its statistics they pass."""
    monkeypatch.setattr(runtime, "load_familiarity", lambda *_: None)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "drawn.png"
    cv2.imwrite(str(path), draw(PHANTOMS[0]).pixels[:230, :350, ::-1])
    return path


@pytest.mark.slow
def test_the_engine_can_be_named(image: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shares = []
    for name in ("torch", "openvino-f32"):
        assert main(["predict", str(image), "--json", "--engine", name]) == 0
        record = json.loads(capsys.readouterr().out)
        assert record["engine"] == name
        shares.append(record["probabilities"]["malignant"])
    assert shares[0] == pytest.approx(shares[1], abs=1e-4)
    assert main(["explain", str(image), "--out", "nowhere", "--engine", "abacus"]) == 1
    assert capsys.readouterr().err.startswith("dala: There is no engine named 'abacus'; choose one of auto, ")


@pytest.mark.slow
def test_predict_in_order_with_refusals(image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = tmp_path / "text.png"
    text.write_text("no image")
    files = [str(text), str(image), str(tmp_path / "absent.png"), str(image)]
    assert main(["predict", *files, "--json"]) == 1
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [record["file"] for record in records] == files
    assert [record["status"] for record in records] == ["refused", "ok", "refused", "ok"]
    assert [list(record) for record in records] == [
        ["file", "sha256", "status", "reason", "gate", "pixel_size", "um_per_pixel", "verdict", "verdict_reason",
         "prediction", "probabilities", "calibrated", "set", "not_sure", "sets", "fields", "weights", "site",
         "engine", "ms"]
    ] * 4  # fmt: skip
    good = records[1]
    assert good["sha256"] == hashlib.sha256(image.read_bytes()).hexdigest()
    assert records[0]["sha256"] == hashlib.sha256(b"no image").hexdigest()
    assert records[2]["sha256"] is None
    assert good["reason"] is None
    assert sum(good["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert good["prediction"] == max(good["probabilities"], key=good["probabilities"].get)
    assert good["probabilities"] == records[3]["probabilities"]
    assert good["ms"] > 0
    assert not good["calibrated"]  # a drawing is of no laboratory that the model knows
    assert good["set"] == good["sets"]["0.10"]
    assert set(good["sets"]) == {"0.05", "0.10"}
    assert good["not_sure"] is (len(good["set"]) == 2)
    assert (records[0]["prediction"], records[0]["set"], records[0]["not_sure"]) == (None, None, None)
    assert records[0]["reason"].endswith(".")


@pytest.mark.slow
def test_a_image_outside_has_no_verdict_unless_asked_anyway(
    image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grey = tmp_path / "grey.png"
    cv2.imwrite(str(grey), cv2.imread(str(image), cv2.IMREAD_GRAYSCALE))
    sentence = "The image is grey: the model needs the pink and purple of an H&E patch."
    assert main(["predict", str(grey), str(image), "--json"]) == 1
    outside, inside = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (outside["status"], outside["reason"]) == ("outside", sentence)
    assert outside["gate"] == {"reason": "grey", "distance": None, "rarer": None, "laboratory": None}
    assert [outside[key] for key in ("prediction", "probabilities", "set", "not_sure", "sets")] == [None] * 4 + [{}]
    assert outside["ms"] > 0
    assert list(outside) == list(inside)
    assert inside["gate"] == {"reason": None, "distance": None, "rarer": None, "laboratory": None}
    assert main(["predict", str(grey)]) == 1
    assert capsys.readouterr().out == f"{grey}: outside the model's competence. {sentence}\n"
    assert main(["predict", str(grey), "--json", "--anyway"]) == 0
    anyway = json.loads(capsys.readouterr().out)
    assert (anyway["status"], anyway["reason"]) == ("outside", sentence)
    assert anyway["prediction"] in ("benign", "malignant")
    assert main(["predict", str(grey), "--anyway"]) == 0
    assert f"{sentence} Asked anyway: " in capsys.readouterr().out
    call = ["explain", str(grey), "--out", str(tmp_path / "out")]
    assert main(call) == 1
    assert f"is outside the model's competence. {sentence}" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main([*call, "--anyway"]) == 0
    assert json.loads((tmp_path / "out" / "explanation.json").read_text())["status"] == "outside"


@pytest.mark.slow
def test_predict_all_read_is_zero(image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(image)]) == 0
    card, path = read_card("breakhis")
    told = "leaning to benign (no probability holds for its laboratory; at 0.35 um per pixel, assumed)"
    assert told in capsys.readouterr().out
    assert main(["predict", str(image), "--weights", "breakhis"]) == 0
    assert "; calibrated)" in capsys.readouterr().out
    bare = {key: value for key, value in card.fields.items() if key != "calibration"}
    (tmp_path / "breakhis.json").write_text(json.dumps(bare))
    (tmp_path / path.name).symlink_to(path)
    assert main(["predict", str(image), "--weights", str(tmp_path / path.name)]) == 0
    assert "; not calibrated)" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize(("least", "said"), [(0.0, ": not sure, leaning to "), (0.5, ": ")])
def test_predict_says_not_sure(
    image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], least: float, said: str
) -> None:
    card, path = read_card("breakhis")
    calibration = {**card.fields["calibration"], "thresholds": {"0.10": dict.fromkeys(card.classes, least)}}
    (tmp_path / "breakhis.json").write_text(json.dumps({**card.fields, "calibration": calibration}))
    (tmp_path / path.name).symlink_to(path)
    call = ["predict", str(image), "--weights", str(tmp_path / path.name)]
    assert main(call) == 0
    line = capsys.readouterr().out
    assert main([*call, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert line.startswith(f"{image}{said}{record['prediction']} (")
    assert record["set"] == (["benign", "malignant"] if least == 0 else [record["prediction"]])
    assert record["not_sure"] is (least == 0)


@pytest.mark.slow
def test_predict_takes_folders_and_archives(image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, archive = tmp_path / "case", tmp_path / "more.zip"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "one.png").write_bytes(image.read_bytes())
    (folder / "two.png").write_text("no image")
    (folder / "notes.txt").write_text("not listed")
    with zipfile.ZipFile(archive, "w") as out:
        out.write(image, "inner/three.png")
    assert main(["predict", str(folder), str(archive), "--json"]) == 1
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(record["file"], record["status"]) for record in records] == [
        ("two.png", "refused"),
        ("deep/one.png", "ok"),
        (f"{archive}/inner/three.png", "ok"),
    ]
    assert main(["predict", str(archive)]) == 0
    assert capsys.readouterr().out.startswith(f"{archive}/inner/three.png: ")


@pytest.mark.slow
def test_predict_writes_a_table(image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, out = tmp_path / "text.png", tmp_path / "out.csv"
    text.write_text("no image")
    assert main(["predict", str(image), str(text), "--csv", str(out)]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "2/2" in printed.err
    with out.open(newline="") as file:
        good, refused = csv.DictReader(file)
    answer = "not sure" if good["not_sure"] == "true" else good["prediction"]
    assert f"2 images: 1 {answer}, 1 refused. Written to {out}." in printed.err
    assert (good["file"], good["status"], refused["file"], refused["status"]) == (
        str(image),
        "ok",
        str(text),
        "refused",
    )
    assert float(good["probability_benign"]) + float(good["probability_malignant"]) == pytest.approx(1, abs=1e-5)
    assert refused["prediction"] == ""
    assert main(["predict", str(image), "--csv", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sha256"] == good["sha256"]
    assert len(out.read_text().splitlines()) == 2
    assert [path.name for path in tmp_path.iterdir() if "partial" in path.name] == []


@pytest.mark.slow
def test_an_interrupted_table_stays_partial(
    image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    judge, left = batch._analyse, [None]

    def interrupted(*arguments: Any) -> batch.Result:
        if not left:
            raise KeyboardInterrupt
        left.pop()
        return judge(*arguments)

    monkeypatch.setattr(batch, "_analyse", interrupted)
    out = tmp_path / "out.csv"
    assert main(["predict", str(image), str(image), "--csv", str(out)]) == 130
    assert not out.exists()
    assert len((tmp_path / "out.csv.partial").read_text().splitlines()) == 2, "what was finished is kept"


@pytest.mark.slow
def test_explain_writes_what_it_says(image: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    call = ["explain", str(image), "--out", str(out), "--rule", "mean_std", "--k", "0.5", "--target", "malignant"]
    assert main(call) == 0
    assert sorted(path.name for path in out.iterdir()) == [
        "dt_overlay.png",
        "explanation.json",
        "map.npy",
        "overlay.png",
    ]
    record = json.loads((out / "explanation.json").read_text())
    values = np.load(out / "map.npy")
    assert values.dtype == np.float32
    assert values.shape == (record["map"]["height"], record["map"]["width"])
    assert (record["target"], record["rule"], record["parameter"]) == ("malignant", "mean_std", 0.5)
    # Anyone can recompute the threshold from the exported raw map.
    lattice = Lattice(*(tuple(record["map"]["lattice"][key]) for key in ("first", "pitch")))
    field = SignedMap(values, "malignant", lattice=lattice).upsampled(
        record["displayed"]["height"], record["displayed"]["width"]
    )
    again = threshold(field, "mean_std", 0.5)
    assert again.threshold == pytest.approx(record["threshold"])
    assert again.kept_area == pytest.approx(record["kept_area"])
    positive = field[field > 0].astype(np.float64)
    assert record["threshold"] == pytest.approx(positive.mean() + 0.5 * positive.std(), rel=1e-4)
    assert cv2.imread(str(out / "dt_overlay.png")).shape[:2] == (230, 350)
    assert "not for diagnosis" in record["notice"]
    opposite = tmp_path / "benign"
    assert main(["explain", str(image), "--out", str(opposite), "--target", "benign"]) == 0
    np.testing.assert_array_equal(np.load(opposite / "map.npy"), -values)


@pytest.mark.slow
def test_a_failed_export_has_no_manifest(image: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(["explain", str(image), "--out", str(out)]) == 0
    assert main(["explain", str(image), "--out", str(out), "--rule", "fixed", "--k", "7"]) == 1
    assert (out / "explanation.json").is_file()  # a refused rule touches nothing
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert main(["explain", str(image), "--out", str(blocked)]) == 1


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (["predict", "x.png", "--weights", "absent"], "There is no model card absent.json"),
        (["evaluate", "breakhis", "--data", "absent"], "does not exist"),
        (["validate", "breakhis", "--data", "absent"], "does not exist"),
        (["backbone", "--source", "absent.safetensors"], "There is no backbone file"),
        (["explain", "absent.png", "--out", "out"], "absent.png"),
    ],
)
def test_mistakes_are_sentences(
    call: list[str], sentence: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(call) == 1
    printed = capsys.readouterr()
    assert sentence in printed.err
    assert "Traceback" not in printed.err


@pytest.mark.slow
def test_unknown_rule_and_target(image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", str(image), "--out", str(tmp_path / "o"), "--rule", "magic"]) == 1
    assert "There is no rule named 'magic'" in capsys.readouterr().err
    assert main(["explain", str(image), "--out", str(tmp_path / "o"), "--target", "other"]) == 2
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(("option", "value"), [("--folds", "1"), ("--repeats", "0"), ("--repeats", "two")])
def test_a_number_that_makes_no_sense_is_a_wrong_call(
    option: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["crossvalidate", "breakhis", "--data", "absent", option, value])
    assert ended.value.code == 2
    assert f"a whole number of at least {2 if option == '--folds' else 1} is needed" in capsys.readouterr().err


def test_the_program_is_called_dala(capsys: pytest.CaptureFixture[str]) -> None:
    for option, said in (("--version", f"dala {__version__}\n"), ("--help", "usage: dala ")):
        with pytest.raises(SystemExit) as ended:
            main([option])
        assert ended.value.code == 0
        assert capsys.readouterr().out.startswith(said)
    with pytest.raises(SystemExit):
        main(["predict", "--help"])
    assert capsys.readouterr().out.startswith("usage: dala predict ")


@pytest.mark.slow
def test_the_module_runs() -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-m", "dala", "--help"], capture_output=True, text=True, env=environment, check=True
    )
    assert "crossvalidate" in done.stdout


@pytest.mark.slow
def test_evaluate_prints_one_object(shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On every sixth of the original images at hand: the keys, and the confession that these patients are known."""
    originals = sorted((shared_data / "breakhis_originals").rglob("*.png"))
    for path in originals[::6]:
        copy = tmp_path / path.relative_to(shared_data)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.symlink_to(path)
    assert main(["evaluate", "breakhis", "--data", str(tmp_path), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["pictures"] == len(originals[::6]) == 8
    assert "were in the weights' training data" in record["protocol"]
    assert record["auc"]["low"] <= record["auc"]["value"] <= record["auc"]["high"]


@pytest.mark.slow
def test_the_weights_follow_what_a_image_is(image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    film = tmp_path / "IM0001"
    film.write_bytes(film_dicom(draw_film().pixels[..., 0]))
    assert main(["predict", str(film), str(image), "--json"]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [record["weights"] for record in records] == ["mini_ddsm", "breast"]
    assert main(["predict", str(film), "--json", "--weights", "breakhis"]) == 1
    record = json.loads(capsys.readouterr().out)
    assert (record["weights"], record["gate"]["reason"]) == ("breakhis", "grey")
    out = tmp_path / "explained"
    assert main(["explain", str(film), "--out", str(out)]) == 0
    told = json.loads((out / "explanation.json").read_text())
    assert (told["weights"], told["magnification"]) == ("mini_ddsm", "whole film")
    assert told["map"]["box"] is not None
    table = tmp_path / "table.csv"
    assert main(["predict", str(film), str(image), "--csv", str(table)]) == 0
    with table.open() as file:
        assert [row["weights"] for row in csv.DictReader(file)] == ["mini_ddsm", "breast"]
    written = tmp_path / "report"
    assert main(["report", str(film), "--out", str(written)]) == 0
    (numbers,) = written.glob("*.json")
    report = json.loads(numbers.read_text())
    assert report["model"]["trained_on"] == read_card("mini_ddsm")[0].fields["training_data"]["name"]


def test_modality_writes_what_it_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "mini_ddsm"
    folder.mkdir()
    cv2.imwrite(str(folder / "film.png"), draw_film().pixels)
    out = tmp_path / "modality.json"
    assert main(["modality", "--data", str(tmp_path), "--out", str(out)]) == 0
    assert json.loads(out.read_text())["kinds"][0]["wrong"] == 0
    assert "0 of     1" in capsys.readouterr().out
    assert main(["modality", "--data", str(folder), "--out", str(out)]) == 1
    assert "holds none of the folders" in capsys.readouterr().err


@pytest.mark.slow
def test_names_that_are_no_text_or_would_play_with_the_terminal(tmp_path: Path) -> None:
    """Each file has its line, whatever the locale and whatever its name is made of, and those after it are read."""
    image = encode_png(draw("solid_sheets").pixels[:115, :175])
    names = [b"a-\xff\xfe.png", b"b-\x1b[31mred.png", "c-\u4e73\u817a.png".encode(), b"d.png"]
    for name in names:
        (tmp_path / os.fsdecode(name)).write_bytes(image)
    paths = [str(tmp_path / os.fsdecode(name)) for name in names]
    ran = subprocess.run(
        [sys.executable, "-m", "dala", "predict", *paths, str(tmp_path / os.fsdecode(b"gone-\xff.png"))],
        capture_output=True,
        env=os.environ | {"PYTHONIOENCODING": "ascii:strict"},
        cwd=Path(__file__).parents[2],
    )
    lines = ran.stdout.decode("ascii").splitlines()
    assert len(lines) == 5 and b"Traceback" not in ran.stderr
    assert [("benign" in line and "malignant" in line) or "outside" in line for line in lines[:4]] == [True] * 4
    assert "does not exist" in lines[4]
    assert b"\x1b" not in ran.stdout + ran.stderr
