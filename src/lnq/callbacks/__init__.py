"""What happens beside the training step: schedules, seeds, records, logs."""

from lnq.callbacks.between_steps import BetweenSteps
from lnq.callbacks.checkpoint_io import AtomicCheckpointIO
from lnq.callbacks.curves_logger import CurvesLogger
from lnq.callbacks.loggers import OfflineFirstWandbLogger
from lnq.callbacks.panels import Panels
from lnq.callbacks.performance import Performance
from lnq.callbacks.polynomial_lr import PolynomialLR
from lnq.callbacks.progress import TrainingProgress
from lnq.callbacks.ramp_up import RampUp
from lnq.callbacks.report_to_trial import ReportToTrial
from lnq.callbacks.run_record import RunRecord
from lnq.callbacks.silence import silence
from lnq.callbacks.step_seed import StepSeed
from lnq.callbacks.tensorboard import TensorBoardCurves
from lnq.callbacks.whereabouts import whereabouts

__all__ = [
    "AtomicCheckpointIO",
    "BetweenSteps",
    "CurvesLogger",
    "OfflineFirstWandbLogger",
    "Panels",
    "Performance",
    "PolynomialLR",
    "RampUp",
    "ReportToTrial",
    "RunRecord",
    "StepSeed",
    "TensorBoardCurves",
    "TrainingProgress",
    "silence",
    "whereabouts",
]
