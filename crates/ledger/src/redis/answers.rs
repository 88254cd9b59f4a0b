//! Answers kept for repeated requests: what is known of an account's keys in one hash, their answers in another.

use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use cocoon_receipts::RequestId;

use super::functions::Function;
use super::reply::Reply;
use super::{RedisLedger, lease_ms};
use crate::answers::check_ending;
use crate::{AnswerName, Answers, Begin, Begun, Ending, LedgerError, MAX_ENTRIES, MAX_KEPT_BYTES};

impl RedisLedger {
    fn answer_keys(&self, name: &AnswerName) -> [String; 4] {
        let k = self.keys_of(&name.account);
        [k.clock(), k.answers(&name.account), k.answer_bytes(&name.account), k.answer_ages(&name.account)]
    }

    async fn change_answer(
        &self,
        function: Function,
        name: &AnswerName,
        args: &[String],
    ) -> Result<bool, LedgerError> {
        let reply = self.call(function, &self.answer_keys(name), args).await?;
        match reply.word() {
            "done" => Ok(true),
            "lost" => Ok(false),
            _ => Err(reply.unexpected()),
        }
    }
}

#[async_trait]
impl Answers for RedisLedger {
    async fn begin_answer(&self, begin: &Begin) -> Result<Begun, LedgerError> {
        let args = [
            begin.name.id.to_string(),
            begin.fingerprint.to_string(),
            begin.holder.to_string(),
            lease_ms(begin.lease).to_string(),
            MAX_ENTRIES.to_string(),
        ];
        let reply = self.call(Function::BeginAnswer, &self.answer_keys(&begin.name), &args).await?;
        match reply.word() {
            "started" => Ok(Begun::Started),
            "running" => Ok(Begun::Running),
            "kept" => kept(&reply).map(Begun::Kept),
            "not_kept" => Ok(Begun::NotKept),
            "other_request" => Ok(Begun::OtherRequest),
            "full" => Ok(Begun::Full),
            _ => Err(reply.unexpected()),
        }
    }

    async fn renew_answer(
        &self,
        name: &AnswerName,
        holder: RequestId,
        lease: Duration,
    ) -> Result<bool, LedgerError> {
        let args = [name.id.to_string(), holder.to_string(), lease_ms(lease).to_string()];
        self.change_answer(Function::RenewAnswer, name, &args).await
    }

    async fn end_answer(
        &self,
        name: &AnswerName,
        holder: RequestId,
        ending: &Ending,
    ) -> Result<bool, LedgerError> {
        check_ending(ending)?;
        // Text, because a function's strings are read as text.
        let (state, answer) = match ending {
            Ending::Kept(answer) => ("k", STANDARD_NO_PAD.encode(answer)),
            Ending::NotKept => ("n", String::new()),
        };
        let size = answer.len().to_string();
        let limit = MAX_KEPT_BYTES.to_string();
        let args = [name.id.to_string(), holder.to_string(), state.to_owned(), answer, size, limit];
        self.change_answer(Function::EndAnswer, name, &args).await
    }

    async fn abandon_answer(&self, name: &AnswerName, holder: RequestId) -> Result<bool, LedgerError> {
        let args = [name.id.to_string(), holder.to_string()];
        self.change_answer(Function::AbandonAnswer, name, &args).await
    }
}

fn kept(reply: &Reply) -> Result<Vec<u8>, LedgerError> {
    let text = reply.0.get(1).map_or("", String::as_str);
    STANDARD_NO_PAD.decode(text).map_err(|_| LedgerError::Corrupt("a kept answer is not base64".to_owned()))
}
