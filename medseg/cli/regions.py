"""What `--regions` may be: a convention's name, pairs, or a file that declares labels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medseg.labels import Declared

_SUFFIXES = (".json", ".yaml", ".yml")


def read_regions(text: str) -> Declared:
    """The regions that a word on the command line names, checked.

    Args:
        text: A name such as `brats2021`; pairs such as `liver=1,tumour=2+3`; or the path of a `config.yaml`,
            `common.yaml`, `dataset.yaml` or `dataset.json`, whose `label_convention` or `labels` count.

    Raises:
        ConfigError: When it is none of these.
    """
    from medseg.bundle.documents import read_document
    from medseg.datasets.inventory import label_names
    from medseg.errors import ConfigError
    from medseg.labels import get_convention, parse_convention

    path = Path(text).expanduser()
    if path.suffix not in _SUFFIXES:
        declared = parse_convention(text)
    else:
        content = read_document(path).content
        names = label_names(content.get("labels")) or {}
        declared = content.get("label_convention") or {name: value for value, name in names.items() if value}
        if not declared:
            msg = f"--regions: {path} has neither label_convention nor labels. Name a convention, or NAME=VALUE,..."
            raise ConfigError(msg)
    get_convention(declared, where="--regions")
    return declared
