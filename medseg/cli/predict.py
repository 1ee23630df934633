"""`medseg predict`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medseg.cli.failure import Traceback
from medseg.cli.tokens import after_dashes
from medseg.errors import ConfigError


def predict(
    ctx: typer.Context,
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="Name or path; or a folder of bundle export.")],
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="INPUT... [KEY=VALUE]", help="Scans: files, folders, or folders with one per case."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Where the label maps go.")],
    weights: Annotated[
        Path | None,
        typer.Option(
            "--weights",
            metavar="FILE",
            help="Weights file or run folder: another model, other masks. A run brings its own network and modalities.",
            show_default="the bundle's own",
        ),
    ] = None,
    preset: Annotated[
        list[str] | None,
        typer.Option(
            "--preset",
            metavar="P",
            help="How to run: cpu, gpu, or a file. What it sets (amp, roi_size) can change masks.",
        ),
    ] = None,
    runtime: Annotated[
        str | None,
        typer.Option(
            "--runtime",
            metavar="R",
            help="torch, onnxruntime, openvino: masks as in float32; openvino_bf16, tensorrt: they change at "
            "their borders; openvino_int8: they change more. Other than torch: without amp.",
            show_default="torch",
        ),
    ] = None,
    probabilities: Annotated[
        bool,
        typer.Option(
            "--probabilities", help="Write the probabilities too; step by step, by which 1e-6 of a mask may change."
        ),
    ] = False,
    trust: Annotated[bool, typer.Option("--trust", help="Run what the bundle can execute; remembered.")] = False,
    traceback: Traceback = False,
) -> None:
    """Segment scans, or detect in them: a label map per case in the scan's grid, and boxes where a bundle finds them.

    A token KEY=VALUE is a change of the config unless a path of that name exists; -- ends such changes.

    These can change masks or boxes: amp, amp_dtype, crop_background, ensemble, lung_only, max_detections,
    min_component_share, mirror_axes, nms_iou, overlap, placement, roi_size, runtime, score_threshold, spacing_mm,
    tta, window_size; save_probabilities and streaming by 1e-6 of the voxels; so can the config's own parts. device,
    max_memory_mb, num_workers and sw_batch_size do not. run.json says what those that can were.

    --runtime other than torch writes the network for that library once, checks it against torch, and then needs neither
    torch nor MONAI.

    Example: medseg predict brats_mri_segmentation scans/ -o out --weights runs/brats
    """
    from medseg.bundle.compose import compose
    from medseg.bundle.exported import is_exported
    from medseg.bundle.overrides import split_tokens
    from medseg.bundle.run import predict

    if is_exported(bundle):
        paths, overrides = inputs, list[str]()
    else:
        config = compose(bundle, "inference", presets=preset or []).config
        paths, overrides = split_tokens(inputs, config, after_dashes=after_dashes(ctx))
    if not paths:
        msg = "INPUT is missing. Give scans: files, folders, or folders with a folder per case."
        raise ConfigError(msg)
    try:
        written = predict(
            bundle,
            paths,
            output_dir=output,
            weights=weights,
            presets=preset or [],
            overrides=overrides,
            probabilities=probabilities,
            trust=trust,
            runtime=runtime,
        )
    except KeyboardInterrupt:
        typer.echo(f"interrupted; the cases that were finished are in {output}", err=True)
        raise typer.Exit(130) from None
    for path in written:
        typer.echo(output / path.name)
