"""From a command line to checked, typed configuration, before any data is touched.

Hydra composes `conf/<stage>.yaml`. The stage's dataclass is the schema of the root; the constructor
of every `_target_` is the schema of its node. All faults are reported together.
"""

from lnq.config.command import DataConfig, Paths, command, given_overrides, is_one_of_several
from lnq.config.composition import CONF
from lnq.construction import instantiate

__all__ = [
    "CONF", "DataConfig", "Paths", "command", "given_overrides", "instantiate",
    "is_one_of_several",
]  # fmt: skip
