"""How the field spells the modalities of its files, and how a file name tells its case, its modality and its kind."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from medseg.volumes import volume_stem

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
# A bundle for "mr" takes any of its sequences when a case has one image only.
_SEQUENCES = {"mr": ("t1", "t1c", "t2", "flair")}
_LABEL_WORDS = ("seg", "segm", "segmentation", "label", "labels", "mask", "gt", "groundtruth", "ot")
_IMAGE_WORDS = ("image", "img", "scan", "volume")
_LABEL_FOLDERS = re.compile(r"^(labels.*|masks?|segmentations?|groundtruth|gt)$", re.IGNORECASE)

_BY_SPELLING = {spelling: name for name, spellings in MODALITY_SPELLINGS.items() for spelling in spellings}
_GENERIC = ("mr", "ct", "pet")
_VISITS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"^(brats-[a-z]+-\d{4,6})-\d{3}$",  # BraTS-GLI-00000-000 (2023+): the last number is the visit
        r"^(brats_(?:2013|tcia)_pat\d+)_\d+$",  # brats_tcia_pat105_0283 (2015)
        r"^(brats1[789]_[a-z0-9]+_[a-z0-9]+)_\d+$",  # BraTS19_TCIA01_131_1
        r"^(upenn-gbm-\d+)_\d+$",
        r"^(sub-[a-z0-9]+)_ses-[a-z0-9]+",  # BIDS
    )
)


@dataclass(frozen=True, kw_only=True)
class ScanName:
    """What a file name says.

    Attributes:
        case_id: The name without modality and label words; empty when nothing else is there, as in `t1.nii.gz`.
        kind: Whether it is an image or a label map.
        modality: Canonical modality, None when the name has none.
        exact: Whether nothing follows the word for the modality or label, so that it wins over `..._t1_bias`.
    """

    case_id: str
    kind: Literal["image", "label"]
    modality: str | None = None
    exact: bool = True


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

    >>> parse_name("BraTS19_2013_10_1_t1ce.nii.gz")
    ScanName(case_id='BraTS19_2013_10_1', kind='image', modality='t1c', exact=True)
    """
    path = Path(path)
    stem, contrast = _without_contrast_entity(volume_stem(path))
    words = [_Word(match[0].lower(), match.start(), match.end()) for match in re.finditer(r"[^_\-. ]+", stem)]
    modality, modality_at = _last_modality(words)
    label_at = next((i for i in reversed(range(len(words))) if words[i].text in _LABEL_WORDS), None)
    if label_at is not None and (modality_at is None or label_at >= modality_at[1]):
        first = modality_at[0] if modality_at else label_at
        case_id = _without(stem, words, first, label_at + 1)
        return ScanName(case_id=case_id, kind="label", exact=label_at == len(words) - 1)
    if modality_at is None:
        drop = len(words) > 1 and words[-1].text in _IMAGE_WORDS
        return ScanName(case_id=stem[: words[-2].end] if drop else stem, kind="image")
    modality = "t1c" if contrast and modality == "t1" else modality
    case_id = _without(stem, words, *modality_at)
    return ScanName(case_id=case_id, kind="image", modality=modality, exact=modality_at[1] == len(words))


def in_label_folder(path: Path) -> bool:
    """Whether the file lies in a folder of label maps, such as `labelsTr`."""
    return _LABEL_FOLDERS.match(path.parent.name) is not None


def patient_of(case_id: str) -> str:
    """The patient of a case, where the naming tells visits apart; else the case itself.

    >>> patient_of("BraTS-GLI-00005-001"), patient_of("hippocampus_001")
    ('BraTS-GLI-00005', 'hippocampus_001')
    """
    return next((match[1] for visit in _VISITS if (match := visit.match(case_id))), case_id)


def _without_contrast_entity(stem: str) -> tuple[str, bool]:
    """BIDS says `_ce-gadolinium_T1w` for a T1 with contrast."""
    plain = re.sub(r"_ce-[A-Za-z0-9]+(?=_)", "", stem)
    return plain, plain != stem


def _last_modality(words: list[_Word]) -> tuple[str | None, tuple[int, int] | None]:
    """The last modality and the range of its words; `t1` and `gd` side by side are one.

    The words mr, ct and pet count only at the end: in `amos_ct_0001` they belong to the case.
    """
    tail = len(words)
    while tail and words[tail - 1].text in _LABEL_WORDS:
        tail -= 1
    for i in reversed(range(len(words))):
        for first in (i - 1, i):
            joined = "".join(word.text for word in words[max(first, 0) : i + 1])
            name = _BY_SPELLING.get(joined) if first >= 0 else None
            if name and (name not in _GENERIC or i + 1 == tail or words[i + 1].text in _LABEL_WORDS):
                return name, (first, i + 1)
    return None, None


def _without(stem: str, words: list[_Word], first: int, after: int) -> str:
    """The name before these words; with what follows them when that has digits, which tell cases apart."""
    before = stem[: words[first - 1].end] if first else ""
    rest = stem[words[after].start :] if after < len(words) else ""
    if not re.search(r"\d", rest):
        return before
    return f"{before}_{rest}" if before else rest
