"""Holds the gateway's description of itself against the OpenAPI specification."""

import json
import os
import urllib.request

from openapi_spec_validator import OpenAPIV31SpecValidator

with urllib.request.urlopen(os.environ["DOCUMENT_URL"]) as response:
    document = json.load(response)

errors = [f"{list(error.absolute_path)}: {error.message}" for error in OpenAPIV31SpecValidator(document).iter_errors()]
print(json.dumps({"openapi": document["openapi"], "errors": errors}))
