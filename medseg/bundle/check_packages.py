"""Packages that a config takes parts from and metadata.json does not require."""

from __future__ import annotations

from collections.abc import Iterator

from medseg.bundle import ids
from medseg.bundle.compose import Composition
from medseg.bundle.documents import METADATA, Document
from medseg.bundle.findings import Finding

_FIELDS = ("required_packages_version", "optional_packages_version")
# What a target's first name is called where it is installed. MONAI and torch have fields of their own; ignite comes
# with every engine of MONAI.
_PACKAGES = {"medseg": "medseg", "torchvision": "torchvision", "skimage": "scikit-image"}


def required_packages(composition: Composition, metadata: Document) -> Iterator[Finding]:
    """Packages that a component comes from, and that nobody is told to install."""
    content = metadata.content
    listed = {str(name).lower() for field in _FIELDS for name in content.get(field) or ()}
    missing: dict[str, str] = {}
    for id_, value in ids.walk(composition.config):
        target = value["_target_"] if ids.is_component(value) else ""
        package = _PACKAGES.get(target.partition(".")[0]) if isinstance(target, str) else None
        if package is not None and package not in listed:
            missing.setdefault(package, f"{composition.where(id_).partition(': ')[0]} takes {target} from it")
    for package, reason in missing.items():
        where = metadata.where(_FIELDS[0], shown=METADATA)
        yield Finding(where, f"{package} is missing: {reason}. Add it, with the version that was tested.", "warning")
