"""Objects from data: nodes checked against the constructors they name, then built.

A node is a mapping whose `_target_` names a class; its other keys are the class's arguments.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import inspect
import os
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, PydanticUserError, TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError

from lnq.buildable import BUILDABLE, FOLDERS, WITHHELD
from lnq.errors import ConfigError

Object = TypeVar("Object")

_RESERVED = ("_target_", "_partial_")
_ANY_TYPE = ConfigDict(arbitrary_types_allowed=True)


def locate(target: str) -> type:
    """The class that a `_target_` names.

    Raises:
        ConfigError: It is not in the list of those that may be built, or cannot be imported.
    """
    if target not in BUILDABLE:
        similar = nearest(target, sorted(BUILDABLE))
        raise ConfigError(
            f"_target_ {target} is not allowed",
            why="it is not in the list of classes that may be built, lnq/buildable.py",
            remedy=f"did you mean {similar}?" if similar else None,
        )
    module_name, _, name = target.rpartition(".")
    try:
        found_class: type = getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"_target_ {target} cannot be imported", why=str(error)) from error
    return found_class


def node_faults(node: Any, path: str, given: frozenset[str] = frozenset()) -> list[str]:
    """Everything wrong with a configuration node and the nodes inside it.

    Args:
        node: Plain containers, as `OmegaConf.to_container` gives.
        path: Where the node stands, `method.network`.
        given: Arguments that the program passes itself.

    Returns:
        One line a fault: full key, value, what is allowed, nearest valid name.
    """
    if isinstance(node, list | tuple):
        return [f for i, item in enumerate(node) for f in node_faults(item, f"{path}[{i}]")]
    if not isinstance(node, Mapping):
        return []
    faults = [
        fault
        for key, value in node.items()
        for fault in node_faults(value, f"{path}.{key}" if path else str(key))
    ]
    if "_target_" in node:
        try:
            target = locate(str(node["_target_"]))
        except ConfigError as error:
            return [f"{path}: {error}", *faults]
        faults += _argument_faults(target, node, path, given)
    return faults


def stray_files(node: Any, home: Path, path: str = "") -> Iterator[str]:
    """One line for each folder or file that a node names outside the run's folder.

    Args:
        node: Plain containers.
        home: The run's folder.
        path: Where the node stands.
    """
    if isinstance(node, list | tuple):
        node = dict(enumerate(node))
    if not isinstance(node, Mapping):
        return
    for key, value in node.items():
        yield from stray_files(value, home, f"{path}.{key}".lstrip("."))
    folder_key, name_key = FOLDERS.get(str(node.get("_target_")), (None, None))
    folder = str(node.get(folder_key) or home)
    named = os.path.join(folder, str(node.get(name_key) or "x"))  # noqa: PTH118 (.. is resolved below)
    if not Path(os.path.abspath(named)).is_relative_to(os.path.abspath(home)):  # noqa: PTH100
        yield f"{path}: it would write {named}, outside the run's folder {home}"


def instantiate(node: Mapping[str, Any], **given: Any) -> Any:
    """Builds the object a node describes, nodes inside it first.

    Values are converted as the constructor's annotations say (a YAML list for a tuple, say), which
    `hydra.utils.instantiate` does not do. `_partial_: true` gives the constructor with its
    arguments bound, for what needs more to be built, such as an optimiser.

    Args:
        node: Plain containers with a `_target_`.
        **given: Arguments that the program passes itself.

    Raises:
        ConfigError: The node does not fit the constructor.
    """
    place = str(node["_target_"])
    target = locate(place)
    arguments = _arguments(target, node, place, frozenset(given)) | given
    if node.get("_partial_"):
        return functools.partial(target, **arguments)
    return _called(target, arguments, place)


def construct(target: type[Object], arguments: Mapping[str, Any]) -> Object:
    """Builds an object of a class that is known, from values that are not.

    Raises:
        ConfigError: The values do not fit the constructor.
    """
    return _called(target, _arguments(target, arguments, "", frozenset()), target.__name__)


def lines_of(error: ValidationError, path: str) -> list[str]:
    """One line for each fault pydantic found: key, value, reason."""
    lines = []
    for fault in error.errors():
        inner = "".join(f".{p}" if isinstance(p, str) else f"[{p}]" for p in fault["loc"])
        where = f"{path}{inner}".lstrip(".")
        lines.append(f"{where}={fault['input']!r}: {fault['msg'][0].lower()}{fault['msg'][1:]}")
    return lines


def nearest(name: str, valid: Sequence[str]) -> str | None:
    """The valid name most like `name`, or None where none is alike."""
    matches = difflib.get_close_matches(name, valid, n=1, cutoff=0.5)
    return matches[0] if matches else None


def _arguments(
    target: type, node: Mapping[str, Any], path: str, given: frozenset[str]
) -> dict[str, Any]:
    """The arguments of a node, nodes inside it built, all of them as the constructor wants them."""
    faults = _argument_faults(target, node, path, given)
    if faults:
        raise ConfigError("\n".join(faults))
    hints = _hints(target)
    return {
        key: _converted(hints.get(key), _built(value))
        for key, value in node.items()
        if key not in _RESERVED
    }


def _called(target: type[Object], arguments: Mapping[str, Any], place: str) -> Object:
    try:
        return target(**arguments)
    except (TypeError, ValueError) as error:
        raise ConfigError(str(error), where=place) from error


def _built(value: Any) -> Any:
    if isinstance(value, Mapping):
        if "_target_" in value:
            return instantiate(value)
        return {key: _built(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_built(inner) for inner in value]
    return value


def _argument_faults(
    target: type, node: Mapping[str, Any], path: str, given: frozenset[str]
) -> list[str]:
    parameters = inspect.signature(target).parameters
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    names = [name for name, p in parameters.items() if p.kind is not p.VAR_KEYWORD]
    hints = _hints(target)
    withheld = given | WITHHELD.get(str(node.get("_target_")), frozenset())
    faults = []
    for key, value in node.items():
        if key in _RESERVED:
            continue
        if key in withheld:
            faults.append(f"{path}.{key}: the program gives it itself; leave it out")
        elif key not in names and not takes_any:
            similar = nearest(key, names)
            hint = f"did you mean {similar}?" if similar else f"there are {', '.join(names)}"
            faults.append(f"{path}.{key}: {target.__name__} has no such argument; {hint}")
        elif value == "???":
            faults.append(f"{path}.{key} is required: give {path}.{key}=VALUE")
        elif not _has_target(value):
            try:
                _converted(hints.get(key), value)
            except ValidationError as error:
                faults += lines_of(error, f"{path}.{key}")
    if not node.get("_partial_"):
        missing = [
            name
            for name in names
            if name not in node and name not in given
            and parameters[name].default is inspect.Parameter.empty
            and parameters[name].kind is not inspect.Parameter.VAR_POSITIONAL
        ]  # fmt: skip
        faults += [f"{path}.{name} is required by {target.__name__}" for name in missing]
    return faults


def _has_target(value: Any) -> bool:
    if isinstance(value, Mapping):
        return "_target_" in value or any(map(_has_target, value.values()))
    return isinstance(value, list) and any(map(_has_target, value))


def _hints(target: type) -> dict[str, Any]:
    """Annotations of the constructor; none where a library's cannot be resolved."""
    source = target if issubclass(target, BaseModel) else target.__init__
    try:
        return typing.get_type_hints(source, include_extras=True)
    except (NameError, TypeError):
        return {}


def _converted(hint: Any, value: Any) -> Any:
    adapter = None if hint is None or _has_object(value) else _adapter(hint)
    return value if adapter is None else adapter.validate_python(value)


def _has_object(value: Any) -> bool:
    """Whether a value holds something already built, which needs no conversion."""
    if isinstance(value, Mapping):
        return any(map(_has_object, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_has_object, value))
    return not isinstance(value, str | int | float | bool | type(None))


def _adapter(hint: Any) -> TypeAdapter[Any] | None:
    """A validator for an annotation; None for library types that pydantic has no schema for."""
    try:
        return TypeAdapter(hint, config=_ANY_TYPE)
    except PydanticSchemaGenerationError:
        return None
    except PydanticUserError:  # a dataclass or model brings its own configuration
        return TypeAdapter(hint)
