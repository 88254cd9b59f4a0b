//! One engine process: its start, its pipes, its end.

use std::process::Stdio;
use std::time::Duration;

use bytes::BytesMut;
use cocoon_engine_api::{Command, Event, FrameDecoder, PROTOCOL, Ready, encode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::sync::mpsc::UnboundedReceiver;

use super::exchange::Link;
use super::{EngineError, Launch, environment};

const READ_BUFFER: usize = 64 << 10;
/// How long an engine may take to end once its input has, before it is killed.
const END_LIMIT: Duration = Duration::from_secs(5);
/// How long an engine that no longer reads may still speak.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// A running engine that has said it is ready.
pub(super) struct Process {
    child: Child,
    input: ChildStdin,
    output: Events,
}

impl Process {
    pub(super) async fn start(launch: &Launch) -> Result<(Self, Ready), EngineError> {
        let mut command = tokio::process::Command::new(&launch.program);
        command.arg("serve").arg("--model").arg(&launch.model);
        command.arg("--max-sequences").arg(launch.max_sequences.to_string()).args(&launch.arguments);
        command.env_clear().envs(environment::of_engine(std::env::vars_os()));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        // A group of its own: Ctrl-C on a terminal is for the backend, which ends the engine once it is through.
        command.process_group(0).kill_on_drop(true);
        let spawned = command.spawn();
        let mut child =
            spawned.map_err(|source| EngineError::Spawn { program: launch.program.clone(), source })?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(EngineError::Unexpected);
        };
        let mut process = Self { child, input, output: Events::new(output) };
        let first = tokio::time::timeout(launch.ready_within, process.output.next()).await;
        match first.map_err(|_| EngineError::NotReady(launch.ready_within))?? {
            Some(Event::Ready(ready)) if ready.protocol == PROTOCOL => Ok((process, ready)),
            Some(Event::Ready(ready)) => Err(EngineError::Protocol(ready.protocol)),
            Some(_) => Err(EngineError::Unexpected),
            None => Err(EngineError::EndedEarly(process.end().await)),
        }
    }

    pub(super) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Carries commands and events until the engine's output ends, which is an error unless it was closed in order.
    pub(super) async fn carry(
        &mut self,
        link: &Link,
        mut commands: UnboundedReceiver<Command>,
    ) -> Result<(), EngineError> {
        let Self { input, output, .. } = self;
        let writing = async {
            while let Some(command) = commands.recv().await {
                if let Err(error) = write(input, &command).await {
                    // It may have said why: the reader gets the chance to hear it.
                    tokio::time::sleep(LAST_WORDS).await;
                    return Err(error);
                }
            }
            std::future::pending().await
        };
        let reading = async {
            while let Some(event) = output.next().await? {
                link.route(event);
            }
            Ok(())
        };
        // Side by side, never in turn: with both pipes full, waiting to write would keep the engine from reading.
        tokio::select! {
            ended = reading => ended,
            broken = writing => broken,
        }
    }

    /// Closes the input, waits a little, kills; says how it ended.
    pub(super) async fn end(self) -> String {
        let Self { mut child, input, output } = self;
        drop((input, output));
        match tokio::time::timeout(END_LIMIT, child.wait()).await {
            Ok(Ok(status)) => status.to_string(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => match child.kill().await {
                Ok(()) => "killed: it did not end by itself".to_owned(),
                Err(error) => error.to_string(),
            },
        }
    }
}

async fn write(input: &mut ChildStdin, command: &Command) -> Result<(), EngineError> {
    let frame = encode(command)?;
    input.write_all(&frame).await.map_err(EngineError::Pipe)
}

/// The engine's output as events.
struct Events {
    output: ChildStdout,
    buffer: BytesMut,
    decoder: FrameDecoder,
}

impl Events {
    fn new(output: ChildStdout) -> Self {
        Self { output, buffer: BytesMut::with_capacity(READ_BUFFER), decoder: FrameDecoder::default() }
    }

    async fn next(&mut self) -> Result<Option<Event>, EngineError> {
        loop {
            if let Some(event) = self.decoder.next()? {
                return Ok(Some(event));
            }
            self.buffer.clear();
            self.buffer.reserve(READ_BUFFER);
            if self.output.read_buf(&mut self.buffer).await.map_err(EngineError::Pipe)? == 0 {
                return Ok(None);
            }
            self.decoder.extend(&self.buffer);
        }
    }
}
