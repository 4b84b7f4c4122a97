"""The files of a folder or a zip, by name. Nothing is ever unpacked onto a disk.

Knows nothing of labels, nor whether a file is a picture.
"""

import os
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from types import TracebackType

from training.errors import DatasetError
from training.zip_members import check_size, read_member

_SYSTEMS_OWN = ("__MACOSX", "lost+found")
"""What macOS adds to zips, and ext4 to volumes."""


class SourceFiles:
    """Reads the files of a folder or a zip by name. One per process; not thread-safe."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            raise DatasetError(
                f"There is no {path}: give a folder or a zip of pictures that exists."
            )
        self.path = path
        self._zip: zipfile.ZipFile | None = None
        if path.is_dir():
            return
        try:
            self._zip = zipfile.ZipFile(path)
        except Exception as error:  # a damaged zip raises almost anything
            raise DatasetError(
                f"{path} cannot be read as a zip ({error}): give a whole zip, or a folder of "
                "pictures."
            ) from error

    def __enter__(self) -> "SourceFiles":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._zip is not None:
            self._zip.close()

    def names(self) -> list[str]:
        """Relative paths of all files, "/"-separated, sorted; hidden ones are left out.

        Raises DatasetError where a folder cannot be listed.
        """
        if self._zip is not None:
            files = (info for info in self._zip.infolist() if info.filename)  # a name may be empty
            names = {info.filename for info in files if not info.is_dir()}
        else:
            names = {file.relative_to(self.path).as_posix() for file in _below(self.path)}
        return sorted(name for name in names if leads_out(name) or not _is_hidden(name))

    def read(self, name: str) -> bytes:
        """The bytes of one file. Raises ValueError, OSError or BadZipFile if there are none."""
        if self._zip is not None:
            return read_member(self._zip, name)
        path = self.path / name
        if not path.is_file():
            raise ValueError("it is not a regular file")
        check_size(path.stat().st_size)
        return path.read_bytes()


def printable(name: str) -> str:
    """A file's name as text that can be written: a name on a disk may be no Unicode at all."""
    return name.encode("utf-8", "backslashreplace").decode()


def _below(folder: Path, *, linked: bool = False) -> Iterator[Path]:
    """All files in a folder and those below it, linked folders too. A link in one of those, or one
    that leads back, is given itself, as a file that will not be read."""
    try:
        with os.scandir(folder) as entries:
            found = [(Path(e.path), e.is_symlink(), _is_folder(e)) for e in entries]
    except OSError as error:
        raise DatasetError(
            f"{printable(str(folder))} cannot be listed ({error.strerror or error}): make it "
            "readable, or take it out."
        ) from error
    for path, is_link, is_folder in found:
        if not is_folder:
            yield path
        elif _is_hidden(path.name):
            continue
        elif is_link and (linked or folder.resolve().is_relative_to(path.resolve())):
            yield path
        else:
            yield from _below(path, linked=linked or is_link)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Links followed; False where one cannot be."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def leads_out(name: str) -> bool:
    """Whether a path in a zip climbs out of it or is an absolute one."""
    path = PurePosixPath(name.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts


def _is_hidden(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return any(part.startswith(".") or part in _SYSTEMS_OWN for part in parts)
