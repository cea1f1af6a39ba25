"""What happens beside the training step: schedules, seeds, records, logs."""

from lnq.callbacks.between_steps import BetweenSteps
from lnq.callbacks.checkpoint_io import AtomicCheckpointIO
from lnq.callbacks.curves import CurvesLogger
from lnq.callbacks.loggers import OfflineFirstWandbLogger
from lnq.callbacks.polynomial_lr import PolynomialLR
from lnq.callbacks.ramp_up import RampUp
from lnq.callbacks.report_to_trial import ReportToTrial
from lnq.callbacks.run_record import RunRecord
from lnq.callbacks.step_seed import StepSeed

__all__ = [
    "AtomicCheckpointIO",
    "BetweenSteps",
    "CurvesLogger",
    "OfflineFirstWandbLogger",
    "PolynomialLR",
    "RampUp",
    "ReportToTrial",
    "RunRecord",
    "StepSeed",
]
