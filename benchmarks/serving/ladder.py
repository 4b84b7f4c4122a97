"""How cost grows with resolution, 64 to 1024 px, random weights; and PNG beside Pillow's.

    python -m benchmarks.serving.ladder [--most 1024] [--report ladder.json]

For each resolution in one run: the bare engine, the service beside it with new faces at 64 clients
and at one, and the encoder. Read the ratios; the service's picture is loaded by wrk on these cores.
"""

import argparse
import io
import json
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.serving.load import closed_loop, per_second
from benchmarks.serving.servers import Ask, service
from models import Generator, GeneratorConfig, load_checkpoint, save_checkpoint
from service.engine import load_engine
from service.png import encode_png

FACES_64 = Path(__file__).resolve().parents[2] / "models" / "checkpoints" / "faces-64"


def random_checkpoint(folder: Path, resolution: int) -> Path:
    """The shipped network grown on to `resolution`, with random weights; to 64 px itself."""
    shipped = load_checkpoint(FACES_64)
    if resolution == shipped.config.resolution:
        return FACES_64
    config = GeneratorConfig(**(vars(shipped.config) | {"resolution": resolution}))
    picture = io.BytesIO()
    Image.new("RGB", (16, 16)).save(picture, "PNG")
    target = folder / f"random-{resolution}"
    save_checkpoint(
        target,
        generator=Generator(config),
        attributes=shipped.attributes,
        joint_prior=shipped.joint_prior,
        provenance={"licence": "CC0-1.0"},
        readme="# random weights",
        samples_png=picture.getvalue(),
    )
    return target


def face(resolution: int) -> np.ndarray:
    """image_HWC: one of the shipped faces, as the service answers `size=`."""
    sheet = Image.open(FACES_64 / "samples.png").convert("RGB")
    native = sheet.crop((0, 128, 128, 256)).resize((64, 64), Image.Resampling.BOX)
    return np.asarray(native.resize((resolution, resolution), Image.Resampling.LANCZOS))


def photograph(resolution: int) -> np.ndarray:
    """image_HWC: that face with a camera's grain, two levels deep, which enlarging leaves out."""
    grain_HWC = np.random.default_rng(0).normal(0, 2, (resolution, resolution, 3))
    return (face(resolution) + grain_HWC).round().clip(0, 255).astype(np.uint8)


def sheet(resolution: int) -> np.ndarray:
    """image_HWC: shipped faces side by side at their own sharpness."""
    faces = Image.open(FACES_64 / "samples.png").convert("RGB")
    return np.asarray(faces.resize((resolution, resolution), Image.Resampling.LANCZOS))


def pillow(image_HWC: np.ndarray) -> bytes:
    """A PNG at Pillow's default."""
    buffer = io.BytesIO()
    Image.fromarray(image_HWC).save(buffer, "PNG")
    return buffer.getvalue()


def measure(checkpoint: Path, resolution: int, seconds: float) -> dict[str, float]:
    """One rung: pictures a second, and milliseconds a picture for one client."""
    engine = load_engine(checkpoint, threads=torch.get_num_threads())
    spec = engine.spec
    random, figures = np.random.default_rng(0), {}
    for name, count in (("engine", engine.tile), ("engine, one", 1)):
        z = random.standard_normal((count, spec.latent_dim)).astype(np.float32)
        y = np.zeros((count, spec.space.label_dim), np.float32)
        figures[name] = per_second(partial(engine.generate, z, y), len(z), seconds)
    del engine  # the service takes its place in memory
    ask = Ask("/v1/faces/SEED.png")
    with service(checkpoint, reservoir=0) as running:
        closed_loop(running.url, ask, 64, seconds / 2)
        many, one = (closed_loop(running.url, ask, clients, seconds) for clients in (64, 1))
        figures |= {"service": many.rate, "failed": many.failed + one.failed}
        figures |= {"one client, ms": one.p50 * 1e3, "resident, MB": running.resident() / 2**20}
    for name, picture in (("face", face), ("photograph", photograph), ("sheet", sheet)):
        image = picture(resolution)
        ours, theirs = (
            per_second(partial(encoder, image), 1, seconds / 2) for encoder in (encode_png, pillow)
        )
        figures[f"png of a {name}, speed"] = ours / theirs
        figures[f"png of a {name}, size"] = len(encode_png(image)) / len(pillow(image))
    return figures


def main() -> None:
    """Measure every rung, print it, and write a JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--most", type=int, default=1024, help="the last resolution")
    parser.add_argument("--seconds", type=float, default=6.0, help="of each measurement")
    parser.add_argument("--report", type=Path, default=Path("ladder.json"))
    options = parser.parse_args()
    torch.manual_seed(0)
    report: dict[int, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        resolution = 64
        while resolution <= options.most:
            checkpoint = random_checkpoint(Path(folder), resolution)
            row = report[resolution] = measure(checkpoint, resolution, options.seconds)
            print(
                f"{resolution:5} px  engine {row['engine']:7.1f}/s  one {row['engine, one']:6.1f}/s"
                f"  service {row['service']:7.1f}/s = {row['service'] / row['engine']:.2f}"
                f"  one client +{row['one client, ms'] - 1e3 / row['engine, one']:.1f} ms"
                f"  {row['resident, MB']:.0f} MB  png {row['png of a face, speed']:.0f}x Pillow,"
                f" with grain {row['png of a photograph, speed']:.0f}x"
                f"  failed {row['failed']:.0f}",
                flush=True,
            )
            resolution *= 2
    options.report.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
