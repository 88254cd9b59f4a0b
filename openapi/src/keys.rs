//! Keys and projects of an account: OpenAI's objects of its administration API, with our own members beside.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::limits::{BudgetOf, LimitSet};

/// What every key has.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = ApiKeyFacts)]
pub struct KeyFacts {
    pub id: String,
    pub name: String,
    /// Prefix and last four characters.
    pub redacted_value: String,
    /// Seconds since 1970.
    pub created_at: u64,
    /// Seconds since 1970; null where it never expires.
    #[schema(required)]
    pub expires_at: Option<u64>,
    /// Always null: it is not kept.
    #[schema(required)]
    pub last_used_at: Option<u64>,
    /// From when on it is refused, seconds since 1970.
    #[schema(required)]
    pub revoked_at: Option<u64>,
    /// The key itself: only in the answer that made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// A key that administers its account.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = AdminApiKey)]
pub struct AdminApiKey {
    /// `organization.admin_api_key`.
    pub object: &'static str,
    #[serde(flatten)]
    pub facts: KeyFacts,
    pub owner: AdminOwner,
}

/// The account, as OpenAI writes the user who owns a key.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AdminOwner {
    /// `user`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// `organization.user`.
    pub object: &'static str,
    pub id: String,
    pub name: String,
    pub created_at: u64,
    /// `owner`.
    pub role: &'static str,
}

/// A key that runs models.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = ProjectApiKey)]
pub struct ProjectApiKey {
    /// `organization.project.api_key`.
    pub object: &'static str,
    #[serde(flatten)]
    pub facts: KeyFacts,
    pub owner: ProjectOwner,
    /// `active`.
    pub owner_project_access: &'static str,
    pub project_id: String,
    /// Models it may use; null for all.
    #[schema(required)]
    pub models: Option<Vec<String>>,
    /// Whether it is refused where the gateway could read the body.
    pub sealed_only: bool,
    #[serde(flatten)]
    pub limits: LimitSet,
}

/// The account, as OpenAI writes the service account that owns a key.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ProjectOwner {
    /// `service_account`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub service_account: ServiceAccount,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ServiceAccount {
    pub id: String,
    pub name: String,
    pub created_at: u64,
    /// `member`.
    pub role: &'static str,
}

/// A project that keys or limits name.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Project {
    /// `organization.project`.
    pub object: &'static str,
    pub id: String,
    pub name: String,
    /// Seconds since 1970: when it was first named.
    pub created_at: u64,
    /// Always null.
    #[schema(required)]
    pub archived_at: Option<u64>,
    /// `active`.
    pub status: &'static str,
}

/// What is gone.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Deleted {
    /// What it was, with `.deleted` behind it.
    pub object: &'static str,
    pub id: String,
    pub deleted: bool,
}

macro_rules! page {
    ($(#[$doc:meta])* $name:ident of $item:ident by $($id:ident).+) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Serialize, ToSchema)]
        pub struct $name {
            /// `list`.
            pub object: &'static str,
            pub data: Vec<$item>,
            #[schema(required)]
            pub first_id: Option<String>,
            /// What to ask for next with `after`.
            #[schema(required)]
            pub last_id: Option<String>,
            pub has_more: bool,
        }

        impl $name {
            /// A page with its cursors.
            #[must_use]
            pub fn of(data: Vec<$item>, has_more: bool) -> Self {
                let id = |item: Option<&$item>| item.map(|item| item.$($id).+.clone());
                Self { object: "list", first_id: id(data.first()), last_id: id(data.last()), has_more, data }
            }
        }
    };
}

page! {
    /// A page of them.
    AdminApiKeys of AdminApiKey by facts.id
}
page! {
    /// A page of them.
    ProjectApiKeys of ProjectApiKey by facts.id
}
page! {
    /// A page of them.
    Projects of Project by id
}

/// Asks for a key that administers.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewAdminApiKey {
    /// 1 to 100 characters.
    pub name: String,
    #[serde(default)]
    #[schema(minimum = 1)]
    pub expires_in_seconds: Option<u64>,
}

/// Asks for a key that runs models.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewProjectApiKey {
    /// 1 to 100 characters.
    pub name: String,
    /// Models it may use, at most 32; all where absent.
    #[serde(default)]
    pub models: Option<Vec<String>>,
    #[serde(default)]
    pub budget: Option<BudgetOf>,
    #[serde(default)]
    pub rpm: Option<u32>,
    #[serde(default)]
    pub tpm: Option<u32>,
    #[serde(default)]
    pub concurrency: Option<u32>,
    /// Refused where the gateway could read the body.
    #[serde(default)]
    pub sealed_only: bool,
    /// Seconds since 1970; never where absent.
    #[serde(default)]
    pub expires_at: Option<u64>,
}

/// Asks for a successor of a key.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rotation {
    /// For how long the key that is replaced stays good; 0 where absent.
    #[serde(default)]
    pub overlap_seconds: u64,
}
