"""What is written into every picture and read back: made by a machine, by which, from what.

Knows nothing about pixels, or about whether a claim is true. No timestamps: the same face is the
same bytes. Claims stand in an XMP packet, in every format; PNG has them as text fields too.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from xml.parsers import expat
from xml.sax.saxutils import escape

from service.containers import MAX_METADATA, inspect

SOFTWARE = "Visage"
DIGITAL_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
"""IPTC's term for media made by a trained model."""
NAMESPACE = "urn:visage:xmp:1.0/"
"""Ours in the XMP packet: `Seed`, `Model` and `Labels`."""
MAX_CLAIM = 4096
"""Characters of one claim; longer ones are neither written nor believed."""

_SEPARATOR = " "
_MAX_DEPTH = 32


@dataclass(frozen=True)
class Claims:
    """What a picture says it was made from, percent-encoded ASCII as in the X- headers."""

    seed: str
    """A seed, or for what no seed makes a name such as `latent-0123456789abcdef`."""
    model: str
    """`name@digest12`."""
    labels: str
    """`gender=female&age=60%2B`; empty for a model without attributes."""

    def __post_init__(self) -> None:
        for name in ("seed", "model", "labels"):
            text = getattr(self, name)
            if len(text) > MAX_CLAIM or not (text.isascii() and text.isprintable()):
                raise ValueError(f"{name} is not up to {MAX_CLAIM} characters of printable ASCII")
        if not self.seed or not self.model:
            raise ValueError("a picture without seed or model claims nothing")


def xmp_packet(claims: Claims) -> bytes:
    """The XMP packet of a picture (ISO 16684-1), without padding: nothing rewrites it in place."""
    fields = [("Seed", claims.seed), ("Model", claims.model), ("Labels", claims.labels)]
    ours = "".join(f"<visage:{k}>{escape(v)}</visage:{k}>" for k, v in fields if v)
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about=""'
        ' xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
        f' xmlns:visage="{NAMESPACE}">'
        f"<Iptc4xmpExt:DigitalSourceType>{DIGITAL_SOURCE_TYPE}</Iptc4xmpExt:DigitalSourceType>"
        f"{ours}</rdf:Description></rdf:RDF></x:xmpmeta>"
        '<?xpacket end="r"?>'
    ).encode()


def png_text(claims: Claims) -> Sequence[tuple[str, str]]:
    """Keyword and text of each tEXt field of a PNG; no Labels where there are none."""
    fields = [("Software", SOFTWARE), ("Seed", claims.seed), ("Model", claims.model)]
    return [*fields, ("Labels", claims.labels)] if claims.labels else fields


def read_claims(content: bytes) -> Claims | None:
    """What the bytes of a PNG, WebP or JPEG claim, animated ones too; None where nothing.

    Takes any bytes at all: no pixel is decoded, no exception escapes, and the work is bounded
    by `MAX_METADATA`. The XMP packet counts before the text fields, which other programs lose.
    """
    container = inspect(content)
    if container is None:
        return None
    if container.xmp is not None and (claims := _claims(_read_xmp(container.xmp))):
        return claims
    text = container.text
    return _claims(dict(text)) if text.get("Software") == SOFTWARE else None


def _claims(fields: dict[str, str]) -> Claims | None:
    with suppress(KeyError, ValueError):
        return Claims(fields["Seed"], fields["Model"], fields.get("Labels", ""))
    return None


def _read_xmp(packet: bytes) -> dict[str, str]:
    """Our properties in an XMP packet, written as elements or as attributes.

    {} where it is not well-formed, nested beyond reason, or has a document type: without one
    there are no entities, so nothing can expand or fetch.
    """
    found: dict[str, str] = {}
    open_elements: list[str] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        open_elements.append(name)
        if len(open_elements) > _MAX_DEPTH:
            raise _UnwantedError
        for key, value in attributes.items():
            if key.startswith(NAMESPACE + _SEPARATOR):
                found.setdefault(key.partition(_SEPARATOR)[2], value)

    def end(_: str) -> None:
        open_elements.pop()

    def characters(text: str) -> None:
        name = open_elements[-1]
        if name.startswith(NAMESPACE + _SEPARATOR):
            key = name.partition(_SEPARATOR)[2]
            found[key] = found.get(key, "") + text

    def refuse(*_: Any) -> None:
        raise _UnwantedError

    parser = expat.ParserCreate("utf-8", _SEPARATOR)
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = characters
    parser.StartDoctypeDeclHandler = refuse
    parser.buffer_text = True
    try:
        parser.Parse(packet[:MAX_METADATA], True)
    except (expat.ExpatError, _UnwantedError):
        return {}
    return found


class _UnwantedError(Exception):
    """Ends the parsing of a packet that is not worth reading on."""
