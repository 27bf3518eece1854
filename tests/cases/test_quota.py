"""How much one person may keep: cases and bytes, in cases, decks and archives, on both databases."""

from __future__ import annotations

import hashlib
import io
import threading
from pathlib import Path

import pytest

from dala.cases.deck_records import NewItem
from dala.cases.decks import Decks
from dala.cases.opening import Settings, settings
from dala.cases.people import LOCAL
from dala.cases.quota import Quota
from dala.cases.store import Store
from dala.errors import CaseError, StoreError
from tests.cases.conftest import Open
from tests.helpers.cases import ANNA, BEN, CHIEF, TEACHER, case, image, sqlite_store

NO_LIMIT = Quota(None, None)
MB = 10**6


def of_bytes(name: str, size: int) -> bytes:
    """So many bytes, others for each name."""
    return (hashlib.sha256(name.encode()).digest() * (size // 32 + 1))[:size]


def test_so_many_cases_for_each_person(store: Store) -> None:
    store.quota = Quota(2, None)
    first, second = (store.keep(ANNA, case(image(f"{number}.png"))) for number in range(2))
    with pytest.raises(CaseError) as said:
        store.keep(ANNA, case(image("more.png")))
    assert str(said.value) == (
        "One person may keep at most 2 cases on this server (DALA_CASES_MOST), and this would be more; nothing was "
        "kept."
    )
    assert {row.id for row in store.search(ANNA).rows} == {first, second}
    more = hashlib.sha256(b"bytes of more.png").hexdigest()
    assert not store.images.path(more).exists(), "its bytes are gone again"
    store.keep(BEN, case(image("more.png")))
    # Another image of a case is no other case; and who deletes one may keep one.
    store.add(ANNA, first, image("another.png"))
    store.delete(ANNA, second)
    store.keep(ANNA, case(image("more.png")))


@pytest.mark.slow
def test_so_many_bytes_for_each_person_each_image_once(store: Store) -> None:
    store.quota = Quota(None, 0.001)  # 1 MB
    half = image("half.png", of_bytes("half", MB // 2))
    kept = [store.keep(ANNA, case(half)) for _ in range(3)]
    store.keep(ANNA, case(image("other half.png", of_bytes("other", MB // 2))))
    for attempt in (lambda: store.keep(ANNA, case(image("one byte", b"1"))), lambda: store.add(ANNA, kept[0], image())):
        with pytest.raises(CaseError, match=r"at most 0.001 GB of images .* in cases and decks .DALA_CASES_GB., and"):
            attempt()
    assert store.case(ANNA, kept[0]).images[0].sha256 and len(store.case(ANNA, kept[0]).images) == 1
    # An administrator who adds an image fills the owner's space, not an own one.
    with pytest.raises(CaseError, match="nothing was kept"):
        store.add(CHIEF, kept[0], image("of the chief.png"))
    store.keep(CHIEF, case(image("of the chief.png", of_bytes("chief", MB))))
    store.keeps_images = False
    store.keep(ANNA, case(image("only the opinion.png")))
    store.keeps_images = True
    for one in kept:
        store.delete(ANNA, one)
    store.keep(ANNA, case(image("fits now.png", of_bytes("fits", MB // 2))))


@pytest.mark.slow
def test_a_deck_counts_for_its_teacher(store: Store) -> None:
    store.quota = Quota(None, 0.001)
    decks = Decks(store)
    items = [NewItem(of_bytes(f"{number}", MB // 2), f"{number}", "benign") for number in range(3)]
    made = decks.make(TEACHER, "Two", 1, items[:2])
    with pytest.raises(CaseError, match=r"0\.0015 GB; nothing"):
        decks.make(TEACHER, "Three", 1, items)
    assert [one.title for one in decks.own(TEACHER)] == ["Two"]
    with pytest.raises(CaseError, match="nothing was kept"):
        store.keep(TEACHER, case(image("more.png")))
    decks.delete(TEACHER, made.id)
    store.keep(TEACHER, case(image("more.png")))


@pytest.mark.slow
def test_an_archive_is_kept_whole_or_not_at_all(store: Store, tmp_path: Path) -> None:
    other = sqlite_store(tmp_path / "other")
    ids = [other.keep(ANNA, case(image(f"{number}.png", of_bytes(f"{number}", MB // 2)))) for number in range(3)]
    archive = io.BytesIO()
    other.export(ANNA, ids, archive)
    for quota, words in ((Quota(2, None), "at most 2 cases"), (Quota(None, 0.001), "would be 0.0015 GB")):
        store.quota = quota
        with pytest.raises(CaseError, match=f"{words}.*; nothing was imported"):
            store.import_(ANNA, archive)
        assert store.search(ANNA).total == 0 and not list(store.images.names())
    # What is there already is no more than it was.
    store.quota = NO_LIMIT
    assert len(store.import_(ANNA, archive).new) == 3
    store.quota = Quota(3, 0.0015)
    assert store.import_(ANNA, archive).known == tuple(ids)
    # The same images count once, for a person each.
    assert len(store.import_(BEN, archive).new) == 3
    other.database.close()


def test_two_at_the_same_time_do_not_both_fit(opened: Open) -> None:
    stores = [opened() for _ in range(4)]
    outcomes: list[str] = []
    ready = threading.Barrier(len(stores))

    def keep(store: Store, name: str) -> None:
        store.quota = Quota(2, None)
        ready.wait()
        try:
            store.keep(ANNA, case(image(name)))
            outcomes.append("kept")
        except CaseError:
            outcomes.append("refused")

    threads = [threading.Thread(target=keep, args=(one, f"{n}.png")) for n, one in enumerate(stores)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["kept", "kept", "refused", "refused"]
    assert stores[0].search(ANNA).total == 2


def test_which_decks_keep_copies_of_a_case_is_told_before_it_is_deleted(store: Store) -> None:
    decks = Decks(store)
    kept, other = store.keep(TEACHER, case(image("a.png"), shared=True)), store.keep(TEACHER, case(image("b.png")))
    assert decks.holding(TEACHER, kept) == (0, ())
    items = [NewItem(b"copy of a", "a", "benign", case_id=kept, image=1), NewItem(b"of b", "b", None, case_id=other)]
    first = decks.make(TEACHER, "Own", 1, items)
    decks.make(CHIEF, "The chief's", 1, [*items[:1], NewItem(b"again", "a", None, case_id=kept, image=1)])
    assert decks.holding(TEACHER, kept) == (2, ("Own",)), "each once; of others no title"
    assert decks.holding(CHIEF, kept) == (2, ("Own", "The chief's"))
    assert decks.holding(LOCAL, kept) == (2, ()), "who may be anybody"
    store.delete(TEACHER, kept)
    assert decks.image(TEACHER, first.id, 1) == b"copy of a"
    decks.delete(TEACHER, first.id)


def test_the_limits_of_a_server() -> None:
    told = settings({"DALA_CASES_FOLDER": "/f"})
    assert told is not None and told.quota == Quota(20_000, 20.0) and told.import_mb == 256
    told = settings(
        {"DALA_CASES_FOLDER": "/f", "DALA_CASES_MOST": "7", "DALA_CASES_GB": "3", "DALA_CASES_IMPORT_MB": "9"}
    )
    assert told == Settings("sqlite+pysqlite:////f/cases.sqlite3", Path("/f/images"), True, None, Quota(7, 3), 9)
    for name, words in (("MOST", "cases"), ("GB", "GB"), ("IMPORT_MB", "MB")):
        for wrong in ("0", "-1", "many", "1.5", "9" * 30):
            with pytest.raises(StoreError, match=f"DALA_CASES_{name} is a whole number of {words} of at least 1"):
                settings({"DALA_CASES_FOLDER": "/f", f"DALA_CASES_{name}": wrong})
