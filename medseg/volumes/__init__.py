"""Reading and writing volumes, and where their voxels lie in the world (RAS millimetres)."""

from medseg.volumes.files import VOLUME_SUFFIXES, volume_stem, volume_suffix
from medseg.volumes.geometry import Affine, axis_codes, check_same_grid, spacing_from_affine, voxels_to_world
from medseg.volumes.volume import Volume, read_geometry, read_volume, write_label_map, write_volume

__all__ = [
    "VOLUME_SUFFIXES",
    "Affine",
    "Volume",
    "axis_codes",
    "check_same_grid",
    "read_geometry",
    "read_volume",
    "spacing_from_affine",
    "volume_stem",
    "volume_suffix",
    "voxels_to_world",
    "write_label_map",
    "write_volume",
]
