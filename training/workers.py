"""Names of a source's files → encoded pictures, in order, by as many processes as there are.

They are spawned, because forking a process that has torch's threads may deadlock. Knows nothing of
labels or of the archive.
"""

import multiprocessing
import signal
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path

from training.curation import Curation
from training.pictures import Picture, encode_picture
from training.source_files import SourceFiles

CHUNK = 32  # pictures handed to a process at once: little overhead, little to hold in memory

_files: SourceFiles | None = None  # one per process, opened by its initializer


def encode_all(
    path: Path, names: list[str], resolution: int, workers: int, curation: Curation
) -> Iterator[Picture | str]:
    """The pictures in the order of their names, or why there is none; a few chunks ahead."""
    chunks = [names[i : i + CHUNK] for i in range(0, len(names), CHUNK)]
    workers = min(workers, len(chunks))
    if workers <= 1:
        with SourceFiles(path) as files:
            for name in names:
                yield _encode_file(files, name, resolution, curation)
        return
    pool = ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), _start_worker, (path,)
    )
    pending: deque[Future[list[Picture | str]]] = deque()
    try:
        for chunk in chunks:
            pending.append(pool.submit(_encode_chunk, chunk, resolution, curation))
            if len(pending) > 4 * workers:
                yield from pending.popleft().result()
        while pending:
            yield from pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start_worker(path: Path) -> None:
    global _files
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    _files = SourceFiles(path)


def _encode_chunk(names: list[str], resolution: int, curation: Curation) -> list[Picture | str]:
    if _files is None:
        raise RuntimeError("this process was not started by encode_all")
    return [_encode_file(_files, name, resolution, curation) for name in names]


def _encode_file(
    files: SourceFiles, name: str, resolution: int, curation: Curation
) -> Picture | str:
    try:
        data = files.read(name)
    except Exception as error:  # a damaged or encrypted zip entry raises almost anything
        return f"unreadable: {str(error) or type(error).__name__}"
    return encode_picture(data, resolution, curation)
