"""Checks an identity as the MCP server behind `authflow protect` would, with PyJWT alone, and prints its claims.

    identity.py JWKS_URL ISSUER AUDIENCE < JWT
"""

import json
import sys

import jwt

jwks_url, issuer, audience = sys.argv[1:]
token = sys.stdin.read().strip()
key = jwt.PyJWKClient(jwks_url).get_signing_key_from_jwt(token)
checked = jwt.decode_complete(
    token,
    key,
    algorithms=["ES256"],
    issuer=issuer,
    audience=audience,
    options={"require": ["exp", "iat", "iss", "aud", "sub"]},
)
if checked["header"]["typ"] != "authflow-identity+jwt":
    raise jwt.InvalidTokenError("not an identity")
print(json.dumps(checked["payload"]))
