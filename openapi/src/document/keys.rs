//! What an administrator has: keys, projects, limits, the address of withdrawals.

use serde_json::{Value, json};

use super::{collect, read, schema_ref};
use crate::keys::{
    AdminApiKeys, Deleted, NewAdminApiKey, NewProjectApiKey, ProjectApiKeys, Projects, Rotation,
};
use crate::limits::{LimitSet, LimitsOf};
use crate::names::{ADMIN_API_KEYS_PATH, LIMITS_PATH, PAYOUT_PATH, PROJECTS_PATH, WITHDRAWALS_PATH};
use crate::payouts::{NewPayout, NewWithdrawal, PayoutOf, WithdrawalOf};

/// Who may ask.
const BY: &str =
    "An admin key acts on its own account, an operator's key on the one that `OpenAI-Organization` names.";

/// Path, method and operation of each.
pub(super) fn paths() -> Vec<(String, &'static str, Value)> {
    let key = path_parameter("id", "A key.");
    let project = path_parameter("project", "A project; `default` is where keys without one are.");
    let admin = ADMIN_API_KEYS_PATH;
    let of_project = format!("{PROJECTS_PATH}/{{project}}");
    let keys = format!("{of_project}/api_keys");
    let once = "The answer is the only one that shows the key itself.";
    vec![
        (
            admin.into(),
            "get",
            listed(operation("listAdminKeys", "Keys that administer the account.", "AdminApiKeys"), true),
        ),
        (
            admin.into(),
            "post",
            taking(
                described(operation("createAdminKey", "Makes one.", "AdminApiKey"), once),
                "NewAdminApiKey",
                true,
            ),
        ),
        (
            format!("{admin}/{{id}}"),
            "get",
            with(operation("retrieveAdminKey", "One of them.", "AdminApiKey"), [&key]),
        ),
        (
            format!("{admin}/{{id}}"),
            "delete",
            with(operation("deleteAdminKey", "Refuses it from now on.", "Deleted"), [&key]),
        ),
        (
            format!("{admin}/{{id}}/rotate"),
            "post",
            taking(
                with(
                    described(
                        operation("rotateAdminKey", "Makes a successor and ends the key.", "AdminApiKey"),
                        once,
                    ),
                    [&key],
                ),
                "Rotation",
                false,
            ),
        ),
        (
            PROJECTS_PATH.into(),
            "get",
            listed(operation("listProjects", "Projects that keys or limits name.", "Projects"), false),
        ),
        (
            keys.clone(),
            "get",
            with(listed(operation("listKeys", "Keys that run models.", "ProjectApiKeys"), true), [&project]),
        ),
        (
            keys.clone(),
            "post",
            taking(
                with(described(operation("createKey", "Makes one.", "ProjectApiKey"), once), [&project]),
                "NewProjectApiKey",
                true,
            ),
        ),
        (
            format!("{keys}/{{id}}"),
            "get",
            with(operation("retrieveKey", "One of them.", "ProjectApiKey"), [&project, &key]),
        ),
        (
            format!("{keys}/{{id}}"),
            "delete",
            with(operation("deleteKey", "Refuses it from now on.", "Deleted"), [&project, &key]),
        ),
        (
            format!("{keys}/{{id}}/rotate"),
            "post",
            taking(
                with(
                    described(
                        operation("rotateKey", "Makes a successor and ends the key.", "ProjectApiKey"),
                        once,
                    ),
                    [&project, &key],
                ),
                "Rotation",
                false,
            ),
        ),
        (
            LIMITS_PATH.into(),
            "get",
            operation("readLimits", "What the account may use, and what it used.", "Limits"),
        ),
        (
            LIMITS_PATH.into(),
            "post",
            taking(operation("setLimits", "Replaces them all.", "Limits"), "LimitSet", true),
        ),
        (
            format!("{of_project}/limits"),
            "get",
            with(
                operation("readProjectLimits", "What a project may use, and what it used.", "Limits"),
                [&project],
            ),
        ),
        (
            format!("{of_project}/limits"),
            "post",
            taking(
                with(operation("setProjectLimits", "Replaces them all.", "Limits"), [&project]),
                "LimitSet",
                true,
            ),
        ),
        (
            PAYOUT_PATH.into(),
            "get",
            operation("readPayout", "Where withdrawals go, and what is on its way there.", "Payout"),
        ),
        (
            PAYOUT_PATH.into(),
            "post",
            taking(
                described(
                    operation("setPayoutAddress", "Sets where they go.", "Payout"),
                    "Another address is used a day after it was set; until then the one before it stays.",
                ),
                "NewPayout",
                true,
            ),
        ),
        (
            WITHDRAWALS_PATH.into(),
            "post",
            taking(
                described(
                    operation("withdraw", "Begins a withdrawal, or says what became of it.", "Withdrawal"),
                    "It goes to the address in force. The same `id` again moves nothing anew.",
                ),
                "NewWithdrawal",
                true,
            ),
        ),
    ]
}

pub(super) fn schemas(found: &mut Vec<(String, Value)>) {
    collect::<AdminApiKeys>(found);
    collect::<ProjectApiKeys>(found);
    collect::<Projects>(found);
    collect::<Deleted>(found);
    collect::<LimitsOf>(found);
    collect::<LimitSet>(found);
    collect::<NewAdminApiKey>(found);
    collect::<NewProjectApiKey>(found);
    collect::<Rotation>(found);
    collect::<PayoutOf>(found);
    collect::<NewPayout>(found);
    collect::<WithdrawalOf>(found);
    collect::<NewWithdrawal>(found);
}

fn operation(id: &str, summary: &str, answer: &str) -> Value {
    let mut operation = read(id, summary, answer, &[400, 401, 403, 404, 500, 503], None);
    operation["description"] = json!(BY);
    operation["parameters"] = json!([{
        "name": "OpenAI-Organization", "in": "header", "schema": { "type": "string" },
        "description": "The account; an operator's key must name it.",
    }]);
    operation
}

fn described(mut operation: Value, more: &str) -> Value {
    operation["description"] = json!(format!("{BY} {more}"));
    operation
}

fn with<const N: usize>(mut operation: Value, parameters: [&Value; N]) -> Value {
    if let Some(all) = operation["parameters"].as_array_mut() {
        all.extend(parameters.map(Value::clone));
    }
    operation
}

fn listed(operation: Value, of_keys: bool) -> Value {
    let query = |name: &str, schema: Value, description: &str| json!({ "name": name, "in": "query", "schema": schema, "description": description });
    let limit =
        query("limit", json!({ "type": "integer", "minimum": 1, "maximum": 100, "default": 20 }), "At most.");
    let after = query("after", json!({ "type": "string" }), "Begins behind this id.");
    let operation = with(operation, [&limit, &after]);
    if !of_keys {
        return operation;
    }
    let order = query(
        "order",
        json!({ "type": "string", "enum": ["asc", "desc"], "default": "asc" }),
        "By creation.",
    );
    let revoked = query(
        "include_revoked",
        json!({ "type": "boolean", "default": false }),
        "Also those that are refused by now.",
    );
    with(operation, [&order, &revoked])
}

fn taking(mut operation: Value, body: &str, required: bool) -> Value {
    operation["requestBody"] = json!({
        "required": required,
        "content": { "application/json": { "schema": schema_ref(body) } },
    });
    for status in ["408", "413", "415"] {
        operation["responses"][status] = json!({ "$ref": "#/components/responses/Error" });
    }
    operation
}

fn path_parameter(name: &str, description: &str) -> Value {
    json!({
        "name": name, "in": "path", "required": true, "schema": { "type": "string" },
        "description": description,
    })
}
