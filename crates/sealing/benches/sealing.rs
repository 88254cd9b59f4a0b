//! What sealing costs: a whole request, a frame of a stream, and the steps between. `cargo xtask bench` runs it.

use std::hint::black_box;
use std::time::Duration;

use cocoon_sealing::{Kem, PrivateKey, RequestOpener, RequestSealer, SealingError};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput};

/// A chat of a few messages.
const REQUEST: usize = 2 << 10;
/// One token of a streamed chat, as JSON.
const EVENT: usize = 330;
/// A long prompt in one frame.
const LARGE: usize = 1 << 20;
/// Length prefix of a frame.
const PREFIX: usize = 4;

fn main() -> Result<(), SealingError> {
    let brief = Criterion::default()
        .sample_size(50)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(2));
    let mut criterion = brief.configure_from_args();
    for kem in Kem::ALL {
        let mut group = criterion.benchmark_group(format!("request/{kem:?}"));
        requests(&mut group, kem)?;
        group.finish();
    }
    let mut group = criterion.benchmark_group("response");
    responses(&mut group)?;
    group.finish();
    criterion.final_summary();
    Ok(())
}

/// From the public key to the sealed body, and from the private key to the opened one.
fn requests(group: &mut BenchmarkGroup<'_, WallTime>, kem: Kem) -> Result<(), SealingError> {
    let key = PrivateKey::generate(kem)?;
    group.bench_function("encapsulate", |bencher| {
        bencher.iter(|| RequestSealer::new(black_box(key.public_key())));
    });
    for (name, length) in [("2 KiB", REQUEST), ("1 MiB", LARGE)] {
        let body = vec![b'a'; length];
        group.throughput(Throughput::Bytes(length as u64));
        group.bench_function(format!("encapsulate and seal {name}"), |bencher| {
            bencher.iter(|| RequestSealer::new(black_box(key.public_key()))?.seal(black_box(&body)));
        });
        let mut sealer = RequestSealer::new(key.public_key())?;
        let frame = sealer.seal(&body)?;
        let opened = RequestOpener::new(&key, sealer.encapsulated_key())?.open(&frame[PREFIX..])?;
        assert_eq!(opened, body);
        group.bench_function(format!("decapsulate and open {name}"), |bencher| {
            bencher.iter(|| {
                RequestOpener::new(black_box(&key), sealer.encapsulated_key())?.open(&frame[PREFIX..])
            });
        });
    }
    Ok(())
}

/// The same for either KEM but for the length of the salt.
fn responses(group: &mut BenchmarkGroup<'_, WallTime>) -> Result<(), SealingError> {
    let key = PrivateKey::generate(Kem::XWing)?;
    let mut client = RequestSealer::new(key.public_key())?;
    let request = client.seal(b"{}")?;
    let mut backend = RequestOpener::new(&key, client.encapsulated_key())?;
    backend.open(&request[PREFIX..])?;
    group.bench_function("derive the keys", |bencher| {
        bencher.iter(|| client.response_opener(black_box(&[7; 32])));
    });
    for (name, length) in [("330 bytes", EVENT), ("1 MiB", LARGE)] {
        let body = vec![b'a'; length];
        group.throughput(Throughput::Bytes(length as u64));
        let mut sealer = backend.response_sealer()?;
        let nonce = *sealer.nonce();
        let frame = sealer.seal(&body)?;
        assert_eq!(client.response_opener(&nonce)?.open(&frame[PREFIX..])?, body);
        group.bench_function(format!("seal a frame of {name}"), |bencher| {
            bencher.iter(|| sealer.seal(black_box(&body)));
        });
        group.bench_function(format!("open a frame of {name}"), |bencher| {
            // Frames open in their order alone, so every round opens a first one. Only the length is kept: to keep
            // what was opened would measure fresh memory.
            bencher.iter_batched_ref(
                || client.response_opener(&nonce),
                |opener| {
                    let opener = opener.as_mut().map_err(|error| *error)?;
                    Ok::<_, SealingError>(opener.open(black_box(&frame[PREFIX..]))?.len())
                },
                criterion::BatchSize::SmallInput,
            );
        });
    }
    Ok(())
}
