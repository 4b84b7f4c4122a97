"""One member of a zip → its bytes, unless it is a bomb. Nothing is ever unpacked onto a disk.

Knows nothing of what the bytes are. How long a member becomes is what the zip says of it: its
reader stops there.
"""

import zipfile

MAX_FILE_BYTES = 256 * 2**20  # a larger "picture" is a mistake or an attack on memory
MAX_RATIO = 100  # of unpacked to packed size, beyond which a large file is a zip bomb
SMALL_BYTES = 16 * 2**20  # below, a file may be as compressible as it likes


def read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    """The bytes of `name`. Raises KeyError where there is none, ValueError where it is too large,
    and whatever a damaged zip raises: OSError, BadZipFile, zlib.error, RuntimeError …"""
    info = archive.getinfo(name)
    check_size(info.file_size)
    if info.file_size > max(SMALL_BYTES, MAX_RATIO * info.compress_size):
        raise ValueError(f"it unpacks to over {MAX_RATIO} times its size: a zip bomb")
    return archive.read(name)


def check_size(size: int) -> None:
    """Raises ValueError where a file is too large to be read at once."""
    if size > MAX_FILE_BYTES:
        raise ValueError(f"larger than {MAX_FILE_BYTES // 2**20} MB")
