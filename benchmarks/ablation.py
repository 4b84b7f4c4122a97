"""Which parts of the recipe matter: three losses, with and without growing and augmentation.

    python -m benchmarks.ablation --data data/faces.zip --out runs/ablation --kimg 36

Twelve runs that see the same pictures in the same order and share everything else: networks,
labels, optimiser, seed. A finished run is passed over, an interrupted one goes on from its last
snapshot. The folder then holds a run folder for each, and of all that are finished `table.json`,
`table.md` and `samples.webp` (the same seeds from each, nothing picked), with a closer sheet for
each loss. docs/ablation.md tells what came out.
"""

import argparse
import itertools
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console

from training.config import AugmentConfig, LossConfig, NetworkConfig, ScheduleConfig, TrainConfig
from training.dataset import Dataset
from training.diagnostics import NotFiniteError
from training.errors import ConfigError, DatasetError, SnapshotError, TrainingError
from training.export import averaged_generator, check_grown
from training.gallery import render
from training.grids import grid, webp_bytes, with_row_names
from training.label_draw import draw_labels
from training.metrics.diversity import distance_by_label, thumbnails, value_names
from training.metrics.faces import embed_face, face_rate, find_face
from training.metrics.frechet import frechet_distance
from training.metrics.quick import quick_metrics
from training.plots import read_metrics
from training.snapshot import list_snapshots, load_newest
from training.trainer import read_run, train

CPU = torch.device("cpu")
LOSSES = {
    "minimax": LossConfig(kind="minimax", r1_gamma=0.0),
    "wgan-gp": LossConfig(kind="wgan_gp", r1_gamma=0.0),
    "non-saturating-r1": LossConfig(kind="non_saturating"),
}
RESULT = "result.json"
BASELINE = "real pictures"
SAMPLES, FACES = 1000, 250  # pictures of each set; of them, those that dlib looks at
COLUMNS, SCALE, QUALITY = 16, 2, 80  # of a sheet
LATEST = 5  # lines of metrics.jsonl, one in each kimg, whose mean counts as the end
Figures = dict[str, float]
Images = NDArray[np.uint8]
Indices = NDArray[np.int64]
Result = dict[str, Any]
HEADINGS = {
    "swd": "SWD ×10³",
    "frechet_faces": "Fréchet, faces ×10³",
    "faces": "face found, %",
    "diversity": "diversity",
    "diversity_lowest": "of the poorest label",
    "repetitions": "repetitions, %",
    "gradient_g": "gradient of G",
    "lead": "lead of D",
    "minutes": "minutes",
}


