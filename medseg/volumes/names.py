"""What the name of a volume file says: its case, its modality, and whether it is a scan or a label map."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from medseg.volumes.files import volume_stem

# BraTS 2012-2021 (t1, t1c or t1ce, t2, flair), BraTS 2023+ (t1n, t1c, t2w, t2f), MSD Task01 (T1w, t1gd), BIDS (T1w),
# TCGA (fla), UPENN-GBM (T1GD), UCSF-PDGM (T1c). Compared in lower case and without separators: t1-gd and T1GD are one.
MODALITY_SPELLINGS: dict[str, tuple[str, ...]] = {
    "t1": ("t1", "t1n", "t1w", "t1pre", "t1native"),
    "t1c": ("t1c", "t1ce", "t1gd", "t1gad", "t1post", "t1wce", "t1wpost", "t1cw", "t1wc", "t1km", "t1contrast", "cet1"),
    "t2": ("t2", "t2w"),
    "flair": ("flair", "fla", "t2f", "t2flair", "flr"),
    "mr": ("mr", "mri"),
    "ct": ("ct",),
    "pet": ("pet", "pt"),
}
LABEL_WORDS = ("seg", "segm", "segmentation", "label", "labels", "mask", "gt", "groundtruth", "ot", "ref", "reference")
PREDICTION_WORDS = ("pred", "prediction", "predictions")
# Before a label word: what is mapped, and what makes the map second to one of the tumour (UCSF-PDGM, UPENN-GBM).
_TARGET_WORDS = ("tumor", "tumour", "lesion")
_SECOND_WORDS = ("brain", "parenchyma", "automated", "approx")
_IMAGE_WORDS = ("image", "img", "scan", "volume")
_IMAGE_FOLDERS = re.compile(r"^images", re.IGNORECASE)
_LABEL_FOLDERS = re.compile(r"^(labels.*|masks?|segmentations?|groundtruth|gt)$", re.IGNORECASE)

_BY_SPELLING = {spelling: name for name, spellings in MODALITY_SPELLINGS.items() for spelling in spellings}
_GENERIC = ("mr", "ct", "pet")
# A bundle for "mr" takes any of its sequences when a case has one image only.
_SEQUENCES = {"mr": ("t1", "t1c", "t2", "flair")}


@dataclass(frozen=True, kw_only=True)
class ScanName:
    """What a file name says.

    Attributes:
        case_id: The name without modality and label words; empty when nothing else is there, as in `t1.nii.gz`.
        kind: Whether it is an image, a label map, or a label map that a tool predicted.
        modality: Canonical modality, None when the name has none.
        exact: Whether nothing follows the word for the modality or label, so that it wins over `..._t1_bias`, and
            nothing before it makes it second, so that it wins over `..._brain_mask`.
        owner_id: The case id without a word for what is labelled, such as `tumor` in `c7_tumor_segmentation`.
    """

    case_id: str
    kind: Literal["image", "label", "prediction"]
    modality: str | None = None
    exact: bool = True
    owner_id: str = ""


@dataclass(frozen=True)
class _Word:
    text: str
    start: int
    end: int


def canonical_modality(name: str) -> str:
    """The canonical name of a modality; an unknown one comes back in lower case.

    >>> [canonical_modality(name) for name in ("T1Gd", "t2f", "FLAIR", "adc")]
    ['t1c', 'flair', 'flair', 'adc']
    """
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    return _BY_SPELLING.get(plain, plain)


def fits_modality(found: str | None, wanted: str) -> bool:
    """Whether the only image of a case can be the wanted modality.

    >>> fits_modality("t1", "mr"), fits_modality("t1", "flair"), fits_modality(None, "ct")
    (True, False, True)
    """
    if found is None or found == wanted:
        return True
    return found in _SEQUENCES.get(wanted, ()) or wanted in _SEQUENCES.get(found, ())


def modality_of(path: str | Path) -> str | None:
    """The modality that a file name ends in, None when it names none.

    >>> modality_of("BraTS-GLI-00000-000-t2f.nii.gz"), modality_of("VSD.Brain.XX.O.MR_T1c.54513.mha")
    ('flair', 't1c')
    """
    return parse_name(path).modality


def parse_name(path: str | Path) -> ScanName:
    """Case, kind and modality as the file's name has them.

    >>> name = parse_name("BraTS19_2013_10_1_t1ce.nii.gz")
    >>> name.case_id, name.kind, name.modality
    ('BraTS19_2013_10_1', 'image', 't1c')
    >>> parse_name("out/BraTS-GLI-00005-000_seg_pred.nii.gz").case_id
    'BraTS-GLI-00005-000'
    """
    stem, contrast = _without_contrast_entity(volume_stem(Path(path)))
    words = [_Word(match[0].lower(), match.start(), match.end()) for match in re.finditer(r"[^_\-. ]+", stem)]
    modality, modality_at = _last_modality(words)
    label_at = next((i for i in reversed(range(len(words))) if _is_label_word(words[i])), None)
    if label_at is not None and (modality_at is None or label_at >= modality_at[1]):
        return _label_name(stem, words, label_at, modality_at)
    if modality_at is None:
        drop = len(words) > 1 and words[-1].text in _IMAGE_WORDS
        return ScanName(case_id=stem[: words[-2].end] if drop else stem, kind="image")
    modality = "t1c" if contrast and modality == "t1" else modality
    case_id = _without(stem, words, modality_at)
    return ScanName(case_id=case_id, kind="image", modality=modality, exact=modality_at[1] == len(words))


def pick_label_maps(named: Sequence[tuple[ScanName, Path]]) -> list[Path]:
    """The label maps of one case that its label may be: those with exact names where there are any."""
    return [path for name, path in named if name.exact] or [path for name, path in named]


def in_label_folder(path: Path) -> bool:
    """Whether the file lies in a folder of label maps, such as `labelsTr`."""
    return _LABEL_FOLDERS.match(path.absolute().parent.name) is not None


def case_folder(path: Path) -> Path:
    """The absolute folder of the case's files, above `imagesTr`, `labelsTr` and the folder per file of BraTS 2015.

    >>> case_folder(Path("/d/HGG/pat1_1/VSD.Brain.XX.O.OT.9/VSD.Brain.XX.O.OT.9.mha")).name
    'pat1_1'
    """
    folder = path.absolute().parent
    if in_file_folder(path) or in_label_folder(path) or _IMAGE_FOLDERS.match(folder.name):
        return folder.parent
    return folder


def in_file_folder(path: Path) -> bool:
    """Whether the file has a folder of its own within the case's, as BraTS 2012-2015 is distributed."""
    return path.name.startswith("VSD.Brain") and path.absolute().parent.name.startswith("VSD.Brain")


