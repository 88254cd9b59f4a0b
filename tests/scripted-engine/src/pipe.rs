//! Frames in and out, each on a thread of its own.

use std::io::{self, Read as _, Write as _};
use std::thread;

use cocoon_engine_api::{Command, Event, FrameDecoder, encode};
use tokio::sync::mpsc;

/// What the output thread does next.
pub(crate) enum Output {
    Event(Event),
    /// End the process, once what came before is written.
    Crash,
}

/// Starts both threads. The commands end at the end of input.
pub(crate) fn open() -> anyhow::Result<(mpsc::Receiver<Command>, mpsc::Sender<Output>)> {
    let (command_sender, commands) = mpsc::channel(256);
    let (outputs, output_receiver) = mpsc::channel(1024);
    thread::Builder::new().spawn(move || {
        // Whatever is wrong with the input, there is no more of it.
        let _ = read(&command_sender);
    })?;
    thread::Builder::new().spawn(move || {
        // Whoever could be told of the error is the one who no longer reads.
        let _ = write(output_receiver);
    })?;
    Ok((commands, outputs))
}

fn read(commands: &mpsc::Sender<Command>) -> anyhow::Result<()> {
    let mut input = io::stdin().lock();
    let mut decoder = FrameDecoder::default();
    let mut bytes = vec![0; 64 << 10];
    loop {
        let length = input.read(&mut bytes)?;
        if length == 0 {
            return Ok(());
        }
        decoder.extend(&bytes[..length]);
        while let Some(command) = decoder.next()? {
            commands.blocking_send(command)?;
        }
    }
}

fn write(mut outputs: mpsc::Receiver<Output>) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    let mut frames = Vec::new();
    while let Some(first) = outputs.blocking_recv() {
        let mut next = Some(first);
        while let Some(output) = next {
            match output {
                Output::Event(event) => frames.extend(encode(&event)?),
                Output::Crash => {
                    stdout.write_all(&frames)?;
                    stdout.flush()?;
                    std::process::abort();
                }
            }
            next = if frames.len() < 64 << 10 { outputs.try_recv().ok() } else { None };
        }
        stdout.write_all(&frames)?;
        stdout.flush()?;
        frames.clear();
    }
    Ok(())
}
