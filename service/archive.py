"""Named contents → the bytes of a zip, member by member as they come.

Knows nothing about pictures or HTTP. Members are stored, not deflated: pictures are compressed
already. Sizes and checksums stand before each member's content, so that a reader which streams
can follow; timestamps are fixed, so the same members are the same bytes.
"""

import io
import re
import zipfile
from collections.abc import AsyncGenerator, AsyncIterable

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest time a zip can say."""
_MODE = 0o644
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")
_STEM_LENGTH = 64


def member_name(index: int, stem: str, extension: str) -> str:
    """`0007-anna.png`: distinct by its index, and safe to unpack on any system."""
    return f"{index:04d}-{_UNSAFE.sub('-', stem)[:_STEM_LENGTH]}.{extension}"


async def zip_stream(members: AsyncIterable[tuple[str, bytes]]) -> AsyncGenerator[bytes, None]:
    """The zip of `members`, names and contents; holds one of them at a time.

    The directory comes last: a zip that was broken off cannot be taken for a whole one.
    """
    window = _Window()
    with zipfile.ZipFile(window, "w", zipfile.ZIP_STORED) as archive:
        try:
            async for name, content in members:
                entry = zipfile.ZipInfo(name, _EPOCH)
                entry.external_attr = _MODE << 16
                archive.writestr(entry, content)
                yield window.drain()
        except BaseException:
            window.drain()
            raise
    yield window.drain()


class _Window(io.RawIOBase):
    """The end of a file that has begun to leave: seekable from the last `drain` on.

    zipfile goes back to a member's header once it knows size and checksum, and needs no more.
    """

    def __init__(self) -> None:
        self._gone = 0
        self._kept = io.BytesIO()

    def drain(self) -> bytes:
        """What was written since the last time."""
        content = self._kept.getvalue()
        self._gone += len(content)
        self._kept = io.BytesIO()
        return content

    def write(self, data: object) -> int:
        return self._kept.write(data)  # type: ignore[arg-type]

    def tell(self) -> int:
        return self._gone + self._kept.tell()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence != io.SEEK_SET or offset < self._gone:
            raise io.UnsupportedOperation("this part has left already")
        return self._gone + self._kept.seek(offset - self._gone)

    def seekable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True
