"""Phantoms that are drawn once a session: each takes longer than most tests take with it."""

from __future__ import annotations

import functools
import inspect
from dataclasses import replace
from typing import Any

from lnq.data.phantom import PhantomCase, make_case
from lnq.volume import Volume

_SIGNATURE = inspect.signature(make_case)


def drawn_once(*arguments: Any, **options: Any) -> PhantomCase:
    """`make_case`, whose result depends on its arguments alone; with voxels of one's own."""
    given = _SIGNATURE.bind(*arguments, **options)
    given.apply_defaults()
    case = _drawn(*given.args, **given.kwargs)
    return replace(
        case, image=_copied(case.image), instances=_copied(case.instances),
        organs={name: mask.copy() for name, mask in case.organs.items()},
    )  # fmt: skip


_drawn = functools.cache(make_case)


def _copied(volume: Volume) -> Volume:
    return Volume(volume.array.copy(), volume.grid)
