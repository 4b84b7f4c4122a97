"""Pictures → pictures signed by C2PA (spec.c2pa.org), where a certificate and a key are configured.

Knows nothing about how pictures are made. A signature says who vouches, XMP only what is said. It
holds fresh random numbers: signing the same picture twice gives the same pixels in other bytes, so
a signed picture has a weak ETag at most, and whoever compares must compare pixels. c2pa-python is
an optional dependency, imported only when signing is on.
"""

import io
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from service.encoder import encode
from service.errors import SettingsError
from service.provenance import DIGITAL_SOURCE_TYPE, SOFTWARE, Claims

if TYPE_CHECKING:
    import c2pa

_ELLIPTIC = {256: "es256", 384: "es384", 521: "es512"}
_MANIFEST: dict[str, Any] = {
    "claim_generator_info": [{"name": SOFTWARE}],
    "assertions": [
        {
            "label": "c2pa.actions.v2",
            "data": {
                "actions": [
                    {"action": "c2pa.created", "digitalSourceType": DIGITAL_SOURCE_TYPE},
                ]
            },
        }
    ],
}
_SETTINGS = {"builder": {"thumbnail": {"enabled": False}}}
"""A thumbnail would be larger than the picture."""


_AS_SIGNED = {"image/apng": "image/png"}
"""An animation in PNG is a PNG with more chunks; c2pa knows it by that name only."""


class Signer:
    """Signs PNG, APNG, WebP and JPEG. One may serve many threads."""

    def __init__(self, signer: "c2pa.Signer", context: "c2pa.Context", chain_pem: bytes) -> None:
        self.name = f"signed-{sha256(chain_pem).hexdigest()[:16]}"
        """Names the certificate: what an earlier one signed is not for the next one to give out."""
        self._signer = signer
        self._context = context

    def sign(self, content: bytes, media_type: str) -> bytes:
        """The same picture with a signed manifest in it: about 3 kB and a millisecond more."""
        import c2pa

        media_type = _AS_SIGNED.get(media_type, media_type)
        signed = io.BytesIO()
        with c2pa.Builder(_MANIFEST, self._context) as builder:
            builder.sign(self._signer, media_type, io.BytesIO(content), signed)
        return signed.getvalue()


def load_signer(certificate: Path | None, key: Path | None) -> Signer | None:
    """The signer of a PEM certificate chain (leaf first) and a PEM private key; None for neither.

    Raises SettingsError where only one is given, c2pa-python is not installed, or they are no
    good: a trial signature shows, before the first request does.
    """
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise SettingsError(
            "signing needs both VISAGE_C2PA_CERTIFICATE and VISAGE_C2PA_KEY: set the other one too"
        )
    try:
        import c2pa
    except ImportError:
        raise SettingsError(
            "VISAGE_C2PA_CERTIFICATE is set but c2pa-python is not installed: "
            "pip install '.[c2pa]' in the checkout, or unset it"
        ) from None
    chain_pem, key_pem = _read("CERTIFICATE", certificate), _read("KEY", key)
    try:
        info = c2pa.C2paSignerInfo(_algorithm(key_pem), chain_pem, key_pem, None)
        signer = Signer(c2pa.Signer.from_info(info), c2pa.Context(_settings()), chain_pem)
        signer.sign(_trial_picture(), "image/png")
    except (c2pa.C2paError, ValueError, TypeError) as error:
        raise SettingsError(
            f"VISAGE_C2PA_CERTIFICATE {certificate} and VISAGE_C2PA_KEY {key} cannot sign "
            f"({error}): C2PA needs the PEM chain of a signing certificate, leaf first, "
            "and its private key"
        ) from None
    return signer


def _read(which: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SettingsError(
            f"VISAGE_C2PA_{which} {path} cannot be read ({error.strerror}): name a PEM file"
        ) from None


def _settings() -> "c2pa.Settings":
    import c2pa

    return c2pa.Settings.from_dict(_SETTINGS)


def _algorithm(key_pem: bytes) -> bytes:
    """C2PA's name of the signature algorithm that belongs to the key. ValueError: none does."""
    # A dependency of c2pa-python, so it is there.
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    key = load_pem_private_key(key_pem, password=None)
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.key_size in _ELLIPTIC:
        return _ELLIPTIC[key.curve.key_size].encode()
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return b"ed25519"
    if isinstance(key, rsa.RSAPrivateKey):
        return b"ps256"
    raise ValueError("the key is neither EC P-256, P-384 or P-521, nor Ed25519, nor RSA")


def _trial_picture() -> bytes:
    return encode(np.zeros((1, 1, 3), np.uint8), "png", claims=Claims("0", "trial@0", ""))
