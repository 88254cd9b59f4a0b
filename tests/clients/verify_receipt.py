"""PyJWT, knowing nothing of us: does a receipt verify under the key that the backend's keyset names?"""

import base64
import json
import os
import urllib.request

import jwt

url = os.environ["COCOON_BACKEND_URL"] + "/.well-known/cocoon-attestation?nonce=" + "ab" * 32
document = json.load(urllib.request.urlopen(url))
keyset = json.loads(base64.b64decode(document["keyset"]))
key = jwt.PyJWK(keyset["receipt_key"], algorithm="EdDSA")
receipt = os.environ["COCOON_RECEIPT"]
claims = jwt.decode(receipt, key, algorithms=["EdDSA"], options={"verify_iss": False, "verify_iat": False})

head, body, signature = receipt.split(".")
forged = body[:-2] + ("A" if body[-2] != "A" else "B") + body[-1]
try:
    jwt.decode(".".join([head, forged, signature]), key, algorithms=["EdDSA"])
    refused = False
except jwt.InvalidTokenError:
    refused = True

print(json.dumps({"header": jwt.get_unverified_header(receipt), "claims": claims, "forged_refused": refused}))
