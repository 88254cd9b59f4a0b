"""OpenAI's own client administers keys: its types must parse every answer, and its pages must end."""

import json
import os

from openai import AuthenticationError, NotFoundError, OpenAI
from openai.types.admin.organization import (
    AdminAPIKey,
    AdminAPIKeyCreateResponse,
    AdminAPIKeyDeleteResponse,
    Project,
)
from openai.types.admin.organization.projects import APIKeyDeleteResponse, ProjectAPIKey

BASE = os.environ["OPENAI_BASE_URL"]
KEY = os.environ["COCOON_ADMIN_KEY"]


def client(key):
    return OpenAI(base_url=BASE, api_key=key, admin_api_key=key, max_retries=0)


def raw(method, path, body=None):
    """What the client has no method for."""
    answer = getattr(client(KEY), method)(path, cast_to=object, **({"body": body} if body is not None else {}))
    return answer


def checked(kind, answer):
    """The client builds its objects without looking: here they are looked at."""
    kind.model_validate(answer.model_dump())
    return answer


organization = client(KEY).admin.organization

# Keys that administer.
made = checked(AdminAPIKeyCreateResponse, organization.admin_api_keys.create(name="second", expires_in_seconds=3600))
assert made.value.startswith("sk-cocoon-") and made.redacted_value.endswith(made.value[-4:]), made
assert made.expires_at == made.created_at + 3600, made
third = organization.admin_api_keys.create(name="third")
assert third.expires_at is None, third
keys = [checked(AdminAPIKey, key) for key in organization.admin_api_keys.list(limit=1)]
assert [key.name for key in keys][-2:] == ["second", "third"], keys
assert not any(getattr(key, "value", None) for key in keys), "shown once"
newest = organization.admin_api_keys.list(limit=1, order="desc").data
assert [key.id for key in newest] == [third.id], newest
again = checked(AdminAPIKey, organization.admin_api_keys.retrieve(made.id))
assert (again.id, again.redacted_value) == (made.id, made.redacted_value), again

second = client(made.value).admin.organization
assert len(list(second.admin_api_keys.list())) == len(keys)
gone = checked(AdminAPIKeyDeleteResponse, organization.admin_api_keys.delete(made.id))
assert gone.deleted and gone.id == made.id, gone
try:
    second.admin_api_keys.list()
    raise SystemExit("a revoked admin key still administers")
except AuthenticationError:
    pass
try:
    organization.admin_api_keys.retrieve(made.id)
    raise SystemExit("a deleted key is still there")
except NotFoundError:
    pass
assert made.id not in [key.id for key in organization.admin_api_keys.list()]

# Keys of projects.
wanted = {
    "name": "of red",
    "models": ["m"],
    "budget": {"amount": "700", "period": "month"},
    "rpm": 10,
    "tpm": 1000,
    "concurrency": 2,
    "sealed_only": True,
}
red = [raw("post", "/organization/projects/red/api_keys", wanted) for _ in range(3)]
plain = raw("post", "/organization/projects/default/api_keys", {"name": "plain"})
for key in red + [plain]:
    ProjectAPIKey.model_validate(key)
for name, value in wanted.items():
    assert red[0][name] == value, (name, red[0])
assert plain["models"] is None and plain["budget"] is None and plain["project_id"] == "default", plain
projects = {project.id: checked(Project, project) for project in organization.projects.list(limit=1)}
assert {"red", "default"} <= projects.keys(), projects
listed = [checked(ProjectAPIKey, key) for key in organization.projects.api_keys.list(project_id="red", limit=2)]
assert [key.id for key in listed] == [key["id"] for key in red], listed
one = checked(ProjectAPIKey, organization.projects.api_keys.retrieve(red[1]["id"], project_id="red"))
assert one.id == red[1]["id"] and one.name == "of red", one
try:
    organization.projects.api_keys.retrieve(red[1]["id"], project_id="default")
    raise SystemExit("a key of one project is found in another")
except NotFoundError:
    pass
deleted = checked(APIKeyDeleteResponse, organization.projects.api_keys.delete(red[1]["id"], project_id="red"))
assert deleted.deleted, deleted
rest = [key.id for key in organization.projects.api_keys.list(project_id="red")]
assert rest == [red[0]["id"], red[2]["id"]], rest
with_revoked = raw("get", "/organization/projects/red/api_keys?include_revoked=true")
assert [key["revoked_at"] is not None for key in with_revoked["data"]] == [False, True, False], with_revoked

# Rotation.
successor = raw("post", f"/organization/projects/red/api_keys/{red[0]['id']}/rotate", {"overlap_seconds": 600})
ProjectAPIKey.model_validate(successor)
for name, value in wanted.items():
    assert successor[name] == value, (name, successor)
assert successor["value"] != red[0]["value"] and successor["id"] != red[0]["id"]
old = raw("get", f"/organization/projects/red/api_keys/{red[0]['id']}")
assert abs(old["revoked_at"] - old["created_at"] - 600) < 120, old

# Limits.
limits = {"rpm": 5, "tpm": None, "concurrency": None, "budget": {"amount": "9007199254740991", "period": "total"}}
for path in ["/organization/limits", "/organization/projects/red/limits"]:
    for answer in [raw("post", path, limits), raw("get", path)]:
        assert {name: answer[name] for name in limits} == limits, answer
raw("post", "/organization/limits", {})
assert raw("get", "/organization/limits")["rpm"] is None
assert raw("get", "/organization/projects/red/limits")["rpm"] == 5

print(json.dumps({"plain": plain["value"], "plain_id": plain["id"], "admin": third.id, "red": successor["id"]}))
