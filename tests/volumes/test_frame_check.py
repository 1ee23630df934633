import numpy as np
import pytest

from medseg.volumes import read_volume
from medseg.volumes.boxes import points_lps_to_ras
from medseg.volumes.frame_check import FrameVotes, frame_votes, frame_warning

SHAPE = (70, 60, 30)


@pytest.fixture(scope="module")
def thorax():
    """A body with two lungs in air; 5 mm voxels, off the world's origin as scans are, and its affine."""
    x, y, _ = np.meshgrid(*map(np.arange, SHAPE), indexing="ij")
    hu = np.full(SHAPE, -1000, np.int16)
    hu[((x - 35) / 30) ** 2 + ((y - 30) / 24) ** 2 < 1] = 40
    for middle in (22, 48):
        hu[((x - middle) / 9) ** 2 + ((y - 30) / 15) ** 2 < 1] = -850
    affine = np.diag([-5.0, -5.0, 5.0, 1.0])
    affine[:3, 3] = (190.0, 320.0, -250.0)
    return hu, affine


def _world(affine, voxels):
    return np.array(voxels) @ affine[:3, :3].T + affine[:3, 3]


NODULES = [[22, 30, 10], [48, 36, 20], [20, 22, 15]]


def test_nodules_in_the_lungs_are_as_they_should_be(thorax):
    hu, affine = thorax
    votes = frame_votes(hu, affine, _world(affine, NODULES))
    assert (votes.points, votes.inside) == (3, 3)
    assert frame_warning(votes, where="case7") is None


def test_lps_taken_for_ras_is_told_in_one_line(thorax):
    hu, affine = thorax
    votes = frame_votes(hu, affine, points_lps_to_ras(_world(affine, NODULES)))
    assert (votes.points, votes.inside, votes.mirrored) == (3, 0, 3)
    message = frame_warning(votes, where="case7")
    assert message.startswith("case7: 0 of 3 nodule centres lie in the lungs, with x and y negated 3.")
    assert "\n" not in message


def test_nodules_that_fit_neither_way_are_no_confusion(thorax):
    hu, affine = thorax
    assert not frame_votes(hu, affine, _world(affine, [[35, 8, 10], [5, 5, 5]])).confused


def test_nothing_is_said_without_nodules_or_lungs(thorax):
    hu, affine = thorax
    assert frame_votes(hu, affine, []) == FrameVotes()
    assert frame_votes(np.full(SHAPE, 40, np.int16), affine, _world(affine, NODULES)) == FrameVotes()


def test_votes_of_scans_add_up():
    total = FrameVotes(points=2, inside=2, mirrored=0) + FrameVotes(points=1, inside=0, mirrored=1)
    assert total == FrameVotes(points=3, inside=2, mirrored=1)
    assert not total.confused


def test_on_a_real_chest_ct_the_tumour_lies_in_the_lungs_and_its_mirror_image_does_not(real_data):
    folder = real_data / "lung_ct"
    scan, label = read_volume(folder / "lung1_image.nrrd"), read_volume(folder / "lung1_label.nrrd")
    centre = np.argwhere(label.array > 0).mean(axis=0) @ scan.affine_ras_mm[:3, :3].T + scan.affine_ras_mm[:3, 3]
    assert frame_votes(scan.array, scan.affine_ras_mm, centre) == FrameVotes(points=1, inside=1, mirrored=0)
