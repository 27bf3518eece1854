"""Cases go out as a ZIP and come in again, equal, and what is no such ZIP is refused in a sentence."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dala.cases import archives, audit
from dala.cases.images import Images
from dala.cases.kept import KeptCase
from dala.cases.people import SERVER
from dala.cases.store import Store
from dala.errors import CaseError, NotFound, StoreError
from tests.helpers.archives import changed, zipped
from tests.helpers.cases import ANNA, BEN, case, image, opinion, sha256, sqlite_store


def unlike_rights(found: KeptCase) -> KeptCase:
    """A case without what an import changes: who owns it, and with whom it is shared."""
    return replace(found, owner=("", ""), shared=False, may_change=True)


@pytest.fixture
def exported(store: Store, tmp_path: Path) -> Path:
    """Two cases of a store, which a test may change."""
    return export_two(store, tmp_path / "out.zip")


@pytest.fixture(scope="module")
def archive(lasting: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same of a store that lasts: for tests that change nothing of either."""
    return export_two(lasting, tmp_path_factory.mktemp("archive") / "out.zip")


def export_two(store: Store, to: Path) -> Path:
    """Two cases of Anna's that share an image; one image of the second was not kept."""
    first = store.keep(ANNA, case(image("same"), image("a"), title="One \N{MICROSCOPE}", shared=True, agrees=False))
    second = store.keep(ANNA, case(image("same"), replace(image("b"), data=None), read_before={"call": "benign"}))
    store.keep(ANNA, case(title="stays here"))
    store.case(BEN, first)
    store.export(ANNA, [first, second], to)
    return to


@pytest.mark.slow
def test_an_export_comes_in_elsewhere_as_it_was(store: Store, exported: Path, tmp_path: Path) -> None:
    elsewhere = sqlite_store(tmp_path / "elsewhere")
    told = elsewhere.import_(BEN, exported)
    assert told.new == tuple(json.loads(zipfile.ZipFile(exported).read("manifest.json"))["cases"])
    assert told.known == () and told.renamed == 0 and elsewhere.search(BEN).total == 2
    for identity in told.new:
        here, there = store.case(ANNA, identity), elsewhere.case(BEN, identity)
        assert unlike_rights(there) == unlike_rights(here)
        assert (there.owner, there.reader, there.shared) == ((BEN.id, BEN.name), (ANNA.id, ANNA.name), False)
        for one in here.images:
            assert elsewhere.image(BEN, identity, one.number) == store.image(ANNA, identity, one.number)
    with elsewhere.database.read(SERVER) as session:
        assert [entry.what for entry in audit.entries(session)][:2] == ["imported", "imported"]
    assert elsewhere.import_(BEN, exported).known == told.new and elsewhere.search(BEN).total == 2


def test_an_export_holds_the_images_once_and_the_log_of_its_cases(store: Store, exported: Path) -> None:
    archive = zipfile.ZipFile(exported)
    images = {name for name in archive.namelist() if name.startswith("images/")}
    assert images == {f"images/{sha256(f'bytes of {name}'.encode())}" for name in ("same", "a")}
    log = json.loads(archive.read("log.json"))
    assert [(entry["who"], entry["what"]) for entry in log] == [
        (ANNA.id, "kept"), (ANNA.id, "kept"), (BEN.id, "seen"), (ANNA.id, "exported"), (ANNA.id, "exported")
    ]  # fmt: skip
    with store.database.read(SERVER) as session:
        assert json.loads(archive.read("manifest.json"))["log_head"] == str(audit.head_of(session))


def test_an_id_of_somebody_else_is_not_given_away(store: Store, exported: Path) -> None:
    told = store.import_(BEN, exported)
    first, second = json.loads(zipfile.ZipFile(exported).read("manifest.json"))["cases"]
    assert told.known == (first,)  # shared with Ben
    assert told.renamed == 1 and len(told.new) == 1 and told.new[0] != second
    assert store.case(BEN, told.new[0]).images == store.case(ANNA, second).images
    with pytest.raises(NotFound):
        store.case(BEN, second)


def test_a_case_whose_bytes_are_gone_is_not_exported(store: Store, tmp_path: Path) -> None:
    identity = store.keep(ANNA, case())
    store.images.remove(sha256(b"bytes of field.png"))
    with pytest.raises(StoreError, match="missing"):
        store.export(ANNA, [identity], tmp_path / "out.zip")
    assert not (tmp_path / "out.zip").exists()


def alter(what: str) -> Callable[[dict[str, Any]], None]:
    def act(record: dict[str, Any]) -> None:
        exec(what, {"record": record})

    return act


