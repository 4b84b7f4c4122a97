import io
import struct
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.archive import member_name, zip_stream


async def members(contents):
    for index, content in enumerate(contents):
        yield f"{index}.bin", content


async def collected(contents) -> list[bytes]:
    return [chunk async for chunk in zip_stream(members(contents))]


@pytest.mark.parametrize("contents", [[], [b""], [b"one", b"two" * 1000, bytes(range(256)) * 300]])
async def test_any_unzipper_reads_it(contents):
    with zipfile.ZipFile(io.BytesIO(b"".join(await collected(contents)))) as archive:
        assert archive.testzip() is None
        assert [archive.read(name) for name in archive.namelist()] == contents
        for entry in archive.infolist():
            assert entry.compress_type == zipfile.ZIP_STORED
            assert entry.date_time == (1980, 1, 1, 0, 0, 0)
            assert entry.external_attr >> 16 == 0o644


async def test_the_same_members_are_the_same_bytes():
    assert await collected([b"a", b"b"]) == await collected([b"a", b"b"])


async def test_each_member_leaves_as_soon_as_it_is_there():
    chunks = await collected([b"x" * 1000, b"y" * 1000])
    assert len(chunks) == 3
    assert b"x" * 1000 in chunks[0]
    assert b"y" * 1000 in chunks[1]
    assert all(len(chunk) < 1200 for chunk in chunks)


async def test_a_reader_that_streams_finds_sizes_before_contents():
    (first, *_) = await collected([b"x" * 1000])
    flags, method = struct.unpack("<HH", first[6:10])
    checksum, stored, plain = struct.unpack("<III", first[14:26])
    assert (flags & 0x08, method) == (0, 0)
    assert checksum
    assert (stored, plain) == (1000, 1000)


async def test_what_breaks_off_is_no_zip():
    async def failing():
        yield "0.bin", b"whole"
        raise RuntimeError("no more")

    stream = zip_stream(failing())
    first = await anext(stream)
    with pytest.raises(RuntimeError, match="no more"):
        await anext(stream)
    with pytest.raises(zipfile.BadZipFile):
        zipfile.ZipFile(io.BytesIO(first))


@given(st.integers(0, 9999), st.text(max_size=200))
def test_names_are_safe_everywhere(index, stem):
    name = member_name(index, stem, "png")
    assert name.isascii()
    assert name.startswith(f"{index:04d}-")
    assert name.endswith(".png")
    assert len(name) < 80
    assert not set(name[:-4]) & set('/\\:*?"<>|. \0')
