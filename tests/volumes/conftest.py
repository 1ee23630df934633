from pathlib import Path

import pytest

_DATA = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture(scope="session")
def real_data():
    if not _DATA.is_dir():
        pytest.skip("real scans are not on this machine (../shared/data)")
    return _DATA
