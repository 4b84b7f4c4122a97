"""What is written into every picture: that it was made by a machine, by which, and from what.

Knows nothing about PNG framing or pixels. No timestamps: the same face is the same bytes.
"""

from collections.abc import Sequence

SOFTWARE = "Visage"
DIGITAL_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
"""IPTC's term for media made by a trained model."""

XMP_KEYWORD = "XML:com.adobe.xmp"
XMP = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about=""'
    ' xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">'
    f"<Iptc4xmpExt:DigitalSourceType>{DIGITAL_SOURCE_TYPE}</Iptc4xmpExt:DigitalSourceType>"
    "</rdf:Description></rdf:RDF></x:xmpmeta>"
    '<?xpacket end="r"?>'
)
"""The XMP packet, the same for every picture and every format."""


def text_fields(*, seed: str, model: str, labels: str) -> Sequence[tuple[str, str]]:
    """Keyword and text pairs for the picture; all ASCII, as in the X- headers.

    `seed` and `labels` come percent-encoded, `model` as name@digest12. A model without
    attributes has no Labels field.
    """
    fields = [("Software", SOFTWARE), ("Seed", seed), ("Model", model)]
    return [*fields, ("Labels", labels)] if labels else fields
