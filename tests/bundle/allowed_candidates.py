"""The components that `medseg/bundle/allowed_components.txt` should list, read from the installed packages.

To renew the file after an update of a package, look at each new name first, then

    python tests/bundle/allowed_candidates.py > medseg/bundle/allowed_components.txt
"""

from __future__ import annotations

import ast
import fnmatch
import re
import sys

from medseg.bundle.sources import Definition, NotFoundError, _module, find_definition

# Every public class of these packages, but for those that EXCLUDED names.
PACKAGES = """
monai.transforms monai.networks.nets monai.networks.blocks monai.networks.layers monai.networks.schedulers monai.losses
monai.metrics monai.inferers monai.handlers monai.data monai.engines monai.optimizers
monai.apps.detection.transforms.dictionary
torch.nn torch.optim torch.optim.lr_scheduler torch.utils.data ignite.metrics ignite.handlers
"""
EXTRA = """
collections.OrderedDict
monai.apps.detection.metrics.coco.COCOMetric monai.apps.detection.metrics.matching.matching_batch
monai.apps.detection.networks.retinanet_detector.RetinaNetDetector
monai.apps.detection.networks.retinanet_network.RetinaNet
monai.apps.detection.networks.retinanet_network.resnet_fpn_feature_extractor
monai.apps.detection.utils.ATSS_matcher.ATSSMatcher
monai.apps.detection.utils.anchor_utils.AnchorGenerator
monai.apps.detection.utils.anchor_utils.AnchorGeneratorWithAnchorShape
monai.apps.detection.utils.box_coder.BoxCoder
monai.data.load_decathlon_datalist monai.data.partition_dataset monai.handlers.from_engine
monai.networks.nets.resnet10 monai.networks.nets.resnet101 monai.networks.nets.resnet152 monai.networks.nets.resnet18
monai.networks.nets.resnet200 monai.networks.nets.resnet34 monai.networks.nets.resnet50 monai.networks.nets.vista3d132
monai.optimizers.generate_param_groups monai.utils.set_determinism
"""
# Why a class is left out. Patterns of names without their package.
EXCLUDED = {
    "runs, fetches or compiles code, or looks up a function by its name": """
        CRF CuCIM* GaussianMixtureModel Hyena* LLTM MILModel PerceptualLoss RandCuCIM* RandTorch* TorchIO* TorchVision*
        TrtHandler FlexUNetEncoderRegister NetAdapter DFIterDataPipe *DataPipe functional_datapipe
        guaranteed_datapipes_determinism non_deterministic runtime_validation_disabled DataChunk""",
    "fetches weights from the network, or opens a connection": """
        Bert* ClearML* FID FBResearchLogger InceptionScore MLFlow* MLflow* MultiModal NeptuneLogger Pooler
        PolyaxonLogger Transchex VisdomLogger WandBLogger""",
    "reads tables, databases or slides by readers that were not looked at": """
        CSV*Dataset *WSI* GDSDataset LMDBDataset NPZDictItemDataset NumpyReader NvImgCodecPydicomReader""",
    "writes text of the config's choice to a file of its choice": """
        CSVSaver ClassificationSaver DiskSaver LogfileHandler SaveClassificationd WriteFileMapping*""",
}


def _excluded(name: str) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for text in EXCLUDED.values() for pattern in text.split())


def public_names(package: str) -> set[str]:
    """Names that the package's own file binds or takes over by a star."""
    module = _module(package)
    if module is None:
        return set()
    names = {n for n in module.bindings if not n.startswith("_")}
    for star in module.stars:
        names |= public_names(star)
    return names


def candidates() -> list[str]:
    """The qualified names, sorted."""
    found = set(EXTRA.split())
    for package in PACKAGES.split():
        for name in public_names(package):
            place = _place(f"{package}.{name}")
            if place is not None and not _excluded(name) and _is_component(place, package, name):
                found.add(f"{package}.{name}")
    return sorted(found)


def _place(name: str) -> Definition | None:
    try:
        return find_definition(name)
    except NotFoundError:
        return None


def _is_component(place: Definition, package: str, name: str) -> bool:
    """Whether the class is one that a config makes, under its own name: no enumeration, error or mere type."""
    if not isinstance(place.node, ast.ClassDef) or place.node.name != name or _excluded(place.node.name):
        return False
    if not place.module.name.startswith(package.split(".")[0]):
        return False
    bases = " ".join(ast.unparse(b) for b in place.node.bases)
    return not re.search(r"\b(Enum|StrEnum|NamedTuple|Protocol|Exception|TypedDict)\b", bases)


if __name__ == "__main__":
    sys.stdout.write("# Components that a config may name without --trust. What belongs here: allowed.py.\n")
    sys.stdout.write("# Made by tests/bundle/allowed_candidates.py, which says what is left out and why.\n")
    sys.stdout.write("\n".join(candidates()) + "\n")
