//! The two ends of the protocol: commands from standard input, events to what was standard output.
//! Each has a thread of its own, because both block, and one of them for as long as the backend is silent.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::thread;

use anyhow::Context as _;
use cocoon_engine_api::{Command, Event, FrameDecoder, FrameError, encode};
use tokio::sync::{mpsc, oneshot};

/// Messages on their way in or out before whoever makes more has to wait.
const QUEUE: usize = 256;

/// Bytes after which events are written without looking for more.
const WRITE: usize = 64 << 10;

/// The backend, seen from here.
pub(crate) struct Pipe {
    /// Ends at the end of input.
    pub(crate) commands: mpsc::Receiver<Result<Command, FrameError>>,
    /// Closed once nobody reads.
    pub(crate) events: mpsc::Sender<Event>,
    /// Resolves at the end of input, also while commands wait to be read; fails where the input breaks off
    /// otherwise, of which `commands` tells.
    pub(crate) input_ended: oneshot::Receiver<()>,
    /// Resolves when every sender of `events` is gone and the last of them is written.
    pub(crate) written: oneshot::Receiver<()>,
}

/// Takes standard output for the protocol, and leaves standard error in its place: a library that prints
/// must not break a frame.
///
/// # Errors
/// Where file descriptors or threads run out.
pub(crate) fn open() -> anyhow::Result<Pipe> {
    let output = io::stdout().as_fd().try_clone_to_owned().context("standard output")?;
    rustix::stdio::dup2_stdout(io::stderr()).context("standard output")?;

    let (command_sender, commands) = mpsc::channel(QUEUE);
    let (events, event_receiver) = mpsc::channel(QUEUE);
    let (end_sender, input_ended) = oneshot::channel();
    let (written_sender, written) = oneshot::channel();
    thread::Builder::new().name("commands".to_owned()).spawn(move || match read(&command_sender) {
        Ok(()) => drop(end_sender.send(())),
        // Whoever listens no more has ended already.
        Err(error) => drop(command_sender.blocking_send(Err(error))),
    })?;
    thread::Builder::new().name("events".to_owned()).spawn(move || {
        if let Err(error) = write(event_receiver, File::from(output)) {
            tracing::error!(%error, "cannot write events");
        }
        let _ = written_sender.send(());
    })?;
    Ok(Pipe { commands, events, input_ended, written })
}

/// Returns at the end of input, or once nobody takes the commands.
fn read(commands: &mpsc::Sender<Result<Command, FrameError>>) -> Result<(), FrameError> {
    let mut input = io::stdin().lock();
    let mut decoder = FrameDecoder::default();
    let mut bytes = vec![0; 64 << 10];
    loop {
        match input.read(&mut bytes) {
            Ok(0) => return Ok(()),
            Ok(length) => decoder.extend(&bytes[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                tracing::error!(%error, "cannot read commands");
                return Ok(());
            }
        }
        while let Some(command) = decoder.next()? {
            if commands.blocking_send(Ok(command)).is_err() {
                return Ok(());
            }
        }
    }
}

fn write(mut events: mpsc::Receiver<Event>, mut output: File) -> io::Result<()> {
    while let Some(event) = events.blocking_recv() {
        let mut frames = encode(&event).map_err(io::Error::other)?;
        // One write for all that is ready: twenty streams are twenty events a step.
        while frames.len() < WRITE
            && let Ok(event) = events.try_recv()
        {
            frames.extend(encode(&event).map_err(io::Error::other)?);
        }
        output.write_all(&frames)?;
    }
    Ok(())
}
