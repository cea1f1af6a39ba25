"""The frames of a DICOM file: all there, and none larger than the file says."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

from pydicom.encaps import generate_frames

from lnq.data.readers.header import check_ratio, refusal

_LARGE = 64 << 20
_RLE = "1.2.840.10008.1.2.5"
_JPEG, _JPEG_2000, _JPEG_END = b"\xff\xd8", b"\xff\x4f\xff\x51", b"\xff\xd9"
# Start-of-frame markers: C0 to CF without tables (C4), reserved (C8) and arithmetic coding (CC),
# and F7 of JPEG-LS.
_FRAMES = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
_ALONE = {0x01, *range(0xD0, 0xD9)}  # markers without a length


def check_frames(path: Path, data: Any, count: int) -> int:
    """Refuses pixels of which some are missing.

    Args:
        path: The file, for messages.
        data: Its tags, pixels included.
        count: How many frames it should hold, of one value a pixel.

    Returns:
        Bytes of padding behind the pixels beyond the one that makes their number even: older
        programs write such.

    Raises:
        CaseError: They are cut off, their encoding is not stated, or a few bytes would unpack to
            very many.
    """
    pixels = data.PixelData
    syntax = data.file_meta.get("TransferSyntaxUID")
    if syntax is None or not syntax.is_transfer_syntax:
        raise refusal(path, "damaged DICOM file: no transfer syntax", "copy it again")
    bits = int(data.get("BitsAllocated") or 0)
    rows, columns = int(data.get("Rows") or 0), int(data.get("Columns") or 0)
    if syntax.is_compressed and not syntax.is_deflated:
        promised = count * rows * columns * max(bits // 8, 1)
        if promised > _LARGE:  # a small one may be empty, and packed as tightly as one likes
            check_ratio(path, promised, len(pixels))
        _check_compressed(path, pixels, str(syntax), count, (rows, columns))
        return 0
    # Frames of single bits follow each other without a gap.
    promised = (count * rows * columns * bits + 7) // 8
    if promised == 0 or not promised <= len(pixels) <= promised + 1 + columns * bits // 8:
        raise refusal(
            path,
            f"truncated or damaged {'slice' if count == 1 else 'file'}: {len(pixels)} of "
            f"{promised} bytes of pixels",
            "copy or export the series again",
        )
    return max(0, len(pixels) - promised - promised % 2)


def _check_compressed(
    path: Path, pixels: bytes, syntax: str, count: int, size: tuple[int, int]
) -> None:
    """Every frame must be there with its end mark (RLE has none), and be of the size it should."""
    what = "truncated or damaged slice" if count == 1 else "truncated or damaged frames"
    try:
        frames = list(generate_frames(pixels, number_of_frames=count))
    except (ValueError, EOFError, struct.error) as error:
        raise refusal(path, what, "copy the series again") from error
    ended = syntax == _RLE or all(one.rstrip(b"\x00").endswith(_JPEG_END) for one in frames)
    sizes = {coded_size(one) for one in frames} - {None}
    if len(frames) != count or not ended or sizes - {size}:
        raise refusal(path, what, "copy or export the series again")


def coded_size(frame: bytes) -> tuple[int, int] | None:
    """Rows and columns of a JPEG, JPEG-LS or JPEG 2000 code stream, which decoders allocate.

    Args:
        frame: One packed frame.

    Returns:
        None where it says none.
    """
    try:
        if frame.startswith(_JPEG_2000):
            right, below, left, above = struct.unpack_from(">4I", frame, 8)
            return below - above, right - left
        at = 2 if frame.startswith(_JPEG) else len(frame)
        while at + 4 <= len(frame) and frame[at] == 0xFF:
            marker = frame[at + 1]
            if marker in _FRAMES:
                rows, columns = struct.unpack_from(">HH", frame, at + 5)
                return rows, columns
            # A marker may be filled up by bytes FF.
            alone = marker in _ALONE or marker == 0xFF
            at += (
                (1 if marker == 0xFF else 2)
                if alone
                else 2 + struct.unpack_from(">H", frame, at + 2)[0]
            )
    except struct.error:
        pass
    return None
