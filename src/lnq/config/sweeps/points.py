"""Which jobs a sweep has, beside the values that the command line gives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf

from lnq.config.composition import flat_items
from lnq.construction import nearest
from lnq.errors import ConfigError

Scalar = bool | int | float | str


@dataclass(frozen=True)
class Point:
    """One place of a sweep.

    Attributes:
        name: What its runs' folders are called; empty where the command line's values say it all.
        overrides: Hydra overrides that lead there.
    """

    name: str = ""
    overrides: tuple[str, ...] = ()


class GridSearch:
    """Nothing beside the product of the command line's own values."""

    varied: tuple[str, ...] = ()

    def points(self, base: DictConfig) -> Iterator[Point]:
        """The one point that adds nothing."""
        yield Point()


class Points:
    """Points that are listed, such as the rows of a table.

    Args:
        points: Overrides of each point by its name. An `experiment` joins those that the command
            line names, before them: they may be overlays.
    """

    def __init__(self, points: dict[str, list[str]]) -> None:
        self._points = points
        self.varied = tuple(dict.fromkeys(name.partition("-")[0] for name in points))

    def points(self, base: DictConfig) -> Iterator[Point]:
        """The points in their order."""
        for name, overrides in self._points.items():
            yield Point(name, tuple(overrides))


class OneAtATime:
    """Each key takes each of its values while the others stay as they are.

    The point where all are as they are belongs to every key; it is one job, `default`.

    Args:
        values: Values by full key.
    """

    def __init__(self, values: dict[str, list[Scalar]]) -> None:
        self.values = values
        self.varied = tuple(short_names(list(values)).values())

    def points(self, base: DictConfig) -> Iterator[Point]:
        """The point `default`, then the others key by key.

        Args:
            base: The configuration without any point.

        Raises:
            ConfigError: It has no such key.
        """
        names = short_names(list(self.values))
        points = [Point("default")]
        for key, values in self.values.items():
            own = value_of(base, key)
            points += [
                Point(f"{names[key]}-{value}", (f"{key}={value}",))
                for value in values
                if value != own
            ]
        yield from points


def value_of(base: DictConfig, key: str) -> Any:
    """The value of a key that a sweep varies.

    Raises:
        ConfigError: There is no such key.
    """
    value = OmegaConf.select(base, key, default=None)
    if value is None:
        known = [name for name, _ in flat_items(OmegaConf.to_container(base))]
        near = nearest(key, known)
        raise ConfigError(
            "this experiment has nothing of that name to vary", where=key,
            remedy=f"did you mean {near}?" if near else None,
        )  # fmt: skip
    return value


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """The last part of each key, or the whole key where two would be called the same."""
    last = [_last(key) for key in keys]
    return {
        key: name if last.count(name) == 1 else key.lstrip("+")
        for key, name in zip(keys, last, strict=True)
    }


def merged(overrides: Sequence[str], point: Point) -> list[str]:
    """The command line's overrides with a point's, which win.

    Args:
        overrides: Of the command line, one value each.
        point: The point; its `experiment` comes before those of the command line.
    """
    own = {_key(override): override for override in point.overrides}
    result = []
    for override in overrides:
        key = _key(override)
        if key == "experiment" and key in own:
            both = [*_items(own.pop(key)), *_items(override)]
            result.append(f"+experiment=[{','.join(both)}]")
        elif key not in own:
            result.append(override)
    return [*result, *own.values()]


def named(overrides: Mapping[str, str]) -> str:
    """Overrides as one name of a folder: `tau-0.1_seed-0`."""
    names = short_names(list(overrides))
    return "_".join(f"{names[key]}-{_plain(value)}" for key, value in overrides.items())


def _plain(value: str) -> str:
    """A value with nothing that a folder's name may not have."""
    kept = "".join(c if c.isalnum() or c in ".-+," else "_" for c in value)
    return kept.strip("_") or "_"


def _last(key: str) -> str:
    return key.lstrip("+").partition("@")[0].rpartition(".")[2].rpartition("/")[2]


def _key(override: str) -> str:
    return override.partition("=")[0].lstrip("+~")


def _items(override: str) -> list[str]:
    return override.partition("=")[2].strip("[]").split(",")
