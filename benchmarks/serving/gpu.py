"""What is left of a device's speed on the way to a client: forward, engine, PNG and HTTP.

    python -m benchmarks.serving.gpu [--seconds 4] [--resolution 1024] [--report gpu.json]

For a network of the progressive-GAN paper's size with random weights, and for faces-128: the bare
forward whose pictures stay where they are (on CUDA bf16, channels last, one graph: the limit), the
engine with its copies, torch eager, the encoder, and the service with new faces at 64 clients and
at one. The load is made by wrk on the same cores: read the ratios. What fails is said, not the end.
"""

import argparse
import io
import json
import os
import statistics
import tempfile
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.serving.load import closed_loop, per_second
from benchmarks.serving.servers import ROOT, Ask, service
from models import Checkpoint, Generator, GeneratorConfig, load_checkpoint, save_checkpoint
from models import to_pixels as pixels
from service.engine import load_engine
from service.engine_protocol import Finish, Overlapping
from service.png import encode_png

FACES_128 = ROOT / "models" / "checkpoints" / "faces-128"
NEW_FACE = Ask("/v1/faces/SEED.png")
TILES = (1, 4, 8, 16, 32, 64)
CUDA = torch.cuda.is_available()
DEVICE, DTYPE = ("cuda", torch.bfloat16) if CUDA else ("cpu", torch.float32)
CORES = len(os.sched_getaffinity(0))
REPLAYS = 10
"""Between two waits for the device."""
NEAR = 0.97
"""The best tile is the smallest that makes so much of the highest rate."""


class Report:
    """Figures of one checkpoint: printed and written as soon as each is known."""

    def __init__(self, path: Path, name: str, whole: dict[str, dict[str, float]]) -> None:
        self._path, self.name, self._whole = path, name, whole
        self.figures: dict[str, float] = whole.setdefault(name, {})

    def tell(self, what: str, value: float, unit: str) -> None:
        self.figures[what] = value
        print(f"{self.name:14} {what:46} {value:10.2f} {unit}", flush=True)
        self._path.write_text(json.dumps(self._whole, indent=2) + "\n", encoding="utf-8")

    def ratio(self, what: str, above: str, below: str) -> None:
        if above in self.figures and self.figures.get(below):
            self.tell(what, self.figures[above] / self.figures[below], "")


class Forward:
    """A generator whose pictures stay on the device; on CUDA its calls are one graph."""

    def __init__(self, generator: Generator, tile: int) -> None:
        config, dtype = generator.config, generator.dense.bias.dtype
        self._generator = generator
        self._z = torch.randn(tile, config.latent_dim, device=DEVICE, dtype=dtype)
        labels = torch.zeros(tile, config.label_dim, device=DEVICE, dtype=dtype)
        self._y = labels if config.label_dim else None
        self._graph = None

    @torch.inference_mode()
    def recorded(self) -> "Forward":
        if CUDA:
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(3):
                    self.once()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, stream=stream):
                self.image = self.once()
            self._graph = graph
        return self

    @torch.inference_mode()
    def once(self) -> torch.Tensor:
        return self._generator(self._z, self._y)

    def __call__(self) -> None:
        for _ in range(REPLAYS if CUDA else 1):
            self.once() if self._graph is None else self._graph.replay()
        if CUDA:
            torch.cuda.synchronize()

    def per_second(self, seconds: float) -> float:
        return per_second(self, len(self._z) * (REPLAYS if CUDA else 1), seconds)


def paper(folder: Path, resolution: int) -> Path:
    """A checkpoint of the paper's size: GeneratorConfig's own defaults, no labels."""
    picture = io.BytesIO()
    Image.new("RGB", (16, 16)).save(picture, "PNG")
    torch.manual_seed(0)
    save_checkpoint(
        folder / f"paper-{resolution}",
        generator=Generator(GeneratorConfig(resolution)),
        attributes=(),
        joint_prior=None,
        provenance={"licence": "CC0-1.0"},
        readme="# random weights",
        samples_png=picture.getvalue(),
    )
    return folder / f"paper-{resolution}"


