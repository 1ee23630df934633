"""`python -m medseg.runtime FOLDER SCAN... -o OUT`: an exported pipeline on one case."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from medseg.errors import MedsegError
from medseg.runtime.pipeline import load_pipeline
from medseg.runtime.runtimes import RUNTIMES

_CHANGES = "what runs the network; openvino_bf16, openvino_int8 and tensorrt change masks"


def main(words: Sequence[str] | None = None, *, folder: Path | None = None) -> int:
    """Runs the command line; returns the exit code.

    Args:
        words: Arguments; those of the process when None.
        folder: The exported folder, where it is known already.
    """
    parser = argparse.ArgumentParser(prog="medseg.runtime", description="Segment one case with an exported pipeline.")
    if folder is None:
        parser.add_argument("folder", type=Path, help="what medseg bundle export wrote")
    parser.add_argument("scans", type=Path, nargs="+", help="one file per channel, in order, or one 4-D file")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the label map, .nii.gz")
    parser.add_argument("--threads", type=int, help="cores to use")
    parser.add_argument("--runtime", choices=list(RUNTIMES), help=_CHANGES)
    given = parser.parse_args(words)
    try:
        pipeline = load_pipeline(folder or given.folder, threads=given.threads, runtime=given.runtime)
        written = pipeline.predict(given.scans, given.output)
    except MedsegError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    sys.stdout.write(f"{written}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
