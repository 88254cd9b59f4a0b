//! An engine without a model: it speaks the protocol of `cocoon-engine-api`, and the prompt says what it
//! answers. For tests that need thousands of tokens, or faults; it names itself `scripted`.

mod generate;
mod log;
mod pipe;
mod script;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Parser;
use cocoon_engine_api::{Command, Event, Finish, Id, ModelKind, PROTOCOL, Ready, Usage};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::log::Log;
use crate::pipe::Output;

/// What it says of its vocabulary; there is none.
const VOCABULARY: u32 = 1000;

/// Answers a backend's commands as the prompts say.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Takes the command line of cocoon-engine, so that a backend can start it in its place.
    #[arg(value_parser = ["serve"], default_value = "serve")]
    command: String,
    /// Not looked at.
    #[arg(long, value_name = "PATH")]
    model: Option<String>,
    /// Not looked at.
    #[arg(long, value_name = "N")]
    max_sequences: Option<u64>,
    /// Prompt and completion tokens that fit together.
    #[arg(long, value_name = "N", default_value_t = 131_072)]
    context: u64,
    /// What it says it makes of a prompt.
    #[arg(long, default_value = "text")]
    kind: Kind,
    /// Where a line is added for each generation that ended: the tokens that were said.
    #[arg(long, value_name = "PATH")]
    log: Option<PathBuf>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Kind {
    Text,
    Embedding,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let log = arguments.log.as_deref().map(Log::open).transpose()?.map(Arc::new);
    let result = runtime.block_on(serve(arguments.context, arguments.kind, log));
    runtime.shutdown_background();
    result
}

async fn serve(context: u64, kind: Kind, log: Option<Arc<Log>>) -> anyhow::Result<()> {
    let (mut commands, outputs) = pipe::open()?;
    let ready = Ready {
        protocol: PROTOCOL,
        engine: "scripted".to_owned(),
        engine_version: env!("CARGO_PKG_VERSION").to_owned(),
        kind: match kind {
            Kind::Text => ModelKind::Text,
            Kind::Embedding => ModelKind::Embedding,
        },
        quantization: "none".to_owned(),
        context_length: context,
        vocabulary: VOCABULARY,
        reasons: false,
        prefix_cache: false,
    };
    outputs.send(Output::Event(Event::Ready(ready))).await?;

    let mut running = Running { context, log, outputs, tasks: JoinSet::new(), generations: HashMap::new() };
    loop {
        tokio::select! {
            command = commands.recv() => match command {
                Some(command) => running.start(command).await?,
                None => return Ok(()),
            },
            Some(ended) = running.tasks.join_next() => running.ended(ended??),
            () = running.outputs.closed() => return Ok(()),
        }
    }
}

struct Running {
    context: u64,
    log: Option<Arc<Log>>,
    outputs: mpsc::Sender<Output>,
    tasks: JoinSet<anyhow::Result<Id>>,
    generations: HashMap<Id, oneshot::Sender<()>>,
}

impl Running {
    async fn start(&mut self, command: Command) -> anyhow::Result<()> {
        match command {
            Command::Tokenize { id, prompts } => {
                let tokens = prompts.iter().map(script::prompt_tokens).collect();
                self.outputs.send(Output::Event(Event::Tokenized { id, tokens })).await?;
            }
            Command::Embed { id, inputs } => {
                let mut usage = Usage::default();
                for input in &inputs {
                    let tokens = script::prompt_tokens(input);
                    usage.prompt_tokens += tokens;
                    // A vector of two numbers, to tell inputs apart by.
                    let event = Event::Embedding { id, vector: vec![3.0, tokens as f32] };
                    self.outputs.send(Output::Event(event)).await?;
                }
                let done = Event::Done { id, finish: Finish::Stop, usage };
                self.outputs.send(Output::Event(done)).await?;
            }
            Command::Generate(request) => {
                let id = request.id;
                let (cancel, cancelled) = oneshot::channel();
                self.generations.insert(id, cancel);
                let (context, outputs, log) = (self.context, self.outputs.clone(), self.log.clone());
                self.tasks.spawn(async move {
                    let usage = generate::generate(request, context, cancelled, &outputs).await;
                    log.map_or(Ok(()), |log| log.write(usage))?;
                    Ok(id)
                });
            }
            Command::Cancel { id } => {
                if let Some(cancel) = self.generations.remove(&id) {
                    // A generation that has just ended by itself no longer listens.
                    let _ = cancel.send(());
                }
            }
            Command::Status { id } => {
                let running = self.tasks.len() as u64;
                self.outputs.send(Output::Event(Event::Status { id, running })).await?;
            }
        }
        Ok(())
    }

    fn ended(&mut self, id: Id) {
        self.generations.remove(&id);
    }
}
