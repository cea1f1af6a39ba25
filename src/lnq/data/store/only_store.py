"""Which datasets are preprocessed."""

from __future__ import annotations

from pathlib import Path

from lnq.errors import UsageError
from lnq.files import MANIFEST


def only_store(folder: Path) -> Path:
    """The one store in a folder of stores, `paths.outputs/preprocess`.

    Raises:
        UsageError: There is none, or there are several; all of them are named.
    """
    stores = sorted(path.parent for path in folder.glob(f"*/{MANIFEST}"))
    if not stores:
        raise UsageError(
            "no preprocessed data", where=folder,
            remedy="run lnq.preprocess, or give store=DIR, the folder that it wrote",
        )  # fmt: skip
    if len(stores) > 1:
        raise UsageError(
            "several datasets are preprocessed", where=folder,
            why=", ".join(store.name for store in stores),
            remedy="give data.name=NAME, one of these, or store=DIR",
        )  # fmt: skip
    return stores[0]
