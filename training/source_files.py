"""The files of a folder or a zip, by name. Nothing is ever unpacked onto a disk.

Knows nothing of labels, nor whether a file is a picture.
"""

import os
import zipfile
from pathlib import Path, PurePosixPath
from types import TracebackType

from training.errors import DatasetError
from training.zip_members import check_size, read_member


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
        """Relative paths of all files, "/"-separated, sorted; hidden ones are left out."""
        if self._zip is not None:
            files = (info for info in self._zip.infolist() if info.filename)  # a name may be empty
            names = {info.filename for info in files if not info.is_dir()}
        else:
            names = {
                (Path(folder) / file).relative_to(self.path).as_posix()
                for folder, _, files in os.walk(self.path)
                for file in files
            }
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


def leads_out(name: str) -> bool:
    """Whether a path in a zip climbs out of it or is an absolute one."""
    path = PurePosixPath(name.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts


def _is_hidden(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return any(part.startswith(".") or part == "__MACOSX" for part in parts)
