"""python -m lnq.dashboard: a W&B dashboard for the project that training logs to."""

from __future__ import annotations

from lnq.config.help import answer_help

if __name__ == "__main__":
    answer_help("dashboard")  # before the imports below, which take seconds

from dataclasses import dataclass

from lnq.callbacks.loggers import why_offline
from lnq.config import Paths, command
from lnq.console import console
from lnq.errors import UsageError


@dataclass(frozen=True)
class DashboardConfig:
    """Root of conf/dashboard.yaml.

    Attributes:
        project: W&B project.
        entity: User or team it belongs to; None = the default one of the API key.
        name: Of the dashboard; each call makes a new one.
        paths: Where everything goes.
    """

    project: str
    entity: str | None
    name: str
    paths: Paths


@command("dashboard", DashboardConfig)
def main(cfg: DashboardConfig) -> int:
    """Makes the dashboard in W&B and prints its address."""
    try:
        from lnq.reporting.wandb_workspace import save_dashboard
    except ModuleNotFoundError as error:
        raise UsageError(
            f"{error.name} is not installed",
            where="lnq.dashboard",
            remedy="pip install '.[track]' in the repository",
        ) from error
    if reason := why_offline():
        raise UsageError(
            "the dashboard cannot be saved", where=f"project={cfg.project}", why=reason
        )
    url = save_dashboard(cfg.entity, cfg.project, cfg.name)
    console().print(f"the dashboard is {url}")
    return 0


if __name__ == "__main__":
    main()
