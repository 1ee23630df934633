"""medseg: 3D segmentation and detection in medical images, on MONAI bundles."""

__version__ = "0.1.0"