def _is_label_word(word: _Word) -> bool:
    return word.text in LABEL_WORDS or word.text in PREDICTION_WORDS


def _label_name(stem: str, words: list[_Word], label_at: int, modality_at: tuple[int, int] | None) -> ScanName:
    first = label_at
    while first and _is_label_word(words[first - 1]):
        first -= 1
    about = first
    while about and words[about - 1].text in (*_TARGET_WORDS, *_SECOND_WORDS):
        about -= 1
    second = any(word.text in _SECOND_WORDS for word in words[about:first])
    predicted = any(word.text in PREDICTION_WORDS for word in words[first : label_at + 1])
    scan = [modality_at] if modality_at else []
    return ScanName(
        case_id=_without(stem, words, *scan, (about if scan else first, label_at + 1)),
        kind="prediction" if predicted else "label",
        exact=label_at == len(words) - 1 and not second,
        owner_id=_without(stem, words, *scan, (about, label_at + 1)),
    )


def _without_contrast_entity(stem: str) -> tuple[str, bool]:
    """BIDS says `_ce-gadolinium_T1w` for a T1 with contrast."""
    plain = re.sub(r"_ce-[A-Za-z0-9]+(?=_)", "", stem)
    return plain, plain != stem


def _last_modality(words: list[_Word]) -> tuple[str | None, tuple[int, int] | None]:
    """The last modality and the range of its words; `t1` and `gd` side by side are one.

    The words mr, ct and pet count only at the end: in `amos_ct_0001` they belong to the case.
    """
    tail = len(words)
    while tail and _is_label_word(words[tail - 1]):
        tail -= 1
    for i in reversed(range(len(words))):
        for first in (i - 1, i):
            joined = "".join(word.text for word in words[max(first, 0) : i + 1])
            name = _BY_SPELLING.get(joined) if first >= 0 else None
            if name and (name not in _GENERIC or i + 1 == tail or _is_label_word(words[i + 1])):
                return name, (first, i + 1)
    return None, None


def _without(stem: str, words: list[_Word], *ranges: tuple[int, int]) -> str:
    """The name before these ranges of words; with what follows each when that has digits, which tell cases apart."""
    ends = [first for first, _ in ranges[1:]] + [len(words)]
    before = stem[: words[ranges[0][0] - 1].end] if ranges[0][0] else ""
    after = [stem[words[a].start : words[b - 1].end] for (_, a), b in zip(ranges, ends, strict=True) if a < b]
    return "_".join(part for part in (before, *(rest for rest in after if re.search(r"\d", rest))) if part)
