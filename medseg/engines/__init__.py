"""Trainers, evaluators, handlers and data loading on Ignite and MONAI, with a resume that is exact."""

from medseg.engines.cases import CaseDataset
from medseg.engines.checkpoint import RunCheckpoint
from medseg.engines.detection_batch import DetectionBatch
from medseg.engines.detection_score import DetectionScore
from medseg.engines.distributed import distribute, initialize_distributed, unwrap
from medseg.engines.draws import Draw, DrawSampler, draw_at
from medseg.engines.early_stopping import EarlyStopping
from medseg.engines.ema import Ema
from medseg.engines.ensemble import ensemble
from medseg.engines.evaluator import SupervisedEvaluator
from medseg.engines.events import RunEvents
from medseg.engines.handler_group import HandlerGroup
from medseg.engines.interrupt import Interrupt, Interrupted
from medseg.engines.loader import CaseLoader, make_loader
from medseg.engines.metrics_csv import MetricsCsv
from medseg.engines.mlflow_log import MlflowLog
from medseg.engines.native_stream import NativeStream
from medseg.engines.param_groups import decay_weights_only
from medseg.engines.progress import Progress
from medseg.engines.region_dice import region_dice
from medseg.engines.schedules import cosine_with_warmup, optimizer_steps, polynomial_with_warmup
from medseg.engines.score_cases import ScoreCases
from medseg.engines.score_detections import ScoreDetections
from medseg.engines.tensorboard import TensorBoard
from medseg.engines.trainer import SupervisedTrainer
from medseg.engines.validate import Validate
from medseg.engines.weights import WeightsLoader, load_weights

__all__ = [
    "CaseDataset",
    "CaseLoader",
    "DetectionBatch",
    "DetectionScore",
    "Draw",
    "DrawSampler",
    "EarlyStopping",
    "Ema",
    "HandlerGroup",
    "Interrupt",
    "Interrupted",
    "MetricsCsv",
    "MlflowLog",
    "NativeStream",
    "Progress",
    "RunCheckpoint",
    "RunEvents",
    "ScoreCases",
    "ScoreDetections",
    "SupervisedEvaluator",
    "SupervisedTrainer",
    "TensorBoard",
    "Validate",
    "WeightsLoader",
    "cosine_with_warmup",
    "decay_weights_only",
    "distribute",
    "draw_at",
    "ensemble",
    "initialize_distributed",
    "load_weights",
    "make_loader",
    "optimizer_steps",
    "polynomial_with_warmup",
    "region_dice",
    "unwrap",
]
