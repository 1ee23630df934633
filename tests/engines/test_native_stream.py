import numpy as np
import pytest
import torch
from ignite.engine import Events
from monai.data import DataLoader, Dataset, MetaTensor
from monai.inferers import SlidingWindowInferer
from monai.transforms import Activationsd, AsDiscreted, Compose, Invertd, Orientationd
from scipy import ndimage
from torch import nn

from medseg.engines import NativeStream, SupervisedEvaluator
from medseg.inference import SlidingWindow
from medseg.transforms import CropForegroundd, NormalizeIntensityd, SettleRegionsd, Spacingd

AFFINE = np.array([[0, 0, 2.0, 5], [-0.8, 0, 0, 7], [0, 0.9, 0, -3], [0, 0, 0, 1]])


def scan(seed=0):
    noise = np.random.default_rng(seed).standard_normal((2, 26, 24, 18))
    voxels = np.stack([ndimage.gaussian_filter(part, 1.5) * 8 for part in noise]).astype(np.float32)
    voxels[:, :5] = voxels[:, :, :, -3:] = 0
    meta = {"original_affine": AFFINE.copy(), "filename_or_obj": "scan.nii"}
    return {"image": MetaTensor(voxels, affine=torch.tensor(AFFINE), meta=meta), "case_id": "scan"}


def preprocessing_to(spacing_mm):
    return Compose(
        [
            Orientationd("image", axcodes="RAS", labels=None),
            Spacingd("image", pixdim=(spacing_mm,) * 3),
            CropForegroundd("image", source_key="image", select_fn=lambda voxels: voxels != 0, allow_smaller=True),
            NormalizeIntensityd("image", channel_wise=True),
        ]
    )


PREPROCESSING = preprocessing_to(1.5)


def postprocessing_of(decision, *, preprocessing=PREPROCESSING, **activation):
    invert = Invertd("pred", preprocessing, orig_keys="image", nearest_interp=False, to_tensor=True)
    return Compose([Activationsd("pred", **activation), invert, AsDiscreted("pred", **decision)])


def predicted(postprocessing, *, stream, inferer=None, cases=1, amp=False):
    torch.manual_seed(0)
    network = nn.Conv3d(2, 4, 3, padding=1)
    inferer = inferer or SlidingWindow((12, 12, 12), sw_batch_size=2)
    streamed = NativeStream(inferer, postprocessing, enabled=stream)
    found, preprocessing = [], next(t for t in postprocessing.transforms if isinstance(t, Invertd)).transform
    evaluator = SupervisedEvaluator(
        device="cpu",
        val_data_loader=DataLoader(Dataset([scan(seed) for seed in range(cases)], preprocessing), batch_size=1),
        network=network,
        inferer=inferer,
        postprocessing=postprocessing,
        stream=streamed,
        channels_last=True,
        amp=amp,
    )
    evaluator.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: found.append(engine.state.output[0]["pred"]))
    evaluator.run()
    return found, streamed


@pytest.mark.parametrize(
    ("decision", "activation"), [({"threshold": 0.5}, {"sigmoid": True}), ({"argmax": True}, {"softmax": True})]
)
def test_the_stream_gives_what_the_steps_give(decision, activation):
    postprocessing = postprocessing_of(decision, **activation)
    stepwise, none = predicted(postprocessing, stream=False, cases=2)
    streamed, some = predicted(postprocessing, stream=True, cases=2)
    assert (len(none.notes), len(some.notes)) == (0, 2)
    for got, want in zip(streamed, stepwise, strict=True):
        assert got.shape == want.shape
        assert (got.as_tensor() != want.as_tensor()).float().mean() < 1e-4  # one voxel of the scan
        torch.testing.assert_close(got.affine, want.affine, atol=1e-9, rtol=0)


@pytest.mark.parametrize("roi", [(8, 8, 8), (32, 32, 32)])
@pytest.mark.parametrize("amp", [False, True])
def test_the_same_where_windows_are_larger_than_the_cropped_scan(roi, amp):
    postprocessing = postprocessing_of({"threshold": 0.5}, preprocessing=preprocessing_to(4.0), sigmoid=True)
    streamed, stepwise = (
        predicted(postprocessing, stream=stream, inferer=SlidingWindow(roi), amp=amp)[0][0] for stream in (True, False)
    )
    assert streamed.float().mean() > 0.1
    assert (streamed.as_tensor() != stepwise.as_tensor()).float().mean() < 1e-4


EXCLUSIVE = {"a": 1, "b": 2, "c": 3, "d": 4}


def settled_of(convention, *, preprocessing=PREPROCESSING):
    steps = postprocessing_of({"threshold": 0.5}, preprocessing=preprocessing, sigmoid=True).transforms
    return Compose([*steps[:2], SettleRegionsd("pred", convention, threshold=0.4)])


@pytest.mark.parametrize("convention", [EXCLUSIVE, {"a": [1, 2, 3], "b": [2, 3], "c": [3], "d": [4]}])
@pytest.mark.parametrize("roi", [(12, 12, 12), (32, 32, 32)])
def test_regions_are_settled_in_the_stream_too(convention, roi):
    inferer = SlidingWindow(roi)
    stepwise, _ = predicted(settled_of(convention), stream=False, inferer=inferer)
    streamed, some = predicted(settled_of(convention), stream=True, inferer=inferer)
    assert len(some.notes) == 1
    overlapping = (streamed[0].as_tensor().sum(0) > 1).any()
    assert bool(overlapping) is (convention != EXCLUSIVE)
    assert streamed[0].dtype == stepwise[0].dtype
    assert 0.1 < streamed[0].float().mean() < 0.9
    assert (streamed[0].as_tensor() != stepwise[0].as_tensor()).float().mean() < 1e-4


def test_memory_is_noted_before_and_after():
    _, stream = predicted(postprocessing_of({"threshold": 0.5}, sigmoid=True), stream=True)
    note = stream.notes[0]
    assert note["file"] == "scan.nii"
    assert note["peak_mb"] == pytest.approx(note["predicted_peak_mb"], rel=0.15)


@pytest.mark.parametrize(
    "steps",
    [
        postprocessing_of({"threshold": 0.5}, sigmoid=True).transforms[1:],
        postprocessing_of({"argmax": True}, sigmoid=True).transforms,
        [*postprocessing_of({"threshold": 0.5}, sigmoid=True).transforms[:2], Activationsd("pred", softmax=True)],
    ],
)
def test_other_steps_are_taken_one_by_one(steps):
    stream = NativeStream(SlidingWindow((8, 8, 8)), Compose(steps))
    assert stream.steps is None
    assert stream.rest.transforms == stream.postprocessing.transforms


def test_monais_own_inferer_is_left_alone():
    inferer = SlidingWindowInferer((12, 12, 12), overlap=0.5, mode="gaussian")
    found, stream = predicted(postprocessing_of({"threshold": 0.5}, sigmoid=True), stream=True, inferer=inferer)
    assert stream.notes == []
    assert found[0].shape == (4, 26, 24, 18)


def test_an_image_of_unknown_history_goes_through_the_steps():
    stream = NativeStream(SlidingWindow((12, 12, 12)), postprocessing_of({"threshold": 0.5}, sigmoid=True))
    assert stream.predict(torch.zeros(1, 2, 12, 12, 12), nn.Identity()) is None
