//! The endpoints of OpenAI's API that run a model.

pub use cocoon_openapi::Endpoint;
