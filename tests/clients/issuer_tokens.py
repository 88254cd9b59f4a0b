"""An identity provider of the test's own, by PyJWT: two generations of keys, and tokens good and bad."""

import base64
import hashlib
import hmac
import json
import os
import time

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

ISSUER, AUDIENCE = os.environ["ISSUER"], os.environ["AUDIENCE"]
NOW = int(time.time())

private = {
    "rsa": (rsa.generate_private_key(65537, 2048), RSAAlgorithm, "RS256"),
    "pss": (rsa.generate_private_key(65537, 2048), RSAAlgorithm, "PS256"),
    "ec": (ec.generate_private_key(ec.SECP256R1()), ECAlgorithm, "ES256"),
    "ed": (ed25519.Ed25519PrivateKey.generate(), OKPAlgorithm, "EdDSA"),
    "next": (ec.generate_private_key(ec.SECP256R1()), ECAlgorithm, "ES256"),
}


def jwk(kid):
    key, kind, algorithm = private[kid]
    return {**kind.to_jwk(key.public_key(), as_dict=True), "kid": kid, "use": "sig", "alg": algorithm}


def claims(**changed):
    all = {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "iat": NOW, "exp": NOW + 3600, **changed}
    return {name: value for name, value in all.items() if value is not None}


def token(kid, key=None, algorithm=None, **changed):
    signer, _, own = private[kid]
    return jwt.encode(claims(**changed), key or signer, algorithm=algorithm or own, headers={"kid": kid})


def part(value):
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def by_hand(header, signature):
    signed = f"{part(header)}.{part(claims())}"
    return f"{signed}.{part(signature(signed.encode()))}"


def confused(secret):
    return by_hand(
        {"alg": "HS256", "typ": "JWT", "kid": "rsa"}, lambda signed: hmac.new(secret, signed, hashlib.sha256).digest()
    )


public = private["rsa"][0].public_key()
pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
stranger = rsa.generate_private_key(65537, 2048)

bad = {
    "none": by_hand({"alg": "none", "kid": "rsa"}, lambda _: b""),
    "a public key in PEM as a secret": confused(pem),
    "a public key in DER as a secret": confused(der),
    "a public key's JWK as a secret": confused(json.dumps(jwk("rsa")).encode()),
    "another algorithm of the same key": token("rsa", algorithm="PS256"),
    "another key": token("rsa", key=stranger),
    "another audience": token("rsa", aud="another"),
    "no audience": token("rsa", aud=None),
    "another issuer": token("rsa", iss=ISSUER + "/"),
    "no issuer": token("rsa", iss=None),
    "expired": token("rsa", exp=NOW - 120),
    "no end": token("rsa", exp=None),
    "not yet valid": token("rsa", nbf=NOW + 600),
    "issued in the future": token("rsa", iat=NOW + 600),
    "no account": token("rsa", sub=None),
    "no kid": jwt.encode(claims(), private["rsa"][0], algorithm="RS256"),
    "an unknown kid": jwt.encode(claims(), private["rsa"][0], algorithm="RS256", headers={"kid": "unknown"}),
}
good = {
    "RS256": token("rsa"),
    "PS256": token("pss"),
    "ES256": token("ec"),
    "EdDSA": token("ed"),
    "a clock that is behind": token("rsa", exp=NOW - 5),
    "a clock that is ahead": token("rsa", nbf=NOW + 30, iat=NOW + 30),
    "a list of audiences": token("rsa", aud=["another", AUDIENCE]),
}
print(
    json.dumps(
        {
            "first": {"keys": [jwk("rsa"), jwk("pss"), jwk("ec"), jwk("ed")]},
            "second": {"keys": [jwk("next")]},
            "good": good,
            "bad": bad,
            "next": token("next"),
            "bob": token("rsa", sub="bob|with a space", team="red"),
        }
    )
)
