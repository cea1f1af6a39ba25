"""The elements of a DICOM file: each must end within what holds it, or readers allocate more."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
)

from lnq.data.readers.header import refusal

_BEGIN = 132  # preamble and mark
_UNDEFINED = 0xFFFFFFFF
_DELIMITERS = 0xFFFE
_ITEM, _ITEM_END, _SEQUENCE_END = 0xE000, 0xE00D, 0xE0DD
_LONG = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
_PIXELS = (0x7FE0, 0x0010)
_DEEPEST = 24
# Of headers alone: what stands before the pixels, with the group that says how to read the rest.
_HEAD = 1 << 14
_LARGEST_INFLATED = 256 << 20


class _BrokenError(Exception):
    """An element does not fit into what holds it."""


class _Bounded(io.BufferedReader):
    """Never asked for more bytes than there are: a damaged length would be allocated first."""

    def __init__(self, raw: io.RawIOBase, length: int) -> None:
        super().__init__(raw)
        self._length = length

    def read(self, size: int | None = -1, /) -> bytes:
        left = max(0, self._length - self.tell())
        return super().read(left if size is None or size < 0 else min(size, left))


def opened(path: Path, whole: bool) -> BinaryIO:
    """A DICOM file as it can be parsed without harm.

    Args:
        path: The file.
        whole: Check all of its elements; else it must only be parsed up to its pixels.

    Raises:
        CaseError: An element does not fit into what holds it, or too much is packed into it.
    """
    if not whole:
        with path.open("rb") as file:
            head = file.read(_HEAD)
        if _syntax(head)[1] != DeflatedExplicitVRLittleEndian:
            return _Bounded(io.FileIO(path), path.stat().st_size)
    return io.BytesIO(check_structure(path))


def check_structure(path: Path) -> bytes:
    """The bytes of a file all of whose elements are sound.

    Args:
        path: The file.

    Raises:
        CaseError: As for `opened`.
    """
    content = path.read_bytes()
    try:
        begin, syntax = _syntax(content)
        body = content
        if syntax == DeflatedExplicitVRLittleEndian:
            body, begin = _inflated(path, content[begin:]), 0
        order = ">" if syntax == ExplicitVRBigEndian else "<"
        _Walk(body, order).elements(begin, len(body), syntax != ImplicitVRLittleEndian, 0)
    except (_BrokenError, struct.error, zlib.error) as error:
        raise refusal(path, f"truncated or damaged DICOM file: {error}", "copy it again") from error
    return content


def _syntax(content: bytes) -> tuple[int, str]:
    """Where the data begin behind the file's meta information, and their transfer syntax."""
    at, syntax = _BEGIN, ""
    while content[at : at + 2] == b"\2\0" and at + 12 <= len(content):
        (element,) = struct.unpack_from("<H", content, at + 2)
        value, length, _ = _head(content, at, "<", explicit=True)
        if element == 0x0010:
            syntax = content[value : value + length].decode("latin-1").strip(" \0")
        at = value + length
    return at, syntax


def _inflated(path: Path, packed: bytes) -> bytes:
    unpack = zlib.decompressobj(-zlib.MAX_WBITS)
    content = unpack.decompress(packed, _LARGEST_INFLATED)
    if unpack.unconsumed_tail:
        raise refusal(
            path, f"its {len(packed)} packed bytes hold more than {_LARGEST_INFLATED}",
            "store it uncompressed",
        )  # fmt: skip
    if not unpack.eof:
        raise _BrokenError("its packed data are cut off")
    return content


def _head(content: bytes, at: int, order: str, explicit: bool) -> tuple[int, int, bytes]:
    """Where an element's value begins, its length, and its type; empty where none is stated."""
    kind = content[at + 4 : at + 6]
    # Programs switch to elements without a type in the middle of a file; so do readers.
    if not explicit or not (kind.isalpha() and kind.isupper()):
        return at + 8, struct.unpack_from(f"{order}I", content, at + 4)[0], b""
    if kind in _LONG:
        return at + 12, struct.unpack_from(f"{order}I", content, at + 8)[0], kind
    return at + 8, struct.unpack_from(f"{order}H", content, at + 6)[0], kind


class _Walk:
    """Steps through a file's elements without looking at a value."""

    def __init__(self, content: bytes, order: str) -> None:
        self.content = content
        self.order = order

    def elements(self, at: int, stop: int, explicit: bool, depth: int, item: bool = False) -> int:
        """Passes elements up to `stop`, or to the delimiter of an item of undefined length."""
        if depth > _DEEPEST:
            raise _BrokenError(f"sequences within sequences, {depth} deep")
        while at < stop:
            if stop - at < 8 or self.content[at : at + 4] == bytes(4):
                if any(self.content[at:stop]):
                    raise _BrokenError("bytes that are no element")
                return stop  # padding
            group, element = self._tag(at)
            if group == _DELIMITERS:
                if item and element == _ITEM_END:
                    return at + 8
                raise _BrokenError("a delimiter in a wrong place")
            value, length, kind = _head(self.content, at, self.order, explicit)
            at = self._value(value, length, kind, (group, element), stop, explicit, depth)
        if item:
            raise _BrokenError("an item does not end")
        return at

    def _value(
        self, at: int, length: int, kind: bytes, tag: tuple[int, int], stop: int, explicit: bool,
        depth: int,
    ) -> int:  # fmt: skip
        """Passes an element's value."""
        if length == _UNDEFINED:
            if kind in (b"OB", b"OW") or tag == _PIXELS:
                return self._fragments(at, stop)
            if kind == b"UN":
                # By the standard without types inside; some write them.
                try:
                    return self._items(at, stop, False, depth)
                except _BrokenError:
                    pass
            return self._items(at, stop, explicit, depth)
        if at + length > stop:
            raise _BrokenError(f"the element ({tag[0]:04x},{tag[1]:04x}) is cut off")
        nested = not kind and length >= 8 and self._tag(at) == (_DELIMITERS, _ITEM)
        if kind == b"SQ" or nested:
            self._items(at, at + length, explicit, depth, ends=False)
        return at + length

    def _items(self, at: int, stop: int, explicit: bool, depth: int, ends: bool = True) -> int:
        """Passes the items of a sequence up to its delimiter, or to `stop` where it has none."""
        while at < stop:
            group, element = self._tag(at)
            (length,) = struct.unpack_from(f"{self.order}I", self.content, at + 4)
            if group != _DELIMITERS or element not in (_ITEM, _SEQUENCE_END):
                raise _BrokenError("a sequence holds what is no item")
            at += 8
            if element == _SEQUENCE_END:
                return at
            if length == _UNDEFINED:
                at = self.elements(at, stop, explicit, depth + 1, item=True)
                continue
            if at + length > stop:
                raise _BrokenError("an item is cut off")
            self.elements(at, at + length, explicit, depth + 1)
            at += length
        if ends:
            raise _BrokenError("a sequence does not end")
        return at

    def _fragments(self, at: int, stop: int) -> int:
        """Passes packed pixels."""
        while at + 8 <= stop:
            group, element = self._tag(at)
            (length,) = struct.unpack_from(f"{self.order}I", self.content, at + 4)
            at += 8
            if group == _DELIMITERS and element == _SEQUENCE_END:
                return at
            if group != _DELIMITERS or element != _ITEM or at + length > stop:
                break
            at += length
        raise _BrokenError("the packed pixels are cut off")

    def _tag(self, at: int) -> tuple[int, int]:
        group, element = struct.unpack_from(f"{self.order}HH", self.content, at)
        return group, element
