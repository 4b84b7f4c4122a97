"""Independent measures of generated pictures: one file per measure, each a pure function.

None of them was trained with the generator, and none means anything alone: `evaluate` takes each
between generated and real pictures and between two disjoint sets of real ones, of equal size.
Some need the extra `eval`, whose packages are imported when first used.

Shapes: N pictures of one set, M of another, E the length of an embedding; see also `models`.
"""
