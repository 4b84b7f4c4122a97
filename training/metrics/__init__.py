"""Independent measures of generated pictures: one file per measure, each a pure function.

None of them was trained with the generator, and none means anything alone: `evaluate` takes each
between generated and real pictures and between two disjoint sets of real ones, of equal size.
Some need the extra `eval`, whose packages are imported when first used; what is missing is said in
a sentence and left out. `quick` takes a few of them while a generator is trained.

Shapes: N pictures of one set, M of another, E the length of an embedding, D of a picture's shades;
see also `models`.
"""
