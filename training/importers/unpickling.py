"""Reads pickles of strangers without running anything in them.

A pickle may name any function of Python to be called. Here a short list of harmless ones is known,
and the first other name ends the reading. torch's own files go through torch's restricted reader
(`weights_only`) with one inert class added; plain pickles through the one below.
"""

import collections
import io
import pickle
import pickletools
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from training.errors import ImportFileError

LARGEST = 4 << 30
"""Bytes; the largest published file has a third of it."""
TORCH_MAGIC = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""How torch's older files begin, after the protocol's two bytes."""


class BaseConfig:
    """Stands in for pytorch_GAN_zoo's settings: attributes and nothing else."""


class Network:
    """Stands in for the official code's network: keeps its state as it is, unread."""

    state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


def read_pickle(path: Path) -> Any:
    """What the file holds, made of plain containers, tensors, arrays and the two classes above;
    plain pickles give arrays as `StoredArray`.

    Raises ImportFileError: missing, too large, damaged, or naming anything not on the list.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(2 + len(TORCH_MAGIC))
    except OSError as error:
        raise ImportFileError(f"{path} cannot be read: {error.strerror}") from error
    if size > LARGEST:
        raise ImportFileError(f"{path} has {size >> 30} GiB: no file of weights is that large")
    try:
        if zipfile.is_zipfile(path):
            _check_zip(path)
            return _read_torch(path)
        if start[2:] == TORCH_MAGIC:
            return _read_torch(path)
        data = path.read_bytes()
        _check_memo(data)
        return _Restricted(io.BytesIO(data), encoding="latin1").load()
    except ImportFileError:
        raise
    # A damaged pickle raises whatever the step raises at which it stops making sense.
    except Exception as error:
        forbidden = re.search(r"GLOBAL ([\w.]+)", str(error))
        if forbidden:
            raise _refusal(forbidden.group(1)) from error
        kind = type(error).__name__
        raise ImportFileError(
            f"{path} is damaged or no file of weights ({kind}): get it again"
        ) from error


def _read_torch(path: Path) -> Any:
    known: list[Any] = [(BaseConfig, "models.utils.config.BaseConfig")]
    with torch.serialization.safe_globals(known):
        return torch.load(path, map_location="cpu", weights_only=True)


def _check_zip(path: Path) -> None:
    """torch stores its records as they are: one that is packed is a bomb, or not torch's."""
    with zipfile.ZipFile(path) as archive:
        for record in archive.infolist():
            if record.compress_type != zipfile.ZIP_STORED or record.file_size > LARGEST:
                raise ImportFileError(
                    f"{path} holds {record.filename!r} compressed, which torch never does: refused"
                )


def _check_memo(data: bytes) -> None:
    """Python's reader makes room for everything up to the greatest number under which something
    is to be remembered: ten bytes could ask for 64 GiB. Writers count up from 0."""
    for step, (opcode, argument, _) in enumerate(pickletools.genops(data)):
        if opcode.name in ("PUT", "LONG_BINPUT") and (argument is None or argument > step):
            raise pickle.UnpicklingError("a place in the memo that nobody needs")


def _refusal(name: str) -> ImportFileError:
    return ImportFileError(
        f"the file asks for {name} to be called, which weights have no need of: refused; nothing "
        "in it was run"
    )


class _Kind:
    """Stands in for numpy's dtype: little-endian numbers only. An array of objects would be a
    pickle of its own, one of records can ask numpy for anything."""

    def __init__(self, code: Any, *_: Any) -> None:
        if not re.fullmatch(r"[fiub][1248]", str(code)):
            raise pickle.UnpicklingError("an array of something other than numbers")
        self.code = str(code)

    def __setstate__(self, state: Any) -> None:
        if state[1] not in ("<", "|", "=") or any(part is not None for part in state[2:5]):
            raise pickle.UnpicklingError("an array of something other than plain numbers")


class StoredArray:
    """Stands in for numpy's array: `value` is one once the file has told all of it."""

    value: NDArray[Any] | None = None

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, is_fortran, data = state
        if not isinstance(kind, _Kind):
            raise pickle.UnpicklingError("an array without a kind")
        flat = np.frombuffer(_bytes(data), dtype=f"<{kind.code}")
        self.value = flat.reshape(shape, order="F" if is_fortran else "C")


def _array(subtype: Any, *_: Any) -> StoredArray:
    """numpy's `_reconstruct`: an empty array, which the next step fills."""
    if subtype is not StoredArray:
        raise pickle.UnpicklingError("an array that is no plain one")
    return StoredArray()


def _scalar(kind: _Kind, data: Any) -> float:
    return float(np.frombuffer(_bytes(data), dtype=f"<{kind.code}", count=1)[0])


def _latin1(text: str, encoding: str) -> bytes:
    """How older pickles spell bytes."""
    if encoding != "latin1":
        raise pickle.UnpicklingError("bytes in another spelling")
    return text.encode("latin1")


def _bytes(data: Any) -> bytes:
    if isinstance(data, str):
        return data.encode("latin1")
    if not isinstance(data, bytes):  # of a number, bytes() would make so many zeros
        raise pickle.UnpicklingError("numbers that are no bytes")
    return data


ALLOWED: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": collections.OrderedDict,
    "_codecs.encode": _latin1,
    "numpy.ndarray": StoredArray,
    "numpy.dtype": _Kind,
    "numpy.core.multiarray._reconstruct": _array,
    "numpy._core.multiarray._reconstruct": _array,
    "numpy.core.multiarray.scalar": _scalar,
    "numpy._core.multiarray.scalar": _scalar,
    "tfutil.Network": Network,
}


class _Restricted(pickle.Unpickler):
    """Knows `ALLOWED` and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        full = f"{module}.{name}"
        if full not in ALLOWED:
            raise _refusal(full)
        return ALLOWED[full]
