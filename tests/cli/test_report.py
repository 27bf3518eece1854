"""The command `dala report`: what the page offers, one sentence where there is nothing to report."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from dala.cli.main import main
from dala.explanation.render import encode_png
from dala.export import bundle as reports
from dala.export.report import OWN_READS, Remarks, read_report
from dala.opinion import explain, second_opinion
from dala.phantoms.tissue import draw
from dala.runtime import predict as runtime
from tests.helpers.reports import DAY, NAME, curve_of, page_text

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("weights_stay_loaded")]


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A drawn image; the gate knows drawings from tissue, and lets it pass without its statistics."""
    monkeypatch.setattr(runtime, "load_familiarity", lambda *_: None)
    path = tmp_path / f"{NAME}.png"
    path.write_bytes(encode_png(draw("nest_beside_ducts").pixels[:230, :350]))
    return path


def test_the_command_writes_what_the_page_does(image: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    call = ["report", str(image), "--out", str(out), "--date", "2026-03-14", "--target", "malignant", "--k", "0.5"]
    assert main([*call, "--comment", "Kerne", "--own-read", "not sure", "--no-agree"]) == 0
    found = second_opinion(image, runtime.load_model())
    explained = explain(found, "malignant", "mean_std", 0.5)
    wanted = dict(reports.files(found, explained, Remarks("Kerne", "not sure", False), DAY))
    assert {path.name: path.read_bytes() for path in out.iterdir()} == wanted
    assert all(name.startswith(f"{found.patch.sha256[:12]}-malignant") for name in wanted)
    assert list(wanted)[-1].endswith(".json")  # the mark of a complete report
    assert main([*call, "--with-name"]) == 0
    assert read_report((out / f"{NAME}-malignant.json").read_text()).content["opinion"]["file"] == image.name


def test_the_command_measures_the_effect_when_asked(
    image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dala import inquiry

    monkeypatch.setattr(inquiry, "effect", lambda _, target, *__: curve_of(target))
    assert main(["report", str(image), "--out", str(tmp_path / "out"), "--effect", "glass"]) == 0
    (path,) = (tmp_path / "out").glob("*.json")
    assert read_report(path.read_text()).content["effect"]["baseline"] == "glass"


def test_the_command_refuses_in_one_sentence(image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    grey = tmp_path / "grey.png"
    cv2.imwrite(str(grey), cv2.imread(str(image), cv2.IMREAD_GRAYSCALE))
    assert main(["report", str(grey), "--out", str(out)]) == 1
    assert "outside the model's competence. The image is grey" in capsys.readouterr().err
    assert main(["report", str(image), "--out", str(out), "--comment", "x" * 1001]) == 1
    assert capsys.readouterr().err == "dala: The comment may hold at most 1000 characters, not 1001.\n"
    assert not list(out.glob("*"))
    assert main(["report", str(grey), "--out", str(out), "--anyway"]) == 0
    (path,) = out.glob("*.pdf")
    assert "Outside the model's competence" in page_text(path.read_bytes())
    for call in (["--own-read", "perhaps"], ["--date", "yesterday"]):
        with pytest.raises(SystemExit):
            main(["report", str(image), "--out", str(out), *call])


def test_the_command_offers_every_own_read(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["report", "--help"])
    assert "{" + ",".join(OWN_READS) + "}" in capsys.readouterr().out
