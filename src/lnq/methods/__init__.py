"""The LightningModules: Model Genesis pre-training and DBDMP fine-tuning."""

from lnq.methods.dbdmp import DBDMP
from lnq.methods.genesis import Genesis

__all__ = ["DBDMP", "Genesis"]
