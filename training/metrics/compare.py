"""Every measure of one set of pictures against a reference, as rows of a table.

The rows are taken for generated pictures and for real ones that stand in their place: a figure is
read by its distance to that baseline. It knows nothing of where the pictures come from.
"""

from training.metrics.face_figures import face_and_label_figures, novelty_figures
from training.metrics.feature_figures import feature_figures
from training.metrics.figure import Figure, PictureSet
from training.metrics.pixel_figures import distance_figures, variety_figures


def measure(pictures: PictureSet, reference: PictureSet) -> list[Figure]:
    """All measures that apply: each needs its judge, some need attributes with certain values."""
    figures = [*face_and_label_figures(pictures)]
    for noun, embedding in pictures.embeddings.items():
        figures += feature_figures(noun, embedding, reference.embeddings[noun])
    return [
        *figures,
        *distance_figures(pictures, reference),
        *novelty_figures(pictures, reference),
        *variety_figures(pictures, reference),
    ]
