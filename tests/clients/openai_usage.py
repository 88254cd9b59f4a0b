"""The official Python client reads usage and costs: typed, page by page, grouped by what was asked for."""

import json
import os

import openai

client = openai.OpenAI(api_key="unused", admin_api_key=os.environ["OPENAI_ADMIN_KEY"], max_retries=0)
usage = client.admin.organization.usage
SPAN = dict(start_time=int(os.environ["COCOON_START"]), end_time=int(os.environ["COCOON_END"]))


def pages(read, **ask):
    """All buckets, and how many pages they came on."""
    buckets, cursor, count = [], openai.omit, 0
    while True:
        page = read(**SPAN, **ask, page=cursor)
        assert page.object == "page", page
        buckets += page.data
        count += 1
        if not page.has_more:
            assert page.next_page is None, page
            return buckets, count
        cursor = page.next_page


def whole(buckets, width):
    starts = [bucket.start_time for bucket in buckets]
    assert starts == list(range(starts[0], starts[0] + width * len(starts), width)), "buckets without a gap"
    assert all(bucket.end_time - bucket.start_time == width for bucket in buckets)
    return [result for bucket in buckets for result in bucket.results]


def sums(results):
    return {
        "requests": sum(result.num_model_requests for result in results),
        "input": sum(result.input_tokens for result in results),
        "cached": sum(getattr(result, "input_cached_tokens", 0) for result in results),
        "output": sum(getattr(result, "output_tokens", 0) for result in results),
        # A member of ours, which the client's types keep.
        "cost": sum(int(result.cost) for result in results),
    }


seen = {}
for width, seconds, limit in [("1m", 60, 1440), ("1h", 3600, 168), ("1d", 86400, 31)]:
    completions, count = pages(usage.completions, bucket_width=width, limit=limit)
    embeddings, _ = pages(usage.embeddings, bucket_width=width, limit=limit)
    results = whole(completions, seconds)
    kinds = {type(result).__name__ for result in results}
    assert kinds == {"DataResultOrganizationUsageCompletionsResult"}, kinds
    seen[width] = {
        "pages": count,
        "completions": sums(results),
        "embeddings": sums(whole(embeddings, seconds)),
    }

grouped, _ = pages(usage.completions, limit=31, group_by=["model", "api_key_id", "project_id"])
groups = {}
for result in whole(grouped, 86400):
    name = "|".join([result.model, result.api_key_id, result.project_id or ""])
    groups[name] = groups.get(name, 0) + int(result.cost)
seen["groups"] = groups
one_key, _ = pages(usage.completions, limit=31, api_key_ids=["key-1"], models=["small", "large"])
seen["key-1"] = sums(whole(one_key, 86400))
nobody, _ = pages(usage.completions, limit=31, user_ids=["user"])
seen["nobody"] = sums(whole(nobody, 86400))

costs, _ = pages(usage.costs, limit=180, group_by=["line_item"])
results = whole(costs, 86400)
assert {result.object for result in results} == {"organization.costs.result"}
assert all(result.amount.currency == "ton" and result.quantity_unit == "tokens" for result in results)
assert all(abs(result.amount.value - int(result.amount.nano) / 1e9) < 1e-9 for result in results)
seen["costs"] = sum(int(result.amount.nano) for result in results)
# The client has quantities as floats.
assert all(result.quantity.is_integer() for result in results)
seen["tokens"] = sum(int(result.quantity) for result in results)
print(json.dumps(seen))
