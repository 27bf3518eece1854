"""Where each data set comes from, under which terms, and how one sees that all of it is there.

The addresses were collected from the sets' own pages and from programs that use them; docs/data.md says which of them
have been tried.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from dala.data import bach, brca_m2c, mini_ddsm, tnbc, tree, ucsb
from dala.data.download import File
from dala.data.download_facts import Checked, check_breakhis, git_tree
from dala.data.pixels import Progress
from dala.errors import DataError
from dala.words import counted

TNBC_IMAGES, TNBC_PATIENTS, M2C_IMAGES = 50, 11, 120
M2C_COMMIT = "90e595410a9c5f0baa6b45aecf671bc87f576d1e"
M2C_TREES = {
    "images": "c067d597f15a059f3dc70018dab0b2ae7b263ceb",
    "labels": "3fb2dce83ad212f928e6225f4b76e6c4aacc6ef3",
}


@dataclass(frozen=True)
class Source:
    """A data set: what it holds, whose it is and under which terms, its page, and the archive where one is open.

    file: None where the archive can only be had by hand. size: bytes to fetch, unpacked: bytes that they become, both
    about. check: looks below a folder whether everything is there; DataError where nothing is.
    """

    title: str
    about: str
    cite: str
    terms: str
    page: str
    file: File | None
    size: float
    unpacked: float
    check: Callable[[Path, Progress | None], Checked]

    @property
    def at_most(self) -> int:
        """Bytes that the archive may unpack to."""
        return round(3 * self.unpacked)


def _counts(title: str, found: Mapping[str, int], official: Mapping[str, int]) -> Checked:
    lines = [
        f"{title}: {found.get(name, 0):,} of {count:,} {name} images are there." for name, count in official.items()
    ]
    return Checked(all(found.get(name, 0) == count for name, count in official.items()), tuple(lines))


def _check_breakhis(root: Path, progress: Progress | None) -> Checked:
    if not any(path.name == "histology_slides" for path in root.rglob("histology_slides")):
        raise DataError(f"There is no BreakHis tree in {root}.")
    return check_breakhis(root, progress)


def _check_bach(root: Path, progress: Progress | None) -> Checked:
    dataset = bach.load(root)
    found = Counter(dataset.classes[label] for label in dataset.labels)
    return _counts("BACH", found, dict.fromkeys(bach.CLASSES, bach.OFFICIAL_COUNT))


def _check_tnbc(root: Path, progress: Progress | None) -> Checked:
    dataset = tnbc.load(root)
    patients = len(set(dataset.groups))
    line = (
        f"{len(dataset.records)} of {TNBC_IMAGES} tiles of {patients} of {TNBC_PATIENTS} patients are there, each with "
        "the mask of its nuclei."
    )
    return Checked((len(dataset.records), patients) == (TNBC_IMAGES, TNBC_PATIENTS), (line, *dataset.notes))


def _check_ucsb(root: Path, progress: Progress | None) -> Checked:
    dataset = ucsb.load(root)
    found = Counter(dataset.classes[label] for label in dataset.labels)
    return _counts("UCSB", found, dict(zip(ucsb.CLASSES, ucsb.OFFICIAL_COUNTS, strict=True)))


def _check_brca_m2c(root: Path, progress: Progress | None) -> Checked:
    dataset = brca_m2c.load(root)
    differing = [name for name, tree_id in M2C_TREES.items() if _tree_of(dataset.root / name) != tree_id]
    count = sum(1 for path in (dataset.root / "images").iterdir() if path.suffix.lower() in tree.IMAGE_SUFFIXES)
    lines = [f"{count} of {M2C_IMAGES} tiles are there."]
    lines += [f"The folder {name} is not the published one." for name in differing]
    return Checked(not differing, tuple(lines))


def _check_mini_ddsm(root: Path, progress: Progress | None) -> Checked:
    """Films by the folder of their status, by name alone: outlines of lesions lie beside them."""
    found: Counter[str] = Counter()
    for path in tree.folder(root, "Mini-DDSM").rglob("*.jp*g"):
        with suppress(DataError):
            mini_ddsm.parse_name(path.name)
            found[path.parent.parent.name] += 1
    if not found:
        raise DataError(f"There is no Mini-DDSM tree in {root}.")
    return _counts("Mini-DDSM", found, mini_ddsm.OFFICIAL_COUNTS)


def _tree_of(folder: Path) -> str | None:
    return git_tree(folder) if folder.is_dir() else None


SOURCES: Mapping[str, Source] = MappingProxyType(
    {
        "breakhis": Source(
            title="BreakHis",
            about="7,909 H&E images of 82 patients at four magnifications, benign and malignant tumours of the breast",
            cite="Spanhol, Oliveira, Petitjean, Heutte, A Dataset for Breast Cancer Histopathological Image "
            "Classification, IEEE Transactions on Biomedical Engineering 63(7), 2016",
            terms="for research, cite the paper; the laboratory asks that its form is filled in",
            page="https://web.inf.ufpr.br/vri/databases/breast-cancer-histopathological-database-breakhis/",
            file=File(
                "http://www.inf.ufpr.br/vri/databases/BreaKHis_v1.tar.gz",
                "BreaKHis_v1.tar.gz",
                "https://web.inf.ufpr.br/vri/databases/breast-cancer-histopathological-database-breakhis/",
                at_most=8 << 30,
            ),
            size=4.3e9,
            unpacked=4.3e9,
            check=_check_breakhis,
        ),
        "bach": Source(
            title="BACH, part A and B",
            about="400 H&E images of 2048 x 1536 px: normal, benign, carcinoma in situ, invasive; and whole slides",
            cite="Aresta et al., BACH: Grand challenge on breast cancer histology images, Medical Image Analysis 56, "
            "2019",
            terms="CC BY-NC-ND 4.0: not for commercial use, and nothing changed may be passed on",
            page="https://zenodo.org/records/3632035",
            file=File(
                "https://zenodo.org/records/3632035/files/ICIAR2018_BACH_Challenge.zip",
                "ICIAR2018_BACH_Challenge.zip",
                "https://zenodo.org/records/3632035",
                digest=("md5", "8ae1801334aa943c44627c1eef3631b2"),
                at_most=24 << 30,
            ),
            size=10.4e9,
            unpacked=13e9,
            check=_check_bach,
        ),
        "tnbc": Source(
            title="TNBC nuclei",
            about="50 H&E tiles of 11 patients with triple-negative breast cancer, with masks of the nuclei",
            cite="Naylor, Lae, Reyal, Walter, Segmentation of nuclei in histopathology images by deep regression of "
            "the distance map, IEEE Transactions on Medical Imaging 38(2), 2019",
            terms="CC BY 4.0",
            page="https://zenodo.org/records/2579118",
            file=File(
                "https://zenodo.org/records/2579118/files/TNBC_NucleiSegmentation.zip",
                "TNBC_NucleiSegmentation.zip",
                "https://zenodo.org/records/2579118",
                size=25_232_361,
                digest=("md5", "1605712a752b201b57eacc8f866adb4f"),
            ),
            size=25.2e6,
            unpacked=40e6,
            check=_check_tnbc,
        ),
        "brca_m2c": Source(
            title="BRCA-M2C",
            about="120 H&E tiles of TCGA slides of several hospitals with a dot on every cell",
            cite="Abousamra et al., Multi-Class Cell Detection Using Spatial Context Representation, ICCV 2021",
            terms="BSD 3-Clause",
            page="https://github.com/TopoXLab/Dataset-BRCA-M2C",
            file=File(
                f"https://codeload.github.com/TopoXLab/Dataset-BRCA-M2C/zip/{M2C_COMMIT}",
                "Dataset-BRCA-M2C.zip",
                "https://github.com/TopoXLab/Dataset-BRCA-M2C",
                at_most=1 << 30,
            ),
            size=60e6,
            unpacked=65e6,
            check=_check_brca_m2c,
        ),
        "ucsb": Source(
            title="UCSB breast cancer cells",
            about="58 H&E images of tissue arrays, 32 benign and 26 malignant",
            cite="Gelasca, Obara, Fedorov, Kvilekval, Manjunath, A biosegmentation benchmark for evaluation of "
            "bioimage analysis methods, BMC Bioinformatics 10:368, 2009",
            terms="for research, cite the paper",
            page="https://bioimage.ucsb.edu/research/bio-segmentation",
            file=None,
            size=120e6,
            unpacked=140e6,
            check=_check_ucsb,
        ),
        "mini_ddsm": Source(
            title="Mini-DDSM",
            about="9,684 digitised mammograms of DDSM: normal, benign, cancer",
            cite="Lekamlage et al., Mini-DDSM: Mammography-based Automatic Age Estimation, DMIP 2020",
            terms="DDSM: for research",
            page="https://www.kaggle.com/datasets/cheddad/miniddsm2",
            file=None,
            size=45e9,
            unpacked=60e9,
            check=_check_mini_ddsm,
        ),
    }
)


def complete(source: Source, folder: Path, progress: Progress | None = None) -> Checked | None:
    """What is there of a data set, or None where nothing of it can be read."""
    try:
        return source.check(folder, progress)
    except DataError:
        return None


def by_hand(source: Source, command: str) -> str:
    """Where to get an archive that cannot be fetched by a program, in one sentence."""
    return (
        f"{source.title} has no open address that a program can fetch: get the archive at {source.page} (there may be "
        f"a log-in) and then run `{command} --archive FILE`, which unpacks and checks it."
    )


def told(source: Source) -> str:
    """A data set's terms for the person who is asked to accept them."""
    size = f"about {source.size / 1e9:.1f} GB" if source.size >= 1e9 else f"about {source.size / 1e6:.0f} MB"
    return (
        f"{source.title}: {source.about}.\nCite: {source.cite}.\nTerms: {source.terms}. See {source.page}.\n"
        f"Size: {size}."
    )


def summary(checked: Checked, title: str, files: int) -> list[str]:
    """The lines that close a download."""
    state = "complete" if checked.complete else "NOT complete"
    return [f"{title}: {counted(files, 'file')} unpacked; the set is {state}.", *checked.lines]