def forwards(checkpoint: Checkpoint, report: Report, seconds: float) -> None:
    """The limit: nothing but the folded generator, tile by tile; and torch eager beside it."""
    folded = checkpoint.build().fold().to(DEVICE, DTYPE).to(memory_format=torch.channels_last)
    for tile in TILES:
        try:
            rate = Forward(folded, tile).recorded().per_second(seconds)
        except torch.OutOfMemoryError:
            print(f"tile {tile}: out of memory", flush=True)
            break
        report.tell(f"forward, tile {tile}", rate, "images/s")
    report.tell("forward, best", max(report.figures.values()), "images/s")
    if CUDA:  # at a small tile, or the trying takes longest of all
        with torch.backends.cudnn.flags(enabled=True, benchmark=True):
            tuned = Forward(folded, 8).recorded().per_second(seconds)
        report.tell("forward, tile 8, kernels tried out", tuned, "images/s")
    eager = checkpoint.build().to(DEVICE)
    for batch in (1, 8):
        report.tell(f"eager fp32, {batch}", Forward(eager, batch).per_second(seconds), "images/s")


def begun(engine, z: np.ndarray, y: np.ndarray, under_way: deque[Finish]) -> None:
    """One tile in, and the one before it out, as the service has it."""
    if not isinstance(engine, Overlapping):
        engine.generate(z, y)
        return
    under_way.append(engine.begin(z, y))
    if len(under_way) > 1:
        under_way.popleft()()


def engines(folder: Path, report: Report, seconds: float) -> None:
    """The engine with its copies, two tiles on their way; then one picture at a time."""
    random, rates, alone = np.random.default_rng(0), {}, {}
    for wanted in TILES:
        engine = load_engine(folder, tile=wanted, threads=CORES, critic=False)
        tile, spec = (wanted if CUDA else engine.tile), engine.spec
        z = random.standard_normal((tile, spec.latent_dim)).astype(np.float32)
        y = np.zeros((tile, spec.space.label_dim), np.float32)
        under_way: deque[Finish] = deque()
        try:
            engine.warm_up()
            rate = per_second(partial(begun, engine, z, y, under_way), tile, seconds)
            while under_way:
                under_way.popleft()()
        except Exception as error:
            print(f"tile {tile}: {type(error).__name__}: {error}", flush=True)
            break
        report.tell(f"engine, tile {tile}", rate, "images/s")
        report.ratio(
            f"engine / forward, tile {tile}", f"engine, tile {tile}", f"forward, tile {tile}"
        )
        took = []
        while sum(took) < seconds / 2:
            start = time.perf_counter()
            engine.generate(z[:1], y[:1])
            took.append(time.perf_counter() - start)
        rates[tile], alone[tile] = rate, statistics.median(took) * 1e3
        report.tell(f"one picture, tile {tile}", alone[tile], "ms")
        if not CUDA:  # its tile is not ours to choose
            break
    if rates:
        best = next(tile for tile in rates if rates[tile] >= NEAR * max(rates.values()))
        report.tell("best tile", best, "pictures")
        report.tell("engine, best", rates[best], "images/s")
        report.tell("one picture, best tile", alone[best], "ms")


def encoder(checkpoint: Checkpoint, report: Report, seconds: float) -> None:
    """PNG alone, of this generator's pictures, on one thread and on all cores."""
    with torch.inference_mode():
        made = Forward(checkpoint.build().to(DEVICE), 8).once()
    images = list(pixels(made).cpu().numpy())
    report.tell("png, KiB", len(encode_png(images[0])) / 2**10, "")
    report.tell(
        "png, one thread", per_second(lambda: encode_png(images[0]), 1, seconds), "images/s"
    )
    many = [images[i % len(images)] for i in range(4 * CORES)]
    with ThreadPoolExecutor(CORES) as pool:
        rate = per_second(lambda: list(pool.map(encode_png, many)), len(many), seconds)
    report.tell(f"png, {CORES} threads", rate, "images/s")


