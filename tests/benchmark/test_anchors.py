import pytest

from medseg.benchmark.anchors import anchors_for, differs, read_anchors
from medseg.benchmark.scores import known_metrics
from medseg.errors import DataError


@pytest.mark.parametrize(
    "anchor", read_anchors(), ids=lambda anchor: f"{anchor.dataset}-{anchor.region}-{anchor.model}"
)
def test_every_anchor_can_be_held_against_a_table(anchor):
    assert anchor.metric in {*known_metrics(), "cpm"}
    assert 0 < anchor.value < 1
    assert anchor.source.count("https://") == 1
    assert anchor.protocol
    assert anchor.split


def test_another_protocol_is_flagged():
    anchor = anchors_for("luna16")[0]
    assert not differs(anchor, protocol=anchor.protocol)
    assert differs(anchor, protocol="5 folds")
    assert differs(anchor, protocol=None)
    assert anchors_for("nothing") == []


def test_an_anchor_without_a_source_is_refused(tmp_path):
    (tmp_path / "a.yaml").write_text("anchors:\n- {dataset: x, value: 0.5}\n")
    with pytest.raises(DataError, match="anchor 0: wanted dataset, metric"):
        read_anchors(tmp_path / "a.yaml")