@pytest.mark.parametrize(
    "what",
    [
        "record.pop('images')",
        "record['images'] = 3",
        "record['images'][0]['opinion'] = None",
        "record['images'][0]['opinion'].pop('weights_sha256')",
        "record['images'][0]['sha256'] = '../../etc/passwd'",
        "record['images'][0]['sha256'] = '0' * 64",
        "record['images'][0]['thumbnail'] = 'no base64!'",
        "record['images'][0]['name'] = 'a\\0b'",
        "record['title'] = 'x' * 201",
        "record['reader'] = 'Anna'",
        "record['reader'] = ['a', 'b\\0']",
        "record['created'] = 'yesterday'",
        "record['created'] = '2026-01-01T00:00:00'",
        "record['read_before'] = {'call': 'x'}",
        "record['shared'] = 'no'",
    ],
)
def test_an_altered_export_is_refused_whole(archive: Path, empty: Store, what: str) -> None:
    names = [name for name in zipfile.ZipFile(archive).namelist() if name.startswith("cases/")]
    altered = changed(archive, names[1], alter(what))
    with pytest.raises(CaseError):
        empty.import_(BEN, io.BytesIO(altered))
    assert empty.search(BEN).total == 0 and list(empty.images.names()) == []


@pytest.mark.parametrize("kind", ["empty", "text", "zip", "half", "absent", "folder", "bytes"])
def test_what_is_no_export_is_refused(lasting: Store, archive: Path, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "given"
    content = archive.read_bytes()
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_bytes(b"a letter" * 100)
    elif kind == "zip":
        with zipfile.ZipFile(path, "w") as other:
            other.writestr("manifest.json", json.dumps({"kind": "backup", "format": 1}))
    elif kind == "half":
        path.write_bytes(content[: len(content) // 2])
    elif kind == "folder":
        path.mkdir()
    elif kind == "bytes":
        at = content.index(b"bytes of a")
        path.write_bytes(content[:at] + b"other" + content[at + 5 :])
    with pytest.raises(CaseError):
        lasting.import_(BEN, path)
    assert lasting.search(BEN).total == 1  # the one that is shared


def test_the_opinion_of_an_import_is_the_one_that_was_given(archive: Path, tmp_path: Path) -> None:
    elsewhere = sqlite_store(tmp_path / "elsewhere")
    identity = elsewhere.import_(BEN, archive).new[0]
    assert elsewhere.case(BEN, identity).images[0].opinion == opinion()


def test_an_import_that_breaks_off_says_how_far_it_came_and_goes_on(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = sqlite_store(tmp_path / "elsewhere")
    put, count = Images.put, iter(range(99))

    def full(self: Images, data: bytes, sha256: str | None = None) -> str:
        if sha256 is None and next(count) == 2:  # the second image of the first case was the last that fitted
            raise OSError(28, "No space left on device")
        return put(self, data, sha256)

    with monkeypatch.context() as patch:
        patch.setattr(Images, "put", full)
        with pytest.raises(StoreError, match="1 case of this archive was imported before; import it again to go on"):
            elsewhere.import_(BEN, archive)
    assert elsewhere.search(BEN).total == 1
    came = elsewhere.import_(BEN, archive)
    assert (len(came.new), len(came.known)) == (1, 1) and elsewhere.search(BEN).total == 2


def test_an_export_without_an_image_names_the_case_and_is_not_logged(store: Store, tmp_path: Path) -> None:
    identity = store.keep(ANNA, case(image("a"), image("b"), title="Two ducts"))
    store.images.path(sha256(b"bytes of b")).write_bytes(b"altered")
    target = tmp_path / "export.zip"
    with pytest.raises(StoreError, match='image 2 of the case "Two ducts"'):
        store.export(ANNA, [identity], target)
    assert not target.exists()
    with store.database.read(SERVER) as session:
        assert [entry.what for entry in audit.entries(session)] == ["kept"]


@pytest.mark.parametrize("name", ["manifest.json", "case"])
def test_small_values_do_not_fill_the_memory(tmp_path: Path, name: str) -> None:
    """A ZIP of 20 kB whose JSON would be more than 600 MB of empty objects."""
    with zipfile.ZipFile(export_two(sqlite_store(tmp_path / "here"), tmp_path / "out.zip")) as archive:
        entries = {one: archive.read(one) for one in archive.namelist()}
    member = name if name in entries else next(one for one in entries if one.startswith("cases/"))
    entries[member] = b"[" + b"{}," * 5_000_000 + b"{}]"
    elsewhere = sqlite_store(tmp_path / "elsewhere")
    with pytest.raises(CaseError, match="more values than any"):
        elsewhere.import_(BEN, io.BytesIO(zipped(entries)))


def test_a_directory_of_too_many_members_is_not_read(tmp_path: Path) -> None:
    elsewhere = sqlite_store(tmp_path / "elsewhere")
    with pytest.raises(CaseError, match="more members than any"):
        elsewhere.import_(BEN, io.BytesIO((archives.MEMBER + b"\0" * 42) * (archives.MOST_MEMBERS + 1)))
