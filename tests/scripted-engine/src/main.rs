//! An engine without a model: it speaks the protocol of `cocoon-engine-api`, and the prompt says what it
//! answers. For tests that need thousands of tokens, or faults; it names itself `scripted`.

mod generate;
mod pipe;
mod script;

use std::collections::HashMap;

use clap::Parser;
use cocoon_engine_api::{Command, Event, Finish, Id, ModelKind, PROTOCOL, Ready, Usage};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

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
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Kind {
    Text,
    Embedding,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(serve(arguments.context, arguments.kind));
    runtime.shutdown_background();
    result
}

async fn serve(context: u64, kind: Kind) -> anyhow::Result<()> {
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

    let mut tasks = JoinSet::new();
    let mut generations: HashMap<Id, oneshot::Sender<()>> = HashMap::new();
    loop {
        tokio::select! {
            command = commands.recv() => match command {
                Some(command) => start(command, context, &outputs, &mut tasks, &mut generations).await?,
                None => return Ok(()),
            },
            Some(ended) = tasks.join_next() => drop(generations.remove(&ended?)),
            () = outputs.closed() => return Ok(()),
        }
    }
}

async fn start(
    command: Command,
    context: u64,
    outputs: &mpsc::Sender<Output>,
    tasks: &mut JoinSet<Id>,
    generations: &mut HashMap<Id, oneshot::Sender<()>>,
) -> anyhow::Result<()> {
    match command {
        Command::Tokenize { id, prompts } => {
            let tokens = prompts.iter().map(script::prompt_tokens).collect();
            outputs.send(Output::Event(Event::Tokenized { id, tokens })).await?;
        }
        Command::Embed { id, inputs } => {
            let mut usage = Usage::default();
            for input in &inputs {
                let tokens = script::prompt_tokens(input);
                usage.prompt_tokens += tokens;
                // A vector of two numbers, to tell inputs apart by.
                let event = Event::Embedding { id, vector: vec![3.0, tokens as f32] };
                outputs.send(Output::Event(event)).await?;
            }
            outputs.send(Output::Event(Event::Done { id, finish: Finish::Stop, usage })).await?;
        }
        Command::Generate(request) => {
            let id = request.id;
            let (cancel, cancelled) = oneshot::channel();
            generations.insert(id, cancel);
            let outputs = outputs.clone();
            tasks.spawn(async move {
                generate::generate(request, context, cancelled, &outputs).await;
                id
            });
        }
        Command::Cancel { id } => {
            if let Some(cancel) = generations.remove(&id) {
                // A generation that has just ended by itself no longer listens.
                let _ = cancel.send(());
            }
        }
        Command::Status { id } => {
            let running = tasks.len() as u64;
            outputs.send(Output::Event(Event::Status { id, running })).await?;
        }
    }
    Ok(())
}
