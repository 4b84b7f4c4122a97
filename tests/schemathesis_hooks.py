"""What schemathesis must know of the API beside the document. Loaded by schemathesis itself."""

import schemathesis
from schemathesis.generation import GenerationMode


@schemathesis.hook
def filter_case(context, case) -> bool:
    """Leave out bodies that are taken for valid and are not.

    JSON Schema cannot say that a list of labels has an entry for each item; and schemathesis reads
    bounds as floats, so what it takes for less than 2^64 may be more.
    """
    body = case.body
    if case.meta.generation.mode is not GenerationMode.POSITIVE or not isinstance(body, dict):
        return True
    seeds, labels = body.get("seeds") or (), body.get("labels")
    if any(isinstance(seed, (int, float)) and seed >= 2**64 for seed in seeds):
        return False
    items = body.get("count") or len(seeds or body.get("latents") or ())
    return not isinstance(labels, list) or len(labels) == items
