"""What of the environment a configuration may read: no passwords, keys or tokens.

What it reads is written into records, checkpoints and W&B. A variable is judged where it is read,
by its whole name: however that was put together, and wherever in the configuration it stands.
"""

from __future__ import annotations

import os
import re
from typing import Any

from omegaconf import OmegaConf
from omegaconf.resolvers import oc

from lnq.errors import ConfigError

_SECRET_NAME = re.compile(
    r"KEY|TOKEN|SECRET|PASS|PASSWD|PHRASE|CRED|AUTH|COOKIE|SESSION|PRIVATE|SIGNATURE|CERT"
    r"|(^|_)(PATS?|PWD?|PIN|SAS|JWT|DSN)(_|$|[0-9])",
    re.IGNORECASE,
)
_NO_SECRET = frozenset({"PWD", "OLDPWD"})
"""Folders, whose names look like a password's."""
_WITH_PASSWORD = re.compile(r"://[^/\s@]*:[^/\s@]*@")
"""An address that holds a user's password."""


def guard_environment() -> None:
    """Puts ours in the place of the resolver `oc.env`, for this process."""
    OmegaConf.register_new_resolver("oc.env", _read, replace=True)


def _read(name: str, *default: Any) -> str | None:
    """The variable's value, as `oc.env` gives it.

    Raises:
        ConfigError: It is called as secrets are, or holds an address with a password.
    """
    secret = _SECRET_NAME.search(name) and name not in _NO_SECRET
    if secret or _WITH_PASSWORD.search(os.environ.get(name, "")):
        raise ConfigError(
            f"{name} would be read into the configuration and its records; leave it in the "
            "environment"
        )
    return oc.env(name, *default)
