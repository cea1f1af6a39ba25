"""Variables of W&B's that W&B itself does not know what to do with."""

from __future__ import annotations

import os
import warnings
from typing import Any

PREFIX = "WANDB_"
MODE = "WANDB_MODE"


def leave_out_odd_variables() -> bool:
    """Takes variables with values that W&B refuses out of this process's environment; tells which.

    They come empty from `.env` files, or hold what another program calls so (`off`).

    Returns:
        Whether the mode was among them: who set it did not want W&B as it is by default.
    """
    odd = {name: why for name in sorted(os.environ) if (why := _why_odd(name))}
    for name, why in odd.items():
        warnings.warn(f"{name}={os.environ.pop(name)!r} is left out: {why}", stacklevel=3)
    return MODE in odd


def _why_odd(name: str) -> str | None:
    import wandb
    from pydantic import ValidationError

    field = name.removeprefix(PREFIX).lower()
    if not name.startswith(PREFIX) or field not in wandb.Settings.model_fields:
        return None
    try:
        values: dict[str, Any] = {field: os.environ[name]}
        wandb.Settings(**values)
    except ValidationError as error:
        return error.errors()[0]["msg"]
    except (wandb.Error, TypeError, ValueError) as error:
        return str(error).splitlines()[0]
    return None