def served(folder: Path, report: Report, seconds: float, processes: int = 1) -> None:
    """New faces over HTTP, at the engine's best tile."""
    tile = int(report.figures.get("best tile", 8))
    settings = {"reservoir": 0, "tile": tile, "threads": CORES, "encoder_threads": min(CORES, 64)}
    with service(folder, **settings, processes=processes) as running:
        of = "service" if processes == 1 else f"service, {processes} processes"
        report.tell(f"{of}, first face after", running.seconds_to_ready, "s")
        closed_loop(running.url, NEW_FACE, 64, seconds / 2)
        many = closed_loop(running.url, NEW_FACE, 64, seconds)
        report.tell(f"{of}, 64 clients", many.rate, "images/s")
        report.tell(f"{of}, 64 clients, p99", many.p99 * 1e3, "ms")
        one = closed_loop(running.url, NEW_FACE, 1, seconds)
        report.tell(f"{of}, one client, p50", one.p50 * 1e3, "ms")
        report.tell(f"{of}, failed", many.failed + one.failed, "requests")
        report.tell(f"{of}, resident", running.resident() / 2**20, "MB")
        report.ratio(f"{of} / forward", f"{of}, 64 clients", "forward, best")
        report.ratio(f"{of} / engine", f"{of}, 64 clients", "engine, best")
    for what in ("tile 1", "best tile"):
        if f"one picture, {what}" in report.figures:
            added = one.p50 * 1e3 - report.figures[f"one picture, {what}"]
            report.tell(f"{of}, one client adds to {what}", added, "ms")


def main() -> None:
    """Measure both checkpoints, print, and write a JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each load; else a quarter")
    parser.add_argument("--resolution", type=int, default=1024, help="of the paper's network")
    parser.add_argument("--processes", type=int, default=1, help="measure so many on a device too")
    parser.add_argument("--report", type=Path, default=Path("gpu.json"))
    options = parser.parse_args()
    name = torch.cuda.get_device_name() if CUDA else "no CUDA device"
    print(f"{name}, torch {torch.__version__}, {CORES} cores", flush=True)
    reports: list[Report] = []
    try:
        with tempfile.TemporaryDirectory() as temporary:
            measure(options, Path(temporary), reports)
    except KeyboardInterrupt:
        print("cut off", flush=True)
    print("\nthe ratios, and what HTTP adds for one client")
    for report in reports:
        for what, value in report.figures.items():
            if " / " in what or "adds" in what:
                print(f"{report.name:14} {what:54} {value:8.2f}")


def measure(options: argparse.Namespace, temporary: Path, reports: list[Report]) -> None:
    """Both checkpoints, one after the other; then, where asked, with several processes."""
    whole, brief = {}, options.seconds / 4
    folders = [paper(temporary, options.resolution), FACES_128]
    reports += [Report(options.report, folder.name, whole) for folder in folders]
    for folder, report in zip(folders, reports, strict=True):
        checkpoint = load_checkpoint(folder)
        attempt(partial(forwards, checkpoint, report, brief))
        attempt(partial(engines, folder, report, brief))
        report.ratio("engine / eager, 8", "engine, tile 8", "eager fp32, 8")
        attempt(partial(encoder, checkpoint, report, brief))
        if CUDA:
            torch.cuda.empty_cache()
        attempt(partial(served, folder, report, options.seconds))
    if options.processes > 1:
        for folder, report in zip(folders, reports, strict=True):
            attempt(partial(served, folder, report, options.seconds / 2, options.processes))


def attempt(part: partial[None]) -> None:
    """Say what went wrong and go on: the other parts need not wait for it to be mended."""
    try:
        part()
    except Exception as error:
        print(f"{part.func.__name__}: {type(error).__name__}: {error}", flush=True)


if __name__ == "__main__":
    main()
