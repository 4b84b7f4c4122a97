"""Signatures by certificates made here; skipped where the optional c2pa-python is not installed."""

import datetime as dt
import io
import json
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image
from serving import serve

from service.encoder import encode
from service.errors import SettingsError
from service.provenance import DIGITAL_SOURCE_TYPE, Claims, read_claims
from service.signing import load_signer

CLAIMS = Claims("7", "faces@0123", "")
FACE = np.random.RandomState(7).randint(0, 256, (24, 24, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def c2pa():
    return pytest.importorskip("c2pa")


@pytest.fixture(scope="module")
def keys(c2pa):
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    return {
        "P-256": ec.generate_private_key(ec.SECP256R1()),
        "P-384": ec.generate_private_key(ec.SECP384R1()),
        "Ed25519": ed25519.Ed25519PrivateKey.generate(),
        "RSA": rsa.generate_private_key(65537, 2048),
        "P-192": ec.generate_private_key(ec.SECP192R1()),
    }


@pytest.fixture(scope="module")
def certified(keys, tmp_path_factory):
    """Paths of a chain and a key, by the name of the key's kind."""
    from cryptography.hazmat.primitives import serialization as pem

    folder = tmp_path_factory.mktemp("certificates")
    root = keys["P-256"]

    def paths(kind):
        key, chain = folder / f"{kind}.key", folder / f"{kind}.pem"
        certificates = (_certificate(keys[kind], root, "leaf"), _certificate(root, root, "root"))
        chain.write_bytes(b"".join(c.public_bytes(pem.Encoding.PEM) for c in certificates))
        key.write_bytes(
            keys[kind].private_bytes(pem.Encoding.PEM, pem.PrivateFormat.PKCS8, pem.NoEncryption())
        )
        return chain, key

    return paths


def _certificate(key, root, name):
    from cryptography import x509
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    def named(name):
        attributes = {NameOID.COMMON_NAME: name, NameOID.ORGANIZATION_NAME: "Visage tests"}
        return x509.Name([x509.NameAttribute(k, v) for k, v in attributes.items()])

    leaf = name == "leaf"
    names = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    unused = dict.fromkeys((*names, "encipher_only", "decipher_only"), False)
    usage = x509.KeyUsage(
        digital_signature=leaf, key_cert_sign=not leaf, crl_sign=not leaf, **unused
    )
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(root.public_key())
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder(named("root"), named(name), key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=30))
        .add_extension(x509.BasicConstraints(not leaf, None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(issuer, critical=False)
    )
    if leaf:
        purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
        builder = builder.add_extension(purpose, critical=False)
    return builder.sign(root, SHA256())


def manifest(c2pa, content: bytes, media_type: str) -> dict:
    with c2pa.Reader(media_type, io.BytesIO(content)) as reader:
        report = json.loads(reader.json())
    assert report["validation_state"] in ("Valid", "Trusted")
    return report["manifests"][report["active_manifest"]]


@pytest.mark.parametrize("format_", ["png", "webp", "jpeg"])
def test_a_signed_picture_is_the_same_picture_and_holds_a_valid_manifest(c2pa, certified, format_):
    signer = load_signer(*certified("P-256"))
    content = encode(FACE, format_, claims=CLAIMS)
    signed = signer.sign(content, f"image/{format_}")
    found = manifest(c2pa, signed, f"image/{format_}")
    (actions,) = [a["data"]["actions"] for a in found["assertions"] if "actions" in a["label"]]
    assert [a["digitalSourceType"] for a in actions] == [DIGITAL_SOURCE_TYPE]
    assert "thumbnail" not in found
    assert np.array_equal(*(np.asarray(Image.open(io.BytesIO(c))) for c in (content, signed)))
    assert read_claims(signed) == CLAIMS


@pytest.mark.parametrize(
    ("kind", "algorithm"),
    [("P-256", "Es256"), ("P-384", "Es384"), ("Ed25519", "Ed25519"), ("RSA", "Ps256")],
)
def test_the_key_decides_the_algorithm(c2pa, certified, kind, algorithm):
    signed = load_signer(*certified(kind)).sign(encode(FACE, "png", claims=CLAIMS), "image/png")
    assert manifest(c2pa, signed, "image/png")["signature_info"]["alg"] == algorithm


def test_changed_pixels_break_the_signature(c2pa, certified):
    content = encode(FACE, "jpeg", claims=CLAIMS)
    signed = bytearray(load_signer(*certified("P-256")).sign(content, "image/jpeg"))
    signed[-20] ^= 1
    with c2pa.Reader("image/jpeg", io.BytesIO(bytes(signed))) as reader:
        assert json.loads(reader.json())["validation_state"] == "Invalid"


def test_one_signer_serves_many_threads(c2pa, certified):
    signer = load_signer(*certified("P-256"))
    content = encode(FACE, "png", claims=CLAIMS)
    with ThreadPoolExecutor(4) as threads:
        signed = list(threads.map(lambda _: signer.sign(content, "image/png"), range(40)))
    assert len(set(signed)) == 40
    for one in signed[:3]:
        manifest(c2pa, one, "image/png")


def test_without_settings_nothing_is_signed(monkeypatch):
    monkeypatch.setitem(sys.modules, "c2pa", None)
    assert load_signer(None, None) is None


def test_one_setting_without_the_other_is_refused(tmp_path):
    for pair in ((tmp_path / "x.pem", None), (None, tmp_path / "x.key")):
        with pytest.raises(SettingsError, match="both VISAGE_C2PA_CERTIFICATE and VISAGE_C2PA_KEY"):
            load_signer(*pair)


def test_a_missing_package_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "c2pa", None)
    with pytest.raises(SettingsError, match=r"pip install '\.\[c2pa\]'"):
        load_signer(tmp_path / "x.pem", tmp_path / "x.key")


def test_files_that_are_no_good_are_refused_before_the_first_request(c2pa, certified, tmp_path):
    chain, key = certified("P-256")
    _, other = certified("P-384")
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nonsense")
    for bad in ((nonsense, key), (chain, nonsense), (chain, other), certified("P-192")):
        with pytest.raises(SettingsError, match="cannot sign"):
            load_signer(*bad)
    with pytest.raises(SettingsError, match=r"VISAGE_C2PA_KEY .*cannot be read"):
        load_signer(chain, tmp_path / "absent.key")


async def test_a_signing_server_promises_the_pixels_and_not_the_bytes(c2pa, certified):
    chain, key = certified("P-256")
    signing = {"c2pa_certificate": chain, "c2pa_key": key, "cache_bytes": 0}
    async with serve(**signing) as client:
        first, again = [await client.get("/v1/faces/7.webp") for _ in range(2)]
        manifest(c2pa, first.content, "image/webp")
        assert first.content != again.content
        assert first.headers["ETag"].startswith('W/"')
        assert first.headers["ETag"] == again.headers["ETag"]
        known = {"If-None-Match": first.headers["ETag"]}
        assert (await client.get("/v1/faces/7.webp", headers=known)).status_code == 304
        answer = await client.post(
            "/v1/verify", content=first.content, headers={"Content-Type": "image/webp"}
        )
        assert answer.json()["verdict"] == "reproduced"
        zipped = await client.post("/v1/faces", json={"seeds": [7], "format": "webp"})
        with zipfile.ZipFile(io.BytesIO(zipped.content)) as faces:
            manifest(c2pa, faces.read(faces.namelist()[0]), "image/webp")


@pytest.mark.parametrize(
    ("route", "body", "media_type"),
    [
        ("/v1/morph?from=1&to=2&frames=4", None, "image/webp"),
        ("/v1/morph?from=1&to=2&frames=4&format=apng", None, "image/png"),
        ("/v1/faces", {"count": 3, "layout": "sheet", "format": "jpeg"}, "image/jpeg"),
    ],
)
async def test_animations_and_sheets_are_signed_too(c2pa, certified, route, body, media_type):
    chain, key = certified("P-256")
    async with serve(c2pa_certificate=chain, c2pa_key=key) as client:
        answer = await (client.post(route, json=body) if body else client.get(route))
    assert answer.status_code == 200
    manifest(c2pa, answer.content, media_type)
    picture = Image.open(io.BytesIO(answer.content))
    assert getattr(picture, "n_frames", 1) == (1 if body else 4)
    picture.load()


async def test_faces_of_latents_are_signed_in_their_zip(c2pa, certified):
    chain, key = certified("P-256")
    async with serve(c2pa_certificate=chain, c2pa_key=key) as client:
        answer = await client.post("/v1/faces", json={"latents": [[0.5] * 8]})
    with zipfile.ZipFile(io.BytesIO(answer.content)) as faces:
        manifest(c2pa, faces.read(faces.namelist()[0]), "image/png")