@dataclass(frozen=True)
class Variant:
    """One cell of the ablation."""

    loss: str
    growing: bool
    augmented: bool

    @property
    def name(self) -> str:
        """Also the name of its run folder."""
        return self.loss + "-growing" * self.growing + "-augmented" * self.augmented

    def config(self, kimg: float, resolution: int, fmap_base: int, seed: int) -> TrainConfig:
        """The whole run; only loss, schedule of growing and augmentation differ between variants.

        Growing from 8 px, each hold and fade has the same length, and the last 40 % are at full
        resolution. WGAN-GP and minimax come without R1, as their papers have them.
        """
        start = min(8, resolution) if self.growing else resolution
        doublings = (resolution // start).bit_length() - 1
        length = 0.6 * kimg / max(2 * doublings, 1)
        return TrainConfig(
            preset=f"ablation: {self.name}",
            network=NetworkConfig(
                resolution, latent_dim=64, label_embed_dim=32, fmap_base=fmap_base, fmap_max=128
            ),
            schedule=ScheduleConfig(
                total_kimg=kimg,
                start_resolution=start,
                hold_kimg=length,
                fade_kimg=length,
                batch_size=16,
            ),
            loss=LOSSES[self.loss],
            augment=AugmentConfig(mode="fixed" if self.augmented else "off"),
            seed=seed,
            holdout=500,
            sample_kimg=kimg / 5,
            metrics_kimg=kimg / 10,
        )


VARIANTS = [Variant(*cell) for cell in itertools.product(LOSSES, (False, True), (False, True))]


def run_variant(config: TrainConfig, dataset: Dataset, reference: Dataset, run: Path) -> bool:
    """Train it to its end, from where it stopped; False where a signal stopped it again.

    A run whose numbers break (NaN) ends there, and what it had saved until then is its result.
    """
    resume, broken = bool(list_snapshots(run)), None
    if (resume or (run / RESULT).is_file()) and read_run(run) != config:
        raise ConfigError(
            f"{run} was trained with other settings: choose another --out, or those it began with"
        )
    if (run / RESULT).is_file():
        return True
    try:
        stop = train(config, dataset, run, device=CPU, resume=resume, console=Console())
        if stop.signal is not None:
            return False
    except NotFiniteError as error:
        broken = str(error)
    sheet = pictures_of(run, config, dataset)
    figures = {} if sheet is None else look(*sheet, reference, config.network.resolution)
    result = {"broken": broken, "troubles": troubles_of(run), "figures": figures | log_figures(run)}
    _write(run / RESULT, json.dumps(result, indent=2))
    return True


def pictures_of(
    run: Path, config: TrainConfig, dataset: Dataset, count: int = SAMPLES
) -> tuple[Images, Indices] | None:
    """Pictures of seeds 0 … and their labels, as the service would draw both.

    None where the run has not reached its full resolution.
    """
    attributes, joint_prior = dataset.attributes(), dataset.joint_prior()
    try:
        snapshot, _ = load_newest(run)
        check_grown(run, snapshot, config)
    except SnapshotError:
        return None
    generator = averaged_generator(snapshot, config, dataset.label_dim)
    index_NA = [draw_labels(seed, attributes, joint_prior) for seed in range(count)]
    return render(generator, range(count), attributes, joint_prior), np.array(index_NA)


def real_pictures(dataset: Dataset, resolution: int, which: int) -> tuple[Images, Indices]:
    """Real ones, always the same: 0, those compared with; 1, others, to see what perfect is."""
    rows_N = np.random.default_rng(0).permutation(len(dataset))[which * SAMPLES :][:SAMPLES]
    return dataset.images(resolution)[rows_N], dataset.index_NA[rows_N]


def look(image_NHWC: Images, index_NA: Indices, reference: Dataset, resolution: int) -> Figures:
    """What can be measured of a set of pictures against real ones."""
    real_NHWC, real_index_NA = real_pictures(reference, resolution, 0)
    figures = quick_metrics(real_NHWC, image_NHWC)
    figures["repetitions"] *= 100
    real_ND, fake_ND = thumbnails(real_NHWC), thumbnails(image_NHWC)
    values = {attribute.name: attribute.values for attribute in reference.attributes()}
    for real_N, fake_N in zip(
        value_names(real_index_NA, values), value_names(index_NA, values), strict=True
    ):
        of_real = distance_by_label(real_ND, real_N)
        for label, distance in distance_by_label(fake_ND, fake_N).items():
            if label in of_real:
                figures[f"diversity/{label}"] = distance / of_real[label]
    of_labels = [figure for name, figure in figures.items() if name.startswith("diversity/")]
    figures["diversity_lowest"] = min(of_labels, default=figures["diversity"])
    figures["faces"], point_NE = faces_of(image_NHWC)
    figures["frechet_faces"] = 1e3 * frechet_distance(point_NE, real_faces(reference, resolution))
    return figures


def faces_of(image_NHWC: Images) -> tuple[float, NDArray[np.float64]]:
    """In how many of a hundred dlib finds a face, and the embeddings point_NE."""
    faces = [find_face(image_HWC) for image_HWC in image_NHWC[:FACES]]
    return 100 * face_rate(faces), np.array([embed_face(face) for face in faces])


@cache
def real_faces(reference: Dataset, resolution: int) -> NDArray[np.float64]:
    """Embeddings of the real pictures, taken once."""
    return faces_of(real_pictures(reference, resolution, 0)[0])[1]


def log_figures(run: Path) -> Figures:
    """What the run's own log says of its end, and how long its steps took."""
    rows = read_metrics(run)
    figures = {
        name: mean(row[name] for row in [r for r in rows if name in r][-LATEST:])
        for name in ("gradient_g", "score_real", "score_fake", "r_v")
    }
    figures["lead"] = figures["score_real"] - figures["score_fake"]
    # Medians, so that pauses and measuring do not count.
    rates, seen = defaultdict(list), 0
    for row in rows:
        rates[row["resolution"]].append((row["images_seen"] - seen, row["images_per_second"]))
        seen = row["images_seen"]
    figures["minutes"] = sum(
        sum(images for images, _ in pairs) / median(rate for _, rate in pairs) / 60
        for pairs in rates.values()
    )
    return figures


def troubles_of(run: Path) -> dict[str, int]:
    """What the run was warned of, and in how many of its log's lines."""
    return dict(Counter(name for row in read_metrics(run) for name in row.get("troubles", [])))


def table(results: Mapping[str, Result]) -> str:
    """Markdown: a row for each run."""
    lines = [
        "| run | " + " | ".join([*HEADINGS.values(), "said while training"]) + " |",
        "| --- |" + " --- |" * (len(HEADINGS) + 1),
    ]
    for name, result in results.items():
        figures = [result["figures"].get(key) for key in HEADINGS]
        cells = ["" if figure is None else f"{figure:.3g}" for figure in figures]
        said = [trouble.replace("_", " ") for trouble in result["troubles"]]
        said += ["broke off"] if result["broken"] else []
        lines.append(f"| {name} | " + " | ".join([*cells, ", ".join(said)]) + " |")
    return "\n".join(lines) + "\n"


def write_sheets(out: Path, runs: Sequence[str], dataset: Dataset) -> None:
    """One row of seeds from every run, and two for each loss."""
    shown = {}
    for name in runs:
        pictures = pictures_of(out / name, read_run(out / name), dataset, 2 * COLUMNS)
        if pictures is not None:
            shown[name] = pictures[0]
    sheets = {"samples": {name: images[:COLUMNS] for name, images in shown.items()}}
    for loss in LOSSES:
        sheets[f"samples-{loss}"] = {k: v for k, v in shown.items() if k.startswith(loss)}
    for file, of_runs in sheets.items():
        if of_runs:
            sheet = grid(np.concatenate([*of_runs.values()]), COLUMNS, SCALE)
            (out / f"{file}.webp").write_bytes(
                webp_bytes(with_row_names(sheet, [*of_runs]), QUALITY)
            )


def main() -> int:
    """Run what is not finished; then show all that is."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="an archive made by prepare")
    parser.add_argument("--reference", type=Path, help="archive to measure against; else --data")
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs and the table")
    parser.add_argument("--kimg", type=float, default=36.0, help="of each run")
    parser.add_argument("--resolution", type=int, default=32)
    parser.add_argument("--fmap-base", type=int, default=256, help="width of the networks")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=[v.name for v in VARIANTS])
    options = parser.parse_args()
    try:
        dataset = Dataset(options.data)
        reference = Dataset(options.reference) if options.reference else dataset
        if len(reference) < 2 * SAMPLES:
            raise DatasetError(
                f"{reference.archive} holds {len(reference)} pictures, measuring takes "
                f"{2 * SAMPLES}: name a fuller archive of the same kind with --reference"
            )
        for variant in VARIANTS:
            run = options.out / variant.name
            if options.only and variant.name not in options.only:
                continue
            print(f"— {variant.name}", flush=True)
            config = variant.config(
                options.kimg, options.resolution, options.fmap_base, options.seed
            )
            if not run_variant(config, dataset, reference, run):
                return 130
        report(options.out, dataset, reference, options.resolution)
    except TrainingError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def report(out: Path, dataset: Dataset, reference: Dataset, resolution: int) -> None:
    """The tables and sheets over all runs that are finished."""
    runs = [v.name for v in VARIANTS if (out / v.name / RESULT).is_file()]
    results = {name: json.loads((out / name / RESULT).read_text(encoding="utf-8")) for name in runs}
    real = look(*real_pictures(reference, resolution, 1), reference, resolution)
    results[BASELINE] = {"broken": None, "troubles": {}, "figures": real}
    _write(out / "table.json", json.dumps(results, indent=2))
    _write(out / "table.md", table(results))
    write_sheets(out, runs, dataset)
    print(table(results))


def _write(path: Path, text: str) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8")
    partial.rename(path)


if __name__ == "__main__":
    sys.exit(main())
